"""xz: blocks are units as the index at the object's end lists them, or streams are.

- `xz:blocks`: with their logical offsets. `xz:streams`: found by their header, which carries a CRC of its own.
- `xz`: one block, which nothing in the world can begin in the middle.

Checks (CRC-32, CRC-64, SHA-256) are held against each block's output by the library.
"""

import lzma
from collections.abc import Iterator
from typing import Final

from rangemill.compression import _xz_index as xz_index
from rangemill.compression._stored import Stored
from rangemill.compression._xz_index import XzBlock, XzIndexError
from rangemill.compression.base import Around, Decoded, Mode, Unit, corrupt
from rangemill.errors import BadCompression

SUFFIXES: Final = (".xz",)
RECOMPRESS: Final = "xz -dc {} | xz -T0 --block-size=64MiB > split.xz"
STREAM_BYTES_PER_SECOND: Final = 10 * 10**6

_OUT_BYTES: Final = 2**20
_FEED_BYTES: Final = 128 * 2**10
_LOOK_BYTES: Final = 256 * 2**10
_MEMORY_BYTES: Final = 256 * 2**20  # `xz -9` needs 65 MiB; a dictionary of more than this is refused


def recognises(head: bytes) -> bool:
    """See `Codec`."""
    return head.startswith(xz_index.MAGIC)


def mode(head: bytes, around: Around | None) -> Mode:  # noqa: ARG001 - the interface
    """See `Codec`."""
    if around is None:
        return Mode("xz:streams")
    try:
        blocks = xz_index.blocks(around.read_span, around.pin.size_bytes)
    except XzIndexError as error:
        raise corrupt("xz", str(error), around.pin.size_bytes) from None
    if blocks is None:
        return Mode("xz:streams")
    return Mode("xz:blocks", absolute=True) if len(blocks) > 1 else Mode("xz", whole=True)


class _Xz:
    """See `Session`."""

    def __init__(self, stored: Stored, mode_name: str, around: Around) -> None:
        self._stored = stored
        self._mode = mode_name
        self._around = around

    def stop_soon(self) -> None:
        """See `Session`: units lie where they lie."""

    def stopped(self, stored: int) -> None:
        """See `Session`: a block needs nothing of those before it."""

    def decode(self) -> Iterator[Decoded]:
        """See `Session`."""
        if self._mode == "xz:blocks":
            yield from self._by_index()
        elif self._stored.position == 0 or self._find():
            while self._stored.left:
                yield Unit(self._stored.position)
                yield from self._stream()
                self._padding()

    # --- blocks ---

    def _by_index(self) -> Iterator[Decoded]:
        stored = self._stored
        try:
            known = xz_index.blocks(self._around.read_span, stored.object_bytes) or []
        except XzIndexError as error:
            raise corrupt("xz", str(error), stored.object_bytes) from None
        run = stored.run
        blocks = [block for block in known if block.stored >= run.start]
        if run.start == 0:
            if not xz_index.is_header(stored.peek(xz_index.HEADER_BYTES)):
                raise corrupt("xz", "its header does not fit its CRC", 0)
            yield Unit(0, 0)
        elif not blocks or blocks[0].stored >= run.end_exclusive:
            stored.advance_to(run.end_exclusive)
            return
        for block in blocks:
            stored.advance_to(block.stored)
            yield Unit(block.stored, block.logical)
            yield from self._block(block)
        stored.advance_to(stored.object_bytes)

    def _block(self, block: XzBlock) -> Iterator[Decoded]:
        """A block, decompressed behind a header like its stream's."""
        stored = self._stored
        stream = self._decompressor()
        given = 0
        feed = xz_index.header(block.flags)
        missing = block.stored_bytes
        while True:
            out = self._out(stream, feed, block.stored)
            if out:
                given += len(out)
                yield out
            if stream.needs_input:
                if not missing:
                    break
                feed = stored.chunk()[: min(_FEED_BYTES, missing)]
                if not feed:
                    raise corrupt("xz", "the data ends inside a block: it is truncated", stored.position)
                missing -= len(feed)
                stored.advance(len(feed))
            else:
                feed = b""
        if given != block.logical_bytes:
            raise corrupt("xz", "a block's output is not as long as the index says", block.stored)

    # --- streams ---

    def _find(self) -> bool:
        """Go to the first stream that begins in the run; False: the run was passed."""
        stored = self._stored
        end = stored.run.end_exclusive
        while stored.position < end:
            data = stored.peek(_LOOK_BYTES + xz_index.HEADER_BYTES)
            at = data.find(xz_index.MAGIC)
            if at < 0:
                stored.advance(min(max(1, len(data) - len(xz_index.MAGIC) + 1), end - stored.position))
                continue
            if stored.position + at >= end:
                break
            stored.advance(at)
            if xz_index.is_header(stored.peek(xz_index.HEADER_BYTES)):
                return True
            stored.advance(1)
        stored.advance_to(end)
        return False

    def _stream(self) -> Iterator[Decoded]:
        stored = self._stored
        begun = stored.position
        stream = self._decompressor()
        feed = b""
        while not stream.eof:
            data = b""
            if stream.needs_input:
                stored.advance(len(feed))
                data = feed = stored.chunk()[:_FEED_BYTES]
                if not feed:
                    raise corrupt("xz", "the data ends inside a stream: it is truncated", begun)
                stored.lent = len(feed)
            out = self._out(stream, data, begun)
            if out:
                yield out
        stored.advance(len(feed) - len(stream.unused_data))

    def _padding(self) -> None:
        stored = self._stored
        while (chunk := stored.chunk()) and not chunk[0]:
            stored.advance(len(chunk) - len(chunk.lstrip(b"\0")))

    def _decompressor(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_BYTES)

    def _out(self, stream: lzma.LZMADecompressor, data: bytes, at: int) -> bytes:
        try:
            return stream.decompress(data, _OUT_BYTES)
        except lzma.LZMAError as error:
            if "memory" in str(error).lower():
                raise BadCompression(
                    f"its xz data at stored byte {at} needs more than {_MEMORY_BYTES // 2**20} MiB to unpack: "
                    "compress it again with a smaller dictionary (`xz -9` and below)",
                    offset=at,
                ) from None
            raise corrupt("xz", str(error), at) from None


def session(stored: Stored, mode_name: str, around: Around) -> _Xz:
    """See `Codec`."""
    return _Xz(stored, mode_name, around)
