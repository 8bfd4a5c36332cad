"""Binding a pipeline's statements before a record is read: what they need, what they give, what is wrong with them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import duckdb

from rangemill.engines import _sql_types
from rangemill.engines._memory_files import PROTOCOL
from rangemill.engines._sandbox import Session
from rangemill.engines._sql_names import RAW, Columns, definitions
from rangemill.errors import BadStatement
from rangemill.pipeline import Pipeline

ON_DEMAND: Final = (("_object", "VARCHAR"), ("_bucket", "VARCHAR"), ("_offset", "BIGINT"))
_ORDER_MATTERS: Final = frozenset(
    {"first", "last", "any_value", "arbitrary", "list", "array_agg", "string_agg", "group_concat", "listagg"}
)
_VOLATILE: Final = frozenset(
    {
        "random",
        "uuid",
        "gen_random_uuid",
        "uuidv4",
        "uuidv7",
        "now",
        "get_current_timestamp",
        "current_timestamp",
        "today",
    }
)


@dataclass(frozen=True, slots=True)
class Bound:
    """The statements with the columns they need and give. `partial` is P."""

    apply: str
    aggregate: str | None
    finish: str | None
    records: Columns
    needed: frozenset[str]
    partial: Columns


def bind(pipeline: Pipeline, columns: Columns, *, is_text: bool = False) -> Bound:
    """The statements over `records` of those columns. Raises `BadStatement` with DuckDB's message and the field.

    Of text whose one column is `line`, `raw` is there as well if the statement names it.
    """
    apply = select_of(pipeline.apply.sql or "", "apply.sql")
    aggregate = select_of(pipeline.aggregate.sql, "aggregate.sql") if pipeline.aggregate.sql else None
    finish = select_of(pipeline.finish.sql, "finish.sql") if pipeline.finish.sql else None
    session = Session(planning=True)
    try:
        records = [*_typed(session, columns), *_on_demand(apply, columns, is_text=is_text)]
        _create(session, records)
        needed = _needed(session, apply, [name for name, _ in records])
        given = _describe(session, apply, "apply.sql")
        partial = _sql_types.partial_types(session, given, "apply.sql")
        if aggregate is not None:
            session.run(f"CREATE TEMP TABLE partials ({definitions(partial)})")
            _sql_types.require_closed(_describe(session, aggregate, "aggregate.sql"), partial)
        if finish is not None:
            session.run(f"CREATE TEMP TABLE result ({definitions(partial)})")
            _describe(session, finish, "finish.sql")
        return Bound(apply, aggregate, finish, records, needed, partial)
    finally:
        session.close()


def warnings_of(bound: Bound) -> list[str]:
    """What is right, but may not be meant; asked for where people read it."""
    return list(_warnings_of(bound.apply, bound.aggregate, bound.finish))


@lru_cache(maxsize=8)
def _warnings_of(apply: str, aggregate: str | None, finish: str | None) -> tuple[str, ...]:
    session = Session(planning=True)
    try:
        statements = (("apply.sql", apply), ("aggregate.sql", aggregate), ("finish.sql", finish))
        warnings = [
            warning for field, sql in statements if sql is not None for warning in _warnings(session, sql, field)
        ]
        if aggregate is None:
            warnings += _unfolded_warnings(session, apply)
        return tuple(dict.fromkeys(warnings))
    finally:
        session.close()


def select_of(sql: str, field: str) -> str:
    """The statement without its semicolon. Raises `BadStatement` for what is not exactly one SELECT."""
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise BadStatement(f"{field}: {message_of(error)}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        found = ", ".join(str(s.type).removeprefix("StatementType.") for s in statements) or "nothing"
        raise BadStatement(f"{field}: expected one SELECT statement, found {found}")
    if statements[0].named_parameters:
        raise BadStatement(f"{field}: a statement has no parameters; write the values in it")
    return re.sub(r";\s*$", "", statements[0].query.strip())


def message_of(error: duckdb.Error) -> str:
    """DuckDB's message in one line, without the excerpt that would show our own wrapping of the statement."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split())


def message_without_values(error: duckdb.Error) -> str:
    """The message of a failure over records, whose bytes must not reach logs and notices."""
    message = re.sub(
        rf'Failed to read file "{PROTOCOL}://[^"]*": ', "", message_of(error)
    )  # no name that anybody knows
    return re.sub(r"'[^']*'", "'…'", message)


def _typed(session: Session, columns: Columns) -> Columns:
    """The columns with their types as DuckDB spells them. Raises `BadStatement` for what is no type."""
    typed: Columns = []
    for name, of in columns:
        try:
            typed.append((name, session.type_of(of)))
        except duckdb.Error as error:
            raise BadStatement(f"format.columns.{name}: {message_of(error)}") from None
    return typed


def _create(session: Session, records: Columns) -> None:
    """The table `records`, empty. Raises `BadStatement` for what SQL has no columns for."""
    if not records:
        raise BadStatement("apply.sql: the records have no columns; Python takes records without any")
    if not all(name for name, _ in records):
        raise BadStatement(
            "apply.sql: a column of the records has an empty name, which no statement can say; use Python, or rename "
            "it where the data is made"
        )
    try:
        session.run(f"CREATE TEMP TABLE records ({definitions(records)})")
    except duckdb.Error as error:
        raise BadStatement(f"apply.sql: the records' columns cannot be a table: {message_of(error)}") from None


def _on_demand(apply: str, columns: Columns, *, is_text: bool) -> Columns:
    names = {name.lower() for name, _ in columns}
    known = (*ON_DEMAND, (RAW, "BLOB")) if is_text and list(columns) == [("line", "VARCHAR")] else ON_DEMAND
    return [(n, of) for n, of in known if n not in names and re.search(rf"\b{n}\b", apply, re.IGNORECASE)]


def _describe(session: Session, sql: str, field: str) -> Columns:
    try:
        return [(str(row[0]), str(row[1])) for row in session.run(f"DESCRIBE {sql}\n")]
    except duckdb.Error as error:
        raise BadStatement(f"{field}: {message_of(error)}") from None


def _needed(session: Session, apply: str, names: list[str]) -> frozenset[str]:
    """The columns of `records` that the statement's plan reads, every other optimisation being off."""
    try:
        plan = json.loads(session.run(f"EXPLAIN (FORMAT json) {apply}\n")[0][1])
    except duckdb.Error as error:
        raise BadStatement(f"apply.sql: {message_of(error)}") from None
    needed: set[str] = set()
    for node in _nodes(plan):
        info = node.get("extra_info") if isinstance(node, dict) else None
        if isinstance(info, dict) and str(info.get("Table", "")).endswith("records"):
            read = info.get("Projections")
            if not isinstance(read, (str, list)):
                return frozenset(names)
            needed.update([read] if isinstance(read, str) else read)
    needed.discard("")
    return frozenset(needed) if needed <= set(names) else frozenset(names)


def _nodes(tree: Any) -> Iterator[Any]:
    yield tree
    if isinstance(tree, (dict, list)):
        for member in tree.values() if isinstance(tree, dict) else tree:
            yield from _nodes(member)


def _unfolded_warnings(session: Session, apply: str) -> Iterator[str]:
    """What a statement without `aggregate` does once for every piece of the data, not once for all of it."""
    ((serialized,),) = session.run("SELECT json_serialize_sql(CAST($1 AS VARCHAR))", [apply])
    found: set[str] = set()
    aggregates = _aggregate_names(session)
    sources = 0
    for node in _nodes(json.loads(serialized)):
        if not isinstance(node, dict):
            continue
        if node.get("group_expressions") or node.get("type") == "DISTINCT_MODIFIER":
            found.add("GROUP BY or DISTINCT")
        if node.get("class") == "FUNCTION" and str(node.get("function_name")).lower() in aggregates:
            found.add(f"{node['function_name']}()")
        sources += node.get("type") == "BASE_TABLE" and str(node.get("table_name")).lower() == "records"
    if sources > 1:
        found.add("a join of `records` with itself")
    for what in sorted(found):
        yield (
            f"apply.sql: {what} sees one piece of the data at a time, and without `aggregate` the output holds "
            "the rows of every piece, however the objects were cut; add `aggregate`"
        )


def _aggregate_names(session: Session) -> frozenset[str]:
    rows = session.run("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'")
    return frozenset(str(name) for (name,) in rows)


def _warnings(session: Session, sql: str, field: str) -> Iterator[str]:
    """What makes a result depend on how the work was cut."""
    ((serialized,),) = session.run("SELECT json_serialize_sql(CAST($1 AS VARCHAR))", [sql])
    tree = json.loads(serialized)
    for node in _nodes(tree):
        if not isinstance(node, dict):
            continue
        name = str(node.get("function_name") or "").lower()
        ordered = (node.get("order_bys") or {}).get("orders") if isinstance(node.get("order_bys"), dict) else None
        if node.get("class") == "FUNCTION" and name in _ORDER_MATTERS and not ordered:
            yield f"{field}: {name} without ORDER BY depends on how the objects were cut; write {name}(… ORDER BY …)"
        if node.get("class") == "FUNCTION" and name in _VOLATILE:
            yield f"{field}: {name}() gives another value when a piece is run again"
        if field != "finish.sql" and node.get("class") == "WINDOW":
            yield f"{field}: a window function sees one piece of the data at a time"
        if field == "apply.sql" and node.get("type") == "LIMIT_MODIFIER":
            yield f"{field}: LIMIT applies to each piece of the data; put it into `finish`"
