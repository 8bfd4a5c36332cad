"""Splitting CSV: rows that begin in a range, whatever the ranges and the pieces are.

With `c(x)` the first row that begins at or after `x` (`c(0) = 0`, `c(size) = size`), the range `[s, e)` owns the bytes
`[c(s), c(e))`. What the automaton is in at a tile's start and end is the tile's state: exact, so that neighbours can
compare. Of an object with a header, states before it begin with `before `, whichever range it turns out to lie in.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.errors import BadRecord, IncompleteProof, RecordTooLarge
from rangemill.formats import _csv_automaton as automaton
from rangemill.formats import _csv_guess
from rangemill.formats._csv_scan import Scanner
from rangemill.formats._tile_crcs import TileCrcs
from rangemill.formats.base import Crc, Event
from rangemill.ranges import ByteRange, tile

BEFORE: Final = "before "  # of a state: no row has begun yet, so the header comes
BLOCK_BYTES: Final = 4 * 2**20


class Rows(NamedTuple):
    """Whole rows, what is known of them, and whether the object's header is the first one."""

    data: bytes
    offset: int
    outline: bytes
    is_clean: bool
    has_header: bool


MakeBlock = Callable[[Rows], Block | None]  # None where no row is a record


def look_behind(scanner: Scanner) -> int:
    """Bytes before a run that help to guess: what they are may show only further back when they can be escaped."""
    return 4096 if scanner.dialect.escape or scanner.dialect.comment else _csv_guess.behind_bytes(scanner)


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
) -> Iterator[Event]:
    """The events of `FormatModule.align`. `pieces` begin `look_behind` bytes before the run.

    Raises `RecordTooLarge` for a row of more than `max_record_bytes` (its line end not counted) that begins in the run,
    `BadRecord` for a quote that is open at the object's end, `IncompleteProof` when the pieces end before the object.
    """
    # In such steps no row but a block's last one is longer than `max_record_bytes`, and few blocks need a look at it.
    step = max(1, min(block_bytes, max_record_bytes // 2))
    window = _Window(run, range_bytes, object_bytes, pieces, crc, scanner, max_record_bytes)
    assumed = window.enter(state, columns, has_header=has_header)
    window.skip_to_first_row()
    for each in tile(run.start, run.end_exclusive, range_bytes):
        start, first, records = each.start, window.position, 0
        while window.position < each.end_exclusive:
            begin, is_before = window.position, window.is_before_header
            data, outline, is_clean = window.read_rows(min(each.end_exclusive, begin + step))
            block = make_block(Rows(data, begin, outline, is_clean, is_before and not window.is_before_header))
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


def _stop(
    window: "_Window", run: ByteRange, range_bytes: int, start: int, first: int, records: int, assumed: str
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


class _Window:
    """A position that moves forward over the pieces from row to row, and the automaton's state there.

    `position` is the row's start reached, or the run's end when no row begins in the run.
    """

    def __init__(
        self,
        run: ByteRange,
        range_bytes: int,
        object_bytes: int,
        pieces: Iterator[bytes],
        crc: Crc,
        scanner: Scanner,
        max_record_bytes: int,
    ) -> None:
        self.position = run.start
        self.state = automaton.START
        self.is_before_header = False
        self._run = run
        self._object_bytes = object_bytes
        self._pieces = pieces
        self._scanner = scanner
        self._max_record_bytes = max_record_bytes
        self._piece_at = max(0, run.start - look_behind(scanner))
        self._piece = b""
        self._used = 0
        self._crcs = TileCrcs(run, range_bytes, crc)
        self._ends = (each.end_exclusive for each in tile(run.start, run.end_exclusive, range_bytes))
        self._boundary: int | None = next(self._ends)
        self._left: deque[str] = deque()  # the states at the ends of the tiles that were passed
        self._outline: list[bytes] = []
        self._is_clean = True  # as far as the outline goes

    @property
    def reported(self) -> str:
        """The state as neighbours compare it."""
        return BEFORE + self.state if self.is_before_header else self.state

    def tile_crc(self) -> int:
        """The CRC of the next tile that was passed to its end, or as far as the position."""
        return self._crcs.take()

    def tile_left(self) -> str:
        """The state at the end of the next tile that was passed, or at the position."""
        return self._left.popleft() if self._left else self.reported

    def enter(self, state: str | None, columns: int, *, has_header: bool) -> str:
        """Begin the run in that state; without one in the only possible, or in the likeliest. Returns it."""
        start, begin = self._run.start, self._piece_at
        if start == 0:
            self.is_before_header = has_header
            return self.reported
        if state is None:
            self._fetch(start - begin + 1)
            behind = self._piece[: start - begin]
            if start < look_behind(self._scanner):  # all that comes before is here, even if 0 is only a unit's start
                outline, self.state, _ = self._scanner.outline(automaton.START, behind, 0, len(behind))
                self.is_before_header = has_header and not outline.strip(b"\r\n")
            else:
                self._fetch_to_guess(start - begin)
                self.state = _csv_guess.guess(self._scanner, columns, behind, self._piece[start - begin :])
        else:
            self.is_before_header = state.startswith(BEFORE)
            self.state = state.removeprefix(BEFORE)
            self._fetch(start - begin)
        self._used = start - begin
        return self.reported

    def skip_to_first_row(self) -> None:
        """Pass the end of a row that began before the run, keeping none of it; not further than the run's end."""
        if self._run.start == 0:
            return
        found = -1
        while found < 0 and self._at < self._run.end_exclusive:
            self._need_piece()
            last = min(len(self._piece), self._run.end_exclusive - self._piece_at)
            found = self._scanner.next_start(self.state, self._piece, self._used, last)
            self._pass_to(last if found < 0 else found)
        self.position = self._at
        self._forget_outline()

    def read_rows(self, target: int) -> tuple[bytes, bytes, bool]:
        """The rows from the position to `c(target)`, where `position < target`; their outline; whether it is clean.

        Moves there.
        """
        begin, at_end = self.position, False
        parts: list[tuple[bytes, int, int]] = []
        last_at: int | None = None  # where the last row begins; looked for only when it may be too large
        while not at_end:
            at_end = self._at >= target and (self.state in automaton.BEGINS_RECORD or self._at == self._object_bytes)
            if at_end:
                break
            self._need_piece()
            if self._at < target:
                end = min(len(self._piece), target - self._piece_at)
            else:
                end = self._scanner.next_start(self.state, self._piece, self._used, len(self._piece))
                at_end = end >= 0
                end = end if at_end else len(self._piece)
            parts.append((self._piece, self._used, end))
            self._pass_to(end)
            content_end = self._at - (self.state in (automaton.RECORD, automaton.RETURN))
            if self._at > target and content_end - begin > self._max_record_bytes:
                last_at = self._last_start(parts, begin, target) if last_at is None else last_at
                if content_end - last_at > self._max_record_bytes:
                    raise self._too_large(last_at)
        if self.state in automaton.UNFINISHED and self._at == self._object_bytes:
            raise self._unfinished(self._last_start(parts, begin, target))
        self.position = self._at
        outline, is_clean = b"".join(self._outline), self._is_clean
        self._forget_outline()
        return _joined(parts), outline, is_clean

    def _forget_outline(self) -> None:
        self._outline.clear()
        self._is_clean = True

    @property
    def _at(self) -> int:
        return self._piece_at + self._used

    def _last_start(self, parts: list[tuple[bytes, int, int]], begin: int, target: int) -> int:
        """Where the last row that begins before `target` begins, the parts beginning with a row at `begin`."""
        data = _joined(parts)[: target - begin]
        table = self._scanner.dialect.table
        at, state = 0, automaton.START if begin == 0 else automaton.RECORD
        while True:
            following = self._scanner.next_start(table[state][data[at]], data, at + 1, len(data))
            if not at < following < len(data):
                return begin + at
            at, state = following, automaton.RECORD

    def _too_large(self, offset: int) -> RecordTooLarge:
        opened = "it opens a quote that is not closed before; " if self.state == automaton.QUOTED else ""
        return RecordTooLarge(
            f"the record at byte {offset} is longer than max_record_bytes ({self._max_record_bytes}); {opened}"
            "raise `format.max_record_bytes` if the data is as it should be",
            offset=offset,
        )

    def _unfinished(self, offset: int) -> BadRecord:
        what = "an escape character" if self.state == automaton.ESCAPE else "a quote that is never closed"
        return BadRecord(
            f"the record at byte {offset} ends the object inside {what}; the object was cut off, or `format.quote` "
            "and `format.escape` are not those that it was written with",
            offset=offset,
        )

    def _need_piece(self) -> None:
        if self._used == len(self._piece):
            self._piece_at += len(self._piece)
            self._used, self._piece = 0, b""
            self._fetch(1)

    def _fetch(self, least: int) -> None:
        """Let the piece have at least so many bytes, or all that there are. Raises `IncompleteProof`."""
        parts, size = [self._piece], len(self._piece)
        room = self._object_bytes - self._piece_at
        while size < min(least, room):
            piece = next(self._pieces, None)
            if piece is None:
                at = self._piece_at + size
                raise IncompleteProof(
                    f"the object's bytes ended at {at}, not at {self._object_bytes}; the read was cut short", offset=at
                )
            parts.append(piece[: room - size])  # a local file may have grown since it was pinned
            size += len(parts[-1])
        self._piece = parts[-1] if size == len(parts[-1]) else b"".join(parts)

    def _fetch_to_guess(self, behind: int) -> None:
        """What a guess looks at: no more of it than the run has, and a first quote if one is near."""
        most = behind + min(_csv_guess.SEARCH_BYTES, self._run.size_bytes)
        self._fetch(min(most, behind + _csv_guess.WINDOW_BYTES))
        quote = self._scanner.dialect.quote
        while quote and quote not in self._piece[behind:] and len(self._piece) < most:
            self._fetch(min(most, 2 * len(self._piece)))

    def _pass_to(self, end: int) -> None:
        if end <= self._used:
            return
        self._crcs.feed(self._piece, self._used, end, self._piece_at)
        while self._used < end:
            high = end if self._boundary is None else min(end, self._boundary - self._piece_at)
            part, self.state, is_clean = self._scanner.outline(self.state, self._piece, self._used, high)
            self._outline.append(part)
            self._is_clean = self._is_clean and is_clean
            if self.is_before_header and part.strip(b"\r\n"):
                self.is_before_header = False
            self._used = high
            if self._at == self._boundary:
                self._left.append(self.reported)
                self._boundary = next(self._ends, None)


def _joined(parts: list[tuple[bytes, int, int]]) -> bytes:
    if len(parts) == 1:
        piece, low, high = parts[0]
        return piece[low:high]
    return b"".join([memoryview(piece)[low:high] for piece, low, high in parts])
