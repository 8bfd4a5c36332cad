"""JSONL and CSV: what is a record, what it decodes to, and what is refused rather than cut."""

from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import formats
from rangemill.blocks import Block, RangeDone
from rangemill.errors import BadPipeline, BadRecord, RangemillError
from rangemill.formats.base import Sample, Settled
from rangemill.ledger import CRC_FUNCTIONS, merge, prove, segment_of
from rangemill.ranges import ByteRange

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]


def settle(name: str, data: bytes, for_sql: bool = False, **options: Any) -> Settled:
    return formats.load(name).settle([Sample("s3://b/k", data, 0, len(data))], options, for_sql)


def read(
    name: str, data: bytes, range_bytes: int = 1 << 20, settled: Settled | None = None, **options: Any
) -> list[Any]:
    """All records of an object, proved."""
    settled = settled or settle(name, data, **options)
    module = formats.load(name)
    run = ByteRange(0, len(data))
    events = list(module.align(run, range_bytes, len(data), iter([data]), settled, crc64, lambda: False))
    rows = [segment_of(e) for e in events if isinstance(e, RangeDone)]
    assert prove(merge(rows, "CRC64NVME", "o"), len(data), len(data), "CRC64NVME", crc64(data, 0), "o")
    blocks = [e for e in events if isinstance(e, Block)]
    taken = [list(module.records(b.data, settled, None)) for b in blocks]
    for block, records in zip(blocks, taken, strict=True):
        assert block.records == len(records)
        assert data[block.offset :].startswith(block.data)
        for index in range(len(records)):
            places = block.places
            line_at = places[index] if places is not None else block.offset + module.locate(block.data, index)
            assert line_at in (0, 3) or data[line_at - 1 : line_at] in (b"\n", b"\r")
    assert sum(segment.records for segment in rows) == sum(map(len, taken))
    return list(chain.from_iterable(taken))


JSON_OBJECT = b'\xef\xbb\xbf{"a": 1}\r\n\n \t\r\n{"a": [2.5, "x\\ny"]}\nnull\n\n"last"'


@pytest.mark.parametrize("range_bytes", [1, 3, 10, 1000])
def test_jsonl_records_are_values_and_blank_lines_are_none(range_bytes: int) -> None:
    assert read("jsonl", JSON_OBJECT, range_bytes) == [{"a": 1}, {"a": [2.5, "x\ny"]}, None, "last"]


@pytest.mark.parametrize("line", [b"{'a': 1}", b'{"a": 1', b"{} {}", b'"\xff"', b"NaN", b"[" * 5000])
def test_what_is_no_json_is_a_bad_record_at_its_offset(line: bytes) -> None:
    data = b'{"a": 1}\n\n' + line + b"\n{}\n"
    with pytest.raises(BadRecord, match="JSON") as caught:
        list(formats.load("jsonl").records(data, Settled("jsonl", {}), None))
    assert caught.value.offset == 10


@pytest.mark.parametrize(("name", "data"), [("jsonl", b'{"a": 1, "A": 2}\n'), ("json", b'[{"a": 1, "A": 2}]')])
def test_names_that_sql_does_not_tell_apart_are_told_of(name: str, data: bytes) -> None:
    sample = Sample("s3://b/k", data, 0, len(data))
    settled = formats.load(name).settle([sample], {}, True)
    assert settled.columns == [("a", "BIGINT")]
    assert "A is no column: SQL does not tell it from a" in settled.notes[-1]
    declared = formats.load(name).settle([sample], {"columns": {"A": "DOUBLE"}}, True)
    assert declared.columns == [("A", "DOUBLE")]
    assert "a is no column" in declared.notes[-1]


def test_jsonl_settles_names_with_their_widest_types() -> None:
    data = (
        b'{"i": 1, "f": 1, "s": "a", "d": "2026-01-02", "t": "2026-01-02 03:04:05", "b": true, "n": null}\n'
        b'{"o": {"x": 1}}\n'
        b'{"i": -9223372036854775808, "f": 2.5, "s": 1, "l": [1], "D": 1, "declared": 1, "big": 9223372036854775808}\n'
        b'{"cut off'
    )
    settled = formats.load("jsonl").settle(
        [Sample("o", data, 0, len(data) + 5)], {"columns": {"declared": "INTEGER"}}, True
    )
    assert dict(settled.columns or []) == {
        "declared": "INTEGER",
        "i": "BIGINT",
        "f": "DOUBLE",
        "s": "JSON",
        "d": "DATE",
        "t": "TIMESTAMP",
        "b": "BOOLEAN",
        "n": "VARCHAR",
        "o": "JSON",
        "l": "JSON",
        "big": "DECIMAL(38, 0)",
    }


CSV_OBJECT = b'\xef\xbb\xbfid,name\r\n1,"a, ""b"""\r\n\r\n2,\xc3\xa9\r\n3,'


@pytest.mark.parametrize("range_bytes", [1, 2, 7, 1000])
def test_csv_records_are_lists_without_header_and_empty_lines(range_bytes: int) -> None:
    assert read("csv", CSV_OBJECT, range_bytes) == [["1", 'a, "b"'], ["2", "é"], ["3", ""]]


def test_csv_records_as_dicts_and_as_bytes() -> None:
    as_dicts: dict[str, Any] = {"as": "dict"}
    as_bytes: dict[str, Any] = {"as": "bytes"}
    assert read("csv", CSV_OBJECT, **as_dicts)[0] == {"id": "1", "name": 'a, "b"'}
    assert read("csv", CSV_OBJECT, **as_bytes)[0] == b'1,"a, ""b"""'


def test_csv_dialects() -> None:
    assert read("csv", b'a\t"b\tc"\n\t"d"\n', header=False, delimiter="\t") == [["a", "b\tc"], ["", "d"]]
    assert read("csv", b"a;'b;c'\n", header=False, delimiter=";", quote="'") == [["a", "b;c"]]
    assert read(
        "csv",
        b"x|y|\n1|2|\n3|4\n",
        delimiter="|",
        settled=Settled("csv", {"delimiter": "|"}, [("x", "VARCHAR"), ("y", "VARCHAR")], "x|y|"),
    ) == [["1", "2"], ["3", "4"]]


@pytest.mark.parametrize("data", [b"a,b", b"a,b\n", b"\xef\xbb\xbfa,b\r\n"])
def test_a_header_alone_is_an_object_without_records(data: bytes) -> None:
    assert read("csv", data) == []


@pytest.mark.parametrize(
    ("data", "offset", "problem"),
    [
        (b'a,b\n1,2\n3,"x\ny\n', 8, "never closed"),
        (b'a,b\n1,2\n"x\ny"\n', 8, "1 columns, not 2"),
        (b"a,b\n1,2\r3,4\n", 4, "carriage return"),
        (b"a,b\n1,2\n3,4\r", 8, "carriage return"),
        (b"a,b\n1,2\n3\n", 8, "1 columns, not 2"),
        (b"a,b\n1,2\n\n3,4,5\n", 9, "3 columns, not 2"),
        (b'a,b\n1,2\n3,"4\n5",6\n', 8, "3 columns, not 2"),
        (b"a,b\n1,2\n3,\xff\n", 8, "UTF-8"),
    ],
)
def test_csv_that_would_be_cut_or_read_wrongly_is_refused_at_its_offset(data: bytes, offset: int, problem: str) -> None:
    settled = settle("csv", b"a,b\n", lone_return="refuse")
    module = formats.load("csv")

    def read_all() -> None:
        for event in module.align(
            ByteRange(0, len(data)), 1000, len(data), iter([data]), settled, crc64, lambda: False
        ):
            if isinstance(event, Block):
                try:
                    list(module.records(event.data, settled, None))
                except BadRecord as error:
                    error.offset = (error.offset or 0) + event.offset
                    raise

    with pytest.raises(BadRecord, match=problem) as caught:
        read_all()
    assert caught.value.offset == offset


def test_a_header_that_lacks_a_column_or_has_one_more_is_refused_by_name() -> None:
    with pytest.raises(BadRecord, match=r"no column 'b'.*missing_columns"):
        read("csv", b"a,c\n1,2\n", settled=settle("csv", b"a,b\n"))
    with pytest.raises(BadRecord, match=r"column 'c'.*extra_columns"):
        read("csv", b"a,b,c\n1,2,3\n", settled=settle("csv", b"a,b\n"))


def test_csv_types_are_the_narrowest_that_hold_the_samples() -> None:
    header = b"i,m,w,e,d,t,b,code,x,none,big\n"
    data = (
        header
        + b"1,1.50,12345678901234567.1,1e3,2026-01-02,2026-01-02 03:04:05.5,true,007,a,,123456789012345678901\n"
        + b"-2,3,,2.5,2026-02-28,2026-01-02T03:04:05,FALSE,8,1,,1\n"
        + b"x,x,x"  # cut off: not a whole line
    )
    settled = formats.load("csv").settle([Sample("o", data, 0, len(data) + 1)], {"columns": {"X": "INTEGER"}}, True)
    assert settled.header == header.decode().rstrip("\n")
    assert settled.columns == [
        ("i", "BIGINT"),
        ("m", "DECIMAL(18, 2)"),
        ("w", "DECIMAL(38, 1)"),
        ("e", "DOUBLE"),
        ("d", "DATE"),
        ("t", "TIMESTAMP"),
        ("b", "BOOLEAN"),
        ("code", "VARCHAR"),
        ("x", "INTEGER"),
        ("none", "VARCHAR"),
        ("big", "DECIMAL(38, 0)"),
    ]


def test_csv_names_are_unique_and_never_empty() -> None:
    settled = settle("csv", b"a,A,,a_1\n")
    assert [name for name, _ in settled.columns or []] == ["a", "A_1", "column2", "a_1_1"]
    settled = settle("csv", b"1,2\n", header=False)
    assert (settled.columns, settled.header) == ([("column0", "VARCHAR"), ("column1", "VARCHAR")], None)
    settled = settle("csv", b"1,2\n", header=False, columns={"x": "DATE", "y": "INTEGER"})
    assert settled.columns == [("x", "DATE"), ("y", "INTEGER")]


@pytest.mark.parametrize(
    ("options", "data"),
    [({"columns": {"z": "DATE"}}, b"a,b\n"), ({"header": False, "columns": {"z": "DATE"}}, b"1,2\n")],
)
def test_declared_columns_that_are_not_there_are_refused(options: dict[str, Any], data: bytes) -> None:
    with pytest.raises(BadPipeline, match=r"format\.columns\.z"):
        settle("csv", data, **options)


def test_a_job_of_empty_objects_settles() -> None:
    for name in formats.names():
        assert formats.load(name).settle([], {}, True).format == name


pieces = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"a", b",", b'"', b" ", b"1.5", b'"q,q"', b"\xc3\xa9", b"{}", b"[1]", b"\r"]),
    max_size=30,
)


@settings(max_examples=600, deadline=None)
@given(name=st.sampled_from(["csv", "jsonl"]), body=pieces.map(b"".join), range_bytes=st.integers(1, 20))
def test_ranges_do_not_change_what_is_read(name: str, body: bytes, range_bytes: int) -> None:
    data = (b"x,y\n" if name == "csv" else b"0\n") + body
    settled = settle(name, data[:4])

    def outcome(size: int) -> Any:
        try:
            return read(name, data, size, settled)
        except RangemillError as error:
            return type(error)

    assert outcome(range_bytes) == outcome(1 << 20)
