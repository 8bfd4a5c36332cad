"""Frames and blocks of LZ4 objects (LZ4 frame format 1.6)."""

import re
from dataclasses import dataclass, replace
from typing import Final

MAGIC: Final = b"\x04\x22\x4d\x18"
HEADER_MAX_BYTES: Final = 19
WORD_BYTES: Final = 4  # a block's size; its highest bit says that the block is not packed
# The upper half of a word that may begin a block of at most 4 MiB.
WORD: Final = re.compile(rb"(?s)(?=..[\x00-\x40][\x00\x80]|\x04\x22\x4d\x18)")
LARGEST_BLOCK_CODE: Final = 7
_VERSION: Final = 0x40
_BLOCK_BYTES: Final = {4: 2**16, 5: 2**18, 6: 2**20, 7: 2**22}
_P1, _P2, _P3, _P4, _P5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393


class FrameError(Exception):
    """What is there is no frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a frame's header says."""

    size: int
    independent: bool
    block_checksums: bool
    content_checksum: bool
    dictionary: bool
    block_bytes: int
    block_code: int

    def bare(self) -> bytes:
        """The header of a frame of such blocks without size and checksum of its content: to begin with any block."""
        descriptor = bytes((_VERSION | 0x20 | (0x10 if self.block_checksums else 0), self.block_code << 4))
        return MAGIC + descriptor + bytes((xxh32(descriptor) >> 8 & 0xFF,))

    def like(self, block_code: int, block_checksums: bool) -> "Frame":
        """The same with other blocks."""
        return replace(
            self, block_bytes=_BLOCK_BYTES[block_code], block_code=block_code, block_checksums=block_checksums
        )

    def block_at(self, data: bytes, at: int) -> int | None:
        """The length of the block at `data[at]` with its word and checksum; None where none can begin there."""
        word = int.from_bytes(data[at : at + WORD_BYTES], "little")
        size = word & 0x7FFFFFFF
        if not 0 < size <= self.block_bytes:
            return None
        return WORD_BYTES + size + (4 if self.block_checksums else 0)


def parse(data: bytes, at: int = 0) -> Frame:
    """The frame header at `data[at:]`. Raises `FrameError` where there is none, or only a part of one."""
    if data[at : at + 4] != MAGIC or len(data) < at + 7:
        raise FrameError("no frame begins here")
    flags, code = data[at + 4], data[at + 5] >> 4 & 7
    if flags & 0xC2 != _VERSION or code not in _BLOCK_BYTES or data[at + 5] & 0x8F:
        raise FrameError("its header is none of version 1")
    end = at + 6 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)
    if end >= len(data):
        raise FrameError("its header has no end")
    if data[end] != xxh32(data[at + 4 : end]) >> 8 & 0xFF:
        raise FrameError("its header does not fit its checksum")
    return Frame(
        end + 1 - at,
        bool(flags & 0x20),
        bool(flags & 0x10),
        bool(flags & 4),
        bool(flags & 1),
        _BLOCK_BYTES[code],
        code,
    )


def xxh32(data: bytes) -> int:
    """XXH32 with seed 0 of fewer than 16 bytes, which headers have."""
    value = _P5 + len(data)
    at = 0
    while at + 4 <= len(data):
        value = _rotated(value + int.from_bytes(data[at : at + 4], "little") * _P3, 17) * _P4
        at += 4
    for byte in data[at:]:
        value = _rotated(value + byte * _P5, 11) * _P1
    value &= 0xFFFFFFFF
    value = (value ^ value >> 15) * _P2 & 0xFFFFFFFF
    value = (value ^ value >> 13) * _P3 & 0xFFFFFFFF
    return value ^ value >> 16


def _rotated(value: int, count: int) -> int:
    value &= 0xFFFFFFFF
    return (value << count | value >> 32 - count) & 0xFFFFFFFF
