"""CSV against Python's `csv`: what a row is, and that ranges, pieces, stops and wrong guesses change nothing."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.errors import BadRecord, RangemillError, RecordTooLarge
from rangemill.formats import _csv_automaton as automaton
from rangemill.formats import _csv_guess, _csv_rows, _csv_scan, _csv_split, _csv_wide, _csv_window
from rangemill.formats._csv_automaton import Dialect, dialect, spans
from rangemill.ledger import CRC_FUNCTIONS, Segment, merge, prove, segment_of
from rangemill.ranges import ByteRange

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]
TOKENS = [b"a", b",", b'"', b"\n", b"\r", b"\r\n", b"\\", b'""', b"#", b',"', b'",', b"\n#", b" ", b"\xc3\xa9", b"\n\n"]
# Parts of delimiters of several bytes, self-overlapping ones among them, and of one that is no character of UTF-8.
WIDE_TOKENS = [
    b"|",
    b"||",
    b"a",
    b"aab",
    b'||"',
    b'"||',
    b'"a',
    b"\xc2",
    b"\xc2\xa7",
    b"\xef",
    b"\xff",
    b"\xe2\x90\x9f",
]
narrow_content = st.lists(st.sampled_from(TOKENS), max_size=24).map(b"".join)
content = st.one_of(
    narrow_content,
    st.lists(st.sampled_from(TOKENS + 2 * WIDE_TOKENS), max_size=24).map(b"".join),
)
marked = st.tuples(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b"\xef", b"\xef\xbb"]), content).map(b"".join)
WIDE = ["||", "§", "aab", "::", b"\xff", b"\xef", b"\xef\xff", "x", "\0", "|a|a|"]
delimiters = st.sampled_from([*[","] * len(WIDE), *WIDE])
narrow_dialects = st.builds(
    dialect, st.just(","), st.sampled_from(['"', '"', ""]), st.sampled_from(["", "\\"]), st.sampled_from(["", "#"])
)
dialects = st.builds(
    dialect, delimiters, st.sampled_from(['"', '"', ""]), st.sampled_from(["", "\\"]), st.sampled_from(["", "#"])
)
PLAIN = dialect(",", '"', "", "")
# What people really write: mostly sound, with quoted newlines, and now and then a quote where none belongs.
cell = st.sampled_from(
    [b"1", b"word", b"", b'"q"', b'"a\nb"', b'"x\r\ny"', b'"say ""hi"", ok"', b'""', b'"\n\n"', b'5"']
)
sound_row = st.lists(cell, min_size=3, max_size=3).map(b",".join)
sound = st.lists(st.tuples(sound_row, st.sampled_from([b"\n", b"\r\n"])).map(b"".join), max_size=12).map(b"".join)


def states_of(data: bytes, of: Dialect, state: str = automaton.START) -> list[str]:
    states = [state]
    for byte in data:
        states.append(of.step(states[-1], byte))
    return states


def is_whole(data: bytes, of: Dialect, state: str = automaton.RECORD) -> bool:
    return states_of(data, of, state)[-1] not in automaton.UNFINISHED


@settings(max_examples=1000, deadline=None)
@given(data=narrow_content, escape=st.sampled_from(["", "\\"]))
@example(data=b'5,a"b,c\n', escape="")
def test_a_row_is_what_pythons_csv_reads(data: bytes, escape: str) -> None:
    of = dialect(",", '"', escape, "")
    whole = csv.reader(io.StringIO(data.decode(), newline=""), escapechar=escape or None)
    rows = [next(_csv_rows.reader(io.StringIO(data[a:b].decode(), newline=""), of)) for a, b in spans(data, of)]
    assert rows == [row for row in whole if row]


@settings(max_examples=1000, deadline=None)
@given(data=marked, of=dialects, cut=st.floats(0, 1), few=st.integers(1, 9), stretch=st.integers(1, 40))
def test_the_scanner_reads_as_the_automaton(data: bytes, of: Dialect, cut: float, few: int, stretch: int) -> None:
    middle = int(cut * len(data))
    states, scanner = states_of(data, of), _csv_scan.scanner(of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_csv_scan, "_FEW_BYTES", few)
        patch.setattr(_csv_scan, "_STRETCH_BYTES", stretch)
        first, state, _ = scanner.outline(automaton.START, data, 0, middle)
        assert state == states[middle]
        second, state, _ = scanner.outline(state, data, middle, len(data))
    assert state == states[-1]
    if data not in (b"\xef", b"\xef\xbb"):
        assert _csv_rows.count(first + second) == len(list(spans(data, of)))
    begins = [
        at
        for at in range(middle, len(data) + 1)
        if states[at] in automaton.BEGINS_RECORD
        or (states[at] == automaton.RETURN and at < len(data) and data[at : at + 1] != b"\n")
    ]
    assert scanner.next_start(states[middle], data, middle, len(data)) == (begins[0] if begins else -1)


@settings(max_examples=1000, deadline=None)
@given(data=st.one_of(narrow_content, sound), of=narrow_dialects)
def test_rows_and_their_canonical_form(data: bytes, of: Dialect) -> None:
    expected = list(spans(data, of, automaton.RECORD))
    assert [(start, following) for start, _, following in _csv_rows.spans(data, of)] == expected
    if not is_whole(data, of):
        return
    rows = list(_csv_rows.cells(data, of))
    assert rows == [next(_csv_rows.cells(data[start:end], of)) for start, end in expected]
    assert len(list(_csv_rows.raw(data, of))) == len(rows)
    strict = csv.reader(
        io.StringIO(_csv_rows.canonical(data, of).decode(), newline=""), strict=True, quotechar=_csv_rows.quote_of(of)
    )
    assert list(strict) == rows


def cells_by_the_automaton(row: bytes, of: Dialect) -> list[bytes]:
    """The stretches between the delimiters that separate cells, as they are written."""
    state, begin, end, cells = automaton.RECORD, 0, len(row), []
    for at, byte in enumerate(row):
        state = of.step(state, byte)
        if state == automaton.FIELD:
            cells.append(row[begin : at + 1 - len(of.delimiter)])
            begin = at + 1
        elif state in (automaton.RECORD, automaton.RETURN):
            end = min(end, at)
    return [*cells, row[begin:end]]


@settings(max_examples=1500, deadline=None)
@given(data=st.one_of(content, sound), of=dialects)
@example(data=b'a|||b||"c||\n""d"||e\x1f\n', of=dialect("||", '"', "", ""))
@example(data=b'a\xef\xff"b\xef\xff"\xef\xff\xef\n', of=dialect(b"\xef\xff", '"', "", ""))
def test_cells_are_separated_where_the_automaton_says_and_plainly_the_same(data: bytes, of: Dialect) -> None:
    if not is_whole(data, of) or (of.comment in data and of.comment and not data.isascii()):
        return  # of comments nothing is expected; they must be UTF-8, too
    expected: list[Any] = []
    bad: int | None = None
    lone = Dialect("\ue123".encode(), of.quote, of.escape)  # a delimiter that does not occur: a cell is a row then
    for start, end in spans(data, of):
        try:
            cells = [cell.decode() for cell in cells_by_the_automaton(data[start:end], of)]
        except UnicodeDecodeError:
            bad = start
            break
        read = [next(_csv_rows.reader(io.StringIO(cell, newline=""), lone)) if cell else [""] for cell in cells]
        assert all(len(row) == 1 for row in read)
        expected.append([row[0] for row in read])
    if bad is not None:
        with pytest.raises(BadRecord, match="not UTF-8") as caught:
            list(_csv_rows.cells(data, of))
        assert caught.value.offset == bad
        return
    assert list(_csv_rows.cells(data, of)) == expected
    plain = _csv_rows.in_plain(data, of)
    assert list(_csv_rows.cells(plain, _csv_wide.PLAIN)) == expected
    strict = csv.reader(
        io.StringIO(_csv_rows.canonical(plain, _csv_wide.PLAIN).decode(), newline=""), delimiter="\x1f", strict=True
    )
    assert list(strict) == expected


# --- the aligner -----------------------------------------------------------------------------------------------------


@dataclass
class Tried:
    """What a run gave under an assumed state."""

    assumed: str
    blocks: list[Block]
    rows: list[Segment]
    remaining: Remaining | None


def pieces_of(data: bytes, start: int, sizes: list[int]) -> Iterator[bytes]:
    at, turn = start, 0
    while at < len(data):
        yield data[at : at + sizes[turn % len(sizes)]]
        at += sizes[turn % len(sizes)]
        turn += 1


def make_block(rows: _csv_split.Rows, of: Dialect) -> Block | None:
    records, is_even = _csv_rows.counted(rows.outline) if rows.data not in (b"\xef", b"\xef\xbb") else (1, False)
    is_canonical = rows.is_clean and is_even and of.quote != b""
    return Block(rows.data, rows.offset, records - rows.has_header, is_canonical=is_canonical)


def attempt(
    data: bytes, run: ByteRange, state: str | None, of: Dialect, stop_after: int | None = None, **options: Any
) -> Tried:
    scanner, asked = _csv_scan.scanner(of), 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return stop_after is not None and asked >= stop_after

    given_options: dict[str, Any] = {"range_bytes": 7, "pieces": [64], "max_record_bytes": 1 << 20, **options}
    sizes = given_options.pop("pieces")
    pieces = pieces_of(data, max(0, run.start - _csv_window.look_behind(scanner)), sizes)
    tried = Tried("", [], [], None)
    for event in _csv_split.split(
        run,
        given_options.pop("range_bytes"),
        len(data),
        pieces,
        crc64,
        should_stop,
        partial(make_block, of=of),
        scanner,
        3,
        state,
        **given_options,
    ):
        match event:
            case Block():
                tried.blocks.append(event)
            case RangeDone():
                tried.rows.append(segment_of(event))
            case Remaining():
                tried.remaining = event
    tried.assumed = tried.rows[0].assumed
    return tried


@settings(max_examples=1500, deadline=None)
@given(
    data=st.one_of(marked, sound),
    of=dialects,
    has_header=st.booleans(),
    range_bytes=st.one_of(st.integers(1, 12), st.integers(1, 200)),
    block_bytes=st.integers(1, 60),
    cuts=st.lists(st.floats(0, 1), max_size=5),
    pieces=st.lists(st.integers(1, 64), min_size=1, max_size=4),
    stops=st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=12),
    forced=st.lists(st.one_of(st.none(), st.sampled_from(automaton.STATES)), max_size=6),
)
def test_every_byte_and_every_row_once_whatever_was_assumed(  # noqa: C901 - one story
    data: bytes,
    of: Dialect,
    has_header: bool,
    range_bytes: int,
    block_bytes: int,
    cuts: list[float],
    pieces: list[int],
    stops: list[int | None],
    forced: list[str | None],
) -> None:
    if data in (b"", b"\xef", b"\xef\xbb"):
        return
    how: dict[str, Any] = {
        "range_bytes": range_bytes,
        "block_bytes": block_bytes,
        "pieces": pieces,
        "has_header": has_header,
    }
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    guesses, when = iter(forced), iter(stops)
    states = states_of(data, of)
    tried: dict[int, Tried | None] = {}
    for start, end in pairwise(edges):  # all at once, each with what it assumes
        try:
            guess = next(guesses, None) if start else None
            tried[start] = attempt(data, ByteRange(start, end), guess, of, next(when, None), **how)
        except RangemillError:
            tried[start] = None
    blocks: list[Block] = []
    rows: list[Segment] = []
    offset: int | None = None
    state, todo = "", list(reversed([ByteRange(start, end) for start, end in pairwise(edges)]))
    while todo:  # then as Aggregate does it: what a neighbour contradicts, and what failed, again with what it tells
        run = todo.pop()
        found = tried.pop(run.start, None)
        if found is None or (run.start and found.assumed != state):
            try:
                found = attempt(data, run, state if run.start else None, of, next(when, None), **how)
            except BadRecord as error:
                offset = error.offset
                break
        assert found.rows[0].start == run.start
        blocks += found.blocks
        rows += found.rows
        state = found.rows[-1].left
        if found.remaining is not None:
            assert found.remaining.state == state
            assert found.remaining.tile.start > run.start, "a stopped run makes progress"
            assert found.remaining.tile.end_exclusive == run.end_exclusive
            todo.append(found.remaining.tile)

    assert (offset is not None) == (states[-1] in automaton.UNFINISHED)
    if offset is not None:
        assert offset == list(spans(data, of))[-1][0]
        return
    assert b"".join(block.data for block in blocks) == data
    for block in blocks:
        assert not block.is_canonical or _csv_rows.canonical(block.data, of) == block.data
    for row in rows:
        assert row.assumed.removeprefix(_csv_window.BEFORE) == states[row.start]
    begins = {start for start, _ in spans(data, of)}
    for block in blocks:
        found_here = {at for at in begins if block.offset <= at < block.offset + len(block.data)}
        assert block.records == len(found_here) - (has_header and min(begins, default=-1) in found_here)
    merged = merge(rows, "CRC64NVME", "s3://any/key")
    assert prove(merged, len(data), len(data), "CRC64NVME", crc64(data, 0), "s3://any/key") is True
    assert merged[0].records == max(0, len(begins) - has_header)


def test_guesses_are_right_where_the_data_is_sound() -> None:
    rows = [b'%d,"a, ""quoted""\nline %d",%s\n' % (n, n, b"x" * (n % 50)) for n in range(300)]
    rows[70] = b'70,5" tube,x\n'
    data = b"".join(rows)
    states, scanner = states_of(data, PLAIN), _csv_scan.scanner(PLAIN)
    wrong = [
        at
        for at in range(101, len(data), 41)
        if _csv_guess.guess(scanner, 3, data[at - 1 : at], data[at : at + 1000]) != states[at]
    ]
    assert not wrong


def test_a_long_quoted_text_is_guessed_by_the_quote_that_ends_it() -> None:
    data = b'1,2,3\n"' + b"lorem ipsum " * 20_000 + b'",2,3\n' + b'"4",5,6\n' * 5000
    run = ByteRange(1000, len(data))
    assert attempt(data, run, None, PLAIN, pieces=[10_000], range_bytes=1 << 20).assumed == automaton.QUOTED


@settings(max_examples=400, deadline=None)
@given(
    data=st.one_of(content, sound),
    range_bytes=st.integers(1, 30),
    limit=st.integers(1, 40),
    pieces=st.lists(st.integers(1, 64), min_size=1, max_size=3),
)
def test_a_row_is_too_large_wherever_it_is_cut(data: bytes, range_bytes: int, limit: int, pieces: list[int]) -> None:
    if not data or not is_whole(data, PLAIN, automaton.START):
        return
    how: dict[str, Any] = {"max_record_bytes": limit, "block_bytes": 25, "pieces": pieces}
    found: list[int | None] = []
    states = states_of(data, PLAIN)
    for start in range(0, len(data), range_bytes):
        run = ByteRange(start, min(start + range_bytes, len(data)))
        try:
            attempt(data, run, states[start] if start else None, PLAIN, range_bytes=range_bytes, **how)
        except RecordTooLarge as error:
            found.append(error.offset)
    sizes = [(a, b - a - (data[b - 1] in b"\r\n")) for a, b in spans(data, PLAIN)]
    assert next(iter(found), None) == next((start for start, size in sizes if size > limit), None)


def test_a_quote_that_is_never_closed_ends_in_the_record_that_opened_it() -> None:
    data = b'a,b\n1,2\n3,"open\n4,5\n' + b"6,7\n" * 1000
    with pytest.raises(RecordTooLarge, match=r"the record at byte 8 .*opens a quote") as too_large:
        attempt(data, ByteRange(0, 100), None, PLAIN, max_record_bytes=500)
    assert too_large.value.offset == 8
    with pytest.raises(BadRecord, match=r"the record at byte 8 .*never closed") as open_quote:
        attempt(data, ByteRange(0, 100), None, PLAIN)
    assert open_quote.value.offset == 8


def test_no_more_is_read_than_the_last_row_needs() -> None:
    data = b'aaaa,"x\ny"\nbbbb\n' + b"c\n" * 1000
    taken: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        for piece in pieces_of(data, 0, [5]):
            taken.append(piece)
            yield piece

    scanner = _csv_scan.scanner(PLAIN)
    run = ByteRange(0, 9)
    events = list(
        _csv_split.split(
            run, 9, len(data), pieces(), crc64, lambda: False, partial(make_block, of=PLAIN), scanner, 2, None, 1 << 20
        )
    )
    assert len(taken) == 3
    assert events[-1] == RangeDone(run, crc64(data[:9], 0), 0, 11, 1, automaton.START, automaton.QUOTED)
