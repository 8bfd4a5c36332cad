"""Python and SQL read the same records, or neither does."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import formats
from rangemill.blocks import Block
from rangemill.engines import make_engine
from rangemill.engines.base import ObjectContext
from rangemill.errors import RangemillError
from rangemill.formats.base import Settled
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import ByteRange

REFUSED = "refused"


def blocks_of(data: bytes, range_bytes: int, settled: Settled) -> list[Block]:
    module, run, crc = formats.load(settled.format), ByteRange(0, len(data)), CRC_FUNCTIONS["CRC64NVME"][0]
    events = module.align(run, range_bytes, len(data), iter([data]), settled, crc, lambda: False)
    return [event for event in events if isinstance(event, Block)]


def in_python(data: bytes, range_bytes: int, settled: Settled) -> list[Any]:
    module = formats.load(settled.format)
    return [r for block in blocks_of(data, range_bytes, settled) for r in module.records(block.data, settled, None)]


def in_sql(data: bytes, range_bytes: int, settled: Settled) -> list[dict[str, Any]]:
    document = {"name": "any", "format": {"type": settled.format}, "apply": {"sql": "SELECT * FROM records"}}
    engine = make_engine(parse_pipeline(json.dumps(document), "any.yaml"), settled)
    engine.begin_object(ObjectContext("any", "any", None))
    for block in blocks_of(data, range_bytes, settled):
        engine.take(block)
    return [json.loads(line) for line in engine.finish()[0].splitlines()]


def attempt(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RangemillError:
        return REFUSED


ranges = st.sampled_from([3, 7, 1 << 20])
text = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b"a", b"\xc3\xa9", b"\xe2\x80\xa8", b"\xc2\x85", b"\x00", b"\xef\xbb\xbf", b"\x0b", b"\x1c"]
)
BOM = b"\xef\xbb\xbf"
WRITTEN_CELLS = (
    b'\n \r\n \n\n \r a , , " "" "q,q" "q\nq" "\r\n" "\r" ," ", \t # \\ \' \xc3\xa9 \xe2\x80\xa8 \x00 NULL - ; \x0b'
)
cells = st.sampled_from([b" ", BOM, *WRITTEN_CELLS.split(b" ")])
WRITTEN_VALUES = (
    b'\n \r\n \n\n \r \t x , null [1] {} {"a":1} {"a":"x"} {"a":null} {"b":2,"a":"\\u00e9"} {"a":"\\n"} {"a":"\x01"}'
    b" \x00"
)
values = st.sampled_from([b" \n", BOM, *WRITTEN_VALUES.split(b" ")])


@settings(max_examples=300, deadline=None)
@given(data=st.lists(text, min_size=1, max_size=14).map(b"".join), range_bytes=ranges)
def test_text(data: bytes, range_bytes: int) -> None:
    settled = Settled("text", {}, [("line", "VARCHAR")])
    expected = [record.decode() for record in in_python(data, range_bytes, settled)]
    assert [row["line"] for row in in_sql(data, range_bytes, settled)] == expected


@settings(max_examples=400, deadline=None)
@given(
    data=st.lists(cells, min_size=1, max_size=14).map(b"".join),
    columns=st.integers(1, 3),
    range_bytes=ranges,
    dialect=st.sampled_from([{}, {}, {"escape": "\\"}, {"comment": "#"}, {"quote": ""}, {"quote": "", "escape": "\\"}]),
)
def test_csv(data: bytes, columns: int, range_bytes: int, dialect: dict[str, str]) -> None:
    settled = Settled("csv", {"header": False, "null": "@@", **dialect}, [(f"c{n}", "VARCHAR") for n in range(columns)])
    python = attempt(lambda: in_python(data, range_bytes, settled))
    sql = attempt(lambda: [list(row.values()) for row in in_sql(data, range_bytes, settled)])
    assert sql == python


@settings(max_examples=400, deadline=None)
@given(data=st.lists(values, min_size=1, max_size=10).map(b"".join), range_bytes=ranges)
def test_jsonl(data: bytes, range_bytes: int) -> None:
    def member(record: Any) -> str | None:
        if record is not None and not isinstance(record, dict):
            raise RangemillError("SQL needs objects")
        found = (record or {}).get("a")
        return found if found is None else str(found)

    settled = Settled("jsonl", {}, [("a", "VARCHAR")])
    python = attempt(lambda: [member(record) for record in in_python(data, range_bytes, settled)])
    assert attempt(lambda: [row["a"] for row in in_sql(data, range_bytes, settled)]) == python
