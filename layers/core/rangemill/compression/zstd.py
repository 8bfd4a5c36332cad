"""zstd: frames are units.

- `zstd:frames`: found by their magic, their header and their chain of blocks; skippable frames are units without bytes.
- `zstd:seekable`: as the seekable format's table at the object's end names them, with their logical offsets.
- `zstd`: one frame, or frames too large to look for: one worker. It stops between frames where there are several.

A frame's checksum is held against its output by the library.
"""

import re
from collections.abc import Iterator
from typing import Final

from rangemill.compression import _zstd_frames as frames
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Decoded, Mode, Unit, corrupt
from rangemill.errors import BadCompression

SUFFIXES: Final = (".zst", ".zstd")
RECOMPRESS: Final = "zstd -dc {} | pzstd -o split.zst"
STREAM_BYTES_PER_SECOND: Final = 20 * 10**6

_OUT_BYTES: Final = 2**20
_FEED_BYTES: Final = 128 * 2**10
_LOOK_BYTES: Final = 256 * 2**10
_FIRST_FRAME_STEP_BYTES: Final = 2**20
_FIRST_FRAME_MAX_BYTES: Final = 32 * 2**20  # an object whose first frame is longer is not split
_CANDIDATE: Final = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")


def recognises(head: bytes) -> bool:
    """See `Codec`. LZ4 shares the skippable frames: what follows them tells, where the head holds it."""
    at = 0
    while len(head) >= at + frames.SKIPPABLE_HEADER_BYTES and frames.is_skippable(head, at):
        at += frames.skippable_bytes(head, at)
    return head[at : at + 4] == frames.MAGIC or (at > 0 and at >= len(head))


def mode(head: bytes, around: Around | None) -> Mode:
    """See `Codec`."""
    if around is None:
        return Mode("zstd:frames")
    if _table(around) is not None:
        return Mode("zstd:seekable", absolute=True)
    return Mode("zstd:frames") if _has_more_frames(head, around) else Mode("zstd", whole=True)


def _table(around: Around) -> list[frames.Frame] | None:
    size = around.pin.size_bytes
    footer = around.read_span(max(0, size - frames.SEEKABLE_FOOTER_BYTES), size)
    length = frames.table_bytes(footer)
    if length is None or length > size:
        return None
    return frames.table(around.read_span(size - length, size), size)


def _has_more_frames(head: bytes, around: Around) -> bool:
    """Whether the first frame with data ends soon, and is not all there is."""
    size, at, data = around.pin.size_bytes, 0, head
    while True:
        try:
            if frames.is_skippable(data, at):
                at += frames.skippable_bytes(data, at)
                if at + frames.SKIPPABLE_HEADER_BYTES > len(data):
                    return at < size
                continue
            end = frames.frame_end(data, at)
        except frames.FrameError:
            return False  # damaged: one worker will say where
        if end is not None:
            return end < size
        if len(data) >= min(size, _FIRST_FRAME_MAX_BYTES):
            return False
        data += around.read_span(len(data), min(size, 2 * len(data) + _FIRST_FRAME_STEP_BYTES))


class _Zstd:
    """See `Session`."""

    def __init__(self, stored: Stored, mode_name: str, around: Around) -> None:
        self._stored = stored
        self._mode = mode_name
        self._around = around

    def stop_soon(self) -> None:
        """See `Session`: units lie where they lie."""

    def stopped(self, stored: int) -> None:
        """See `Session`: a frame needs nothing of those before it."""

    def decode(self) -> Iterator[Decoded]:
        """See `Session`."""
        if self._mode == "zstd:seekable":
            yield from self._by_table()
        elif self._stored.position == 0 or self._find():
            while self._stored.left:
                yield Unit(self._stored.position)
                yield from self._frame()

    def _by_table(self) -> Iterator[Decoded]:
        stored = self._stored
        known = _table(self._around)
        if known is None:
            raise corrupt("zstd", "its seekable table does not fit it", stored.object_bytes)
        units = [frame for frame in known if frame.stored >= stored.run.start]
        if not units or units[0].stored >= stored.run.end_exclusive:
            stored.advance_to(stored.run.end_exclusive)
            return
        stored.advance_to(units[0].stored)
        for frame in units:
            if frame.stored != stored.position:
                raise corrupt("zstd", "its seekable table does not fit it", stored.position)
            yield Unit(frame.stored, frame.logical)
            yield from self._frame()
        while stored.left:
            yield from self._frame()

    def _find(self) -> bool:
        """Go to the first frame that begins at the position or after it and in the run; False: the run was passed."""
        stored = self._stored
        end = stored.run.end_exclusive
        while stored.position < end:
            data = stored.peek(_LOOK_BYTES + 3)
            found = _CANDIDATE.search(data)
            if found is None:
                stored.advance(min(max(1, len(data) - 3), end - stored.position))
                continue
            if stored.position + found.start() >= end:
                break
            stored.advance(found.start())
            if frames.begins_here(stored.peek(2 * _LOOK_BYTES), 0, stored.left) and self._decodes():
                return True
            stored.advance(1)
        stored.advance_to(end)
        return False

    def _decodes(self) -> bool:
        """Whether the first bytes of what claims to be a frame decompress."""
        from backports.zstd import ZstdDecompressor, ZstdError  # noqa: PLC0415 - only where an object is zstd

        data = self._stored.peek(_FEED_BYTES)
        if frames.is_skippable(data):
            return True
        try:
            ZstdDecompressor().decompress(data, _OUT_BYTES)
        except ZstdError:
            return False
        return True

    def _frame(self) -> Iterator[Decoded]:
        from backports.zstd import ZstdDecompressor, ZstdError  # noqa: PLC0415 - only where an object is zstd

        stored = self._stored
        begun = stored.position
        head = stored.peek(frames.HEADER_MAX_BYTES)
        if len(head) >= 4 and frames.is_skippable(head):
            length = frames.skippable_bytes(head)
            if len(head) < frames.SKIPPABLE_HEADER_BYTES or length > stored.left:
                raise corrupt("zstd", "the data ends inside a skippable frame: it is truncated", begun)
            stored.advance(length)
            return
        self._require_readable(head, begun)
        stream = ZstdDecompressor()
        feed = b""
        while not stream.eof:
            if stream.needs_input:
                # A frame that ends soon is given as it is: after a tiny one the rest of a chunk would be copied.
                stored.advance(len(feed))
                feed = self._feed(begun)
                if not feed:
                    raise corrupt("zstd", "the data ends inside a frame: it is truncated", stored.position)
                stored.lent = len(feed)
            try:
                out = stream.decompress(feed if stream.needs_input else b"", _OUT_BYTES)
            except ZstdError as error:
                raise self._damaged(error) from None
            if out:
                yield out
        stored.advance(len(feed) - len(stream.unused_data))

    def _feed(self, begun: int) -> bytes:
        stored = self._stored
        data = stored.chunk()[:_FEED_BYTES]
        if stored.position == begun:
            try:
                end = frames.frame_end(data, 0)
            except frames.FrameError:
                end = None  # the library will say what is wrong
            return data[:end]
        return data

    def _require_readable(self, head: bytes, at: int) -> None:
        try:
            found = frames.header(head)
        except frames.FrameError as error:
            problem = "the data ends inside a frame's header: it is truncated" if len(head) < 6 else str(error)
            raise corrupt("zstd", problem, at) from None
        if found.dictionary:
            raise BadCompression(
                f"its zstd frame at stored byte {at} needs the dictionary {found.dictionary}, which Rangemill has not: "
                "compress it without a dictionary",
                offset=at,
            )

    def _damaged(self, error: Exception) -> BadCompression:
        if "memory" in str(error).lower() or "window" in str(error).lower():
            return BadCompression(
                f"its zstd frame needs a window of more than 128 MiB (`--long` above 27): {error}; "
                "compress it again with a smaller one",
                offset=self._stored.position,
            )
        return corrupt("zstd", str(error), self._stored.position)


def session(stored: Stored, mode_name: str, around: Around) -> _Zstd:
    """See `Codec`."""
    return _Zstd(stored, mode_name, around)
