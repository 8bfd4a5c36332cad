"""The types of partials: those that Parquet brings back as they were."""

# ruff: noqa: S608 - statements are made of quoted names and literals; the user's own runs in the sandbox

import re
from typing import Final

import duckdb

from rangemill.engines._sandbox import Session
from rangemill.engines._sql_names import Columns, quote
from rangemill.errors import BadStatement

_DECIMAL: Final = re.compile(r"DECIMAL\((\d+), ?(\d+)\)")
_INTEGER_DIGITS: Final = {
    "TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 39,
    "UTINYINT": 3, "USMALLINT": 5, "UINTEGER": 10, "UBIGINT": 20, "UHUGEINT": 39,
}  # fmt: skip
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_SUM_TYPE: Final = "DECIMAL(38,0)"  # what sum(BIGINT), a HUGEINT, becomes: Parquet would make it a DOUBLE
_REMEDY: Final = {"INTERVAL": "its microseconds would be lost; keep epoch numbers"}


def partial_types(session: Session, given: Columns, field: str) -> Columns:
    """P: the statement's columns as they are kept. Raises `BadStatement` for a type that would come back changed."""
    names = [name.lower() for name, _ in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadStatement(f"{field}: two columns are called {twice}; give them names with AS")
    partial = [(name, {"HUGEINT": _SUM_TYPE, '"NULL"': "INTEGER"}.get(of, of)) for name, of in given]
    if _stay_the_same(session, partial):
        return partial
    for name, of in partial:
        kept = _after_parquet(session, name, of)
        if kept != of or of in _REMEDY:
            problem = _REMEDY.get(of) or (f"it would come back as {kept}" if kept else "Parquet has no such type")
            raise BadStatement(f"{field}: column {name} is {of}, which cannot be kept exactly ({problem}); CAST it")
    return partial


def _stay_the_same(session: Session, partial: Columns) -> bool:
    """Whether a Parquet file gives back all of these types."""
    if any(of in _REMEDY for _, of in partial):
        return False
    nothing = ", ".join(f"CAST(NULL AS {of}) AS {quote(name)}" for name, of in partial)
    try:
        content, _ = session.copy(f"SELECT {nothing} LIMIT 0", "FORMAT parquet")
    except duckdb.Error:
        return False
    path = session.put("types", content)
    found = session.run(f"DESCRIBE SELECT * FROM read_parquet('{path}')")
    return [(str(row[0]), str(row[1])) for row in found] == partial


def _after_parquet(session: Session, name: str, of: str) -> str | None:
    """The type that a Parquet file gives back; None where it has none."""
    try:
        content, _ = session.copy(f"SELECT CAST(NULL AS {of}) AS {quote(name)} LIMIT 0", "FORMAT parquet")
    except duckdb.Error:
        return None
    path = session.put("types", content)
    return str(session.run(f"DESCRIBE SELECT * FROM read_parquet('{path}')")[0][1])


def require_closed(given: Columns, partial: Columns) -> None:
    """Raise `BadStatement` unless `aggregate` maps P to P: the same names, and values that P holds exactly."""
    wanted, found = dict(partial), dict(given)
    if len(found) != len(given) or set(wanted) != set(found):
        raise BadStatement(
            f"aggregate.sql: it must give the columns that apply.sql gives ({', '.join(wanted)}), "
            f"but it gives {', '.join(name for name, _ in given)}; name them with AS"
        )
    for name, of in wanted.items():
        if not _holds(of, found[name]):
            raise BadStatement(
                f"aggregate.sql: column {name} is {found[name]}, but apply.sql makes it {of}; "
                f"partials are folded again and again, so write CAST(… AS {of}) in one of them, "
                "or move what changes the type (an average, a ratio) into `finish`"
            )


def _holds(of: str, other: str) -> bool:
    """Whether every value of `other` is either exactly one of `of` or an overflow, which is an error."""
    if other in (of, '"NULL"'):
        return True
    digits, other_digits = _digits(of), _digits(other)
    if digits is None or other_digits is None:
        return of in _FLOATS and (other in _FLOATS or other_digits is not None)
    return digits[1] >= other_digits[1]


def _digits(of: str) -> tuple[int, int] | None:
    """Precision and scale of an exact number."""
    if of in _INTEGER_DIGITS:
        return _INTEGER_DIGITS[of], 0
    match = _DECIMAL.fullmatch(of)
    return (int(match[1]), int(match[2])) if match else None
