"""The CRC of each tile of a run, from bytes that stream past once."""

from collections import deque
from typing import cast

from rangemill.formats.base import Crc
from rangemill.ranges import ByteRange, tile


class TileCrcs:
    """Takes the bytes of a run in order; gives the CRC of one tile after the other."""

    def __init__(self, run: ByteRange, range_bytes: int, crc: Crc) -> None:
        self._tiles = tile(run.start, run.end_exclusive, range_bytes)
        self._tile: ByteRange | None = next(self._tiles)
        self._crc = crc
        self._value = 0
        self._done: deque[int] = deque()

    def feed(self, piece: bytes | bytearray, low: int, high: int, piece_at: int) -> None:
        """The bytes `piece[low:high]` of the object pass, `piece[0]` standing at `piece_at`."""
        while self._tile is not None and low < high:
            low = max(low, self._tile.start - piece_at)  # what lies behind the run
            end = min(high, self._tile.end_exclusive - piece_at)
            if low < end:
                self._value = self._crc(cast("bytes", memoryview(piece)[low:end]), self._value)  # no copy
            if end < self._tile.end_exclusive - piece_at:
                return
            self._done.append(self._value)
            self._value = 0
            self._tile = next(self._tiles, None)
            low = end

    def take(self) -> int:
        """The CRC of the oldest tile that was passed, else of the current one so far."""
        return self._done.popleft() if self._done else self._value
