"""An outcome as it lies in S3: a magic, the header's length, the header, then the partial's bytes. One PUT per slot."""

import struct
from collections.abc import Iterable
from typing import Final

import msgspec

from rangemill import messages
from rangemill.errors import BadRequest, CountMismatch, IncompleteProof, IntegrityError
from rangemill.messages import OutcomeHeader, Slot

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


def require_whole(header: OutcomeHeader, job_id: str, wave: int, slot: Slot, where: str) -> None:
    """Raise `IncompleteProof` unless what was done and what remains are the slot, each byte of it once."""
    if (header.job_id, header.wave, header.slot) != (job_id, wave, slot.slot):
        raise IncompleteProof(f"{where} is that of slot {header.slot} of wave {header.wave} of job {header.job_id}")
    told = [(index, s.start, s.end) for index, segments in header.rows for s in segments]
    told += [(run.object_index, run.start, run.end) for run in header.remaining]
    given = _joined((run.object_index, run.start, run.end) for run in slot.runs)
    if _joined(told) != given:
        uri = slot.objects[0].uri if slot.objects else None
        raise IncompleteProof(f"{where} does not account for each byte of its slot once", object_uri=uri)


def require_counts(header: OutcomeHeader, where: str) -> None:
    """Raise `CountMismatch` unless records and rejects are as many whichever way they are counted."""
    rows = sum(segment.records for _, segments in header.rows for segment in segments)
    if not header.records == rows == header.taken + header.rejects:
        raise CountMismatch(
            f"{where}: {rows} records in its rows, {header.records} found, "
            f"{header.taken} taken and {header.rejects} rejected"
        )
    kinds = sum(group.count for group in header.reject_groups)
    in_rows = sum(segment.rejects for _, segments in header.rows for segment in segments)
    if not header.rejects == in_rows == kinds:
        raise CountMismatch(f"{where}: {header.rejects} rejects, {in_rows} in its rows and {kinds} by their kinds")


def _joined(spans: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Sorted spans (object, start, end), adjacent ones joined; overlapping ones stay apart."""
    joined: list[tuple[int, int, int]] = []
    for index, start, end in sorted(spans):
        if joined and joined[-1][0] == index and joined[-1][2] == start:
            joined[-1] = (index, joined[-1][1], end)
        else:
            joined.append((index, start, end))
    return joined
