"""Headers of gzip members (RFC 1952), and of BGZF blocks, which say their own length."""

from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"\x1f\x8b\x08"
HEADER_MAX_BYTES: Final = 2**20  # a name or a comment may be as long as it likes; nobody's is
_FIXED_BYTES: Final = 10
_HCRC, _EXTRA, _NAME, _COMMENT, _RESERVED = 2, 4, 8, 16, 0xE0


class HeaderError(Exception):
    """What is there is no header of a member."""


@dataclass(frozen=True, slots=True)
class Header:
    """How long it is, and how long the member is where it says so (BGZF)."""

    size: int
    block_bytes: int | None


def parse(data: bytes, at: int = 0) -> Header:
    """The header at `data[at:]`. Raises `HeaderError` where there is none, or only a part of one."""
    fixed = data[at : at + _FIXED_BYTES]
    if not fixed.startswith(MAGIC) or len(fixed) < _FIXED_BYTES:
        raise HeaderError("no member begins here")
    flags = fixed[3]
    if flags & _RESERVED:
        raise HeaderError("reserved flags are set")
    end, block_bytes = at + _FIXED_BYTES, None
    if flags & _EXTRA:
        extra = data[end + 2 : end + 2 + int.from_bytes(data[end : end + 2], "little")]
        end += 2 + int.from_bytes(data[end : end + 2], "little")
        block_bytes = _block_bytes(extra)
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            end = data.find(b"\0", end) + 1
            if not end:
                raise HeaderError("its header has no end")
    if flags & _HCRC:
        end += 2
    if end > len(data):
        raise HeaderError("its header has no end")
    return Header(end - at, block_bytes)


def _block_bytes(extra: bytes) -> int | None:
    """BGZF's field: the block's length."""
    at = 0
    while at + 4 <= len(extra):
        size = int.from_bytes(extra[at + 2 : at + 4], "little")
        if extra[at : at + 2] == b"BC" and size == 2 and at + 6 <= len(extra):
            return int.from_bytes(extra[at + 4 : at + 6], "little") + 1
        at += 4 + size
    return None
