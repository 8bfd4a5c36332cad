"""LZ4 frames (`.lz4`).

- `lz4:blocks`: the object's blocks do not depend on each other: blocks are units, and so are the headers of frames,
  without bytes. A block begins with its length alone: what claims to be one must be followed by more, and unpack.
- `lz4:frames`: blocks depend on those before them: frames are units. `lz4`: one such frame, one worker.

Blocks' checksums are always checked; that of a frame's whole content by who reads the frame from its beginning to its
end: it cannot be made of those of its parts.
"""

from collections.abc import Iterator
from typing import Any, Final

from rangemill.compression import _lz4_frames as frames
from rangemill.compression import _zstd_frames as skippable
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Decoded, Mode, Unit, corrupt
from rangemill.errors import BadCompression

SUFFIXES: Final = (".lz4",)
RECOMPRESS: Final = "lz4 -dc {} | lz4 -BI -B7 - split.lz4"
STREAM_BYTES_PER_SECOND: Final = 30 * 10**6

_OUT_BYTES: Final = 2**20
_HOPS: Final = 3
_RAW_MAX_BYTES: Final = 64 * 2**10
_WALK_MAX_BYTES: Final = 32 * 2**20
_WALK_STEP_BYTES: Final = 2**20


def recognises(head: bytes) -> bool:
    """See `Codec`."""
    at = 0
    while len(head) >= at + skippable.SKIPPABLE_HEADER_BYTES and skippable.is_skippable(head, at):
        at += skippable.skippable_bytes(head, at)
    return head[at : at + 4] == frames.MAGIC


def mode(head: bytes, around: Around | None) -> Mode:
    """See `Codec`."""
    try:
        frame = frames.parse(head)
    except frames.FrameError:  # skippable frames, or damage: who reads it will say
        return Mode("lz4:frames", whole=around is not None)
    if around is None:
        return Mode("lz4:frames")
    if frame.independent and not frame.dictionary:
        return Mode("lz4:blocks")
    return Mode("lz4:frames") if _has_more_frames(head, frame, around) else Mode("lz4", whole=True)


def _has_more_frames(head: bytes, frame: frames.Frame, around: Around) -> bool:
    """Whether the first frame ends soon, and is not all there is."""
    size, at, data = around.pin.size_bytes, frame.size, head
    while True:
        if at + frames.WORD_BYTES <= len(data):
            if data[at : at + frames.WORD_BYTES] == bytes(frames.WORD_BYTES):
                return at + frames.WORD_BYTES + (4 if frame.content_checksum else 0) < size
            length = frame.block_at(data, at)
            if length is None:
                return False
            at += length
        elif len(data) >= min(size, _WALK_MAX_BYTES) or at >= size:
            return False
        else:
            data += around.read_span(len(data), min(size, at + _WALK_STEP_BYTES))


class _Lz4:
    """See `Session`."""

    def __init__(self, stored: Stored, mode_name: str, around: Around) -> None:
        self._stored = stored
        self._by_block = mode_name == "lz4:blocks"
        self._around = around

    def stop_soon(self) -> None:
        """See `Session`: units lie where they lie."""

    def stopped(self, stored: int) -> None:
        """See `Session`: a unit needs nothing of those before it."""

    def decode(self) -> Iterator[Decoded]:
        """See `Session`."""
        stored = self._stored
        if stored.position > 0:
            inside = self._find()
            if stored.position >= stored.run.end_exclusive:
                return
            if inside is not None:
                yield from self._blocks(inside, None)
        while stored.left:
            yield Unit(stored.position)
            head = stored.peek(frames.HEADER_MAX_BYTES)
            if len(head) > 3 and skippable.is_skippable(head):
                self._skip(head)
                continue
            frame = self._frame_at(head)
            stored.advance(frame.size)
            yield from self._blocks(frame, head[: frame.size])

    def _skip(self, head: bytes) -> None:
        length = skippable.skippable_bytes(head)
        if len(head) < skippable.SKIPPABLE_HEADER_BYTES or length > self._stored.left:
            raise corrupt("lz4", "the data ends inside a skippable frame: it is truncated", self._stored.position)
        self._stored.advance(length)

    def _frame_at(self, head: bytes) -> frames.Frame:
        at = self._stored.position
        try:
            frame = frames.parse(head)
        except frames.FrameError as error:
            truncated = self._stored.left < frames.HEADER_MAX_BYTES and frames.MAGIC.startswith(head[:4])
            raise corrupt("lz4", "the data ends inside a frame's header" if truncated else str(error), at) from None
        if frame.dictionary:
            raise BadCompression(
                f"its lz4 frame at stored byte {at} needs a dictionary, which Rangemill has not: compress it "
                "without one",
                offset=at,
            )
        if self._by_block and not frame.independent:
            raise BadCompression(
                f"its lz4 frame at stored byte {at} has blocks that depend on each other, unlike its first one: "
                "compress all of it with `lz4 -BI`",
                offset=at,
            )
        return frame

    def _blocks(self, frame: frames.Frame, header: bytes | None) -> Iterator[Decoded]:
        """The blocks from the position to the frame's end; without its header where the frame began before the run."""
        from lz4.frame import LZ4FrameDecompressor  # noqa: PLC0415 - only where an object is lz4

        stored = self._stored
        stream = LZ4FrameDecompressor()
        self._give(stream, frame.bare() if header is None else header, stored.position)
        while True:
            word = stored.peek(frames.WORD_BYTES)
            if len(word) < frames.WORD_BYTES:
                raise corrupt("lz4", "the data ends inside a frame: it is truncated", stored.position)
            if word == bytes(frames.WORD_BYTES):
                break
            length = frame.block_at(word, 0)
            if length is None:
                raise corrupt("lz4", "a block's length is more than the frame allows", stored.position)
            if self._by_block:
                yield Unit(stored.position)
            block = stored.peek(length)
            if len(block) < length:
                raise corrupt("lz4", "the data ends inside a block: it is truncated", stored.position)
            yield from self._give(stream, block, stored.position)
            stored.advance(length)
        yield from self._end(stream, frame, header is not None)

    def _end(self, stream: Any, frame: frames.Frame, from_start: bool) -> list[bytes]:
        """Pass the frame's end, and the checksum of its content, which only means something to who has all of it."""
        stored = self._stored
        has_checksum = frame.content_checksum if from_start else not self._ends_well(0, frames.WORD_BYTES)
        size = frames.WORD_BYTES + (4 if has_checksum else 0)
        end = stored.peek(size)
        if len(end) < size:
            raise corrupt("lz4", "the data ends inside a frame's end: it is truncated", stored.position)
        given = self._give(stream, end if from_start else end[: frames.WORD_BYTES], stored.position)
        if not stream.eof:
            raise corrupt("lz4", "a frame does not end where its blocks do", stored.position)
        stored.advance(size)
        return given

    def _give(self, stream: Any, data: bytes, at: int) -> list[bytes]:
        """What the library makes of some bytes of a frame: at most a block, 4 MiB."""
        given: list[bytes] = []
        try:
            out = stream.decompress(data, _OUT_BYTES)
            while True:
                if out:
                    given.append(out)
                if stream.eof or stream.needs_input:
                    return given
                out = stream.decompress(b"", _OUT_BYTES)
                if not out and not stream.needs_input and not stream.eof:
                    return given
        except RuntimeError as error:
            raise corrupt("lz4", str(error), at) from None

    # --- from anywhere ---

    def _find(self) -> frames.Frame | None:
        """Go to the first frame or block that begins in the run, or to the run's end; a block's frame, else None."""
        stored = self._stored
        end = stored.run.end_exclusive
        kinds = self._kinds() if self._by_block else []
        while stored.position < end:
            data = stored.peek(_WALK_STEP_BYTES)
            for match in frames.WORD.finditer(data, 0, len(data)):
                at = match.start()
                if stored.position + at >= end:
                    break
                if data[at : at + 4] == frames.MAGIC:
                    if self._is_frame(at):
                        stored.advance(at)
                        return None
                else:
                    inside = next((kind for kind in kinds if self._is_block(data, at, kind)), None)
                    if inside is not None:
                        stored.advance(at)
                        return inside
            stored.advance(min(max(1, len(data) - 3), end - stored.position))
        return None

    def _kinds(self) -> list[frames.Frame]:
        """What the frame may be like in which the run begins: like the object's first one, or it was appended."""
        pin = self._around.pin
        try:
            first = frames.parse(self._around.read_span(0, min(pin.size_bytes, frames.HEADER_MAX_BYTES)))
        except frames.FrameError:
            return []
        codes = dict.fromkeys((first.block_code, frames.LARGEST_BLOCK_CODE))
        checks = (first.block_checksums, not first.block_checksums)
        return [first.like(code, check) for code in codes for check in checks]

    def _is_frame(self, at: int) -> bool:
        """Whether a frame begins there: its header fits its checksum, and a block or its end follows."""
        try:
            frame = frames.parse(self._stored.peek_at(at, frames.HEADER_MAX_BYTES))
        except frames.FrameError:
            return False
        following = self._stored.peek_at(at + frame.size, frames.WORD_BYTES)
        return following == bytes(4) or frame.block_at(following, 0) is not None

    def _is_block(self, data: bytes, at: int, frame: frames.Frame) -> bool:
        """Whether a block begins there: others or the frame's end follow it where they must, and it unpacks."""
        word = data[at : at + frames.WORD_BYTES]
        length = frame.block_at(word, 0)
        if length is None:
            return False
        begins, ends = at, False
        for _ in range(_HOPS):
            following = self._word_at(begins + length)
            if following is None:
                return False
            if following == bytes(frames.WORD_BYTES):
                ends = True
                break
            begins += length
            found = frame.block_at(following, 0)
            if found is None:
                return False
            length = found
        if ends:
            end = begins + length + frames.WORD_BYTES
            if not self._ends_well(end, 0) and not self._ends_well(end, 4):
                return False
        return self._unpacks(at, word, frame, begins == at)

    def _word_at(self, at: int) -> bytes | None:
        word = self._stored.peek_at(at, frames.WORD_BYTES)
        return word if len(word) == frames.WORD_BYTES else None

    def _ends_well(self, at: int, more: int) -> bool:
        """Whether the object ends, or another frame begins, `more` bytes after a frame's end."""
        following = self._stored.peek_at(at + more, 4)
        if not following:
            return at + more == self._stored.left
        return following == frames.MAGIC or skippable.is_skippable(following.ljust(4, b"\0"))

    def _unpacks(self, at: int, word: bytes, frame: frames.Frame, is_last: bool) -> bool:
        from lz4.frame import LZ4FrameDecompressor  # noqa: PLC0415 - only where an object is lz4

        length = frame.block_at(word, 0) or 0
        if word[3] & 0x80 and not frame.block_checksums:
            # Nothing in it can be checked. Between others one is full, or short where a writer flushed; any other that
            # ends where a block begins is more likely the end of a packed one.
            size = length - frames.WORD_BYTES
            return is_last or size == frame.block_bytes or size <= _RAW_MAX_BYTES
        stream = LZ4FrameDecompressor()
        try:
            stream.decompress(frame.bare())
            return bool(stream.decompress(self._stored.peek_at(at, length), frame.block_bytes))
        except RuntimeError:
            return False


def session(stored: Stored, mode_name: str, around: Around) -> _Lz4:
    """See `Codec`."""
    return _Lz4(stored, mode_name, around)
