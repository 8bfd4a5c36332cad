"""A format of UTF-8 over objects in other encodings: the same records, at their stored places, however they are cut."""

from collections.abc import Callable, Iterator
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.errors import BadRecord, RecordTooLarge
from rangemill.formats import _cutting, _encodings, _lines, _recoded
from rangemill.formats._finders import Delimiters
from rangemill.formats.base import Event, Sample
from rangemill.ledger import CRC_FUNCTIONS, THROUGH, Segment, merge, prove, segment_of
from rangemill.ranges import ByteRange, tile

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]


def starts_of(data: bytes) -> list[int]:
    parts = data.split(b"||")
    return list(accumulate((len(part) + 2 for part in parts), initial=0))[: len(parts) - (not parts[-1])]


def align(
    data: bytes,
    run: ByteRange,
    range_bytes: int,
    encoding: str,
    *,
    pieces: int = 7,
    state: str | None = None,
    with_places: bool = False,
    stop: Callable[[], bool] = lambda: False,
    limit: int = 1 << 20,
) -> list[Event]:
    def block(body: bytes, offset: int) -> Block | None:
        body, offset = _lines.without_bom(body, offset)
        starts = starts_of(body)
        places = [offset + start for start in starts] if with_places else None
        return Block(body, offset, len(starts), places) if body else None

    def inner(part: ByteRange, end: int, given: Iterator[bytes], known: str | None) -> Iterator[Event]:
        finder = Delimiters(b"||", 1, 8)
        return _cutting.cut(
            part, 2**62, end, given, lambda _, value: value, lambda: False, block, finder, known, limit, 16
        )

    behind = Delimiters(b"||", 1, 8).look_behind
    begin = max(0, run.start - _recoded.look_behind(behind, encoding))
    given = (data[at : at + pieces] for at in range(begin, len(data), pieces))
    return list(
        _recoded.align(
            inner, behind, encoding, "optional", run, range_bytes, len(data), given, crc64, stop, state, starts_of
        )
    )


letters = st.sampled_from(["a", "|", "||", "é", "\u0a0a", "\U0001f40a", "x" * 20, "\n", "\ud7ff", "\x00"])


@settings(max_examples=1500, deadline=None)
@given(
    text=st.lists(letters, max_size=30).map("".join),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "latin-1"]),
    bom=st.booleans(),
    range_bytes=st.integers(1, 40),
    run_ranges=st.integers(1, 5),
    pieces=st.integers(1, 50),
    with_places=st.booleans(),
)
def test_the_records_of_the_text_at_their_stored_places(
    text: str, encoding: str, bom: bool, range_bytes: int, run_ranges: int, pieces: int, with_places: bool
) -> None:
    if encoding == "latin-1":
        text, bom = text.encode("latin-1", "ignore").decode("latin-1"), False
    data = (("\ufeff" if bom else "") + text).encode(encoding)
    if not data:
        return
    at, expected = len(data) - len(text.encode(encoding)), []
    parts = text.split("||")
    for content in parts if parts[-1] else parts[:-1]:
        expected.append((at, content))
        at += len((content + "||").encode(encoding))

    found: list[tuple[int, str]] = []
    rows: list[Segment] = []
    for run in tile(0, len(data), range_bytes * run_ranges):
        state = None
        while True:
            events = align(data, run, range_bytes, encoding, pieces=pieces, state=state, with_places=with_places)
            mine = [segment_of(event) for event in events if isinstance(event, RangeDone)]
            assumed = next((row.assumed for row in mine if row.assumed != THROUGH), "")
            left = next((row.left for row in reversed(rows) if row.left != THROUGH), "")
            if not rows or assumed in ("", left):
                break
            assert state is None, "what was told is not assumed again"
            state = left
        rows += mine
        for event in events:
            if isinstance(event, Block):
                contents = event.data.decode().split("||")
                contents = contents if contents[-1] else contents[:-1]
                assert event.places is not None
                found += zip(list(event.places), contents, strict=True)
                assert event.offset == event.places[0]
    assert found == expected
    (whole,) = merge(rows, "CRC64NVME", "o")
    assert prove([whole], len(data), len(data), "CRC64NVME", crc64(data, 0), "o") is True
    assert whole.records == len(expected)


def test_a_stop_leaves_whole_ranges() -> None:
    data = "aa||bb||cc||dd".encode("utf-16-le")
    stopped = align(data, ByteRange(0, len(data)), 9, "utf-16-le", stop=lambda: True)
    assert stopped[-1] == Remaining(ByteRange(9, 28), "")
    rest = align(data, ByteRange(9, 28), 9, "utf-16-le", state="")
    rows = [segment_of(event) for event in stopped + rest if isinstance(event, RangeDone)]
    assert prove(merge(rows, "CRC64NVME", "o"), 28, 28, "CRC64NVME", crc64(data, 0), "o")


@pytest.mark.parametrize("bad", [b"\x00\xd8", b"\x00\xdc"])
@pytest.mark.parametrize("range_bytes", [1, 5, 1000])
def test_a_lone_surrogate_makes_its_record_unreadable_and_moves_no_place(bad: bytes, range_bytes: int) -> None:
    before = "ab||é||".encode("utf-16-le")
    data = before + bad + "a||z".encode("utf-16-le")
    found: list[tuple[int, bytes]] = []
    for event in align(data, ByteRange(0, len(data)), range_bytes, "utf-16-le"):
        if isinstance(event, Block):
            found += zip(event.places or (), event.data.removesuffix(b"||").split(b"||"), strict=True)
    (place, content) = found[2]
    assert [(at, body) for at, body in found if at != place] == [(0, b"ab"), (8, "é".encode()), (len(data) - 2, b"z")]
    assert place == len(before)
    with pytest.raises(UnicodeDecodeError):
        content.decode()


@pytest.mark.parametrize("bad", [b"x"])
@pytest.mark.parametrize("range_bytes", [1, 5, 1000])
def test_bytes_that_are_not_of_the_encoding_are_named_by_their_offset(bad: bytes, range_bytes: int) -> None:
    before = "ab||é||".encode("utf-16-le")
    data = before + bad + (b"" if bad == b"x" else b"a\0")

    def read_all() -> None:
        for run in tile(0, len(data), range_bytes):
            align(data, run, range_bytes, "utf-16-le")

    with pytest.raises(BadRecord, match="is not utf-16-le") as caught:
        read_all()
    assert caught.value.offset == len(before)


def test_what_the_inner_format_says_of_offsets_is_of_stored_ones() -> None:
    data = ("é" * 10 + "||" + "x" * 50 + "||").encode("utf-16-be")
    for run in (ByteRange(0, len(data)), ByteRange(22, 44)):
        with pytest.raises(RecordTooLarge, match="the record at byte 24 is longer") as caught:
            align(data, run, 22, "utf-16-be", limit=30)
        assert caught.value.offset == 24


def test_an_object_of_another_mark_is_refused() -> None:
    with pytest.raises(BadRecord, match="utf-16-be by its byte order mark"):
        align("\ufeffa".encode("utf-16-be"), ByteRange(0, 4), 10, "utf-16-le")


def test_samples_and_heads_become_utf8() -> None:
    data = "\ufeffé\U0001f40ab\n".encode("utf-16-le")
    whole = _encodings.utf8_sample(Sample("o", data, 0, len(data)), "utf-16-le")
    assert (whole.data, whole.object_bytes) == ("\ufeffé\U0001f40ab\n".encode(), 11)
    part = _encodings.utf8_sample(Sample("o", data[:6], 0, len(data)), "utf-16-le")
    assert (part.data, part.object_bytes) == ("\ufeffé".encode(), 6)
    middle = _encodings.utf8_sample(Sample("o", data[3:], 3, len(data)), "utf-16-le")
    assert (middle.data, middle.offset) == ("\U0001f40ab\n".encode(), 3)
    pieces = [data[at : at + 3] for at in range(0, len(data), 3)]
    assert b"".join(_encodings.utf8_head(lambda: iter(pieces), "utf-16-le")()) == "\ufeffé\U0001f40ab\n".encode()
