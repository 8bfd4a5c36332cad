"""What can be known of SQL statements before a record is read."""

from rangemill.engines import _sql_bind
from rangemill.engines import sql as sql_engine
from rangemill.errors import BadStatement
from rangemill.formats.base import Settled
from rangemill.pipeline import Pipeline


def check(pipeline: Pipeline, settled: Settled | None) -> list[str]:
    """Warnings. Without `settled`, statements are bound only where the document tells the columns.

    Raises `BadStatement`.
    """
    for field, sql in (
        ("apply.sql", pipeline.apply.sql),
        ("aggregate.sql", pipeline.aggregate.sql),
        ("finish.sql", pipeline.finish.sql),
    ):
        if sql is not None:
            _sql_bind.select_of(sql, field)
    if settled is not None and settled.columns is not None:
        return _sql_bind.warnings_of(sql_engine.bind(pipeline, settled))
    if settled is not None:
        return ["the statements were not checked: no object has a record that shows its columns"]
    if pipeline.format.type == "text":
        from rangemill.formats import text  # noqa: PLC0415 - of this format the document may tell all columns

        known = text.known_columns(pipeline.format.options)
        if known is not None:
            return _sql_bind.warnings_of(sql_engine.bind(pipeline, Settled("text", {}, known)))
    declared = pipeline.format.options.get("columns")
    if not isinstance(declared, dict) or not declared:  # of Parquet it is a list of names
        return ["the statements are checked when a job is planned: `format.columns` does not declare the columns"]
    try:
        declared_alone = Settled(pipeline.format.type, {}, list(declared.items()))
        return _sql_bind.warnings_of(sql_engine.bind(pipeline, declared_alone))
    except BadStatement as error:
        return [f"with only the declared columns: {error.message}; checked again when a job is planned"]
