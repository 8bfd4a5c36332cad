"""Splitting newline-delimited objects: where records begin and end, whatever the ranges and the pieces are.

With `c(x)` the smallest record start at or after `x` (`c(0) = 0`; for `0 < x < size` one past the first newline at or
after `x - 1`, or `size`; `c(size) = size`), the range `[s, e)` owns the bytes `[c(s), c(e))`: the records that begin in
it. Each stored byte is scanned for a newline at most once and copied once, into its block.
"""

from collections.abc import Callable, Iterator
from typing import Final

from rangemill.blocks import Block, RangeDone, Refused, Remaining
from rangemill.errors import IncompleteProof, RecordTooLarge
from rangemill.formats._tile_crcs import TileCrcs
from rangemill.formats.base import Crc, Event
from rangemill.limits import TOO_LARGE_MAX_BYTES
from rangemill.ranges import ByteRange, tile

# A block ends with the first record that ends at or after this many bytes. At 1 MiB it is still in the cache when its
# records are counted and applied: a tenth less CPU than at 4 MiB.
BLOCK_BYTES: Final = 2**20
LOOK_BEHIND_BYTES: Final = 1  # whether a record begins at a range's start is seen from the byte before it
DEFAULT_MAX_RECORD_BYTES: Final = 64 * 2**20

# whole records and their offset -> their block, or None when nothing in them is a record (a header, a byte order mark)
MakeBlock = Callable[[bytes, int], Block | None]


def split(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    crc: Crc,
    should_stop: Callable[[], bool],
    make_block: MakeBlock,
    max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Event]:
    """The events of `FormatModule.align` for records that end with a newline.

    A record of more than `max_record_bytes` (its newline not counted) that begins in the run comes as one that is
    refused, and its end is sought without holding any of it. Raises `RecordTooLarge` where that is too far, and
    `IncompleteProof` when the pieces end before the object does.
    """
    # In steps of at most `max_record_bytes` a longer record is always the last of its block: one place to look for it.
    step = min(block_bytes, max_record_bytes)
    window = _Window(run, range_bytes, object_bytes, pieces, crc, max_record_bytes)
    window.skip_to_first_record()
    for each in tile(run.start, run.end_exclusive, range_bytes):
        start, first, records = each.start, window.position, 0
        while window.position < each.end_exclusive:
            begin = window.position
            data = window.read_records(min(each.end_exclusive, begin + step))
            block = make_block(data, begin) if data else None
            if block is not None:
                records += block.records
                yield block
            if window.is_too_large:
                records += 1
                yield window.refused()  # whoever does not tolerate it raises, before its end is looked for
                window.skip_record()
            if should_stop():
                yield from _stop(window, run, range_bytes, start, first, records)
                return
        owns = first < each.end_exclusive
        yield RangeDone(each, window.tile_crc(), first if owns else None, window.position if owns else None, records)


def _stop(window: "_Window", run: ByteRange, range_bytes: int, start: int, first: int, records: int) -> Iterator[Event]:
    """The rows of `[start, position)` and what remains of the run; the record at `first` is the current tile's."""
    end: int | None = window.position
    begin: int | None = first
    for done in tile(start, min(window.position, run.end_exclusive), range_bytes):
        yield RangeDone(done, window.tile_crc(), begin, end, records)
        begin, end, records = None, None, 0  # the tiles that follow lie inside the last record
    if window.position < run.end_exclusive:
        yield Remaining(ByteRange(window.position, run.end_exclusive))


class _Window:
    """A position that moves forward over the pieces from record start to record start; what it passes enters the CRC.

    `position` is the record start reached, or the run's end when no record begins in the run.
    """

    def __init__(
        self,
        run: ByteRange,
        range_bytes: int,
        object_bytes: int,
        pieces: Iterator[bytes],
        crc: Crc,
        max_record_bytes: int,
    ) -> None:
        self.position = run.start
        self._run = run
        self._object_bytes = object_bytes
        self._pieces = pieces
        self._max_record_bytes = max_record_bytes
        self._piece = b""
        self._piece_at = max(0, run.start - LOOK_BEHIND_BYTES)
        self._used = 0  # bytes of the piece that were passed
        self._crcs = TileCrcs(run, range_bytes, crc)
        self.is_too_large = False  # the record at the position, whose end is not known yet

    def tile_crc(self) -> int:
        """The CRC of the next tile that was passed to its end, or as far as the position."""
        return self._crcs.take()

    def skip_to_first_record(self) -> None:
        """Pass the end of a record that began before the run, keeping none of it; not further than the run's end."""
        if self._run.start == 0:
            return
        while True:
            self._need_piece()
            last = min(len(self._piece), self._run.end_exclusive - self._piece_at)
            newline = self._piece.find(b"\n", self._used, last)
            self._pass_to(last if newline < 0 else newline + 1)
            at = self._piece_at + self._used
            if newline >= 0 or at == self._run.end_exclusive:
                self.position = at
                return

    def read_records(self, target: int) -> bytes:
        """The records from the position to `c(target)`, where `position < target`; moves there.

        To the last one's begin where that `is_too_large`.
        """
        begin = self.position
        parts: list[tuple[bytes, int, int]] = []
        record_at: int | None = None  # where the last record begins; looked for only when it may be too large
        while self._piece_at + self._used < self._object_bytes:
            self._need_piece()
            scan_from = max(self._used, target - 1 - self._piece_at)
            newline = self._piece.find(b"\n", scan_from) if scan_from < len(self._piece) else -1
            end = len(self._piece) if newline < 0 else newline
            parts.append((self._piece, self._used, end if newline < 0 else newline + 1))
            if self._piece_at + end - begin > self._max_record_bytes:
                if record_at is None:
                    record_at = _last_record_at([*parts[:-1], (self._piece, self._used, end)], self._piece_at + end)
                if self._piece_at + end - record_at > self._max_record_bytes:
                    self._pass_to(end)
                    self.position, self.is_too_large = record_at, True
                    return _head(parts, record_at - begin)
            self._pass_to(parts[-1][2])
            if newline >= 0:
                break
        self.position = self._piece_at + self._used
        if len(parts) == 1:
            piece, low, high = parts[0]
            return piece[low:high]
        return b"".join([memoryview(piece)[low:high] for piece, low, high in parts])

    def refused(self) -> Block:
        """The record at the position, as one that is too large to be handed on."""
        refused = Refused(self.position, b"", self._problem(), too_large=True)
        return Block(b"", self.position, 1, refused=(refused,))

    def skip_record(self) -> None:
        """Move behind the record at the position, which is too large. Raises `RecordTooLarge` if it does not end."""
        self.is_too_large = False
        most = self.position + self._max_record_bytes + TOO_LARGE_MAX_BYTES
        while (at := self._piece_at + self._used) < self._object_bytes:
            if at > most:
                raise RecordTooLarge(
                    f"the record at byte {self.position} is {self._problem()}; nor does it end within "
                    f"{TOO_LARGE_MAX_BYTES} bytes more, so that it cannot be rejected",
                    offset=self.position,
                )
            self._need_piece()
            newline = self._piece.find(b"\n", self._used)
            self._pass_to(len(self._piece) if newline < 0 else newline + 1)
            if newline >= 0:
                break
        self.position = self._piece_at + self._used

    def _problem(self) -> str:
        return (
            f"longer than max_record_bytes ({self._max_record_bytes}); "
            "raise `format.max_record_bytes` if the data is as it should be"
        )

    def _need_piece(self) -> None:
        while self._used == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                at = self._piece_at + self._used
                raise IncompleteProof(
                    f"the object's bytes ended at {at}, not at {self._object_bytes}; the read was cut short", offset=at
                )
            self._piece_at += len(self._piece)
            self._used = 0
            room = self._object_bytes - self._piece_at
            self._piece = (
                piece if len(piece) <= room else piece[:room]
            )  # a local file may have grown since it was pinned

    def _pass_to(self, end: int) -> None:
        if end > self._used:
            self._crcs.feed(self._piece, self._used, end, self._piece_at)
            self._used = end


def _head(parts: list[tuple[bytes, int, int]], size_bytes: int) -> bytes:
    """The first bytes of the parts."""
    kept: list[memoryview] = []
    for piece, low, high in parts:
        if size_bytes <= 0:
            break
        kept.append(memoryview(piece)[low : min(high, low + size_bytes)])
        size_bytes -= high - low
    return b"".join(kept)


def _last_record_at(parts: list[tuple[bytes, int, int]], end: int) -> int:
    """Where the last record of these parts begins, the parts beginning with a record and ending at `end`."""
    for piece, low, high in reversed(parts):
        newline = piece.rfind(b"\n", low, high)
        if newline >= 0:
            return end - (high - newline - 1)
        end -= high - low
    return end
