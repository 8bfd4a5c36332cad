"""Engines: the user's Python, and the user's SQL in DuckDB. Each is imported where a pipeline needs it."""

from typing import Any

from rangemill.engines.base import Engine, Folder
from rangemill.formats.base import Settled
from rangemill.pipeline import Pipeline


def make_engine(pipeline: Pipeline, settled: Settled, parameters: dict[str, Any] | None = None) -> Engine:
    """The engine of one slot. `parameters` replaces the pipeline's own. Raises `BadPipeline`, `BadStatement`."""
    from rangemill.engines.python import PythonEngine  # noqa: PLC0415

    return PythonEngine(pipeline, settled, pipeline.parameters if parameters is None else parameters)


def make_folder(pipeline: Pipeline, settled: Settled) -> Folder:  # noqa: ARG001 - SQL needs it
    """What folds partials and finishes the total. Raises `BadPipeline`, `BadStatement`."""
    from rangemill.engines.python import PythonFolder  # noqa: PLC0415

    return PythonFolder(pipeline)


def check_pipeline(pipeline: Pipeline, settled: Settled | None = None) -> list[str]:  # noqa: ARG001 - SQL needs it
    """What can be known before a record is read. Returns warnings.

    Without `settled` (at submit or deploy) SQL is bound only where the columns are known from the document; with it
    (at Plan) always. Raises `BadPipeline` for a Python class that cannot be made, `BadStatement` for SQL.
    """
    from rangemill.engines._python_class import load_class  # noqa: PLC0415

    load_class(pipeline.apply.python or "")
    return []
