"""What Plan sees of members that have no bytes of their own in S3."""

from rangemill.archives import deflated
from rangemill.formats.base import Sample
from rangemill.gateways import Objects
from rangemill.limits import SAMPLE_BYTES
from rangemill.messages import PinnedObject


def logical_head(pin: PinnedObject, reader: Objects) -> Sample:
    """The first bytes of a deflated member. Raises `BadArchive`."""
    size = pin.logical_bytes or 0
    pieces = reader.read(pin, 0, min(SAMPLE_BYTES, pin.size_bytes))
    head = bytearray()
    for output in deflated.inflate(iter(deflated.Passed(pieces, pin.size_bytes, lambda _, crc: crc)), pin):
        head += output
        if len(head) >= SAMPLE_BYTES:
            break
    return Sample(pin.uri, bytes(head[:SAMPLE_BYTES]), 0, size)
