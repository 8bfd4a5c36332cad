"""Segments: the record of what is done. Merging, holes, completeness, CRC combination.

Nothing here reads data. A segment is made of one range's row and grows by merging with its neighbours; an object is
proved when its one segment covers it, its chain runs from its first byte to its last, and its CRC is its own.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from rangemill.blocks import RangeDone
from rangemill.crcs import CRC_FUNCTIONS, DEFAULT_CRC
from rangemill.errors import BrokenChain, ChecksumMismatch, IncompleteProof

__all__ = [
    "CRC_FUNCTIONS",
    "DEFAULT_CRC",
    "THROUGH",
    "Segment",
    "holes",
    "join",
    "merge",
    "offset_of",
    "prove",
    "segment_of",
]

# The state of a tile whose bytes no format has seen (no unit of compressed data begins in it): whatever it is before
# it, it is after it.
THROUGH: Final = "-"


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """Adjacent ranges of one object, proved and merged.

    `start`, `end` in stored bytes; `first`, `last_end` in logical ones (None when no record begins in the segment).
    `assumed`, `left`, `total` as in `RangeDone`. `rejects` of the records were not taken.
    """

    start: int
    end: int
    crc: int
    first: int | tuple[int, int] | None
    last_end: int | tuple[int, int] | None
    records: int
    ranges: int
    assumed: str = ""
    left: str = ""
    total: int | tuple[int, int] | None = None
    rejects: int = 0


def segment_of(done: RangeDone) -> Segment:
    """The segment of a single range."""
    tile = done.tile
    return Segment(
        tile.start,
        tile.end_exclusive,
        done.crc,
        done.first,
        done.end,
        done.records,
        1,
        done.assumed,
        done.left,
        done.total,
    )


def join(left: Segment, right: Segment, crc_name: str, object_uri: str) -> Segment:
    """The one segment of two adjacent ones.

    Raises `BrokenChain` when the left one's last record does not end where the right one's first begins, or when the
    right one assumed another state than the left one left.
    """
    if left.left != right.assumed and THROUGH not in (left.left, right.assumed):
        raise BrokenChain(
            f"{object_uri}: byte {right.start} was read in state {right.assumed!r}, but the bytes before it leave "
            f"{left.left!r}",
            object_uri=object_uri,
        )
    if left.last_end is not None and right.first is not None and left.last_end != right.first:
        raise BrokenChain(
            f"{object_uri}: the records before byte {right.start} end at {left.last_end}, "
            f"those after it begin at {right.first}",
            object_uri=object_uri,
            offset=offset_of(left.last_end),
        )
    combine = CRC_FUNCTIONS[crc_name][1]
    return Segment(
        left.start,
        right.end,
        combine(left.crc, right.crc, right.end - right.start),
        left.first if left.first is not None else right.first,
        right.last_end if right.last_end is not None else left.last_end,
        left.records + right.records,
        left.ranges + right.ranges,
        left.assumed if left.assumed != THROUGH else right.assumed,
        right.left if right.left != THROUGH else left.left,
        left.total if left.total is not None else right.total,  # who saw the last record's end came first
        left.rejects + right.rejects,
    )


def offset_of(place: int | tuple[int, int] | None) -> int | None:
    """The offset that a person is told of a place; of a place in a unit, where the unit lies in the stored object."""
    return place[0] if isinstance(place, tuple) else place


def merge(segments: Iterable[Segment], crc_name: str, object_uri: str) -> list[Segment]:
    """Sorted and merged segments of one object.

    Raises `IncompleteProof` when two overlap (bytes would count twice) and `BrokenChain` at a joint that does not fit.
    """
    merged: list[Segment] = []
    for segment in sorted(segments, key=lambda s: s.start):
        if merged and segment.start < merged[-1].end:
            raise IncompleteProof(
                f"{object_uri}: bytes {segment.start} to {min(segment.end, merged[-1].end)} were covered twice",
                object_uri=object_uri,
                offset=segment.start,
            )
        if merged and segment.start == merged[-1].end:
            merged[-1] = join(merged[-1], segment, crc_name, object_uri)
        else:
            merged.append(segment)
    return merged


def holes(segments: list[Segment], size_bytes: int) -> Iterator[tuple[int, int]]:
    """The stored bytes `[start, end)` that no segment covers, given sorted segments."""
    position = 0
    for segment in segments:
        if segment.start > position:
            yield position, segment.start
        position = segment.end
    if position < size_bytes:
        yield position, size_bytes


def prove(
    segments: list[Segment],
    size_bytes: int,
    logical_bytes: int,
    crc_name: str,
    expected_crc: int | None,
    object_uri: str,
) -> bool | None:
    """Whether the object's combined CRC is its own: True, or None where S3 keeps none.

    Raises `IncompleteProof` for a hole, `BrokenChain` for records that do not reach from the first byte to the last,
    `ChecksumMismatch` when the bytes read are not the bytes stored.
    """
    gap = next(holes(segments, size_bytes), None)
    if gap:
        raise IncompleteProof(
            f"{object_uri}: bytes {gap[0]} to {gap[1]} were never covered", object_uri=object_uri, offset=gap[0]
        )
    crc = 0
    if segments:
        (whole,) = segments
        crc = whole.crc
        end = whole.total if whole.total is not None else logical_bytes
        if whole.first not in (0, (0, 0)) or whole.last_end != end:
            raise BrokenChain(
                f"{object_uri}: its records reach from {whole.first} to {whole.last_end}, not from 0 to {end}",
                object_uri=object_uri,
                offset=offset_of(whole.last_end),
            )
    if expected_crc is None:
        return None
    if crc != expected_crc:
        raise ChecksumMismatch(
            f"{object_uri}: the bytes read have {crc_name} {crc:x}, its own is {expected_crc:x}", object_uri=object_uri
        )
    return True
