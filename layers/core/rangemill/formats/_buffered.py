"""Formats that read at places of their own choice, over bytes that only come as a stream, as compressed data do."""

from collections.abc import Callable, Iterator
from typing import Final

from rangemill.blocks import Block, RangeDone
from rangemill.errors import BadRequest, IncompleteProof, RecordTooLarge
from rangemill.formats import _forward
from rangemill.formats.base import Crc, Event, Sample, Source
from rangemill.ranges import ByteRange

_PACKED: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "LZ4",
    b"PK\x03\x04": "zip",
}


def hint(head: bytes) -> str:
    """What an object that is not of its format is, where its first bytes tell, and what to do."""
    found = next((name for magic, name in _PACKED.items() if head.startswith(magic)), None)
    if found is None:
        return ""
    remedy = f"say `compression: {found.lower()}` or `type: auto`, or " if found != "zip" else ""
    return f" (it is {found} by its first bytes; {remedy}store it as it is, it compresses by itself)"


class BytesSource:
    """A `Source` in memory."""

    def __init__(self, uri: str, data: bytes) -> None:
        self.uri = uri
        self.size_bytes = len(data)
        self._data = data

    def read(self, start: int, end: int) -> bytes:
        """See `Source`."""
        return self._data[start:end]

    def stream(self, start: int, stop_hint: int) -> Iterator[bytes]:  # noqa: ARG002 - the interface
        """See `Source`."""
        return iter([self._data[start:]])


def whole(sample: Sample, format_name: str) -> Source:
    """The object of a sample that holds all of it. Raises `BadRequest` for one that does not."""
    if sample.offset or len(sample.data) < sample.object_bytes:
        raise BadRequest(
            f"{sample.object_uri} is {format_name} inside compressed data, where it cannot be read at any place; "
            f"store it as it is: {format_name} compresses by itself",
            object_uri=sample.object_uri,
        )
    return BytesSource(sample.object_uri, sample.data)


def align(
    run: ByteRange,
    object_bytes: int,
    pieces: Iterator[bytes],
    crc: Crc,
    max_bytes: int,
    align_source: Callable[[ByteRange, Source], Iterator[Event]],
) -> Iterator[Event]:
    """The blocks of a whole object that fits into memory, and one row for all of it.

    Raises `BadRequest` for a part of one, `RecordTooLarge` for one of more than `max_bytes`.
    """
    if run != ByteRange(0, object_bytes):
        raise BadRequest("inside compressed data this format can only be read whole; store it as it is")
    if object_bytes > max_bytes:
        raise RecordTooLarge(
            f"inside compressed data it must fit into memory, but it has {object_bytes} bytes, more than "
            f"format.max_unit_bytes ({max_bytes}); store it as it is",
            offset=0,
        )
    data = b"".join(pieces)[:object_bytes]
    if len(data) < object_bytes:
        raise IncompleteProof(f"the object's bytes ended at {len(data)}, not at {object_bytes}", offset=len(data))
    records = 0
    with _forward.nameless():
        for event in align_source(run, BytesSource(_forward.NAMELESS, data)):
            if isinstance(event, Block):
                records += event.records
                yield event
    yield RangeDone(run, crc(data, 0), 0, object_bytes, records)
