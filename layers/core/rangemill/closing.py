"""Closing objects: whether segments prove one, and what is counted of the proved and of those that are still open."""

from collections.abc import Iterable

import msgspec

from rangemill.errors import CountMismatch
from rangemill.ledger import Segment, merge, prove
from rangemill.messages import ClosedObject, OpenObject, OutcomeHeader, PinnedObject, Slot, Totals


def bytes_of(segments: Iterable[Segment]) -> int:
    """Stored bytes of the segments."""
    return sum(s.end - s.start for s in segments)


def records_of(segments: Iterable[Segment]) -> int:
    """Records of the segments."""
    return sum(s.records for s in segments)


def ranges_of(segments: Iterable[Segment]) -> int:
    """Ranges of the segments."""
    return sum(s.ranges for s in segments)


def add_rows(objects: dict[int, OpenObject], slot: Slot, header: OutcomeHeader) -> None:
    """Merge an outcome's rows into the open objects, by index. Raises what `ledger.merge` raises."""
    pins: dict[int, PinnedObject] = {pin.index: pin for pin in (*slot.objects, *header.pins)}
    for index, segments in header.rows:
        known = objects.get(index)
        pin = known.pin if known is not None and not known.pin.crc_later else pins[index]
        joined = [*(known.segments if known is not None else ()), *segments]
        wrong_waves = known.wrong_waves if known is not None else 0
        objects[index] = OpenObject(pin, merge(joined, pin.crc_name, pin.uri), wrong_waves)


def is_whole(entry: OpenObject) -> bool:
    """Whether all of the object was done."""
    return len(entry.segments) == 1 and entry.segments[0].start == 0 and entry.segments[0].end == entry.pin.size_bytes


def closed(entry: OpenObject, level: str) -> ClosedObject:
    """A proved object. Raises what `ledger.prove` raises."""
    pin, segment = entry.pin, entry.segments[0]
    expected = pin.crc if level != "units" else None  # of units not every byte is read
    matched = prove(entry.segments, pin.size_bytes, pin.size_bytes, pin.crc_name, expected, pin.uri)
    if pin.logical_crc is not None:  # of what it unpacks to: held against the archive's by the worker that unpacked it
        matched = True
    return ClosedObject(
        pin.index,
        pin.uri,
        pin.size_bytes,
        pin.etag,
        pin.version_id,
        segment.records,
        segment.ranges,
        pin.crc_name,
        segment.crc,
        matched,
        segment.rejects,
    )


def counted(
    old: Totals, opened_before: list[OpenObject], closed_now: list[ClosedObject], still_open: list[OpenObject]
) -> Totals:
    """Exact counts after a wave: of the proved objects so far, and of the proved segments of the open ones."""
    before = [segment for entry in opened_before for segment in entry.segments]
    after = [segment for entry in still_open for segment in entry.segments]
    return msgspec.structs.replace(
        old,
        objects=old.objects + len(closed_now),
        bytes=old.bytes + sum(c.size_bytes for c in closed_now) + bytes_of(after) - bytes_of(before),
        records=old.records + sum(c.records for c in closed_now) + records_of(after) - records_of(before),
        ranges=old.ranges + sum(c.ranges for c in closed_now) + ranges_of(after) - ranges_of(before),
        unmatched_objects=old.unmatched_objects + sum(c.matched is None for c in closed_now),
    )


def merge_intervals(intervals: list[tuple[int, int]], job_id: str) -> list[tuple[int, int]]:
    """Sorted, merged intervals `[first, end)`. Raises `CountMismatch` when one object was proved twice."""
    merged: list[tuple[int, int]] = []
    for first, end in sorted(intervals):
        if merged and first < merged[-1][1]:
            raise CountMismatch(f"object {first} of job {job_id} was proved twice")
        if merged and first == merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((first, end))
    return merged
