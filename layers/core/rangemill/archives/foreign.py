"""Objects that begin as another format does: read as text they would be cut at the wrong bytes without a word."""

from collections.abc import Iterator

from rangemill import compression
from rangemill.archives import expand
from rangemill.errors import BadRecord
from rangemill.formats._sniff import MAGIC, UNREAD


def refuse(head: bytes, object_uri: str, type_name: str) -> None:
    """Raise `BadRecord` for an archive, and for another format's or codec's magic in an object's first bytes."""
    found = expand.kind_of(head)
    remedy = f"say `archive: {found}` or `auto` under `format` to read the files in it"
    if found is None:
        found = next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)
        remedy = f"say `type: {found}` or `auto`"
    if found is None:
        found = next((name for magic, name in UNREAD.items() if head.startswith(magic)), None)
        remedy = "unpack it first, or compress it with gzip, zstd, bzip2, xz or LZ4 frames, which are read as they are"
    if found is not None and found != type_name:
        raise BadRecord(
            f"{object_uri} is {found} by its first bytes, but the pipeline reads it as {type_name}; {remedy}",
            object_uri=object_uri,
            offset=0,
        )


def refused(pieces: Iterator[bytes], object_uri: str, type_name: str, *, is_plain: bool) -> Iterator[bytes]:
    """The same pieces of an object from its start, once its head was looked at.

    Unless it `is_plain` by the pipeline, compressed data is refused too: small files in archives are looked at for it
    only where their name speaks of it.
    """
    head = b""
    try:
        while len(head) < expand.HEAD_BYTES and (piece := next(pieces, None)) is not None:
            head += piece
        refuse(head, object_uri, type_name)
        codec = compression.NONE if is_plain else compression.sniff(head)
        if codec != compression.NONE:
            raise BadRecord(
                f"{object_uri} is {codec} by its first bytes, but not by its name; say `compression: {codec}` under "
                "`format`, or `none` if it is meant so",
                object_uri=object_uri,
                offset=0,
            )
        if head:
            yield head
        yield from pieces
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
