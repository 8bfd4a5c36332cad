"""A window over an object's bytes that moves from CSV row to CSV row, and the automaton's state there."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from rangemill.errors import BadRecord, RecordTooLarge
from rangemill.formats import _csv_automaton as automaton
from rangemill.formats import _csv_guess
from rangemill.formats._csv_scan import Scanner
from rangemill.formats._gathering import gathered
from rangemill.formats._tile_crcs import TileCrcs
from rangemill.formats.base import Crc
from rangemill.ranges import ByteRange, tile

BEFORE: Final = "before "  # of a state: no row has begun yet, so the header comes
LONGEST_LINE_BYTES: Final = 2**20  # of lines that are taken for rows unseen; about what is held of a line that goes on


def look_behind(scanner: Scanner) -> int:
    """Bytes before a run that help to guess: what they are may show only further back when they can be escaped."""
    return 4096 if scanner.dialect.escape or scanner.dialect.comment else _csv_guess.behind_bytes(scanner)


class Window:
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
        return joined(parts), outline, is_clean

    def read_lines(self, edge: int) -> bytes | None:
        """Lines from the position on, where a row begins, taken for rows: about a piece of them, to `c(edge)` at most.

        Moves there. None, and nothing is passed, where they can only be read as rows: a line may be empty, or end with
        a return, or is too long.
        """
        if self.state != automaton.RECORD:
            return None
        self._piece, self._piece_at, self._used = self._piece[self._used :], self._at, 0
        while not (end := self._lines_end(edge)):
            if len(self._piece) > LONGEST_LINE_BYTES:
                return None
            self._fetch(len(self._piece) + 1)
        data = self._piece[:end]
        if b"\r" in data or data.startswith(b"\n") or data.endswith(b"\n\n"):
            return None
        self._crcs.feed(self._piece, 0, end, self._piece_at)
        while self._boundary is not None and self._boundary <= self._piece_at + end:
            self._left.append(self._state_in_line(self._boundary - self._piece_at))
            self._boundary = next(self._ends, None)
        self.state = self._state_in_line(end)
        self._used = end
        self.position = self._at
        return data

    def _lines_end(self, edge: int) -> int:
        """Where in the piece the last line ends that can be read now; 0 if none does."""
        room = edge - self._piece_at
        if len(self._piece) < room:
            return self._piece.rfind(b"\n") + 1
        found = self._piece.find(b"\n", room - 1)
        if found < 0 and self._piece_at + len(self._piece) == self._object_bytes:
            return len(self._piece)
        return found + 1 or self._piece.rfind(b"\n", 0, room - 1) + 1

    def _state_in_line(self, at: int) -> str:
        """The state before `piece[at]`, where a row begins at the piece's start and behind every newline."""
        begin = self._piece.rfind(b"\n", 0, at) + 1
        return self._scanner.outline(automaton.RECORD, self._piece, begin, at)[1]

    def _forget_outline(self) -> None:
        self._outline.clear()
        self._is_clean = True

    @property
    def _at(self) -> int:
        return self._piece_at + self._used

    def _last_start(self, parts: list[tuple[bytes, int, int]], begin: int, target: int) -> int:
        """Where the last row that begins before `target` begins, the parts beginning with a row at `begin`."""
        data = joined(parts)[: target - begin]
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
        self._piece = gathered(self._piece, self._piece_at, self._pieces, least, self._object_bytes)

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


def joined(parts: list[tuple[bytes, int, int]]) -> bytes:
    if len(parts) == 1:
        piece, low, high = parts[0]
        return piece[low:high]
    return b"".join([memoryview(piece)[low:high] for piece, low, high in parts])
