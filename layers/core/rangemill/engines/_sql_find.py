"""Finding the record that DuckDB refused: it names lines at best, so halves are tried until one line is left."""

from collections.abc import Callable

import duckdb

from rangemill import formats
from rangemill.engines._sql_names import Columns
from rangemill.errors import BadRecord
from rangemill.formats.base import Settled

Load = Callable[[list[bytes]], int]


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
    try:
        load([line], [])
        for name, of in columns:
            if _cannot(load, line, (name, of)):
                return misfit(name, of)
    except duckdb.Error as error:
        return f"DuckDB cannot read it: {_first_sentence(error)}"
    return "DuckDB cannot read it as one record of this format"


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
