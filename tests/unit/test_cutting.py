"""The aligner of delimiters, fixed lengths and multi-line records: every record once, however it is cut."""

import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.errors import IncompleteProof, RecordTooLarge
from rangemill.formats import _cutting
from rangemill.formats._finders import Delimiters, Finder, FixedLengths, MatchingLines
from rangemill.formats.base import Event
from rangemill.ledger import CRC_FUNCTIONS, Segment, merge, prove, segment_of
from rangemill.ranges import ByteRange, tile

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]


def pieces_of(data: bytes, start: int, sizes: list[int]) -> Iterator[bytes]:
    at, turn = start, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at += size
        turn += 1


def split(
    data: bytes,
    run: ByteRange,
    range_bytes: int,
    finder: Finder,
    *,
    pieces: list[int],
    state: str | None = None,
    stop_after: int | None = None,
    max_record_bytes: int = 1 << 20,
    block_bytes: int = 1 << 20,
) -> list[Event]:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return stop_after is not None and asked >= stop_after

    return list(
        _cutting.cut(
            run,
            range_bytes,
            len(data),
            pieces_of(data, max(0, run.start - finder.look_behind), pieces),
            crc64,
            should_stop,
            lambda body, offset: Block(body, offset, 1),
            finder,
            state,
            max_record_bytes,
            block_bytes,
        )
    )


def run_to_the_end(
    data: bytes,
    run: ByteRange,
    range_bytes: int,
    make: Callable[[], Finder],
    state: str | None,
    next_stop: Callable[[], int | None],
    **options: object,
) -> tuple[list[Block], list[Segment]]:
    """A run and, after each stop, what remained of it (in the state that was left: another worker may assume it)."""
    blocks: list[Block] = []
    rows: list[Segment] = []
    todo: list[ByteRange] = [run]
    while todo:
        run = todo.pop()
        events = split(data, run, range_bytes, make(), state=state, stop_after=next_stop(), **options)  # type: ignore[arg-type]
        covered = run.start
        for event in events:
            match event:
                case Block():
                    blocks.append(event)
                case RangeDone():
                    assert event.tile.start == covered
                    covered, state = event.tile.end_exclusive, event.left
                    rows.append(segment_of(event))
                case Remaining():
                    assert event.tile.start > run.start, "a stopped run makes progress"
                    todo.append(event.tile)
                    assert event is events[-1]
        assert covered == (todo[-1].start if todo else run.end_exclusive)
    return blocks, rows


def require_exact(
    data: bytes,
    starts: list[int],
    make: Callable[[], Finder],
    range_bytes: int,
    cuts: list[float],
    next_stop: Callable[[], int | None],
    **options: object,
) -> int:
    """Every run by itself, and again in its neighbour's state where it assumed another; returns how often that was."""
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    blocks: list[Block] = []
    rows: list[Segment] = []
    repeated = 0
    for start, end in pairwise(edges):
        done = run_to_the_end(data, ByteRange(start, end), range_bytes, make, None, next_stop, **options)
        if start > 0 and done[1][0].assumed != rows[-1].left:
            assert done[1][0].assumed, "what is not named is never asked again"
            repeated += 1
            told = rows[-1].left
            done = run_to_the_end(data, ByteRange(start, end), range_bytes, make, told, next_stop, **options)
            assert done[1][0].assumed == told
        blocks += done[0]
        rows += done[1]
    assert b"".join(block.data for block in blocks) == data
    position = 0
    for block in blocks:
        assert block.offset == position
        assert block.offset in starts, "a block begins with a record"
        position += len(block.data)
    for row in rows:
        own = [s for s in starts if row.start <= s < row.end]
        assert row.first == (own[0] if own else None)
        assert row.last_end == (next((s for s in starts if s >= row.end), len(data)) if own else None)
    merged = merge(rows, "CRC64NVME", "s3://any/key")
    assert prove(merged, len(data), len(data), "CRC64NVME", crc64(data, 0), "s3://any/key") is True
    return repeated


def delimited_starts(data: bytes, delimiter: bytes, unit_bytes: int = 1) -> list[int]:
    """The reference: one pass from left to right."""
    starts, at = [0], 0
    while at + len(delimiter) <= len(data):
        if data[at : at + len(delimiter)] == delimiter:
            at += len(delimiter)
            starts.append(at)
        else:
            at += unit_bytes
    return [s for s in starts if s < len(data)]


ways = {
    "range_bytes": st.one_of(st.integers(1, 12), st.integers(1, 200)),
    "block_bytes": st.integers(1, 60),
    "cuts": st.lists(st.floats(0, 1), max_size=5),
    "pieces": st.lists(st.integers(1, 64), min_size=1, max_size=4),
    "stops": st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=12),
}
DELIMITERS = [
    b"|",
    b"||",
    b"|||",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"aba",
    b"aabaa",
    b"abaab",
    b"\x00",
    b"\x00\x00",
    b"ab",
]


@settings(max_examples=4000, deadline=None)
@given(
    delimiter=st.sampled_from(DELIMITERS),
    letters=st.lists(st.integers(0, 30), max_size=80),
    chain_bytes=st.sampled_from([0, 6, 4096]),
    **ways,
)
def test_delimiters_are_found_as_by_one_pass(
    delimiter: bytes,
    letters: list[int],
    chain_bytes: int,
    range_bytes: int,
    block_bytes: int,
    cuts: list[float],
    pieces: list[int],
    stops: list[int | None],
) -> None:
    # Mostly of the delimiter's own letters, so that occurrences overlap; now and then something else.
    data = bytes(delimiter[n % len(delimiter)] if n < 28 else 0x78 for n in letters)
    if not data:
        return
    left = iter(stops)
    require_exact(
        data,
        delimited_starts(data, delimiter),
        lambda: Delimiters(delimiter, 1, chain_bytes),
        range_bytes,
        cuts,
        lambda: next(left, None),
        pieces=pieces,
        block_bytes=block_bytes,
    )


@settings(max_examples=1500, deadline=None)
@given(
    codec=st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]),
    delimiter=st.sampled_from(["\n", "||", "\n\n", "\u0a0a", "a\u0100"]),
    text=st.text("a\n|\u0a0a\u0a00\u000a\u0100\u010a\U0001f40a", max_size=40),
    rest=st.binary(max_size=3),
    chain_bytes=st.sampled_from([0, 8]),
    **ways,
)
def test_delimiters_of_code_units_are_never_found_across_units(
    codec: str,
    delimiter: str,
    text: str,
    rest: bytes,
    chain_bytes: int,
    range_bytes: int,
    block_bytes: int,
    cuts: list[float],
    pieces: list[int],
    stops: list[int | None],
) -> None:
    unit_bytes = 2 if "16" in codec else 4
    data = text.encode(codec) + rest[: unit_bytes - 1]
    if not data:
        return
    encoded = delimiter.encode(codec)
    left = iter(stops)
    require_exact(
        data,
        delimited_starts(data, encoded, unit_bytes),
        lambda: Delimiters(encoded, unit_bytes, chain_bytes),
        range_bytes,
        cuts,
        lambda: next(left, None),
        pieces=pieces,
        block_bytes=block_bytes,
    )


@settings(max_examples=500, deadline=None)
@given(data=st.binary(min_size=1, max_size=100), record_bytes=st.integers(1, 40), **ways)
def test_fixed_lengths(
    data: bytes,
    record_bytes: int,
    range_bytes: int,
    block_bytes: int,
    cuts: list[float],
    pieces: list[int],
    stops: list[int | None],
) -> None:
    left = iter(stops)
    require_exact(
        data,
        list(range(0, len(data), record_bytes)),
        lambda: FixedLengths(record_bytes),
        range_bytes,
        cuts,
        lambda: next(left, None),
        pieces=pieces,
        block_bytes=block_bytes,
    )


@settings(max_examples=2000, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from([b"> a", b"> ", b"", b"more", b"\r", b">", b"x" * 30, b"> " + b"y" * 40]), max_size=25
    ),
    final=st.booleans(),
    **ways,
)
def test_lines_that_match(
    lines: list[bytes],
    final: bool,
    range_bytes: int,
    block_bytes: int,
    cuts: list[float],
    pieces: list[int],
    stops: list[int | None],
) -> None:
    data = b"\n".join(lines) + (b"\n" if final else b"")
    if not data:
        return
    starts, at = [], 0
    for number, line in enumerate(data.split(b"\n")):
        if at < len(data) and (number == 0 or line.startswith(b"> ")):
            starts.append(at)
        at += len(line) + 1
    left = iter(stops)
    require_exact(
        data,
        starts,
        lambda: MatchingLines(lambda line: line.startswith(b"> "), b"\n", 1, 1 << 20),
        range_bytes,
        cuts,
        lambda: next(left, None),
        pieces=pieces,
        block_bytes=block_bytes,
    )


@settings(max_examples=600, deadline=None)
@given(
    delimiter=st.sampled_from([b"||", b"ab", b"\n"]),
    letters=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    range_bytes=st.integers(1, 30),
    limit=st.integers(1, 20),
    pieces=st.lists(st.integers(1, 64), min_size=1, max_size=3),
)
def test_a_record_is_too_large_wherever_it_is_cut(
    delimiter: bytes, letters: list[int], range_bytes: int, limit: int, pieces: list[int]
) -> None:
    data = bytes(delimiter[n] if n < len(delimiter) else 0x78 for n in letters)
    starts = delimited_starts(data, delimiter)
    contents = {s: data[s:].split(delimiter)[0] for s in starts}
    expected = next((s for s in starts if len(contents[s]) > limit), None)
    found, state = [], None
    for each in tile(0, len(data), range_bytes):
        try:
            events = split(
                data, each, range_bytes, Delimiters(delimiter), pieces=pieces, state=state, max_record_bytes=limit
            )
        except RecordTooLarge as error:
            found.append(error.offset)
            break
        state = next(e.left for e in events if isinstance(e, RangeDone))
    assert (found[0] if found else None) == expected


def test_a_run_in_an_endless_chain_assumes_and_is_told() -> None:
    data = b"x" + b"|" * 20_001 + b"y"
    starts = delimited_starts(data, b"||")
    cuts = [0.5, 0.7001]
    repeated = require_exact(
        data, starts, lambda: Delimiters(b"||"), 1 << 20, cuts, lambda: None, pieces=[1000], block_bytes=1 << 20
    )
    assert repeated >= 1


def test_what_is_certain_is_not_assumed() -> None:
    data = b"aaaa\n\nbbbb\n\n" * 100
    for start in range(1, 200):
        (done,) = [
            e
            for e in split(data, ByteRange(start, 300), 1000, Delimiters(b"\n\n", 1, 16), pieces=[64])
            if isinstance(e, RangeDone)
        ]
        assert done.assumed == ("0" if start % 6 == 0 else "")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Delimiters(b"||"),
        lambda: Delimiters(b"\r\n"),
        lambda: MatchingLines(lambda line: line.startswith(b">"), b"\n", 1, 1 << 26),
    ],
)
def test_a_ten_megabyte_record_over_small_ranges_is_quick(make: Callable[[], Finder]) -> None:
    data = b">first||\r\n" + b"y" * 10_000_000 + b"\r\n||>last"
    began = time.process_time()
    whole = split(data, ByteRange(0, len(data)), 65_536, make(), pieces=[65_536], max_record_bytes=1 << 26)
    rows = [segment_of(e) for e in whole if isinstance(e, RangeDone)]
    assert prove(merge(rows, "CRC64NVME", "o"), len(data), len(data), "CRC64NVME", crc64(data, 0), "o")
    assert time.process_time() - began < 2


def test_a_run_inside_a_long_record_keeps_nothing_and_reads_not_beyond_its_end() -> None:
    data = b"z" * 1000 + b"\n"
    for finder in (Delimiters(b"\n"), FixedLengths(1001), MatchingLines(lambda _: True, b"\n", 1, 1 << 20)):
        run = ByteRange(100, 200)
        given_bytes = data[100 - finder.look_behind : 200]
        events = list(
            _cutting.cut(run, 50, len(data), iter([given_bytes]), crc64, lambda: False, lambda *_: None, finder)
        )
        assert [(e.first, e.end) for e in events if isinstance(e, RangeDone)] == [(None, None), (None, None)]


def test_pieces_that_end_too_early_are_no_end_of_the_object() -> None:
    for finder in (Delimiters(b"||"), FixedLengths(4), MatchingLines(lambda _: True, b"\n", 1, 99)):
        events = _cutting.cut(ByteRange(0, 10), 10, 10, iter([b"abc"]), crc64, lambda: False, lambda *_: None, finder)
        with pytest.raises(IncompleteProof, match="ended at 3, not at 10"):
            list(events)


def test_a_line_too_long_to_be_looked_at_is_named() -> None:
    data = b"> a\n" + b"x" * 50 + b"\n> b\n"
    finder = MatchingLines(lambda line: re.match(b"> ", line) is not None, b"\n", 1, 20)
    with pytest.raises(RecordTooLarge) as caught:
        split(data, ByteRange(0, len(data)), 1000, finder, pieces=[8], max_record_bytes=20, block_bytes=2)
    assert caught.value.offset in (0, 4)
