"""Deflated members of a zip: streamed through the record format from their first byte to their last.

Nothing in a deflate stream can be begun in the middle. Its output is held against the size and the CRC-32 that the
archive's directory keeps of it before its range counts as done.
"""

import itertools
import zlib
from collections.abc import Iterator
from typing import Final

from rangemill.archives.inside import inside
from rangemill.blocks import RangeDone
from rangemill.errors import BadArchive, IncompleteProof
from rangemill.formats.base import Crc, Event, Settled
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting
from rangemill.ranges import ByteRange

NAME: Final = "deflate"  # what `PinnedObject.compression` says of such a member
_OUTPUT_BYTES: Final = 2**20


class Passed:
    """Stored pieces on their way, no more of them than `size_bytes`, and their CRC."""

    def __init__(self, pieces: Iterator[bytes], size_bytes: int, crc: Crc) -> None:
        self.crc = 0
        self.left = size_bytes
        self._pieces = pieces
        self._crc_of = crc

    def __iter__(self) -> Iterator[bytes]:
        while self.left:
            piece = next(self._pieces, None)
            if piece is None:
                raise IncompleteProof(f"the object's bytes ended {self.left} bytes before its end")
            piece = piece[: self.left]
            self.left -= len(piece)
            self.crc = self._crc_of(piece, self.crc)
            yield piece

    def drain(self) -> None:
        """Pass what is left."""
        for _ in self:
            pass


def inflate(stored: Iterator[bytes], pin: PinnedObject) -> Iterator[bytes]:
    """The logical bytes of a deflated member, in pieces of at most a MiB.

    Raises `BadArchive` where they are not what the directory says of them; no more than that is ever made.
    """
    expected = pin.logical_bytes or 0
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    crc32 = made = 0
    for piece in itertools.chain(stored, [b""]):  # the empty one brings out what is left in the machine
        data, output = piece, b"?"
        while (data or (output and not piece)) and not machine.eof:
            try:
                output = machine.decompress(data, _OUTPUT_BYTES)
            except zlib.error as error:
                raise _bad(pin, made, f"its deflate data is damaged ({error})") from None
            data = machine.unconsumed_tail
            made += len(output)
            if made > expected:
                raise _bad(pin, expected, f"it unpacks to more than the {expected} bytes that its directory says")
            crc32 = zlib.crc32(output, crc32)
            if output:
                yield output
        if machine.eof and (machine.unused_data or data):
            raise _bad(pin, made, "its deflate data ends before its stored bytes do")
    if not machine.eof:
        raise _bad(pin, made, "its deflate data is cut off")
    if made != expected:
        raise _bad(pin, made, f"it unpacks to {made} bytes, not to the {expected} that its directory says")
    if pin.logical_crc is not None and crc32 != pin.logical_crc:
        raise _bad(pin, made, f"its data has CRC-32 {crc32:08x}, its directory says {pin.logical_crc:08x}")


def align(pin: PinnedObject, pieces: Iterator[bytes], settled: Settled, nesting: Nesting, crc: Crc) -> Iterator[Event]:
    """The events of a whole deflated member: places are logical, the tile and its CRC are of the stored bytes."""
    size = pin.logical_bytes or 0
    stored = Passed(pieces, pin.size_bytes, crc)
    logical = inflate(iter(stored), pin)
    inner = None
    for event in inside(pin.uri, logical, size, settled, nesting):
        if isinstance(event, RangeDone):
            inner = event
        else:
            yield event
    for _ in logical:  # what the format did not need: the checks are at its end
        pass
    stored.drain()
    if inner is None:
        raise IncompleteProof(f"{pin.uri} was not read to its end", object_uri=pin.uri)
    tile = ByteRange(0, pin.size_bytes)
    total = size if inner.total is None else inner.total  # of formats whose places are no offsets
    yield RangeDone(tile, stored.crc, inner.first, inner.end, inner.records, inner.assumed, inner.left, total)


def _bad(pin: PinnedObject, offset: int, problem: str) -> BadArchive:
    return BadArchive(f"{pin.uri}: {problem}; found at byte {offset} of it", object_uri=pin.uri, offset=offset)
