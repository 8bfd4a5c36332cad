"""bzip2: blocks are units, found by their magic number at any bit; so are the headers of streams, without bytes.

A block is decompressed as a stream of its own, and its CRC checked. A stream's combined CRC is checked by whoever has
seen the whole stream.
"""

import bz2
from collections.abc import Iterator
from typing import Final

from rangemill.compression import _bzip2_bits as find
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Decoded, Mode, Unit, corrupt

SUFFIXES: Final = (".bz2", ".bzip2")
RECOMPRESS: Final = "bzip2 -dc {} | zstd -o split.zst"  # not needed: blocks are small
STREAM_BYTES_PER_SECOND: Final = 5 * 10**6

_OUT_BYTES: Final = 2**20
_LOOK_BYTES: Final = 256 * 2**10
_BLOCK_MAX_BYTES: Final = 1_200_000  # 900,000 bytes before packing, which adds at most a few percent
_LEVELS: Final = tuple(b"BZh%d" % level for level in range(1, 10))


def recognises(head: bytes) -> bool:
    """See `Codec`: three letters alone may begin a line of text."""
    if not head.startswith(_LEVELS):
        return False
    return find.bits(head, 8 * find.HEADER_BYTES, find.MAGIC_BITS) in (find.BLOCK, find.END)


def mode(head: bytes, around: Around | None) -> Mode:  # noqa: ARG001 - the interface
    """See `Codec`."""
    return Mode("bzip2")


class _Bzip2:
    """See `Session`."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._bit = 0  # where the next magic begins, counted from the position's byte
        self._crc: int | None = None  # of the stream's blocks so far; None where its beginning was not seen

    def stop_soon(self) -> None:
        """See `Session`: units lie where they lie."""

    def stopped(self, stored: int) -> None:
        """See `Session`: a block needs nothing of those before it."""

    def decode(self) -> Iterator[Decoded]:
        """See `Session`."""
        stored = self._stored
        if stored.position == 0:
            yield Unit(0)
            self._header()
        elif not self._find():
            return
        while True:
            magic = find.bits(stored.peek(8), self._bit, find.MAGIC_BITS)
            if magic == find.BLOCK:
                yield Unit(stored.position)
                yield from self._block()
            elif magic == find.END:
                self._end()
                if not stored.left:
                    return
                self._header()
            else:
                problem = "the data ends inside a stream: it is truncated" if magic < 0 else "no block begins here"
                raise corrupt("bzip2", problem, stored.position)

    def _header(self) -> None:
        stored = self._stored
        if stored.peek(find.HEADER_BYTES) not in _LEVELS:
            raise corrupt("bzip2", "no stream begins here", stored.position)
        stored.advance(find.HEADER_BYTES)
        self._bit, self._crc = 0, 0

    def _find(self) -> bool:
        """Go to the first block that begins in the run; False: the run was passed."""
        stored = self._stored
        end = stored.run.end_exclusive
        overlap = find.MAGIC_BITS // 8 + 1
        # Of a magic that begins in the run's first byte the search needs a byte before it, which it never looks at.
        before = b"\0"
        from_bit = 8
        while stored.position < end:
            data = before + stored.peek(_LOOK_BYTES + overlap)
            found = find.next_magic(data, from_bit)
            if found is None:
                stored.advance(min(max(1, len(data) - 1 - overlap), end - stored.position))
                from_bit = 8
                continue
            at = found.bit // 8 - 1
            if stored.position + at >= end:
                break
            if found.is_block:
                stored.advance(at)
                self._bit = found.bit % 8
                return True
            from_bit = found.bit + 1
        stored.advance_to(end)
        return False

    def _block(self) -> Iterator[Decoded]:
        """The block at the position, up to the next magic number; one that packed data happens to hold is passed."""
        stored = self._stored
        begun, from_bit, look = stored.position, self._bit + find.TRAILER_BITS, _LOOK_BYTES
        tried = False
        while True:
            data = stored.peek(look)
            following = find.next_magic(data, from_bit)
            if following is None:
                if len(data) < look or look > 2 * _BLOCK_MAX_BYTES:
                    problem = "a block has no end"
                    if len(data) < look:
                        problem = "a block's data is damaged" if tried else "its last block has no end: it is truncated"
                    raise corrupt("bzip2", problem, begun)
                from_bit = max(from_bit, 8 * (len(data) - 8))
                look *= 2
                continue
            output = self._unpacked(find.as_stream(data, self._bit, following.bit), begun)
            first = next(output, None)
            if first is not None:
                break
            from_bit, tried = following.bit + 1, True
        crc = find.bits(data, self._bit + find.MAGIC_BITS, 32)
        if self._crc is not None:
            self._crc = (self._crc << 1 & 0xFFFFFFFF | self._crc >> 31) ^ crc
        yield first
        yield from output
        stored.advance(following.bit // 8)
        self._bit = following.bit % 8

    def _unpacked(self, stream: bytes, begun: int) -> Iterator[bytes]:
        """The output of a block; nothing at all where the block goes on beyond what was given."""
        unpacker = bz2.BZ2Decompressor()
        given = False
        while not unpacker.eof:
            try:
                out = unpacker.decompress(b"" if given else stream, _OUT_BYTES)
            except OSError as error:
                if not given:
                    return
                raise corrupt("bzip2", f"a block's data does not fit its CRC ({error})", begun) from None
            if not out and not unpacker.eof:
                if given:
                    raise corrupt("bzip2", "a block's data ends early", begun)
                return
            given = True
            if out:
                yield out

    def _end(self) -> None:
        stored = self._stored
        data = stored.peek(12)
        crc = find.bits(data, self._bit + find.MAGIC_BITS, 32)
        if crc < 0:
            raise corrupt("bzip2", "the data ends inside a stream's end: it is truncated", stored.position)
        if self._crc is not None and crc != self._crc:
            raise corrupt("bzip2", "a stream's CRC is not that of its blocks", stored.position)
        stored.advance(-(-(self._bit + find.TRAILER_BITS) // 8))


def session(stored: Stored, mode_name: str, around: Around) -> _Bzip2:  # noqa: ARG001 - the interface
    """See `Codec`."""
    return _Bzip2(stored)
