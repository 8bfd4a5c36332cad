"""Logical bytes that one worker reads from their beginning to their end, through the record format."""

import zlib
from collections.abc import Iterator
from itertools import chain

from rangemill import compression, formats
from rangemill.archives import expand
from rangemill.blocks import Block, RangeDone, Whole
from rangemill.errors import BadArchive, IncompleteProof
from rangemill.formats.base import Settled
from rangemill.nesting import Nesting
from rangemill.ranges import ByteRange


def inside(
    uri: str, logical: Iterator[bytes], size: int, settled: Settled, nesting: Nesting
) -> Iterator[Block | Whole | RangeDone]:
    """The blocks of a member that has no bytes of its own in S3, and one `RangeDone`, whose tile is `[0, size)`.

    Raises `BadArchive` for a member that is compressed once more.
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
    if settled.format != "object" and nesting.compression == "auto":
        logical = _plain(uri, logical)
    for event in module.align(ByteRange(0, size), size, size, logical, settled, zlib.crc32, lambda: False):
        if not isinstance(event, Block | Whole | RangeDone):
            raise IncompleteProof("a member that must be read to its end was left before", object_uri=uri)
        yield event


def _plain(uri: str, logical: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, unless they are compressed."""
    head = b""
    while len(head) < expand.HEAD_BYTES and (piece := next(logical, None)) is not None:
        head += piece
    found = compression.sniff(head)
    if found != compression.NONE:
        raise BadArchive(
            f"{uri} is {found} inside what is compressed already, which is not read; store it in the archive as it is",
            object_uri=uri,
            offset=0,
        )
    return chain((head,), logical)
