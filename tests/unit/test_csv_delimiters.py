"""CSV whose delimiter is not one ASCII character, and CSV in other encodings: the same rows in both engines."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import formats
from rangemill.blocks import Block
from rangemill.engines import make_engine
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadRecord
from rangemill.formats.base import Head, Sample, Settled
from rangemill.ledger import CRC_FUNCTIONS, THROUGH
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import ByteRange

CRC = CRC_FUNCTIONS["CRC64NVME"][0]
ROWS = [["a", "b", "c"], ["1", "x|y", ""], ["é", 'say "hi",\n||§::', "\x1f"], ["", "", ""], ["4", "5\x016", "|"]]
DELIMITERS = ["||", "::", "§", "¦", "\x01", "\0", "\x1f", "|~|", "🐪", "x", "abc", "; "]


def written(rows: list[list[str]], delimiter: str, newline: str) -> str:
    """Cells in quotes wherever anything in them might mean something, or at their ends might come to."""

    def cell(text: str) -> str:
        needs = any(c in text for c in '"\r\n') or any(c in text for c in delimiter)
        return '"' + text.replace('"', '""') + '"' if needs else text

    return "".join(delimiter.join(map(cell, row)) + newline for row in rows)


def blocks_of(data: bytes, range_bytes: int, settled: Settled, head: Head | None = None) -> list[Block]:
    """Of ranges that are runs of their own, each told its state."""
    module: Any = formats.load("csv")
    state, blocks = None, []
    for start in range(0, len(data), range_bytes):
        run = ByteRange(start, min(start + range_bytes, len(data)))
        pieces = iter([data[max(0, start - module.look_behind(settled)) :]])
        for event in module.align(run, range_bytes, len(data), pieces, settled, CRC, bool, state, head):
            if isinstance(event, Block):
                blocks.append(event)
            elif event.left != THROUGH:
                state = event.left
    return blocks


def sql_rows(blocks: list[Block], settled: Settled) -> tuple[list[list[str]], list[int]]:
    """What DuckDB reads, and the records' offsets."""
    names = ", ".join(name for name, _ in settled.columns or [])
    document = {"name": "any", "format": {"type": "csv"}, "apply": {"sql": f"SELECT {names}, _offset FROM records"}}
    engine = make_engine(parse_pipeline(json.dumps(document), "any.yaml"), settled)
    engine.begin_object(ObjectContext("b", "k", None))
    for block in blocks:
        engine.take(block)
    lines = [list(json.loads(line).values()) for line in engine.finish()[0].splitlines()]
    return [line[:-1] for line in lines], [line[-1] for line in lines]


@settings(max_examples=150, deadline=None)
@given(
    delimiter=st.sampled_from(DELIMITERS),
    encoding=st.sampled_from(["utf-8", "utf-8", "latin-1", "utf-16-le", "utf-32-be"]),
    newline=st.sampled_from(["\n", "\r\n"]),
    order=st.permutations([0, 1, 2]),
    chosen=st.lists(st.sampled_from(ROWS[1:]), max_size=6),
    range_bytes=st.integers(1, 50),
)
def test_every_delimiter_in_every_encoding_in_any_ranges(
    delimiter: str, encoding: str, newline: str, order: list[int], chosen: list[list[str]], range_bytes: int
) -> None:
    rows = [[row[place] for place in order] for row in [ROWS[0], *chosen]]
    try:
        data = written(rows, delimiter, newline).encode(encoding)
    except UnicodeEncodeError:
        return
    module: Any = formats.load("csv")
    options = {"delimiter": delimiter, "encoding": encoding, "columns": dict.fromkeys("abc", "VARCHAR"), "null": "@@"}
    first = written(ROWS[:1], delimiter, newline).encode(encoding)  # of an object whose columns stand in their order
    settled = module.settle([Sample("o", first, 0, len(first))], options, True)
    blocks = blocks_of(data, range_bytes, settled, lambda: iter([data]))
    assert [row for block in blocks for row in module.records(block.data, settled, None)] == chosen
    assert sum(block.records for block in blocks) == len(chosen)
    found, offsets = sql_rows(blocks, settled)
    assert found == chosen
    starts = [len(written(rows[: 1 + n], delimiter, newline).encode(encoding)) for n in range(len(chosen))]
    assert offsets == starts


@pytest.mark.parametrize("range_bytes", [1, 4, 1000])
def test_a_byte_that_is_no_character_may_be_the_delimiter(range_bytes: int) -> None:
    data = 'a\udcffb\né\udcff"x\ny"\n§\udcff2\n'.encode("utf-8", "surrogateescape")
    module: Any = formats.load("csv")
    settled = module.settle([Sample("o", data, 0, len(data))], {"delimiter": r"\xff"}, True)
    assert [name for name, _ in settled.columns] == ["a", "b"]
    blocks = blocks_of(data, range_bytes, settled)
    expected = [["é", "x\ny"], ["§", "2"]]
    assert [row for block in blocks for row in module.records(block.data, settled, None)] == expected
    assert sql_rows(blocks, settled)[0] == expected
    latin = "aÿb\néÿ2\n".encode("latin-1")
    settled = module.settle([Sample("o", latin, 0, len(latin))], {"delimiter": r"\xff", "encoding": "latin-1"}, True)
    assert sql_rows(blocks_of(latin, range_bytes, settled), settled)[0] == [["é", 2]]
    bad = data + b'\xc3\xff"\xff"\n'
    settled = module.settle([Sample("o", data, 0, len(data))], {"delimiter": r"\xff"}, True)
    blocks = blocks_of(bad, range_bytes, settled)
    with pytest.raises(BadRecord, match=f"the record at byte {len(data)}.* not UTF-8"):
        sql_rows(blocks, settled)


def test_rows_as_bytes_stay_as_they_are_stored() -> None:
    data = b'a||b\n"1||2"||3\nx|||y\n'
    module: Any = formats.load("csv")
    settled = module.settle([Sample("o", data, 0, len(data))], {"delimiter": "||", "as": "bytes"}, False)
    blocks = blocks_of(data, 3, settled)
    assert [row for block in blocks for row in module.records(block.data, settled, None)] == [b'"1||2"||3', b"x|||y"]
    other = b'b||a\n3||"1||2"\n|y||x|\n'
    blocks = blocks_of(other, 3, settled, lambda: iter([other]))
    rows = [row for block in blocks for row in module.records(block.data, settled, None)]
    assert rows == [b'"1||2"||"3"', b'"x|"||"|y"']
    bare = module.settle([Sample("o", data, 0, len(data))], {"delimiter": "||", "as": "bytes", "quote": ""}, False)
    (block,) = blocks_of(b"b||a\n1||x|\n", 100, bare, lambda: iter([b"b||a\n"]))
    (refused,) = block.refused
    assert (block.records, refused.offset, refused.data) == (1, 5, b"1||x|\n")
    assert "needs quotes" in refused.problem


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delimiter": ""}, "1 to 32 bytes"),
        ({"delimiter": "|" * 33}, "1 to 32 bytes"),
        ({"delimiter": "|\n"}, "line ends"),
        ({"delimiter": r"\x0a"}, "line ends"),
        ({"delimiter": '|"|'}, "quote must differ"),
        ({"delimiter": "##", "comment": "#"}, "comment must differ"),
        ({"delimiter": r"\xff", "encoding": "utf-16-le"}, "no characters of utf-16-le"),
        ({"quote": "§"}, "one ASCII character"),
    ],
)
def test_what_cannot_be_a_delimiter(options: dict[str, str], problem: str) -> None:
    module: Any = formats.load("csv")
    with pytest.raises(Exception, match=problem):
        module.settle([Sample("o", b"a,b\n", 0, 4)], options, True)


def test_a_large_block_with_quotes_is_read_at_speed() -> None:
    chance = random.Random(7)
    rows = [[str(n), chance.choice(["x", 'a "b" || c', "two\nlines"]), "é|"] for n in range(20_000)]
    data = written([["a", "b", "c"], *rows], "||", "\n").encode()
    module: Any = formats.load("csv")
    settled = module.settle([Sample("o", data[:50_000], 0, len(data))], {"delimiter": "||"}, True)
    blocks = blocks_of(data, 100_000, settled)
    assert [row for block in blocks for row in module.records(block.data, settled, None)] == rows
    assert sql_rows(blocks, settled)[0] == [[int(a), b, c] for a, b, c in rows]
