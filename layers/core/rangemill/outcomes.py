"""An outcome as it lies in S3: a magic, the header's length, the header, then the partial's bytes. One PUT per slot."""

import struct
from typing import Final

import msgspec

from rangemill import messages
from rangemill.errors import BadRequest, IntegrityError
from rangemill.messages import OutcomeHeader

_MAGIC: Final = b"RMO1"
_LENGTH: Final = struct.Struct(">I")


def encode(header: OutcomeHeader, partial: bytes) -> bytes:
    """The bytes of an outcome."""
    head = msgspec.msgpack.encode(header)
    return b"".join((_MAGIC, _LENGTH.pack(len(head)), head, partial))


def decode(body: bytes, where: str) -> tuple[OutcomeHeader, bytes]:
    """Header and partial. Raises `IntegrityError` for what is no outcome, `BadRequest` for another version."""
    start = len(_MAGIC) + _LENGTH.size
    if body[: len(_MAGIC)] != _MAGIC or len(body) < start:
        raise IntegrityError(f"{where} is not an outcome")
    (length,) = _LENGTH.unpack(body[len(_MAGIC) : start])
    try:
        header = msgspec.msgpack.decode(body[start : start + length], type=OutcomeHeader)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"{where} cannot be read: {error}") from None
    if header.v not in messages.READABLE_VERSIONS:
        raise BadRequest(f"{where} has version {header.v}; this code reads {sorted(messages.READABLE_VERSIONS)}")
    return header, body[start + length :]
