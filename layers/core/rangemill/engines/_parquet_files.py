"""Parquet through DuckDB: the types that a footer tells of, and rows as Python values that are exactly the file's."""

# ruff: noqa: S608 - statements are made of quoted names and literals

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final

import duckdb

from rangemill.blocks import SparseFile
from rangemill.engines import _sql_bind
from rangemill.engines._sandbox import Session
from rangemill.engines._sql_names import quote
from rangemill.errors import BadRecord

_ROWS: Final = 2048  # DuckDB's own vectors: more at a time is no faster
_OPTIONS: Final = "hive_partitioning = false, union_by_name = false"
# What Python has no value for, and what it has: the cast is undone and compared, so that nothing is lost unseen.
_NARROWED: Final = {"TIMESTAMP_NS": "TIMESTAMP", "TIME_NS": "TIME"}
_WITH_ZONE: Final = "TIMESTAMP WITH TIME ZONE"
_REFUSED: Final = frozenset({"INTERVAL"})
_DECIMAL_DIGITS: Final = 38

Convert = Callable[[Any], Any]


def reading(paths: list[str]) -> str:
    """The FROM of these files."""
    return f"read_parquet([{', '.join(f"'{path}'" for path in paths)}], {_OPTIONS})"


@lru_cache(maxsize=64)
def _types(file: SparseFile) -> tuple[tuple[str, str], ...]:
    session = Session()
    try:
        path = session.put("schema", file)
        described = session.run(f"DESCRIBE SELECT * FROM {reading([path])}")
        return tuple((str(row[0]), str(row[1])) for row in described)
    except duckdb.Error as error:
        raise BadRecord(f"its Parquet schema cannot be read: {_sql_bind.message_without_values(error)}") from None
    finally:
        session.close()


def types(file: SparseFile) -> list[tuple[str, str]]:
    """Names and SQL types of the columns, in the file's order. Raises `BadRecord`."""
    return list(_types(file))


@lru_cache(maxsize=64)
def inexact(file: SparseFile) -> tuple[str, ...]:
    """Decimals of more digits than SQL has, by the file's own names: they are read as DOUBLE, which is not exact."""
    session = Session()
    try:
        path = session.put("schema", file)
        found = session.run(f"SELECT name FROM parquet_schema('{path}') WHERE precision > {_DECIMAL_DIGITS}")
        return tuple(str(name) for (name,) in found)
    except duckdb.Error as error:
        raise BadRecord(f"its Parquet schema cannot be read: {_sql_bind.message_without_values(error)}") from None
    finally:
        session.close()


def rows(file: SparseFile, columns: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """The file's rows, a bounded number at a time. Raises `BadRecord` for values that Python has not exactly."""
    session = Session()
    try:
        path = session.put("rows", file)
        names = [name for name, _ in columns]
        chosen, converters = _select(session, columns)
        for batch in session.stream(f"SELECT {chosen} FROM {reading([path])}", _ROWS):
            for row in batch:
                record = dict(zip(names, row, strict=False))
                for name, convert in converters:
                    record[name] = convert(record[name])
                yield record
    except duckdb.Error as error:
        raise BadRecord(f"DuckDB cannot read it: {_sql_bind.message_without_values(error)}") from None
    finally:
        session.close()


def _select(session: Session, columns: list[tuple[str, str]]) -> tuple[str, list[tuple[str, Convert]]]:
    """What to select, and what to do to the values of which columns afterwards."""
    chosen: list[str] = []
    converters: list[tuple[str, Convert]] = []
    for name, of in columns:
        if any(refused in of for refused in _REFUSED):
            raise BadRecord(
                f"column {name} is {of}, which Python has no exact value for; "
                "leave it out with `format.columns`, or use SQL"
            )
        chosen.append(_exactly(name, of))
        convert = _converter(session.tree_of(of), name)
        if convert is not None:
            converters.append((name, convert))
    return ", ".join(chosen) or "0 AS none", converters


def _exactly(name: str, of: str) -> str:
    narrow = of.replace(_WITH_ZONE, "TIMESTAMP")  # DuckDB wants a package for those; the session's zone is UTC
    for wide, less in _NARROWED.items():
        narrow = narrow.replace(wide, less)
    column = quote(name)
    if narrow == of:
        return column
    if not any(wide in of for wide in _NARROWED):
        return f"CAST({column} AS {narrow}) AS {column}"
    problem = f"column {name.replace("'", "''")} has nanoseconds, which Python times have not; use SQL"
    return (
        f"CASE WHEN CAST(CAST({column} AS {narrow}) AS {of}) IS DISTINCT FROM {column} THEN error('{problem}') "
        f"ELSE CAST({column} AS {narrow}) END AS {column}"
    )


def _converter(of: Any, name: str) -> Convert | None:
    """What makes a DuckDB client's value of that type ours; None where it is already."""
    convert: Convert | None = None
    if of.id == "timestamp with time zone":
        convert = lambda value: _moment(value, name).replace(tzinfo=UTC)  # noqa: E731
    elif of.id.startswith("timestamp"):
        convert = lambda value: _moment(value, name)  # noqa: E731
    elif of.id == "date":
        convert = lambda value: _day(value, name)  # noqa: E731
    elif of.id in ("list", "array"):
        convert = _list_converter(_converter(dict(of.children)["child"], name))
    elif of.id == "struct":
        convert = _struct_converter([(member, _converter(child, name)) for member, child in of.children])
    elif of.id == "map":
        children = dict(of.children)
        convert = _map_converter(_converter(children["key"], name), _converter(children["value"], name))
    return None if convert is None else lambda value: None if value is None else convert(value)


def _moment(value: Any, name: str) -> datetime:
    if not isinstance(value, datetime):
        raise BadRecord(f"column {name} has a time beyond the years 1 to 9999, which Python has not; use SQL")
    return value


def _day(value: Any, name: str) -> date:
    if not isinstance(value, date):
        raise BadRecord(f"column {name} has a day beyond the years 1 to 9999, which Python has not; use SQL")
    return value


def _list_converter(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda values: [convert(value) for value in values]


def _struct_converter(members: list[tuple[str, Convert | None]]) -> Convert | None:
    converters = [(member, convert) for member, convert in members if convert is not None]

    def convert_members(value: Any) -> Any:
        for member, convert in converters:
            value[member] = convert(value[member])
        return value

    return convert_members if converters else None


def _map_converter(of_key: Convert | None, of_value: Convert | None) -> Convert | None:
    if of_key is None and of_value is None:
        return None
    key, member = of_key or _same, of_value or _same
    return lambda entries: {key(k): member(v) for k, v in entries.items()}


def _same(value: Any) -> Any:
    return value
