"""JSON by its structure: every element once, however it is cut, and whatever a range guesses of its start."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import formats
from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.errors import BadRecord, RangemillError, RecordTooLarge
from rangemill.formats import _json_guess, _json_split
from rangemill.formats._json_structure import Path
from rangemill.formats.base import Event, Settled
from rangemill.ledger import CRC_FUNCTIONS, Segment, merge, prove, segment_of
from rangemill.ranges import ByteRange

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]


def pieces_of(data: bytes, start: int, sizes: list[int]) -> Iterator[bytes]:
    at, turn = max(0, start - _json_guess.LOOK_BEHIND_BYTES), 0
    while at < len(data):
        yield data[at : at + sizes[turn % len(sizes)]]
        at, turn = at + sizes[turn % len(sizes)], turn + 1


def events_of(
    data: bytes,
    run: ByteRange,
    range_bytes: int,
    path: Path,
    state: str | None,
    *,
    pieces: list[int],
    stop_after: int | None = None,
    block_bytes: int = 1 << 20,
    max_record_bytes: int = 1 << 20,
) -> list[Event]:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return stop_after is not None and asked >= stop_after

    return list(
        _json_split.split(
            run,
            range_bytes,
            len(data),
            pieces_of(data, run.start, pieces),
            crc64,
            should_stop,
            path,
            state,
            max_record_bytes,
            block_bytes,
        )
    )


def read_as_a_job_would(
    data: bytes, edges: list[int], range_bytes: int, path: Path, stops: Iterator[int | None], **options: Any
) -> tuple[list[Block], list[Segment], int]:
    """Runs from edge to edge, each guessing first; one that guessed wrong is worked on again with what was told."""
    blocks: list[Block] = []
    rows: list[Segment] = []
    wrong = 0
    left: str | None = None
    for start, end in pairwise(edges):
        todo, state = ByteRange(start, end), None
        while True:
            try:
                events = events_of(data, todo, range_bytes, path, state, stop_after=next(stops, None), **options)
                done = [segment_of(e) for e in events if isinstance(e, RangeDone)]
                assumed = done[0].assumed
            except RangemillError:
                if state is not None or todo.start == 0:
                    raise
                assumed = "?"
            if left is not None and assumed != left:
                assert state is None, "what was told is what was assumed"
                wrong += 1
                state = left
                continue
            rows += done
            blocks += [e for e in events if isinstance(e, Block)]
            left = rows[-1].left
            stopped = next((e for e in events if isinstance(e, Remaining)), None)
            if stopped is None:
                break
            rest = stopped.tile
            assert stopped.state == left
            assert rest.start > todo.start
            assert rest.start == rows[-1].end
            todo, state = rest, left
    return blocks, rows, wrong


texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ['"', "\\", '\\"', "]}", "{[", '","', "\n", '":{"', "é", "\\\\", "],[", "1,2", "  ", "\u2028", ", "]
    ),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-999, 10**9), st.floats(allow_nan=False), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
indents = st.sampled_from([None, 0, 1, 4, "\t", "\n", "\r\n"])


def dumps(value: Any, indent: Any, ascii_only: bool) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only)


@st.composite
def documents(draw: st.DrawFn) -> tuple[bytes, Path, list[Any]]:
    elements = draw(st.lists(values, max_size=8))
    indent, ascii_only = draw(indents), draw(st.booleans())
    kind = draw(st.sampled_from(["array", "path", "values"]))
    space = draw(st.sampled_from(["", "\n", " \t", "\r\n"]))
    if kind == "values":
        # Numbers and words need something between them.
        texts_of = [dumps(e, indent, ascii_only) for e in elements]
        text = "".join(t + (space or ("" if t[-1] in '"]}' and t[0] in '"[{' else " ")) for t in texts_of)
        return (space + text).encode("utf-8", "surrogatepass"), None, elements
    if kind == "array":
        return (space + dumps(elements, indent, ascii_only) + space).encode("utf-8", "surrogatepass"), (), elements
    path = draw(st.sampled_from([("Records",), ("a", "é"), ("x", "y", "z")]))
    document: Any = elements
    for name in reversed(path):
        before = {f"{k}1": v for k, v in draw(st.dictionaries(texts, values, max_size=2)).items()}
        after = {f"{k}2": v for k, v in draw(st.dictionaries(texts, values, max_size=2)).items()}
        document = {**before, name: document, **after}
    return (space + dumps(document, indent, ascii_only) + space).encode("utf-8", "surrogatepass"), path, elements


@settings(max_examples=1500, deadline=None)
@given(
    document=documents(),
    range_bytes=st.one_of(st.integers(1, 12), st.integers(1, 500)),
    block_bytes=st.integers(1, 60),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    pieces=st.lists(st.integers(1, 64), min_size=1, max_size=4),
    stops=st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=12),
    bom=st.booleans(),
)
def test_every_element_exactly_once(
    document: tuple[bytes, Path, list[Any]],
    range_bytes: int,
    block_bytes: int,
    cuts: list[float],
    pieces: list[int],
    stops: list[int | None],
    bom: bool,
) -> None:
    data, path, elements = document
    data = b"\xef\xbb\xbf" + data if bom else data
    if not data:
        return
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    blocks, rows, _ = read_as_a_job_would(
        data, edges, range_bytes, path, iter(stops), pieces=pieces, block_bytes=block_bytes
    )
    found = []
    for block in blocks:
        lines = block.data.split(b"\n")
        assert lines.pop() == b""
        assert len(lines) == block.records == len(block.places or ())
        for line, place in zip(lines, block.places or (), strict=True):
            assert data[place : place + len(line)].replace(b"\n", b" ").replace(b"\r", b" ") == line
        found += [json.loads(line.decode("utf-8", "surrogatepass")) for line in lines]
    assert found == elements
    merged = merge(rows, "CRC64NVME", "o")
    assert prove(merged, len(data), len(data), "CRC64NVME", crc64(data, 0), "o") is True
    assert merged[0].records == len(elements)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("path", [None, (), ("Records",)])
def test_real_records_are_guessed_right_nearly_everywhere(indent: int | None, path: Path) -> None:
    elements = [
        {"id": n, "user": {"name": f"u{n}", "tags": ["a", 'b\\"c', "]},{"], "deep": [{"x": n}, {"x": []}]}, "ok": True}
        for n in range(300)
    ]
    document: Any = {"Records": elements} if path else elements
    text = (
        json.dumps(document, indent=indent)
        if path is not None
        else "\n".join(json.dumps(e, indent=indent) for e in elements)
    )
    data = text.encode()
    edges = [*range(0, len(data), 997), len(data)]
    _, _, wrong = read_as_a_job_would(data, edges, 100, path, iter(()), pieces=[1 << 16])
    assert wrong <= len(edges) // 50


@pytest.mark.parametrize(
    ("data", "path", "offset", "words"),
    [
        (b"[1, 2", (), 5, "before its array is closed"),
        (b"[1, 2,]", (), 6, "expected a JSON value"),
        (b"[1 2]", (), 3, "expected a comma"),
        (b"[1,,2]", (), 3, "expected a JSON value"),
        (b"[1] x", (), 4, "after the end"),
        (b"[1][2]", (), 3, "after the end"),
        (b'{"a":1}', (), 0, "the document is not an array"),
        (b"   ", (), 3, "without a JSON value"),
        (b'{"Records": {}}', ("Records",), 12, "Records is not an array"),
        (b'{"Records": null}', ("Records",), 12, "Records is not an array"),
        (b'{"records": []}', ("Records",), 14, "no member 'Records'"),
        (b'{"Records": [1], "Records": [2]}', ("Records",), 25, "is there twice"),
        (b'{"Records": [1]', ("Records",), 15, "inside its JSON document"),
        (b'{"Records": [1]}{"Records": [1]}', ("Records",), 16, "after the end"),
        (b'{"a": {"b": 1}, "c": 2}', ("a", "b"), 12, "a.b is not an array"),
        (b'{"a": [1]}', ("a", "b"), 6, "a is not an object"),
        (b'{"a" 1}', ("b",), 5, "expected a colon"),
        (b'["a\nb"]', (), 3, "a line break inside a JSON string"),
        (b'["a\\\nb"]', (), 4, "a line break inside a JSON string"),
        (b'[{"a":"b\nc"}]', (), 8, "a line break inside a JSON string"),
        (b'{"a":1},{"a":2}', None, 7, "expected a JSON value"),
        (b'{"a":1}{"a":', None, 12, "inside a JSON value"),
        (b'"abc', None, 4, "inside a JSON value"),
        (b'{"a":1}}', None, 7, "expected a JSON value"),
    ],
)
def test_what_is_no_document_is_refused_at_its_byte_however_it_is_cut(
    data: bytes, path: Path, offset: int, words: str
) -> None:
    for range_bytes in (1, 2, 3, 100):
        for pieces in ([1], [2, 3], [100]):
            with pytest.raises(BadRecord, match=words) as caught:
                read_as_a_job_would(
                    data, [*range(0, len(data), range_bytes), len(data)], 2, path, iter(()), pieces=pieces
                )
            assert caught.value.offset == offset


def test_escaped_member_names_lead_along_the_path() -> None:
    data = b'{"more": [{"Records": [0]}], "R\\u0065cords": [1, 2], "x": "]"}'
    blocks, _, _ = read_as_a_job_would(data, [*range(len(data)), len(data)], 1, ("Records",), iter(()), pieces=[3])
    assert b"".join(block.data for block in blocks) == b"1\n2\n"


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    limit=st.integers(3, 30),
    range_bytes=st.integers(1, 30),
    pieces=st.lists(st.integers(1, 40), min_size=1, max_size=3),
)
def test_a_record_is_too_large_wherever_it_is_cut(
    lengths: list[int], limit: int, range_bytes: int, pieces: list[int]
) -> None:
    data = json.dumps(["x" * n for n in lengths]).encode()
    expected, at = None, 1
    for n in lengths:
        if n + 2 > limit:
            expected = at
            break
        at += n + 4
    edges = [*range(0, len(data), range_bytes), len(data)]
    try:
        read_as_a_job_would(data, edges, range_bytes, (), iter(()), pieces=pieces, max_record_bytes=limit)
        found = None
    except RecordTooLarge as error:
        found = error.offset
    assert found == expected


def test_the_layout_is_what_the_first_object_begins_with() -> None:
    module = formats.load("json")
    sample = formats.base.Sample("s3://b/k", b' [{"a": 1.5}, {"a": 2}]', 0, 23)
    settled = module.settle([sample], {}, True)
    assert settled == Settled("json", {}, [("a", "DOUBLE")], header="[", shape="jsonl")
    with pytest.raises(BadRecord, match="begins with an array"):
        list(module.align(ByteRange(0, 3), 3, 3, iter([b"[1]"]), Settled("json", {}, header=""), crc64, lambda: False))
