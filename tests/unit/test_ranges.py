"""Tiles and their arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangemill.ranges import ByteRange, tile, tile_count

offsets = st.integers(0, 10_000)
sizes = st.integers(1, 3_000)


@given(offsets, offsets, sizes)
def test_tiles_cover_every_byte_once_and_are_cut_at_multiples(start: int, length: int, range_bytes: int) -> None:
    tiles = list(tile(start, start + length, range_bytes))
    position = start
    for each in tiles:
        assert each.start == position
        assert each.size_bytes <= range_bytes
        position = each.end_exclusive
    assert position == start + length if tiles else length == 0
    assert all(each.end_exclusive % range_bytes == 0 for each in tiles[:-1])
    assert tile_count(start, start + length, range_bytes) == len(tiles)


@given(offsets, offsets, offsets, sizes)
def test_the_tiles_of_a_remainder_are_those_of_the_whole(start: int, first: int, second: int, range_bytes: int) -> None:
    """Cut anywhere: only the tile that was cut differs."""
    cut, end = start + first, start + first + second
    whole = {(t.start, t.end_exclusive) for t in tile(start, end, range_bytes)}
    parts = [*tile(start, cut, range_bytes), *tile(cut, end, range_bytes)]
    assert sum((p.start, p.end_exclusive) not in whole for p in parts) in (0, 2)


@given(offsets, sizes)
def test_halves_are_the_range(start: int, size: int) -> None:
    whole = ByteRange(start, start + size)
    halves = whole.halves()
    if size == 1:
        assert halves is None
        return
    assert halves is not None
    left, right = halves
    assert (left.start, left.end_exclusive, right.end_exclusive) == (start, right.start, start + size)
    assert abs(left.size_bytes - right.size_bytes) <= 1


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_a_range_of_no_bytes_cannot_be_made(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="not a range"):
        ByteRange(start, end)


def test_the_http_header_is_inclusive() -> None:
    assert ByteRange(0, 1).http_header() == "bytes=0-0"
    assert ByteRange(5, 10).http_header() == "bytes=5-9"


def test_a_range_size_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(tile(0, 1, 0))


def test_tiles_of_a_50_tb_object_are_counted_without_walking() -> None:
    assert tile_count(0, 50 * 10**12, 64 * 2**20) == 745_059
