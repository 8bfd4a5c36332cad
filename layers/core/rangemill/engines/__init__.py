"""Engines: the user's Python, and the user's SQL in DuckDB. Each is imported where a pipeline needs it."""

from typing import Any

from rangemill.allocator import keep_pages
from rangemill.engines.base import Engine, Folder
from rangemill.formats.base import Settled
from rangemill.pipeline import Pipeline
from rangemill.rejects import RejectLog


def make_engine(
    pipeline: Pipeline,
    settled: Settled,
    parameters: dict[str, Any] | None = None,
    rejects: RejectLog | None = None,
    condemned: str = "",
) -> Engine:
    """The engine of one slot. `parameters` replaces the pipeline's own; `rejects` is told of what is rejected. What
    stands in for the engine of a slot that is `condemned` (the text says why) applies nothing and rejects the record.

    Raises `BadPipeline`, `BadStatement`.
    """
    keep_pages()
    log = RejectLog(pipeline.rejects) if rejects is None else rejects
    if condemned:
        from rangemill.engines._condemned import Condemned  # noqa: PLC0415

        return Condemned(settled, log, condemned)
    if pipeline.is_sql:
        from rangemill.engines.sql import SqlEngine  # noqa: PLC0415

        return SqlEngine(pipeline, settled, log)
    from rangemill.engines.python import PythonEngine  # noqa: PLC0415

    return PythonEngine(pipeline, settled, pipeline.parameters if parameters is None else parameters, log)


def warm(pipeline: Pipeline) -> None:
    """Make ready what the engine needs of the document alone; what is wrong with that shows when the engine is made."""
    keep_pages()
    if pipeline.is_sql:
        from rangemill.engines import sql  # noqa: PLC0415

        sql.warm(pipeline)


def make_folder(pipeline: Pipeline, settled: Settled) -> Folder:
    """What folds partials and finishes the total. Raises `BadPipeline`, `BadStatement`."""
    if pipeline.is_sql:
        from rangemill.engines.sql import SqlFolder  # noqa: PLC0415

        return SqlFolder(pipeline, settled)
    from rangemill.engines.python import PythonFolder  # noqa: PLC0415

    return PythonFolder(pipeline)


def check_pipeline(pipeline: Pipeline, settled: Settled | None = None) -> list[str]:
    """What can be known before a record is read. Returns warnings.

    Without `settled` (at submit or deploy) SQL is bound only where the columns are known from the document; with it
    (at Plan) always. Raises `BadPipeline` for a Python class that cannot be made, `BadStatement` for SQL.
    """
    if pipeline.is_sql:
        from rangemill.engines import _sql_check  # noqa: PLC0415

        return _sql_check.check(pipeline, settled)
    from rangemill.engines._python_class import load_class  # noqa: PLC0415

    load_class(pipeline.apply.python or "")
    return []


def bound_memory(function_memory_mb: int) -> None:
    """Give SQL its share of a function's memory and of what /tmp has free. Cheap: loads no engine by itself."""
    from rangemill.engines import _bounds  # noqa: PLC0415

    _bounds.configure(_bounds.of_function(function_memory_mb))
