"""Segments: whatever order they come in, they merge to what was read, or say what is wrong."""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rangemill.blocks import RangeDone
from rangemill.errors import BrokenChain, ChecksumMismatch, IncompleteProof
from rangemill.ledger import CRC_FUNCTIONS, Segment, holes, join, merge, prove, segment_of
from rangemill.ranges import ByteRange

NAMES = list(CRC_FUNCTIONS)
URI = "s3://b/k"


def crc_of(name: str, data: bytes) -> int:
    return CRC_FUNCTIONS[name][0](data, 0)


def segments_of(data: bytes, cuts: list[int], name: str) -> list[Segment]:
    """What ranges cut there report of lines."""
    bounds = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    starts = [0, *(at + 1 for at, byte in enumerate(data) if byte == 10 and at + 1 < len(data))]
    ends = [*starts[1:], len(data)]
    found = []
    for low, high in pairwise(bounds):
        own = [(a, b) for a, b in zip(starts, ends, strict=True) if low <= a < high]
        first, end = (own[0][0], own[-1][1]) if own else (None, None)
        tile = ByteRange(low, high)
        found.append(segment_of(RangeDone(tile, crc_of(name, data[low:high]), first, end, len(own))))
    return found


def check(segments: list[Segment], data: bytes, name: str, **changes: Any) -> bool | None:
    arguments: dict[str, Any] = {
        "size_bytes": len(data),
        "logical_bytes": len(data),
        "crc_name": name,
        "expected_crc": crc_of(name, data),
        "object_uri": URI,
        **changes,
    }
    return prove(segments, **arguments)


data_of_lines = st.lists(st.binary(max_size=12), min_size=1, max_size=30).map(b"\n".join).filter(bool)
cuts = st.lists(st.integers(0, 10**6), max_size=40)


@given(data_of_lines, cuts, st.sampled_from(NAMES), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_any_tiling_in_any_order_merges_to_one_proved_segment(
    data: bytes, cuts: list[int], name: str, rng: random.Random
) -> None:
    segments = segments_of(data, cuts, name)
    records = sum(s.records for s in segments)
    tiles = len(segments)
    rng.shuffle(segments)
    ledger: list[Segment] = []
    while segments:  # wave by wave
        size = rng.randint(1, len(segments))
        ledger = merge([*ledger, *segments[:size]], name, URI)
        segments = segments[size:]
    (whole,) = ledger
    assert whole == Segment(0, len(data), crc_of(name, data), 0, len(data), records, tiles)
    assert check(ledger, data, name) is True


@given(data_of_lines, cuts, st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_a_tile_that_was_left_out_is_a_hole_at_its_offset(
    data: bytes, cuts: list[int], name: str, rng: random.Random
) -> None:
    segments = segments_of(data, cuts, name)
    missing = segments.pop(rng.randrange(len(segments)))
    ledger = merge(segments, name, URI)
    assert list(holes(ledger, len(data))) == [(missing.start, missing.end)]
    with pytest.raises(IncompleteProof, match="never covered") as caught:
        check(ledger, data, name)
    assert (caught.value.offset, caught.value.object_uri) == (missing.start, URI)


@given(data_of_lines, cuts, st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_a_tile_that_comes_twice_is_refused(data: bytes, cuts: list[int], name: str, rng: random.Random) -> None:
    segments = segments_of(data, cuts, name)
    segments.append(rng.choice(segments))
    with pytest.raises(IncompleteProof, match="covered twice"):
        merge(segments, name, URI)


@given(data_of_lines, cuts, st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_one_wrong_crc_is_a_mismatch(data: bytes, cuts: list[int], name: str, rng: random.Random) -> None:
    segments = segments_of(data, cuts, name)
    at = rng.randrange(len(segments))
    segments[at] = replace(segments[at], crc=segments[at].crc ^ (1 << rng.randrange(32)))
    with pytest.raises(ChecksumMismatch, match=name):
        check(merge(segments, name, URI), data, name)


@pytest.mark.parametrize("name", NAMES)
def test_two_tiles_that_changed_places_are_a_mismatch(name: str) -> None:
    data = b"aaaa\nbbbb\n"
    left, right = segments_of(data, [5], name)
    swapped = [replace(left, crc=right.crc), replace(right, crc=left.crc)]
    with pytest.raises(ChecksumMismatch):
        check(merge(swapped, name, URI), data, name)


@pytest.mark.parametrize("by", [-1, 1])
def test_records_that_do_not_meet_break_the_chain(by: int) -> None:
    data = b"aaaa\nbbbb\ncccc\n"
    left, middle, right = segments_of(data, [5, 10], "CRC32")
    with pytest.raises(BrokenChain, match="end at 5") as caught:
        merge([right, replace(middle, first=5 + by), left], "CRC32", URI)
    assert caught.value.offset == 5


def test_a_chain_is_followed_over_ranges_in_which_no_record_begins() -> None:
    data = b"a\n" + b"x" * 20 + b"\nlast\n"
    tiles = segments_of(data, [2, 5, 9, 14, 20, 24], "CRC32")
    assert [t.first for t in tiles if t.first is None] == [None] * 4
    tiles[-1] = replace(tiles[-1], first=22)
    with pytest.raises(BrokenChain):
        merge(tiles, "CRC32", URI)


@pytest.mark.parametrize(("first", "last_end"), [(1, 10), (0, 9), (None, None)])
def test_records_must_reach_from_the_first_byte_to_the_last(first: int | None, last_end: int | None) -> None:
    data = b"aaaa\nbbbb\n"
    whole = Segment(0, 10, crc_of("CRC32", data), first, last_end, 2, 1)
    with pytest.raises(BrokenChain, match="reach from"):
        check([whole], data, "CRC32")


def test_without_a_checksum_of_its_own_an_object_is_proved_but_not_matched() -> None:
    data = b"aaaa\nbbbb\n"
    assert check(merge(segments_of(data, [5], "CRC32"), "CRC32", URI), data, "CRC32", expected_crc=None) is None


def test_an_empty_object_is_proved_by_having_no_holes() -> None:
    empty = Segment(0, 0, 0, 0, 0, 0, 0)
    for segments in ([], [empty]):
        assert check(segments, b"", "CRC64NVME", expected_crc=0) is True
        with pytest.raises(ChecksumMismatch):
            check(segments, b"", "CRC64NVME", expected_crc=5)


@pytest.mark.parametrize("name", NAMES)
def test_a_crc_of_terabytes_combines_at_once(name: str) -> None:
    """From two halves of zeros that nobody reads: combining is arithmetic on lengths."""
    half = Segment(0, 25 * 10**12, 0x1234, 0, 25 * 10**12, 1, 1)
    other = Segment(25 * 10**12, 50 * 10**12, 0x4321, 25 * 10**12, 50 * 10**12, 1, 1)
    assert join(half, other, name, URI).end == 50 * 10**12
