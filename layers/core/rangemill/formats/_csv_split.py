"""Splitting CSV: rows that begin in a range, whatever the ranges and the pieces are.

With `c(x)` the first row that begins at or after `x` (`c(0) = 0`, `c(size) = size`), the range `[s, e)` owns the bytes
`[c(s), c(e))`. What the automaton is in at a tile's start and end is the tile's state: exact, so that neighbours can
compare. Of an object with a header, states before it begin with `before `, whichever range it turns out to lie in.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.formats import _lines
from rangemill.formats._csv_scan import Scanner
from rangemill.formats._csv_window import Window
from rangemill.formats.base import Crc, Event
from rangemill.ranges import ByteRange, tile

BLOCK_BYTES: Final = 4 * 2**20
SNIFFED_BYTES: Final = 64 * 2**10  # that are read as rows before lines are taken for rows


class Rows(NamedTuple):
    """Whole rows, what is known of them, and whether the object's header is the first one."""

    data: bytes
    offset: int
    outline: bytes
    is_clean: bool
    has_header: bool


MakeBlock = Callable[[Rows], Block | None]  # None where no row is a record


def split(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    crc: Crc,
    should_stop: Callable[[], bool],
    make_block: MakeBlock,
    scanner: Scanner,
    columns: int,
    state: str | None,
    max_record_bytes: int,
    block_bytes: int = BLOCK_BYTES,
    *,
    has_header: bool = False,
    presumes: Callable[[], bool] | None = None,
) -> Iterator[Event]:
    """The events of `FormatModule.align`. `pieces` begin `look_behind` bytes before the run.

    `presumes`: asked after the first rows whether lines may be taken for rows, if these are. What follows from that
    (the records' number, where ranges begin and end, states) is right if it is right that every line is a row.

    Raises `RecordTooLarge` for a row of more than `max_record_bytes` (its line end not counted) that begins in the run,
    `BadRecord` for a quote that is open at the object's end, `IncompleteProof` when the pieces end before the object.
    """
    # In such steps no row but a block's last one is longer than `max_record_bytes`, and few blocks need a look at it.
    step = max(1, min(block_bytes, max_record_bytes // 2))
    is_sniffed, is_presuming = presumes is None, False
    window = Window(run, range_bytes, object_bytes, pieces, crc, scanner, max_record_bytes)
    assumed = window.enter(state, columns, has_header=has_header)
    window.skip_to_first_row()
    for each in tile(run.start, run.end_exclusive, range_bytes):
        start, first, records = each.start, window.position, 0
        while window.position < each.end_exclusive:
            begin, is_before = window.position, window.is_before_header
            block: Block | None = None
            lines = window.read_lines(each.end_exclusive) if is_presuming else None
            if lines is not None:
                block = Block(lines, begin, _lines.count_lines(lines), is_presumed=True)
            else:
                most = step if is_sniffed else min(step, SNIFFED_BYTES)
                data, outline, is_clean = window.read_rows(min(each.end_exclusive, begin + most))
                block = make_block(Rows(data, begin, outline, is_clean, is_before and not window.is_before_header))
                if not is_sniffed and not window.is_before_header:
                    is_sniffed, is_presuming = True, _are_lines(data, outline) and presumes is not None and presumes()
            if block is not None:
                records += block.records
                yield block
            if should_stop():
                yield from _stop(window, run, range_bytes, start, first, records, assumed)
                return
        left = window.tile_left()
        begun, ended = (first, window.position) if first < each.end_exclusive else (None, None)
        yield RangeDone(each, window.tile_crc(), begun, ended, records, assumed, left)
        assumed = left


def _are_lines(data: bytes, outline: bytes) -> bool:
    """Whether these rows are lines, none of them empty."""
    return data.count(b"\n") == outline.count(b"\n") and b"\r" not in data and not _lines.has_blank_line(data)


def _stop(
    window: Window, run: ByteRange, range_bytes: int, start: int, first: int, records: int, assumed: str
) -> Iterator[Event]:
    """The rows of `[start, position)` and what remains of the run; the row at `first` is the current tile's."""
    end: int | None = window.position
    begin: int | None = first
    for done in tile(start, min(window.position, run.end_exclusive), range_bytes):
        left = window.tile_left()
        yield RangeDone(done, window.tile_crc(), begin, end, records, assumed, left)
        begin, end, records, assumed = None, None, 0, left  # the tiles that follow lie inside the last row
    if window.position < run.end_exclusive:
        yield Remaining(ByteRange(window.position, run.end_exclusive), window.reported)
