"""The rows of a block: what each one is to a Python pipeline, where it begins, and how it is written plainly.

Rows are read by Python's own `csv`; where one begins and ends is found by one regular expression that says the same as
the automaton.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from rangemill.errors import BadRecord
from rangemill.formats import _csv_scan, _csv_wide, _lines
from rangemill.formats._csv_automaton import Dialect

_MAX_FIELD_BYTES: Final = 2**31 - 1  # the csv module's own bound is 128 KiB; ours is max_record_bytes


def is_plain(data: bytes, of: Dialect) -> bool:
    """Whether lines are rows and delimiters separate their cells, with nothing else to it."""
    marks = (of.quote, of.escape, of.comment)
    return not any(mark and mark in data for mark in marks) and not has_lone_return(data)


def has_lone_return(data: bytes) -> bool:
    """Whether a return ends a line by itself, or may: in an outline it does, in data it may be inside quotes."""
    return b"\r" in data and data.count(b"\r") != data.count(b"\r\n")


def count(outline: bytes) -> int:
    """How many rows an outline shows."""
    return counted(outline)[0]


def counted(outline: bytes) -> tuple[int, bool]:
    """How many rows an outline shows, and whether `\\n` ends each of them and none is empty."""
    is_even = b"\r" not in outline
    if has_lone_return(outline):
        outline = outline.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if _lines.has_blank_line(outline):
        return _lines.count_except(outline, _lines.is_empty), False
    return _lines.count_lines(outline), is_even and outline.endswith(b"\n")


def spans(data: bytes, of: Dialect) -> Iterator[tuple[int, int, int]]:
    """Of each row its start, its end, and its end with the line end; empty lines and comments are no rows.

    The data begins with a row; the last one may be cut off.
    """
    position = 0
    for match in _csv_scan.scanner(of).row.finditer(data):
        if match.start() != position:
            break
        position = match.end()
        end = match.start(1)
        if end > match.start() and not (of.comment and data.startswith(of.comment, match.start())):
            yield match.start(), end, position
    if position != len(data):  # the expression takes whatever comes: a mistake of ours
        raise BadRecord("it is no row of this dialect", offset=position)


def raw(data: bytes, of: Dialect) -> Iterator[bytes]:
    """The rows as they stand, without their line ends."""
    if is_plain(data, of):
        return _lines.lines_except(data, _lines.is_empty)
    return (data[start:end] for start, end, _ in spans(data, of))


def cells(data: bytes, of: Dialect) -> Iterator[list[str]]:
    """The rows' cells. Raises `BadRecord` with the offset of a row that is not UTF-8."""
    whole = data, of
    if of.is_wide:
        data, of = _csv_wide.separated(data, of)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        bad = next((index for index, (_, _, end) in enumerate(spans(data, of)) if error.start < end), 0)
        # Rows before it are given first, as they would be from a smaller block.
        at = next((start for start, _, _ in islice(spans(*whole), bad, None)), 0)
        yield from cells(whole[0][:at], whole[1])
        raise BadRecord(f"it is not UTF-8: {error.reason}", offset=at) from None
    if is_plain(data, of):
        for line in _plain_lines(text):
            yield line.split(of.delimiter.decode())
        return
    if of.comment and of.comment in data:
        text = b"".join(data[start:end] for start, _, end in spans(data, of)).decode()
    yield from filter(None, reader(io.StringIO(text, newline=""), of))


def _plain_lines(text: str) -> Iterator[str]:
    lines = text.split("\n")
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    return filter(None, lines)


def reader(lines: Iterable[str], of: Dialect) -> Any:
    """Python's csv reader of that dialect; a blank line gives an empty list."""
    csv.field_size_limit(_MAX_FIELD_BYTES)
    return csv.reader(
        lines,
        delimiter=of.delimiter.decode(),
        quotechar=of.quote.decode() or None,
        escapechar=of.escape.decode() or None,
        quoting=csv.QUOTE_MINIMAL if of.quote else csv.QUOTE_NONE,
    )


def rewritten(rows: Iterable[list[str]], of: Dialect) -> bytes:
    """The rows in their own dialect. Raises `csv.Error` or `BadRecord` for what one without quotes cannot hold."""
    if of.is_wide:
        return _csv_wide.joined(rows, of)
    return _written(
        rows,
        delimiter=of.delimiter.decode(),
        quotechar=of.quote.decode() or None,
        escapechar=of.escape.decode() or None,
        quoting=csv.QUOTE_ALL if of.quote else csv.QUOTE_NONE,
    )


def as_rfc(rows: Iterable[list[str]], of: Dialect) -> bytes:
    """The rows as RFC 4180 has them, with that delimiter: every cell in quotes, which are doubled inside."""
    return _written(rows, delimiter=of.delimiter.decode(), quotechar=quote_of(of), quoting=csv.QUOTE_ALL)


def in_plain(data: bytes, of: Dialect) -> bytes:
    """The rows in the dialect `_csv_wide.PLAIN`. Raises `BadRecord` as `cells` does."""
    plain = _csv_wide.in_plain(data, of)
    return as_rfc(cells(data, of), _csv_wide.PLAIN) if plain is None else plain


def _written(rows: Iterable[list[str]], **how: Any) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", **how).writerows(rows)
    return out.getvalue().encode()


def quote_of(of: Dialect) -> str:
    """The quote of canonical blocks: the dialect's own, where it has one."""
    return of.quote.decode() or ('"' if of.delimiter != b'"' else "'")


def canonical(data: bytes, of: Dialect) -> bytes:
    """The block as RFC 4180 has it: `\\n` after every row, no empty lines, no comments, quotes at cells' ends only.

    What is so already stays as it is. Raises `BadRecord`.
    """
    if not data.endswith((b"\n", b"\r")):
        data += b"\n"
    if is_plain(data, of) and quote_of(of).encode() not in data:
        return _without_empty(data.replace(b"\r\n", b"\n") if b"\r" in data else data)
    if not of.quote or any(mark and mark in data for mark in (of.escape, of.comment)):
        return as_rfc(cells(data, of), of)
    parts = data.split(of.quote)
    if len(parts) % 2 == 0 or not _csv_scan.scanner(of).is_clean(parts[::2]):  # whole rows leave no quote open
        return as_rfc(cells(data, of), of)
    outside = of.quote.join(parts[::2])
    if b"\r" in outside or _lines.has_blank_line(outside):
        parts[::2] = _without_empty(outside.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split(of.quote)
        return of.quote.join(parts)
    return data


def _without_empty(data: bytes) -> bytes:
    while b"\n\n" in data:
        data = data.replace(b"\n\n", b"\n")
    return data.removeprefix(b"\n")
