"""The aligner of newline-delimited formats: every byte once, every record once, however it is cut."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import formats
from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.errors import IncompleteProof, RecordTooLarge
from rangemill.formats import _delimited, _lines
from rangemill.formats.base import Event, Settled
from rangemill.ledger import CRC_FUNCTIONS, Segment, merge, prove, segment_of
from rangemill.ranges import ByteRange, tile

crc64, combine = CRC_FUNCTIONS["CRC64NVME"]
TEXT = Settled("text", {})


def pieces_of(data: bytes, start: int, sizes: list[int]) -> Iterator[bytes]:
    """The bytes from one before `start`, in pieces of these sizes, over and over."""
    at, turn = max(0, start - 1), 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at += size
        turn += 1


def plain_block(data: bytes, offset: int) -> Block:
    return Block(data, offset, _lines.count_lines(data))


def split(
    data: bytes,
    run: ByteRange,
    range_bytes: int,
    *,
    pieces: list[int],
    stop_after: int | None = None,
    max_record_bytes: int = 1 << 20,
    block_bytes: int = 1 << 20,
) -> list[Event]:
    """The events of a run, stopped after that many blocks."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return stop_after is not None and asked >= stop_after

    return list(
        _delimited.split(
            run,
            range_bytes,
            len(data),
            pieces_of(data, run.start, pieces),
            crc64,
            should_stop,
            plain_block,
            max_record_bytes,
            block_bytes,
        )
    )


def run_to_the_end(
    data: bytes, run: ByteRange, range_bytes: int, next_stop: Callable[[], int | None], **options: object
) -> tuple[list[Block], list[Segment]]:
    """A run and, after each stop, what remained of it."""
    blocks: list[Block] = []
    rows: list[Segment] = []
    todo: list[ByteRange] = [run]
    while todo:
        run = todo.pop()
        events = split(data, run, range_bytes, stop_after=next_stop(), **options)  # type: ignore[arg-type]
        covered = run.start
        for event in events:
            match event:
                case Block():
                    blocks.append(event)
                case RangeDone():
                    assert event.tile.start == covered
                    covered = event.tile.end_exclusive
                    rows.append(segment_of(event))
                case Remaining():
                    assert event.tile.start > run.start, "a stopped run makes progress"
                    todo.append(event.tile)
                    assert event is events[-1]
        assert covered == (todo[-1].start if todo else run.end_exclusive)
    return blocks, rows


content = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b"\r", b"\xff\x00", b"\xe2\x80\xa8", b"x" * 37, b"\n\n", b'"']),
    max_size=40,
).map(b"".join)


@settings(max_examples=3000, deadline=None)
@given(
    data=content,
    range_bytes=st.one_of(st.integers(1, 12), st.integers(1, 500)),
    block_bytes=st.integers(1, 60),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    pieces=st.lists(st.integers(1, 64), min_size=1, max_size=4),
    stops=st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=12),
)
def test_every_byte_and_every_record_exactly_once(
    data: bytes, range_bytes: int, block_bytes: int, cuts: list[float], pieces: list[int], stops: list[int | None]
) -> None:
    if not data:
        return
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    left = iter(stops)
    blocks: list[Block] = []
    rows: list[Segment] = []
    for start, end in pairwise(edges):
        more_blocks, more_rows = run_to_the_end(
            data,
            ByteRange(start, end),
            range_bytes,
            lambda: next(left, None),
            pieces=pieces,
            block_bytes=block_bytes,
        )
        blocks += more_blocks
        rows += more_rows

    assert b"".join(block.data for block in blocks) == data
    position = 0
    for block in blocks:
        assert block.offset == position
        position += len(block.data)
        assert block.data.endswith(b"\n") or position == len(data)
    expected = data.split(b"\n")
    if data.endswith(b"\n"):
        expected.pop()
    assert sum(block.records for block in blocks) == len(expected)

    merged = merge(rows, "CRC64NVME", "s3://any/key")
    assert prove(merged, len(data), len(data), "CRC64NVME", crc64(data, 0), "s3://any/key") is True
    assert merged[0].records == len(expected)


@settings(max_examples=400, deadline=None)
@given(
    data=content,
    range_bytes=st.integers(1, 30),
    limit=st.integers(1, 40),
    pieces=st.lists(st.integers(1, 64), min_size=1, max_size=3),
)
def test_a_record_is_too_large_wherever_it_is_cut(data: bytes, range_bytes: int, limit: int, pieces: list[int]) -> None:
    if not data:
        return
    expected, fine, position = [], [], 0
    for line in data.split(b"\n"):
        if len(line) > limit:
            expected.append(position)
        elif position < len(data):
            fine.append(line)
        position += len(line) + 1
    blocks, rows = [], []
    for each in tile(0, len(data), range_bytes):
        more = split(data, each, range_bytes, pieces=pieces, max_record_bytes=limit, block_bytes=25)
        blocks += [event for event in more if isinstance(event, Block)]
        rows += [segment_of(event) for event in more if isinstance(event, RangeDone)]
    refused = [each for block in blocks for each in block.refused]
    assert [each.offset for each in refused] == expected
    assert all(each.too_large and not each.data for each in refused)
    read = b"".join(block.data if block.data.endswith(b"\n") else block.data + b"\n" for block in blocks if block.data)
    assert read == b"".join(line + b"\n" for line in fine)
    (whole,) = merge(rows, "CRC64NVME", "o")
    assert whole.records == len(fine) + len(expected)
    assert prove([whole], len(data), len(data), "CRC64NVME", crc64(data, 0), "o")


@pytest.mark.parametrize("piece_bytes", [64 * 1024, 1 << 20])
def test_a_ten_megabyte_record_over_small_ranges_is_not_scanned_again_and_again(piece_bytes: int) -> None:
    data = b"first\n" + b"y" * 10_000_000 + b"\nlast"
    began = time.process_time()
    whole = split(data, ByteRange(0, len(data)), 64 * 1024, pieces=[piece_bytes], max_record_bytes=1 << 26)
    blocks = [e for e in whole if isinstance(e, Block)]
    assert [len(b.data) for b in blocks] == [10_000_007, 4]
    rows = [segment_of(e) for e in whole if isinstance(e, RangeDone)]
    assert prove(merge(rows, "CRC64NVME", "o"), len(data), len(data), "CRC64NVME", crc64(data, 0), "o")
    assert time.process_time() - began < 2

    inside = split(data, ByteRange(655_360, 720_896), 65_536, pieces=[piece_bytes])
    assert inside == [RangeDone(ByteRange(655_360, 720_896), crc64(data[655_360:720_896], 0), None, None, 0)]


def test_one_byte_ranges_over_a_hundred_kilobytes_are_quick() -> None:
    data = b"0123456789012345678\n" * 5000
    began = time.process_time()
    events = split(data, ByteRange(0, len(data)), 1, pieces=[1 << 20])
    assert sum(isinstance(e, RangeDone) for e in events) == 100_000
    assert b"".join(e.data for e in events if isinstance(e, Block)) == data
    assert time.process_time() - began < 3


def test_no_more_is_read_than_the_last_record_needs() -> None:
    data = b"aaaa\nbbbb\n" + b"c\n" * 1000
    taken: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        for piece in pieces_of(data, 0, [5]):
            taken.append(piece)
            yield piece

    run = ByteRange(0, 7)
    events = list(_delimited.split(run, 7, len(data), pieces(), crc64, lambda: False, plain_block))
    assert len(taken) == 2
    assert events[-1] == RangeDone(run, crc64(data[:7], 0), 0, 10, 2)


def test_a_run_inside_a_long_record_reads_nothing_beyond_its_end() -> None:
    data = b"z" * 1000 + b"\n"
    run = ByteRange(100, 200)
    events = list(_delimited.split(run, 50, len(data), iter([data[99:200]]), crc64, lambda: False, plain_block))
    assert [(e.first, e.end) for e in events if isinstance(e, RangeDone)] == [(None, None), (None, None)]


def test_pieces_that_end_too_early_are_no_end_of_the_object() -> None:
    with pytest.raises(IncompleteProof, match="ended at 3, not at 10"):
        list(_delimited.split(ByteRange(0, 10), 10, 10, iter([b"abc"]), crc64, lambda: False, plain_block))


def test_bytes_appended_after_the_pin_are_not_read() -> None:
    events = list(_delimited.split(ByteRange(0, 3), 3, 3, iter([b"a\nbMORE\n"]), crc64, lambda: False, plain_block))
    assert events == [Block(b"a\nb", 0, 2), RangeDone(ByteRange(0, 3), crc64(b"a\nb", 0), 0, 3, 2)]


def align_text(data: bytes, range_bytes: int = 1 << 20, **options: object) -> list[Event]:
    settled = Settled("text", dict(options))
    run = ByteRange(0, len(data))
    return list(formats.load("text").align(run, range_bytes, len(data), iter([data]), settled, crc64, lambda: False))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\r\nb\n\r\n", [b"a", b"b", b""]),
        (b"a\r\r\nb\rc\n", [b"a\r", b"b\rc"]),
        (b"\n", [b""]),
        (b"\n\n", [b"", b""]),
        (b"a\n\n\nb", [b"a", b"", b"", b"b"]),
        (b"\r", [b"\r"]),
        (b"a\xc2\x85b\xe2\x80\xa8c\x0bd\x0ce\x1cf\n", [b"a\xc2\x85b\xe2\x80\xa8c\x0bd\x0ce\x1cf"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", [b"a", b"\xef\xbb\xbfb"]),
        (b"\xef\xbb\xbf", []),
        (b"a\x00b\n", [b"a\x00b"]),
    ],
)
def test_text_records_are_lines_without_their_ends(data: bytes, expected: list[bytes]) -> None:
    for range_bytes in (1, 2, 1 << 20):
        blocks = [e for e in align_text(data, range_bytes) if isinstance(e, Block)]
        taken = [list(formats.load("text").records(b.data, TEXT, None)) for b in blocks]
        assert [record for records in taken for record in records] == expected
        assert [b.records for b in blocks] == [len(records) for records in taken]


def test_text_takes_its_record_limit_as_people_write_it() -> None:
    events = align_text(b"ok\n" + b"x" * 2000, max_record_bytes="1 KiB")
    assert [each.offset for event in events if isinstance(event, Block) for each in event.refused] == [3]


def test_the_end_of_a_record_that_is_too_large_is_not_sought_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_delimited, "TOO_LARGE_MAX_BYTES", 1000)
    data = b"ok\n" + b"x" * 1200 + b"\n"
    assert split(data, ByteRange(0, len(data)), 4096, pieces=[100], max_record_bytes=300)
    with pytest.raises(RecordTooLarge, match="nor does it end within 1000 bytes more") as caught:
        split(data + b"y" * 1500, ByteRange(0, len(data) + 1500), 4096, pieces=[100], max_record_bytes=300)
    assert caught.value.offset == len(data)
