"""The logical bytes of a run as a codec gives them, kept as long as a record may need them, and where units begin.

Offsets are *local*: true logical offsets where the units know theirs or the run begins at the object's start; else
they count on from the first unit's stored offset, which is above 0 and means nothing beyond this run.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Final

from rangemill.blocks import Place
from rangemill.compression._stored import Passed
from rangemill.compression.base import Decoded, Unit
from rangemill.errors import BadCompression

_PART_BYTES: Final = 256 * 2**10  # crumbs are gathered into parts of this size
_STORED: Final = attrgetter("stored")
_AT: Final = attrgetter("at")


class LogicalEnd(Exception):
    """Pieces were asked for beyond the object's logical end, which was not known before."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A unit: where it begins, local and stored, and the CRC of its tile up to there."""

    at: int
    stored: int
    mark: int


class Logical:
    """A window over a run's logical bytes."""

    def __init__(self, decoded: Iterator[Decoded], stored: Passed, check: Callable[[int, int], None]) -> None:
        self.end = 0  # decoded so far
        self.ended = False  # that is the object's logical end
        self.absolute = False
        self._decoded = decoded
        self._stored = stored
        self._check = check
        self._began = 0
        self._empty = True  # no unit has begun
        self._units: list[Begun] = []
        self._parts: list[tuple[int, bytes]] = []
        self._small: list[bytes] = []  # the newest bytes, where they come in crumbs
        self._small_bytes = 0

    def more(self) -> None:
        """The next unit or piece, or the end."""
        event = next(self._decoded, None)
        if event is None:
            self.ended = True
        elif isinstance(event, Unit):
            self._begin(event)
        elif event:
            self._small.append(event)
            self._small_bytes += len(event)
            self.end += len(event)
            if self._small_bytes >= _PART_BYTES:
                self._gather()
            taken = self._stored.position + self._stored.lent - self._stored.run.start
            self._check(max(1, taken), self.end - self._began)

    def _begin(self, unit: Unit) -> None:
        if self._empty:
            self._empty = False
            self.absolute = unit.logical is not None
            self.end = self._began = unit.stored if unit.logical is None else unit.logical
        elif unit.logical is not None and unit.logical != self.end:
            raise BadCompression(
                f"its index says that the unit at stored byte {unit.stored} begins at {unit.logical}, "
                f"but what comes before it ends at {self.end}",
                offset=unit.stored,
            )
        self._units.append(Begun(self.end, unit.stored, self._stored.mark()))

    def _gather(self) -> None:
        if self._small:
            part = self._small[0] if len(self._small) == 1 else b"".join(self._small)
            self._parts.append((self.end - len(part), part))
            self._small, self._small_bytes = [], 0

    def unit_from(self, stored: int) -> Begun | None:
        """The first kept unit at or after that stored offset; None where none has begun yet."""
        if not self._units or self._units[-1].stored < stored:
            return None
        return self._units[bisect_left(self._units, stored, key=_STORED)]

    def unit_at(self, at: int) -> Begun | None:
        """The first kept unit that begins at or after that local offset; None where none has begun yet."""
        if not self._units or self._units[-1].at < at:
            return None
        return self._units[bisect_left(self._units, at, key=_AT)]

    def pieces(self, start: int, known_end: int | None) -> Iterator[bytes]:
        """The bytes from `start` on to the end. Raises `LogicalEnd` there unless the caller knew it.

        Nothing may be dropped while they are being taken.
        """
        self._gather()
        position = max(0, bisect_right(self._parts, start, key=itemgetter(0)) - 1)
        at = start
        while True:
            while position < len(self._parts):
                begin, part = self._parts[position]
                position += 1
                if begin + len(part) > at:
                    yield part[at - begin :] if at > begin else part
                    at = begin + len(part)
            if self.ended:
                if known_end is None:
                    raise LogicalEnd
                return
            while not self.ended and not self._small:
                self.more()
                if position < len(self._parts):
                    break
            self._gather()

    def drop_before(self, start: int) -> None:
        """Bytes and units that no record at or after `start` needs."""
        self._gather()
        keep = max(0, bisect_right(self._parts, start, key=itemgetter(0)) - 1)
        del self._parts[:keep]
        del self._units[: max(0, bisect_right(self._units, start, key=_AT) - 1)]

    def place(self, at: int) -> Place:
        """A local offset as every run would name it: the true one, or (last unit at or before it, offset inside)."""
        if self.absolute:
            return at
        while self.end <= at and not self.ended:
            self.more()
        if at == 0:
            return (0, 0)
        if self.ended and at == self.end:
            return self.total
        unit = self._units[bisect_right(self._units, at, key=_AT) - 1]
        return (unit.stored, at - unit.at)

    @property
    def total(self) -> Place:
        """The object's logical end."""
        return self.end if self.absolute else (self._stored.object_bytes, 0)
