"""Files as people and other test suites have them (csv-spectrum's cases among them), in both engines, against `csv`."""

import csv
import io
import json
from typing import Any

import pytest

from rangemill import formats
from rangemill.blocks import Block
from rangemill.engines import make_engine
from rangemill.engines.base import ObjectContext
from rangemill.formats.base import Sample, Settled
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import ByteRange

CASES = {
    "comma in quotes": b'first,last,address,city,zip\nJohn,Doe,120 any st.,"Anytown, WW",08123',
    "empty": b'a,b,c\n1,"",""\n2,3,4',
    "empty, CRLF": b'a,b,c\r\n1,"",""\r\n2,3,4',
    "escaped quotes": b'a,b\n1,"ha ""ha"" ha"\n3,4\n',
    "json": b'key,val\n1,"{""type"": ""Point"", ""coordinates"": [102.0, 0.5]}"\n',
    "coordinates": "Phone,Place\n2095257564,37�36'37.8\"N 121�2'17.9\"W\n".encode(),
    "newlines": b'a,b,c\n1,2,3\n"Once upon \na time",5,6\n7,8,9\n',
    "newlines, CRLF": b'a,b,c\r\n1,2,3\r\n"Once upon \r\na time",5,6\r\n7,8,9\r\n',
    "quotes and newlines": b'a,b\n1,"ha \n""ha"" \nha"\n3,4\n',
    "utf-8": "a,b,c\n1,2,3\n4,5,ʤ".encode(),
    "a quote in an unquoted field": b'a,b\n5,a"b\n6,"c,d"\n5" tube,"7"\n',
    "text after a closing quote": b'a,b\n1,"2"3\n4,"5" \n6,"7"8"9\n',
    "spaces before a quote": b'a,b\n1, "2"\n"3",\t"4"\n',
    "mixed line ends": b'a,b\n1,2\r\n3,4\r5,"6\r\n7\r8\n9"\r\n\r\r\n\n10,11\r',
    "byte order mark before a quote": b'\xef\xbb\xbf"a","b"\r\n"1","2"\r\n',
    "empty cells": b'a,b\n,\n"",""\n,""\n',
    "a header over two lines": b'"a\nline",b\n1,2\n',
    "NUL and controls": b'a,b\n\x001,\x0b\x1c\n"\x00\n",\xc2\x85\n',
}


def blocks_of(data: bytes, range_bytes: int, settled: Settled) -> list[Block]:
    """Of ranges that are runs of their own, each knowing its state."""
    crc, align, state = CRC_FUNCTIONS["CRC64NVME"][0], formats.load("csv").align, None
    blocks: list[Block] = []
    for start in range(0, len(data), range_bytes):
        run = ByteRange(start, min(start + range_bytes, len(data)))
        told: dict[str, Any] = {"state": state}
        pieces = iter([data[max(0, start - 1) :]])
        for event in align(run, range_bytes, len(data), pieces, settled, crc, lambda: False, **told):
            if isinstance(event, Block):
                blocks.append(event)
            else:
                state = getattr(event, "left", state)
    return blocks


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("range_bytes", [1, 5, 1000])
def test_both_engines_read_what_csv_reads(name: str, range_bytes: int) -> None:
    data = CASES[name]
    module = formats.load("csv")
    sample = Sample("s3://b/k", data, 0, len(data))
    header, *expected = filter(None, csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    types = {"columns": dict.fromkeys(header, "VARCHAR"), "null": "@@"}
    settled = module.settle([sample], types, True)
    assert [column for column, _ in settled.columns or []] == header
    blocks = blocks_of(data, range_bytes, settled)
    assert [row for block in blocks for row in module.records(block.data, settled, None)] == expected
    assert sum(block.records for block in blocks) == len(expected)
    document = {"name": "any", "format": {"type": "csv"}, "apply": {"sql": "SELECT * FROM records"}}
    engine = make_engine(parse_pipeline(json.dumps(document), "any.yaml"), settled)
    engine.begin_object(ObjectContext("b", "k", None))
    for block in blocks:
        engine.take(block)
    body, taken = engine.finish()
    assert [list(json.loads(line).values()) for line in body.splitlines()] == expected
    assert taken == len(expected)


def test_offsets_are_of_rows_not_of_lines() -> None:
    data = b'a,b\n"1\n1",x\r\n\n3,"\n\n"\n4,5\n'
    settled = formats.load("csv").settle([Sample("o", data, 0, len(data))], {}, True)
    document = {"name": "any", "format": {"type": "csv"}, "apply": {"sql": "SELECT _offset FROM records"}}
    engine = make_engine(parse_pipeline(json.dumps(document), "any.yaml"), settled)
    engine.begin_object(ObjectContext("b", "k", None))
    for block in blocks_of(data, 6, settled):
        engine.take(block)
    found = [json.loads(line)["_offset"] for line in engine.finish()[0].splitlines()]
    assert found == [data.index(row) for row in (b'"1', b"3,", b"4,5")]


@pytest.mark.parametrize("blank", [b"\n\r\n", b"\xef\xbb\xbf", b"#no row\n"])
def test_an_object_without_rows_settles_nothing(blank: bytes) -> None:
    csv_format = formats.load("csv")
    nothing, table = Sample("s3://b/1", blank, 0, len(blank)), Sample("s3://b/2", b"a,b\n1,x\n", 0, 8)
    for order in ([nothing, table], [table, nothing]):
        assert csv_format.settle(order, {"comment": "#"}, True).columns == [("a", "BIGINT"), ("b", "VARCHAR")]
    assert csv_format.settle([nothing], {"comment": "#"}, False).columns is None


def test_types_are_those_of_rows_with_an_empty_cell_too_many() -> None:
    data = b"a,b\n1,2,\n3,4,\n"
    assert formats.load("csv").settle([Sample("s3://b/1", data, 0, len(data))], {}, True).columns == [
        ("a", "BIGINT"),
        ("b", "BIGINT"),
    ]
