"""Tiles `[start, end)` of an object's stored bytes, and their arithmetic."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """A half-open range of stored bytes, never empty: `0 <= start < end_exclusive`."""

    start: int
    end_exclusive: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end_exclusive:
            raise ValueError(f"not a range: [{self.start}, {self.end_exclusive})")

    @property
    def size_bytes(self) -> int:
        """How many bytes the range covers."""
        return self.end_exclusive - self.start

    def http_header(self) -> str:
        """The HTTP `Range` header, the only place that knows that HTTP's end is inclusive."""
        return f"bytes={self.start}-{self.end_exclusive - 1}"

    def halves(self) -> "tuple[ByteRange, ByteRange] | None":
        """The two halves, or None for a range of one byte."""
        if self.size_bytes == 1:
            return None
        middle = self.start + self.size_bytes // 2
        return ByteRange(self.start, middle), ByteRange(middle, self.end_exclusive)


def tile(start: int, end_exclusive: int, range_bytes: int) -> Iterator[ByteRange]:
    """The tiles of `[start, end_exclusive)`, cut at multiples of `range_bytes` of the object.

    Cutting at absolute multiples makes the tiles of a remainder the same as those of the whole.

    >>> [(r.start, r.end_exclusive) for r in tile(3, 10, 4)]
    [(3, 4), (4, 8), (8, 10)]
    """
    if range_bytes < 1:
        raise ValueError(f"range_bytes must be at least 1, not {range_bytes}")
    while start < end_exclusive:
        end = min((start // range_bytes + 1) * range_bytes, end_exclusive)
        yield ByteRange(start, end)
        start = end


def tile_count(start: int, end_exclusive: int, range_bytes: int) -> int:
    """How many tiles `tile` yields, without walking them."""
    if end_exclusive <= start:
        return 0
    return -(-end_exclusive // range_bytes) - start // range_bytes
