"""Splitting objects whose records begin where a finder says.

As in `_delimited`, which does the same for newlines alone and faster: the range `[s, e)` owns the bytes `[c(s), c(e))`.
"""

from collections.abc import Callable, Iterator

from rangemill.blocks import RangeDone, Remaining
from rangemill.errors import RecordTooLarge
from rangemill.formats._delimited import BLOCK_BYTES, DEFAULT_MAX_RECORD_BYTES, MakeBlock
from rangemill.formats._finders import Finder
from rangemill.formats._tile_crcs import TileCrcs
from rangemill.formats._window import Window
from rangemill.formats.base import Crc, Event
from rangemill.ranges import ByteRange, tile


def cut(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    crc: Crc,
    should_stop: Callable[[], bool],
    make_block: MakeBlock,
    finder: Finder,
    state: str | None = None,
    max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Event]:
    """The events of `FormatModule.align`; `state` is the finder's at the run's start where that is known.

    Raises `RecordTooLarge` for a record of more than `max_record_bytes` that begins in the run, and `IncompleteProof`
    when the pieces end before the object does.
    """
    # In steps of at most `max_record_bytes` a longer record is always the last of its block.
    step = min(block_bytes, max_record_bytes)
    reader = _Reader(run, range_bytes, object_bytes, pieces, crc, finder, max_record_bytes)
    assumed = reader.enter(state)
    for each in tile(run.start, run.end_exclusive, range_bytes):
        start, first, records = each.start, reader.position, 0
        while reader.position < each.end_exclusive:
            at = reader.position
            block = make_block(reader.read(min(each.end_exclusive, at + step)), at)
            if block is not None:
                records += block.records
                yield block
            if should_stop():
                yield from _stop(reader, run, range_bytes, start, first, records, assumed)
                return
        owns = first < each.end_exclusive
        left = finder.state_at(each.end_exclusive)
        begin, end = (first, reader.position) if owns else (None, None)
        yield RangeDone(each, reader.crcs.take(), begin, end, records, assumed, left)
        assumed = left


def _stop(
    reader: "_Reader", run: ByteRange, range_bytes: int, start: int, first: int, records: int, assumed: str
) -> Iterator[Event]:
    """The rows of `[start, position)` and what remains of the run; the record at `first` is the current tile's."""
    end: int | None = reader.position
    begin: int | None = first
    for done in tile(start, min(reader.position, run.end_exclusive), range_bytes):
        left = reader.finder.state_at(done.end_exclusive)
        yield RangeDone(done, reader.crcs.take(), begin, end, records, assumed, left)
        begin, end, records, assumed = None, None, 0, left  # the tiles that follow lie inside the last record
    if reader.position < run.end_exclusive:
        state = reader.finder.state_at(reader.position)
        yield Remaining(ByteRange(reader.position, run.end_exclusive), state)


class _Reader:
    """A position that moves from record start to record start; what it passes enters the CRC.

    `position` is the record start reached, or the run's end when no record begins in the run.
    """

    def __init__(
        self,
        run: ByteRange,
        range_bytes: int,
        object_bytes: int,
        pieces: Iterator[bytes],
        crc: Crc,
        finder: Finder,
        max_record_bytes: int,
    ) -> None:
        self.position = run.start
        self.finder = finder
        self.crcs = TileCrcs(run, range_bytes, crc)
        self._run = run
        self._window = Window(max(0, run.start - finder.look_behind), object_bytes, pieces, self.crcs)
        self._max_record_bytes = max_record_bytes
        self._last_at: int | None = None  # where the record begins that is being read; sought when it may be too large

    def enter(self, state: str | None) -> str:
        """Pass the end of a record that began before the run, not further than its end; returns the state there."""
        run, window = self._run, self._window
        if run.start == 0:
            return ""
        assumed = self.finder.enter(window, run.start, state)
        found = self.finder.seek(window, run.start, run.end_exclusive, _unbounded)
        self.position = run.end_exclusive if found is None else found
        while window.end < self.position and window.more():
            self._pass(min(window.end, self.position))
        self._pass(self.position)
        return assumed

    def read(self, target: int) -> bytes:
        """The records from the position to `c(target)`, where `position < target`; moves there."""
        begin, window = self.position, self._window
        self._last_at = None
        position = self.finder.seek(window, target, None, self._require_bounded)
        if position is None:  # never without a bound
            position = window.object_bytes
        self._require_bounded(self.finder.content_end(window, position), position)
        data = window.cut(begin, position)
        self.position = position
        self._pass(position)
        return data

    def _pass(self, position: int) -> None:
        self._window.pass_to(position)
        self._window.drop(position)

    def _require_bounded(self, content_end: int, before: int | None = None) -> None:
        """Raise `RecordTooLarge` if the record that reaches to `content_end` is."""
        if content_end - self.position <= self._max_record_bytes:
            return
        if self._last_at is None:
            before = content_end + 1 if before is None else before
            self._last_at = self.finder.last_start(self._window, self.position, before)
        if content_end - self._last_at > self._max_record_bytes:
            raise RecordTooLarge(
                f"the record at byte {self._last_at} is longer than max_record_bytes ({self._max_record_bytes}); "
                "raise `format.max_record_bytes` if the data is as it should be",
                offset=self._last_at,
            )


def _unbounded(_: int) -> None:
    """What is skipped belongs to another range, which says when it is too large."""
