"""Finding the record that DuckDB refused: it names lines at best, so halves are tried until one line is left."""

import json
from collections.abc import Callable
from typing import Any, Final

import duckdb

from rangemill import formats
from rangemill.engines._sql_names import Columns
from rangemill.errors import BadRecord
from rangemill.formats.base import Settled

Load = Callable[[list[bytes]], int]
NO_OBJECT: Final = "it is no JSON object, which SQL needs for its columns"


def first_failing(load: Load, lines: list[bytes]) -> int | None:
    """The index of the first line that raises or is not taken as one record; None if all are fine by themselves."""
    if not _fails(load, lines):
        return None
    low, high = 0, len(lines)  # lines[:low] are fine, lines[low:high] are not
    while high - low > 1:
        middle = (low + high) // 2
        if _fails(load, lines[low:middle]):
            high = middle
        else:
            low = middle
    return low if _fails(load, lines[low:high]) else None


def _fails(load: Load, lines: list[bytes]) -> bool:
    try:
        return load([b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)]) != len(lines)
    except duckdb.Error:
        return True


def problem(load: Callable[[list[bytes], Columns], int], line: bytes, columns: Columns, settled: Settled) -> str:
    """What is wrong with that record, without its bytes."""
    try:
        list(formats.load(settled.shape or settled.format).records(line, settled, None))
    except BadRecord as error:
        return error.message
    if (settled.shape or settled.format) == "jsonl":
        wrong = None if has_columns(line) else NO_OBJECT
        wrong = wrong or doubled(line)
        if wrong is not None:
            return wrong
    try:
        load([line], [])
        for name, of in columns:
            if _cannot(load, line, (name, of)):
                return misfit(name, of)
    except duckdb.Error as error:
        return f"DuckDB cannot read it: {_first_sentence(error)}"
    return "DuckDB cannot read it as one record of this format"


def has_columns(line: bytes) -> bool:
    """Whether a line of JSON is an object, or null: a row whose columns are all NULL."""
    return line.lstrip()[:1] in (b"{", b"n")


def doubled(line: bytes) -> str | None:
    """The sentence for a JSON record that has a name twice in one object: SQL does not choose between the values."""
    found: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    try:
        json.loads(line, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return None
    return f"it has the name {found[0]!r} more than once in one JSON object" if found else None


def misfit(name: str, of: str) -> str:
    """What is wrong with a value that does not fit its column."""
    return (
        f"the value of column {name} is not exactly a {of}; "
        "declare the column as VARCHAR under `format.columns` and CAST or TRY_CAST it in the statement"
    )


def _cannot(load: Callable[[list[bytes], Columns], int], line: bytes, column: tuple[str, str]) -> bool:
    try:
        return load([line], [column]) != 1
    except duckdb.Error:
        return True


def _first_sentence(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0]
