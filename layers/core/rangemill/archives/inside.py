"""Logical bytes that one worker reads from their beginning to their end, through the record format."""

import zlib
from collections.abc import Iterator
from functools import partial
from itertools import chain

from rangemill import compression, formats
from rangemill.archives import expand
from rangemill.blocks import Block, RangeDone, Whole
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around
from rangemill.compression.reading import Reading, refuse_bomb
from rangemill.errors import IncompleteProof
from rangemill.formats.base import Event, Settled
from rangemill.limits import SAMPLE_BYTES
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting
from rangemill.ranges import ByteRange


def inside(
    uri: str, logical: Iterator[bytes], size: int, settled: Settled, nesting: Nesting
) -> Iterator[Block | Whole | RangeDone]:
    """The blocks of a member that has no bytes of its own in S3, and one `RangeDone`, whose tile is `[0, size)`.

    One that is compressed once more is unpacked once more, from its first byte to its last.
    """
    module = formats.load(settled.format)
    if size == 0:
        records = 0
        for event in getattr(module, "empty", lambda _: iter(()))(settled):
            if isinstance(event, Block | Whole):
                records += event.records if isinstance(event, Block) else 1
                yield event
        yield RangeDone(ByteRange(0, 1), 0, 0, 0, records)  # the tile is not used: there is no empty one
        return
    whole = ByteRange(0, size)
    codec, logical = _sniffed(logical, settled, nesting)
    if codec == compression.NONE:
        events = module.align(whole, size, size, logical, settled, zlib.crc32, lambda: False)
    else:
        events = _unpacked(uri, codec, whole, logical, settled, nesting)
    for event in events:
        if not isinstance(event, Block | Whole | RangeDone):
            raise IncompleteProof("a member that must be read to its end was left before", object_uri=uri)
        yield event


def _sniffed(logical: Iterator[bytes], settled: Settled, nesting: Nesting) -> tuple[str, Iterator[bytes]]:
    """The codec that the pieces are compressed with, and the same pieces."""
    if settled.format == "object" or nesting.compression != "auto":
        return compression.NONE, logical
    head = b""
    while len(head) < expand.HEAD_BYTES and (piece := next(logical, None)) is not None:
        head += piece
    return compression.sniff(head), chain((head,), logical)


def _unpacked(
    uri: str, codec: str, whole: ByteRange, packed: Iterator[bytes], settled: Settled, nesting: Nesting
) -> Iterator[Event]:
    mode, module = compression.load(codec).mode(b"", None).name, formats.load(settled.format)
    reading = Reading(compression.load(codec), mode, module, settled, nesting)
    around = Around(PinnedObject(0, "", uri, "", whole.size_bytes), partial(_no_other_bytes, uri))
    return reading.align(whole, whole.size_bytes, packed, around, zlib.crc32, lambda: False)


def unpacked_head(uri: str, head: bytes, size: int, nesting: Nesting) -> tuple[bytes, bool]:
    """What a member's first bytes unpack to, where they are compressed once more, and whether that is all of it."""
    codec = compression.sniff(head) if nesting.compression == "auto" else compression.NONE
    if codec == compression.NONE:
        return head, len(head) == size
    whole, mode = ByteRange(0, size), compression.load(codec).mode(b"", None).name
    stored = Stored(iter([head]), whole, size, size, zlib.crc32)
    around = Around(PinnedObject(0, "", uri, "", size), partial(_no_other_bytes, uri))
    session, out = compression.load(codec).session(stored, mode, around), bytearray()
    try:
        for piece in compression.pieces_of(session, stored, partial(refuse_bomb, nesting, codec)):
            out += piece
            if len(out) >= SAMPLE_BYTES:
                return bytes(out[:SAMPLE_BYTES]), False
    except IncompleteProof:  # the head ends
        return bytes(out), False
    return bytes(out), True


def _no_other_bytes(uri: str, start: int, end: int) -> bytes:
    raise IncompleteProof(f"bytes {start} to {end} of {uri} were asked for, which streams past", object_uri=uri)
