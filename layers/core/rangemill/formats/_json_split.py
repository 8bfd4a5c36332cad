"""Splitting JSON by its structure: the elements that begin in a range, each as one line.

With `c(x)` the first element that begins at or after `x` (`c(0) = 0`; where the records end when none does), the range
`[s, e)` owns what lies in `[c(s), c(e))`. Every byte passes the automaton once; what it is in at a tile's ends is the
tile's state.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.errors import BadRecord, IncompleteProof, RecordTooLarge
from rangemill.formats import _json_guess, _lines
from rangemill.formats._gathering import gathered
from rangemill.formats._json_structure import Path, Seen, Structure
from rangemill.formats._tile_crcs import TileCrcs
from rangemill.formats.base import Crc, Event
from rangemill.ranges import ByteRange, tile

BLOCK_BYTES: Final = 4 * 2**20
_TO_LINE: Final = bytes.maketrans(b"\n\r", b"  ")  # outside strings, where JSON has no other line breaks


def split(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    crc: Crc,
    should_stop: Callable[[], bool],
    path: Path,
    state: str | None,
    max_record_bytes: int,
    block_bytes: int = BLOCK_BYTES,
    *,
    is_sure: bool = True,
) -> Iterator[Event]:
    """The events of `FormatModule.align`. `pieces` begin `LOOK_BEHIND_BYTES` before the run.

    Without `state` a run that does not begin the object guesses from the bytes there. Unless it `is_sure` that the
    values follow one after the other, an object that begins with an array is refused.
    Raises `RecordTooLarge`, `BadRecord`, `IncompleteProof`.
    """
    passage = _Passage(run, range_bytes, object_bytes, pieces, crc, path, state, max_record_bytes)
    passage.find_next()
    if not is_sure and run.start == 0:
        passage.require_no_array()
    for each in tile(run.start, run.end_exclusive, range_bytes):
        records, owns = 0, each.start == 0 or passage.next_begins_before(each.end_exclusive)
        first = 0 if each.start == 0 else passage.reached
        while passage.next_begins_before(each.end_exclusive):
            block = passage.take(each.end_exclusive, block_bytes)
            records += block.records
            yield block
            if should_stop() and passage.next_begins_before(run.end_exclusive):
                yield from _stop(passage, run, range_bytes, each.start, first, records)
                return
        passage.pass_tile(each.end_exclusive)
        crc_value, assumed, left = passage.tile_done(each.end_exclusive)
        end = passage.reached if owns else None
        yield RangeDone(each, crc_value, first if owns else None, end, records, assumed, left, passage.total)


def _stop(
    passage: "_Passage", run: ByteRange, range_bytes: int, start: int, first: int, records: int
) -> Iterator[Event]:
    """The rows of `[start, next element)` and what remains of the run; the records are the current tile's."""
    begin: int | None = first
    end: int | None = passage.reached
    left = ""
    for done in tile(start, passage.reached, range_bytes):
        crc_value, assumed, left = passage.tile_done(done.end_exclusive)
        yield RangeDone(done, crc_value, begin, end, records, assumed, left)
        begin, end, records = None, None, 0  # the tiles that follow lie inside the last element
    yield Remaining(ByteRange(passage.reached, run.end_exclusive), left)


class _Passage:
    """A run's bytes going through the automaton, which is always one byte into the next element.

    `next_at` is where that one begins; None when none does, or none that begins in the run. `total` is where the
    records end, once that was seen.
    """

    def __init__(
        self,
        run: ByteRange,
        range_bytes: int,
        object_bytes: int,
        pieces: Iterator[bytes],
        crc: Crc,
        path: Path,
        state: str | None,
        max_record_bytes: int,
    ) -> None:
        self.next_at: int | None = None
        self.total: int | None = None
        self._run = run
        self._object_bytes = object_bytes
        self._pieces = pieces
        self._max_record_bytes = max_record_bytes
        self._owns_any = run.start == 0  # what stands before the first element is the first range's
        self._parts: list[bytes] = []  # of the element that goes on, from pieces that are gone
        self._from = 0  # where in the piece it goes on
        self._crcs = TileCrcs(run, range_bytes, crc)
        self._ends = (each.end_exclusive for each in tile(run.start, run.end_exclusive, range_bytes))
        self._boundary: int | None = next(self._ends)
        self._left: deque[tuple[int, str]] = deque()  # the tile ends that were passed, and the states there
        self._piece_at = max(0, run.start - _json_guess.LOOK_BEHIND_BYTES)
        self._used = self._fed = run.start - self._piece_at
        self._piece = self._fetch(self._used + (_json_guess.WINDOW_BYTES if state is None and run.start else 3))
        if state is None and run.start > 0:
            reaches_end = self._piece_at + len(self._piece) == object_bytes
            state = _json_guess.guess(path, self._piece, self._used, reaches_end)
        self._structure = Structure(path, state)
        self._assumed = self._structure.state
        if (
            run.start < len(_lines.BOM)
            and self._piece.startswith(_lines.BOM)
            and self._assumed == Structure(path).state
        ):
            self._skip_to(len(_lines.BOM))

    @property
    def reached(self) -> int:
        """Where the next element begins, or where the records end."""
        if self.next_at is not None:
            return self.next_at
        return self._position if self.total is None else self.total

    @property
    def _position(self) -> int:
        return self._piece_at + self._used

    def next_begins_before(self, end: int) -> bool:
        """Whether the next element begins before `end`."""
        return self.next_at is not None and self.next_at < end

    def find_next(self) -> None:
        """Go on to the next element, past the run's end only if an element before it is the run's."""
        self.next_at = None
        limit = None if self._owns_any else self._run.end_exclusive
        while not self._structure.is_over and (limit is None or self._position < limit):
            event = self._step(limit)
            if event is Seen.BEGIN:
                self.next_at = self._position - 1
                self._owns_any = True
                self._parts, self._from = [], self._used - 1
                return
            if event is Seen.CLOSED or (event is Seen.NOTHING and self._position == self._object_bytes):
                self.total = self._position
                return

    def require_no_array(self) -> None:
        """Raise `BadRecord` when the first value is an array, which another layout would take for the elements."""
        if self.next_at is not None and self._piece[self._used - 1] in b"[":
            raise BadRecord(
                "it begins with an array, but the job's first object does not; "
                "say under `format.layout` whether it is `array` or `values`",
                offset=self.next_at,
            )

    def take(self, limit: int, block_bytes: int) -> Block:
        """The elements from the next one on that begin before `limit`, about `block_bytes` of them, as lines."""
        places: array[int] = array("q")
        lines: list[bytes] = []
        size = 0
        while self.next_begins_before(limit) and size < block_bytes:
            places.append(self.reached)
            lines.append(self._follow())
            size += len(lines[-1])
            if size < block_bytes:
                size += self._take_whole(limit, block_bytes - size, lines, places)
            self.find_next()
        lines.append(b"")
        return Block(b"\n".join(lines), places[0], len(places), places)

    def pass_tile(self, end: int) -> None:
        """Go on to the tile's end, which no element that begins in the tile is left before."""
        while self._position < end:
            self._step(end)
        if end == self._object_bytes:
            self._structure.finish(end)

    def tile_done(self, end: int) -> tuple[int, str, str]:
        """CRC, state at the start and state at the end of the next tile, which ends at `end`: passed, or stopped at."""
        self._feed(end - self._piece_at)
        is_passed = bool(self._left) and self._left[0][0] == end
        left = self._left.popleft()[1] if is_passed else self._structure.state_before
        assumed, self._assumed = self._assumed, left
        return self._crcs.take(), assumed, left

    def _follow(self) -> bytes:
        """The element that has just begun, to its end, as one line."""
        begin = self.reached
        while True:
            event = self._step(None)
            if event is Seen.END:
                break
            if event is not Seen.NOTHING or self._position == self._object_bytes:
                raise IncompleteProof(f"the element at byte {begin} has no end", offset=begin)
        line = b"".join([*self._parts, self._piece[self._from : self._used]])
        self.next_at = None
        self._require_size(begin, len(line))
        return line.translate(_TO_LINE) if b"\n" in line or b"\r" in line else line

    def _take_whole(self, limit: int, room: int, lines: list[bytes], places: "array[int]") -> int:
        """The elements that lie whole in the piece and in the tile, in one go; how many bytes that was."""
        piece, at, begin = self._piece, self._piece_at, self._used
        end = min(len(piece), begin + room, len(piece) if self._boundary is None else self._boundary - at)
        spans = self._structure.whole_elements(piece, begin, end, limit - at)
        if not spans:
            return 0
        self._used = spans[-1][1]
        if self._max_record_bytes < len(piece):
            for start, stop in spans:
                self._require_size(at + start, stop - start)
        if piece.find(b"\n", begin, self._used) >= 0 or piece.find(b"\r", begin, self._used) >= 0:
            lines.extend([piece[start:stop].translate(_TO_LINE) for start, stop in spans])
        else:
            lines.extend([piece[start:stop] for start, stop in spans])
        places.extend([at + start for start, _ in spans])
        self._note_boundary()
        return self._used - begin

    def _require_size(self, begin: int, size_bytes: int) -> None:
        if size_bytes > self._max_record_bytes:
            raise RecordTooLarge(
                f"the record at byte {begin} is longer than max_record_bytes ({self._max_record_bytes}); "
                "raise `format.max_record_bytes` if the data is as it should be",
                offset=begin,
            )

    def _step(self, limit: int | None) -> Seen:
        """Go on to the next event; NOTHING at a piece's or a tile's end, at `limit`, or at the object's end."""
        if self._used == len(self._piece):
            if self._position == self._object_bytes:
                return self._structure.finish(self._position)
            self._next_piece()
        stops = (stop for stop in (limit, self._boundary) if stop is not None)
        end = min([len(self._piece), *(stop - self._piece_at for stop in stops)])
        self._used, event = self._structure.scan(self._piece, self._used, end, self._piece_at)
        self._note_boundary()
        if event is Seen.NOTHING and self._position == self._object_bytes:
            return self._structure.finish(self._position)
        return event

    def _note_boundary(self) -> None:
        if self._position == self._boundary:
            self._left.append((self._boundary, self._structure.state))
            self._boundary = next(self._ends, None)

    def _skip_to(self, position: int) -> None:
        """Pass bytes that the automaton must not see."""
        while self._boundary is not None and self._boundary <= position:
            self._left.append((self._boundary, self._structure.state))
            self._boundary = next(self._ends, None)
        self._used = position - self._piece_at

    def _next_piece(self) -> None:
        if self.next_at is not None:
            self._parts.append(self._piece[self._from :])
            self._require_size(self.next_at, self._position - self.next_at)
            self._from = 0
        self._feed(self._used)
        self._piece_at += len(self._piece)
        self._used = self._fed = 0
        self._piece = b""
        self._piece = self._fetch(1)

    def _fetch(self, least: int) -> bytes:
        """The bytes after the piece: at least so many, or all there are."""
        return gathered(b"", self._piece_at, self._pieces, least, self._object_bytes)

    def _feed(self, upto: int) -> None:
        if upto > self._fed:
            self._crcs.feed(self._piece, self._fed, upto, self._piece_at)
            self._fed = upto
