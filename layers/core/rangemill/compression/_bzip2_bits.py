"""Blocks of bzip2 streams, which begin at any bit: finding them, and cutting one out as a stream of its own."""

from dataclasses import dataclass
from typing import Final

HEADER_BYTES: Final = 4  # BZh1 to BZh9
MAGIC_BITS: Final = 48
BLOCK: Final = 0x314159265359
END: Final = 0x177245385090
TRAILER_BITS: Final = MAGIC_BITS + 32  # of a stream: its magic and its CRC

_MASK: Final = (1 << MAGIC_BITS) - 1
# The five whole bytes in the middle of a magic that begins at bit r of a byte, for each r.
_MIDDLES: Final = tuple(
    (magic, shift, (magic >> shift & 0xFFFFFFFFFF).to_bytes(5)) for magic in (BLOCK, END) for shift in range(8)
)


@dataclass(frozen=True, slots=True)
class Magic:
    """A magic number and the bit at which it begins."""

    bit: int
    is_block: bool


def next_magic(data: bytes, from_bit: int) -> Magic | None:
    """The first magic of a block or of a stream's end at or after that bit of `data`."""
    best: Magic | None = None
    for magic, shift, middle in _MIDDLES:
        limit = len(data) if best is None else best.bit // 8 + 8
        at = data.find(middle, max(1, from_bit // 8), limit)
        while at >= 0:
            bit = (at - 1) * 8 + shift
            if bit >= from_bit and bits(data, bit, MAGIC_BITS) == magic:
                if best is None or bit < best.bit:
                    best = Magic(bit, magic == BLOCK)
                break
            at = data.find(middle, at + 1, limit)
    return best


def bits(data: bytes, start: int, count: int) -> int:
    """The `count` bits from that bit on; -1 where the data ends before."""
    end = start + count
    if end > 8 * len(data):
        return -1
    window = int.from_bytes(data[start // 8 : -(-end // 8)])
    return window >> (-end % 8) & ((1 << count) - 1)


def as_stream(data: bytes, start: int, end: int) -> bytes:
    """A bzip2 stream of the one block that lies at the bits `[start, end)`."""
    count = end - start
    block = bits(data, start, count)
    crc = block >> (count - TRAILER_BITS) & 0xFFFFFFFF
    stream = (block << TRAILER_BITS) | (END << 32) | crc
    count += TRAILER_BITS
    return b"BZh9" + (stream << (-count % 8)).to_bytes(-(-count // 8))
