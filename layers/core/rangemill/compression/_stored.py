"""The stored bytes of a run as they stream past a codec: looked at ahead, passed once, and each tile's CRC kept."""

from collections.abc import Iterator
from typing import Final, Protocol, cast

from rangemill.errors import IncompleteProof
from rangemill.formats.base import Crc
from rangemill.ranges import ByteRange, tile

CHUNK_BYTES: Final = 256 * 2**10  # what `chunk` gives at most: small enough to slice without care


class Passed(Protocol):
    """What is seen of the stored bytes by whoever takes what a codec makes of them: see `Stored`."""

    @property
    def position(self) -> int:
        """The stored byte that was reached."""

    @property
    def run(self) -> ByteRange:
        """The run."""

    @property
    def object_bytes(self) -> int:
        """The object's size."""

    @property
    def lent(self) -> int:
        """Bytes after the position that were taken, of which nobody knows how many were used."""

    def mark(self) -> int:
        """The CRC of the current tile as far as the position."""

    def tile_crc(self, start: int) -> int:
        """The CRC of the tile of the run that begins there and was passed."""


class Stored:
    """A window over the object's stored bytes from the run's start on.

    What is passed enters the CRC of its tile; bytes beyond the run enter none.
    """

    def __init__(self, pieces: Iterator[bytes], run: ByteRange, range_bytes: int, object_bytes: int, crc: Crc) -> None:
        self.run = run
        self.object_bytes = object_bytes
        self.position = run.start
        self.lent = 0  # bytes after the position that a library has taken, of which nobody knows how many it used
        self._pieces = pieces
        self._buffer = b""
        self._used = 0
        self._crc = crc
        self._tiles = tile(run.start, run.end_exclusive, range_bytes)
        self._tile: ByteRange | None = next(self._tiles)
        self._value = 0
        self._done: dict[int, int] = {}

    @property
    def left(self) -> int:
        """Stored bytes between the position and the object's end."""
        return self.object_bytes - self.position

    def chunk(self) -> bytes:
        """Some bytes from the position on, one at least; none at the object's end."""
        if self._used == len(self._buffer) and self.left:
            self._pull()
        return self._buffer[self._used : self._used + CHUNK_BYTES]

    def peek(self, count: int) -> bytes:
        """The `count` bytes from the position on, fewer only at the object's end."""
        return self.peek_at(0, count)

    def peek_at(self, ahead: int, count: int) -> bytes:
        """The `count` bytes from `ahead` bytes after the position on, fewer only at the object's end."""
        count = min(ahead + count, self.left)
        if len(self._buffer) - self._used < count:
            parts = [self._buffer[self._used :]]
            have = len(parts[0])
            while have < count:
                parts.append(self._next_piece(self.position + have))
                have += len(parts[-1])
            self._buffer, self._used = b"".join(parts), 0
        return self._buffer[self._used + ahead : self._used + count]

    def advance(self, count: int) -> None:
        """Pass `count` bytes, which must be there."""
        self.lent = 0
        while count:
            have = len(self._buffer) - self._used
            if not have:
                self._pull()
                continue
            step = min(have, count)
            self._feed(self._used, self._used + step)
            self._used += step
            self.position += step
            count -= step

    def advance_to(self, offset: int) -> None:
        """Pass the bytes up to that stored offset."""
        self.advance(offset - self.position)

    def mark(self) -> int:
        """The CRC of the current tile as far as the position."""
        return self._value

    def tile_crc(self, start: int) -> int:
        """The CRC of the tile of the run that begins there and was passed."""
        return self._done.pop(start)

    def _pull(self) -> None:
        self._buffer, self._used = self._next_piece(self.position), 0

    def _next_piece(self, at: int) -> bytes:
        piece = b""
        while not piece:
            following = next(self._pieces, None)
            if following is None:
                raise IncompleteProof(
                    f"the object's bytes ended at {at}, not at {self.object_bytes}; the read was cut short", offset=at
                )
            piece = following
        return piece[: self.object_bytes - at]  # a local file may have grown since it was pinned

    def _feed(self, low: int, high: int) -> None:
        at = self.position - low  # where the buffer's first byte stands
        while self._tile is not None and low < high:
            end = min(high, self._tile.end_exclusive - at)
            self._value = self._crc(cast("bytes", memoryview(self._buffer)[low:end]), self._value)  # no copy
            if at + end < self._tile.end_exclusive:
                return
            self._done[self._tile.start] = self._value
            self._value = 0
            self._tile = next(self._tiles, None)
            low = end
