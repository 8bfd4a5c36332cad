"""What Plan sees of members that have no bytes of their own in S3."""

from collections.abc import Iterator
from typing import Final

from rangemill.archives import deflated, tar_headers
from rangemill.archives.inside import unpacked_head
from rangemill.archives.tar_stream import Forward
from rangemill.compression import looking
from rangemill.errors import BadArchive, RangemillError
from rangemill.formats.base import Sample
from rangemill.gateways import Objects
from rangemill.limits import SAMPLE_BYTES
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting

_SAMPLED_MEMBERS: Final = 16
_SAMPLED_BYTES: Final = 16 * 2**20
_LOOKED_THROUGH_BYTES: Final = 4 * 2**30  # of a compressed tar, unpacked: a minute of Plan's fifteen


def logical_head(pin: PinnedObject, nesting: Nesting, reader: Objects) -> Sample:
    """The first bytes of a deflated member. Raises `BadArchive`."""
    size = pin.logical_bytes or 0
    pieces = reader.read(pin, 0, min(SAMPLE_BYTES, pin.size_bytes))
    head = bytearray()
    for output in deflated.inflate(iter(deflated.Passed(pieces, pin.size_bytes, lambda _, crc: crc)), pin):
        head += output
        if len(head) >= SAMPLE_BYTES:
            break
    return _sample(pin.uri, bytes(head[:SAMPLE_BYTES]), size, nesting)


def _sample(uri: str, head: bytes, size: int, nesting: Nesting) -> Sample:
    """A member's head, unpacked once more where it is compressed by itself."""
    data, is_all = unpacked_head(uri, head, size, nesting)
    return Sample(uri, data, 0, size if data is head else len(data) + (not is_all))


def of_compressed_tar(pin: PinnedObject, nesting: Nesting, reader: Objects) -> Iterator[Sample]:
    """The heads of the first members that are meant and have bytes.

    Raises `BadArchive`, also where there seem to be none, and `BadCompression`.
    """
    try:
        yield from _of_members(pin, nesting, reader)
    except RangemillError as error:
        error.of_object(pin.uri)
        raise


def _of_members(pin: PinnedObject, nesting: Nesting, reader: Objects) -> Iterator[Sample]:
    stream, at, found = Forward(looking.logical_pieces(pin, nesting, reader)), 0, 0
    while (header := tar_headers.read_header(stream.read_at, at, pin.uri)) is not None:
        if header.kind == "file" and header.size_bytes and nesting.means(header.name):
            data = stream.read_at(header.data_at, min(SAMPLE_BYTES, header.size_bytes))
            yield _sample(f"{pin.uri}!{header.name}", data, header.size_bytes, nesting)
            found += 1
        at = header.next_at
        if found and (found == _SAMPLED_MEMBERS or at > _SAMPLED_BYTES):
            return
        if at > _LOOKED_THROUGH_BYTES:
            raise BadArchive(
                f"{pin.uri}: none of its first {at} bytes belong to a file that `format.members` means",
                object_uri=pin.uri,
            )
