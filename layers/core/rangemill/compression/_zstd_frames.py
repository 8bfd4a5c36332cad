"""Frames of zstd objects (RFC 8878): headers, block chains, skippable frames, and the seekable format's table."""

from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"\x28\xb5\x2f\xfd"
SKIPPABLE: Final = b"\x2a\x4d\x18"  # after a byte 0x50 to 0x5f
SKIPPABLE_HEADER_BYTES: Final = 8
SEEKABLE_FOOTER_BYTES: Final = 9
HEADER_MAX_BYTES: Final = 18
_SEEKABLE_MAGIC: Final = b"\xb1\xea\x92\x8f"
_BLOCK_MAX_BYTES: Final = 128 * 2**10


class FrameError(Exception):
    """What is there is no frame."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame says of itself."""

    size: int
    has_checksum: bool
    dictionary: int
    content_bytes: int | None


def is_skippable(data: bytes, at: int = 0) -> bool:
    """Whether a skippable frame begins there."""
    return data[at + 1 : at + 4] == SKIPPABLE and 0x50 <= data[at] <= 0x5F


def skippable_bytes(data: bytes, at: int = 0) -> int:
    """The length of the skippable frame that begins there."""
    return SKIPPABLE_HEADER_BYTES + int.from_bytes(data[at + 4 : at + 8], "little")


def header(data: bytes, at: int = 0) -> FrameHeader:
    """The frame header at `data[at:]`. Raises `FrameError` where there is none, or only a part of one."""
    if data[at : at + 4] != MAGIC or len(data) < at + 6:
        raise FrameError("no frame begins here")
    descriptor = data[at + 4]
    if descriptor & 0x08:
        raise FrameError("a reserved bit is set")
    single = bool(descriptor & 0x20)
    dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
    content_field = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    end = at + 5 + (not single)
    dictionary = int.from_bytes(data[end : end + dictionary_bytes], "little")
    end += dictionary_bytes
    content: int | None = None
    if content_field:
        content = int.from_bytes(data[end : end + content_field], "little") + (256 if content_field == 2 else 0)
    end += content_field
    if end > len(data):
        raise FrameError("its header has no end")
    return FrameHeader(end - at, bool(descriptor & 4), dictionary, content)


def frame_end(data: bytes, at: int) -> int | None:
    """Where the frame that begins at `data[at]` ends; None when it goes on beyond `data`. Raises `FrameError`."""
    head = header(data, at)
    position, last = at + head.size, False
    while not last:
        if position + 3 > len(data):
            return None
        block = int.from_bytes(data[position : position + 3], "little")
        last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        if kind == 3 or size > _BLOCK_MAX_BYTES:
            raise FrameError("a block's header is none")
        position += 3 + (1 if kind == 1 else size)
    position += 4 if head.has_checksum else 0
    return position if position <= len(data) else None


def begins_here(data: bytes, at: int, left: int) -> bool:
    """Whether a frame begins at `data[at]`, as far as `data` can tell; `left` are the object's bytes from there on."""
    if is_skippable(data, at):
        return _is_followed(data, at, at + skippable_bytes(data, at), left)
    try:
        end = frame_end(data, at)
    except FrameError:
        return False
    return end is None or _is_followed(data, at, end, left)


def _is_followed(data: bytes, at: int, end: int, left: int) -> bool:
    """Whether the object ends at `end`, or another frame can begin there."""
    if end - at >= left:
        return end - at == left
    if end + 4 > len(data):
        return True
    return data[end : end + 4] == MAGIC or is_skippable(data, end)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of the seekable format's table."""

    stored: int
    logical: int


def table_bytes(footer: bytes) -> int | None:
    """How long the seekable table is that ends with these bytes; None where it is none."""
    if len(footer) < SEEKABLE_FOOTER_BYTES or footer[-4:] != _SEEKABLE_MAGIC or footer[-5] & 0x7C:
        return None
    count = int.from_bytes(footer[-9:-5], "little")
    return SKIPPABLE_HEADER_BYTES + count * (12 if footer[-5] & 0x80 else 8) + SEEKABLE_FOOTER_BYTES


def table(data: bytes, object_bytes: int) -> list[Frame] | None:
    """The frames of the table, which is the object's last frame; None where it does not fit the object."""
    entry = 12 if data[-5] & 0x80 else 8
    count = int.from_bytes(data[-9:-5], "little")
    if data[:4] != b"\x5e" + SKIPPABLE or skippable_bytes(data) != len(data):
        return None
    frames: list[Frame] = []
    stored = logical = 0
    for at in range(SKIPPABLE_HEADER_BYTES, SKIPPABLE_HEADER_BYTES + count * entry, entry):
        frames.append(Frame(stored, logical))
        stored += int.from_bytes(data[at : at + 4], "little")
        logical += int.from_bytes(data[at + 4 : at + 8], "little")
    return frames if stored + len(data) == object_bytes and frames else None
