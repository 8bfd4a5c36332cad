"""CSV: rows as Python's `csv` reads them, quoted newlines and all, split at any byte.

Empty lines and comments are no records: neither counted nor given to an engine. With a header the columns of each
object are found by their names. Where CSV readers disagree, Python's is right (`_csv_automaton`); what another one
would read differently is written plainly before it sees it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from rangemill.blocks import Block
from rangemill.errors import BadRecord
from rangemill.formats import (
    _csv_blocks,
    _csv_options,
    _csv_rows,
    _csv_schema,
    _csv_split,
    _csv_window,
    _encodings,
    _lines,
    _recoded,
)
from rangemill.formats._csv_blocks import BlockMaker
from rangemill.formats._csv_options import Options
from rangemill.formats.base import Crc, Event, Head, Sample, Settled
from rangemill.ranges import ByteRange
from rangemill.units import parse_bytes

__all__ = ["Options", "align", "counts_from_start", "locate", "look_behind", "records", "rows", "settle", "spans"]


def look_behind(settled: Settled) -> int:
    """See `FormatModule`."""
    options = _csv_options.of(settled)
    behind = _csv_window.look_behind(options.scanner)
    return behind if options.encoding == "utf-8" else _recoded.look_behind(behind, options.encoding)


def counts_from_start(options: dict[str, Any]) -> bool:
    """Whether it must be known how far from the object's first byte a row is: for code units."""
    return _encodings.unit_bytes(_csv_options.parse(options).encoding) > 1


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:
    """See `FormatModule`: names from the first object's header, types from `_csv_schema`."""
    told, notes = _encodings.settle(samples, _csv_options.parse(options).encoding)
    options = options | told
    parsed = _csv_options.parse(options)
    if parsed.encoding != "utf-8":
        samples = [_encodings.utf8_sample(sample, parsed.encoding) for sample in samples]
    schema = _csv_schema.settle(samples, parsed, for_sql)
    return Settled("csv", options, columns=schema.columns, header=schema.header, notes=notes)


def align(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    settled: Settled,
    crc: Crc,
    should_stop: Callable[[], bool],
    state: str | None = None,
    head: Head | None = None,
    presumes: bool = False,
) -> Iterator[Event]:
    """See `FormatModule`. `presumes`: the engine proves of blocks that are `is_presumed` that their lines are rows."""
    options = _csv_options.of(settled)
    encoding, scanner = options.encoding, options.scanner
    if head is not None and encoding != "utf-8":
        head = _encodings.utf8_head(head, encoding)
    maker = BlockMaker(settled, options, head)
    split = partial(
        _csv_split.split,
        make_block=maker.block,
        scanner=scanner,
        columns=len(settled.columns or ()),
        max_record_bytes=parse_bytes(options.max_record_bytes),
        has_header=options.header,
    )
    if encoding == "utf-8":
        may_presume = (lambda: maker.keeps_rows) if presumes and may_presume_rows(options) else None
        return split(run, range_bytes, object_bytes, pieces, crc, should_stop, state=state, presumes=may_presume)

    def inner(run: ByteRange, end: int, pieces: Iterator[bytes], state: str | None) -> Iterator[Event]:
        return split(run, _recoded.ONE_RANGE, end, pieces, _recoded.no_crc, _recoded.never, state=state)

    def starts(data: bytes) -> list[int]:
        return [start for start, _, _ in _csv_rows.spans(data, options.block_dialect)]

    behind = _csv_window.look_behind(scanner)
    return _recoded.align(
        inner, behind, encoding, options.bom, run, range_bytes, object_bytes, pieces, crc, should_stop, state, starts
    )


def may_presume_rows(options: Options) -> bool:
    """Whether in that dialect lines are rows unless quotes say otherwise, and rows of any length are taken."""
    of = options.dialect
    is_simple = of.quote != b"" and not of.is_wide and not of.escape and not of.comment
    return is_simple and parse_bytes(options.max_record_bytes) > 2 * _csv_window.LONGEST_LINE_BYTES


def proved(block: Block, settled: Settled) -> Block | None:
    """A presumed block read as rows; None where its rows are not its lines, so that what was said of it is wrong."""
    return _csv_blocks.proved(block, _csv_options.of(settled).dialect)


def records(data: bytes, settled: Settled, record_type: Any) -> Iterator[Any]:  # noqa: ARG001 - the interface
    """See `FormatModule`: lists of texts in settled order, or what `as` says."""
    options = _csv_options.of(settled)
    if options.record_as == "bytes":
        return _csv_rows.raw(data, options.block_dialect)
    if options.record_as == "list":
        return rows(data, settled)
    names = [name for name, _ in settled.columns or []]
    return (dict(zip(names, row, strict=True)) for row in rows(data, settled))


def rows(data: bytes, settled: Settled) -> Iterator[list[str]]:
    """The rows of a block; one empty cell too many at a row's end, as some programs write it, is left out.

    Raises `BadRecord` for a row of another width.
    """
    dialect, columns = _csv_options.of(settled).block_dialect, len(settled.columns or ())
    for index, row in enumerate(_csv_rows.cells(data, dialect)):
        if len(row) == columns + 1 and row[-1] == "":
            row.pop()
        if len(row) != columns:
            at = next(islice((start for start, _, _ in _csv_rows.spans(data, dialect)), index, None))
            raise BadRecord(f"it has {len(row)} columns, not {columns}", offset=at)
        yield row


def spans(data: bytes, settled: Settled) -> Iterator[tuple[int, int]]:
    """See the package."""
    return ((start, following) for start, _, following in _csv_rows.spans(data, _csv_options.of(settled).block_dialect))


def locate(data: bytes, index: int) -> int:
    """See `FormatModule`; blocks whose rows are no plain lines have places."""
    return _lines.start_except(data, index, _lines.is_empty)
