"""Delimiters that are not one ASCII character: rows written with one that every reader of CSV takes.

Where a row and a cell end is the automaton's to say, as ever. Blocks leave the aligner with `\\x1f` between cells, so
that both engines read the same plain CSV; only `as: bytes` is given the rows as they are stored.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from rangemill.errors import BadRecord
from rangemill.formats import _csv_scan
from rangemill.formats._csv_automaton import Dialect

PLAIN: Final = Dialect(b"\x1f", b'"')
_PRIVATE_USE: Final = range(0xE000, 0xF900)


def in_plain(data: bytes, of: Dialect) -> bytes | None:
    """The rows in the dialect `PLAIN`, where it takes no more than another delimiter; None where it takes more."""
    if of.quote != PLAIN.quote and PLAIN.quote in data:
        return None
    return _replaced(data, of, PLAIN.delimiter)


def separated(data: bytes, of: Dialect) -> tuple[bytes, Dialect]:
    """The rows with a character between their cells that stands nowhere else in them, and their dialect then.

    The data begins with a row; the last one may be cut off.
    """
    by = next((each for code in _PRIVATE_USE if (each := chr(code).encode()) not in data), None)
    if by is None:
        raise BadRecord("its block has every private-use character of Unicode; use a delimiter of one ASCII character")
    replaced = _replaced(data, of, by)
    narrow = Dialect(by, of.quote, of.escape, of.comment)
    return (_replaced_one_by_one(data, of, by) if replaced is None else replaced), narrow


def joined(rows: Iterable[list[str]], of: Dialect) -> bytes:
    """The rows in their own dialect, as `_csv_rows.rewritten` does it.

    Raises `BadRecord` for one that a dialect without quotes cannot hold.
    """
    out: list[bytes] = []
    q, e = of.quote, of.escape
    for row in rows:
        cells = [cell.encode() for cell in row]
        if e:
            cells = [cell.replace(e, e + e) for cell in cells]
        if q:
            cells = [q + cell.replace(q, q + q) + q for cell in cells]
        line = of.delimiter.join(cells)
        if not q and (line.split(of.delimiter) != cells or b"\n" in line or b"\r" in line or not line):
            raise BadRecord("it needs quotes in the settled order")
        out.append(line + b"\n")
    return b"".join(out)


def _replaced(data: bytes, of: Dialect, by: bytes) -> bytes | None:
    """The delimiters that separate cells replaced, where counting quotes tells which; None where it may not."""
    if any(mark and mark in data for mark in (of.escape, of.comment)):
        return None
    if not of.quote or of.quote not in data:
        return None if by in data else data.replace(of.delimiter, by)
    parts = data.split(of.quote)
    outside = of.quote.join(parts[::2])
    if len(parts) % 2 == 0 or by in outside or not _csv_scan.scanner(of).is_clean(parts[::2]):
        return None
    parts[::2] = outside.replace(of.delimiter, by).split(of.quote)
    return of.quote.join(parts)


def _replaced_one_by_one(data: bytes, of: Dialect, by: bytes) -> bytes:
    parts: list[bytes] = []
    for found in _csv_scan.scanner(of).row.finditer(data):
        row = found[0]
        if of.comment and row.startswith(of.comment):
            parts.append(row)
            continue
        at, cell = 0, _cell(of)
        while at < len(row):
            found_cell = cell.match(row, at)
            end = found_cell.end() if found_cell else at  # it always is: a cell may be empty
            parts.append(row[at:end])
            at = end
            if row.startswith(of.delimiter, at):
                parts.append(by)
                at += len(of.delimiter)
            else:  # the line's end
                parts.append(row[at:])
                break
    return b"".join(parts)


@lru_cache(maxsize=16)
def _cell(of: Dialect) -> "re.Pattern[bytes]":
    return re.compile(_csv_scan.cell_expression(of), re.DOTALL)
