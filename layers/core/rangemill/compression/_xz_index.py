"""Stream headers, footers and indexes of xz objects (the .xz file format, 1.2)."""

import zlib
from dataclasses import dataclass
from typing import Final

from rangemill.compression.base import ReadSpan

MAGIC: Final = b"\xfd7zXZ\x00"
HEADER_BYTES: Final = 12
_FOOTER_BYTES: Final = 12
_FOOTER_MAGIC: Final = b"YZ"
_STREAMS_MAX: Final = 16  # walked from the object's end, two reads each
_INDEX_MAX_BYTES: Final = 64 * 2**20  # four million blocks
_PADDING_BYTES: Final = 4 * 2**10


class XzIndexError(Exception):
    """The end of the object is no stream's end, or its index does not fit."""


@dataclass(frozen=True, slots=True)
class XzBlock:
    """A block: where it lies, stored and logical, and its stream's flags, which say how it is checked."""

    stored: int
    stored_bytes: int
    logical: int
    logical_bytes: int
    flags: bytes


def header(flags: bytes) -> bytes:
    """The header of a stream with these flags."""
    return MAGIC + flags + zlib.crc32(flags).to_bytes(4, "little")


def is_header(data: bytes) -> bool:
    """Whether a stream begins with these bytes."""
    flags = data[6:8]
    return len(data) >= HEADER_BYTES and data[:HEADER_BYTES] == header(flags) and not flags[0] and flags[1] < 16


def blocks(read_span: ReadSpan, object_bytes: int) -> list[XzBlock] | None:
    """All blocks of the object in order; None where it is of too many streams to ask each. Raises `XzIndexError`."""
    streams: list[list[XzBlock]] = []
    end = _without_padding(read_span, object_bytes)
    while end > 0:
        if len(streams) == _STREAMS_MAX:
            return None
        found, end = _stream(read_span, end)
        streams.append(found)
        end = _without_padding(read_span, end)
    listed: list[XzBlock] = []
    logical = 0
    for stream in reversed(streams):
        for block in stream:
            listed.append(XzBlock(block.stored, block.stored_bytes, logical, block.logical_bytes, block.flags))
            logical += block.logical_bytes
    return listed


def _without_padding(read_span: ReadSpan, end: int) -> int:
    """Where the stream ends that is followed by padding up to `end`."""
    while end > 0:
        start = max(0, end - _PADDING_BYTES)
        rest = read_span(start, end).rstrip(b"\0")
        if rest:
            return end - (end - start - len(rest)) // 4 * 4
        end = start
    return 0


def _stream(read_span: ReadSpan, end: int) -> tuple[list[XzBlock], int]:
    """The blocks of the stream that ends there, their logical offsets left open, and where it begins."""
    footer = read_span(max(0, end - _FOOTER_BYTES), end)
    if len(footer) < _FOOTER_BYTES or footer[-2:] != _FOOTER_MAGIC:
        raise XzIndexError("it does not end with a stream's footer: it is truncated")
    if zlib.crc32(footer[4:10]).to_bytes(4, "little") != footer[:4]:
        raise XzIndexError("its footer does not fit its CRC")
    index_bytes = (int.from_bytes(footer[4:8], "little") + 1) * 4
    flags = footer[8:10]
    index_at = end - _FOOTER_BYTES - index_bytes
    if index_at < HEADER_BYTES or index_bytes > _INDEX_MAX_BYTES:
        raise XzIndexError("its index is longer than it can be")
    sizes = _sizes(read_span(index_at, index_at + index_bytes))
    at = index_at - sum(-(-unpadded // 4) * 4 for unpadded, _ in sizes)
    begins = at - HEADER_BYTES
    if begins < 0:
        raise XzIndexError("its index says more than there is")
    found: list[XzBlock] = []
    for unpadded, logical_bytes in sizes:
        stored_bytes = -(-unpadded // 4) * 4
        found.append(XzBlock(at, stored_bytes, 0, logical_bytes, flags))
        at += stored_bytes
    return found, begins


def _sizes(index: bytes) -> list[tuple[int, int]]:
    if index[:1] != b"\0" or zlib.crc32(index[:-4]).to_bytes(4, "little") != index[-4:]:
        raise XzIndexError("its index does not fit its CRC")
    count, at = _number(index, 1)
    sizes: list[tuple[int, int]] = []
    for _ in range(count):
        unpadded, at = _number(index, at)
        logical, at = _number(index, at)
        sizes.append((unpadded, logical))
    return sizes


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise XzIndexError("a number of its index has no end")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
