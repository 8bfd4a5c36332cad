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
        return list(sql_engine.bind(pipeline, settled).warnings)
    if settled is not None:
        return ["the statements were not checked: no object has a record that shows its columns"]
    if pipeline.format.type == "text":
        return list(sql_engine.bind(pipeline, Settled("text", {}, [("line", "VARCHAR")])).warnings)
    declared = pipeline.format.options.get("columns") or {}
    if not declared:
        return ["the statements are checked when a job is planned: `format.columns` does not declare the columns"]
    try:
        return list(sql_engine.bind(pipeline, Settled(pipeline.format.type, {}, list(declared.items()))).warnings)
    except BadStatement as error:
        return [f"with only the declared columns: {error.message}; checked again when a job is planned"]
