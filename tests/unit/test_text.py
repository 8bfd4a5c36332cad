"""Text in all its ways: how records are told apart, what they are encoded in, what becomes columns, in both engines."""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import formats
from rangemill.blocks import Block, RangeDone
from rangemill.engines import make_engine
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadPipeline, BadRecord, RangemillError
from rangemill.formats import text as text_format
from rangemill.formats.base import Sample, Settled
from rangemill.ledger import CRC_FUNCTIONS, merge, prove, segment_of
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import ByteRange, tile

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]
REFUSED = "refused"


def settle(data: bytes, for_sql: bool = False, type_name: str = "text", **options: Any) -> Settled:
    module = formats.load(type_name)
    msgspec.convert(options, module.Options)
    settled = module.settle([Sample("s3://b/k", data, 0, len(data))] if data else [], options, for_sql)
    return msgspec.json.decode(msgspec.json.encode(settled), type=Settled)  # as it travels in the plan


def blocks_of(data: bytes, range_bytes: int, settled: Settled) -> list[Block]:
    """The blocks of an object, every range a run of its own, proved."""
    module = formats.load(settled.format)
    blocks, rows, state = [], [], None
    for run in tile(0, len(data), range_bytes):
        start = max(0, run.start - module.look_behind(settled))
        more = {"state": state} if formats.has_state(settled) else {}
        for event in module.align(
            run, range_bytes, len(data), iter([data[start:]]), settled, crc64, lambda: False, **more
        ):
            if isinstance(event, Block):
                blocks.append(event)
            elif isinstance(event, RangeDone):
                rows.append(segment_of(event))
                state = event.left
    assert prove(merge(rows, "CRC64NVME", "o"), len(data), len(data), "CRC64NVME", crc64(data, 0), "o")
    assert sum(block.records for block in blocks) == sum(row.records for row in rows)
    return blocks


def in_python(data: bytes, range_bytes: int, settled: Settled) -> list[tuple[int, Any]]:
    """Where each record is stored, and the record."""
    module, found = formats.load(settled.format), []
    for block in blocks_of(data, range_bytes, settled):
        records = list(module.records(block.data, settled, None))
        assert len(records) == block.records
        for index, record in enumerate(records):
            place = block.offset + module.locate(block.data, index) if block.places is None else block.places[index]
            found.append((place, record))
    return found


def in_sql(
    data: bytes, range_bytes: int, settled: Settled, sql: str = "SELECT * FROM records WHERE _offset >= 0"
) -> list[Any]:
    document = {"name": "any", "format": {"type": "jsonl"}, "apply": {"sql": sql}}
    engine = make_engine(parse_pipeline(json.dumps(document), "any.yaml"), settled)
    engine.begin_object(ObjectContext("any", "any", None))
    for block in blocks_of(data, range_bytes, settled):
        engine.take(block)
    return [json.loads(line) for line in engine.finish()[0].splitlines()]


def sequential(data: bytes, encoding: str, ends: str) -> list[tuple[int, str]]:
    """The reference: records by one pass over the decoded text, with the stored offset of each."""
    body = data.removeprefix("\ufeff".encode(encoding)) if encoding != "latin-1" else data
    at = len(data) - len(body)
    found = []
    for content, end in re.findall(rf"(.*?)({re.escape(ends)}|\Z)", body.decode(encoding), re.DOTALL):
        if content or end:
            found.append((at, content))
        at += len((content + end).encode(encoding))
    return found


letters = st.sampled_from(
    ["a", "|", "\n", "\r", "\x00", "é", "\u0a0a", "\u2028", "\U0001f40a", '"', "\\", "x" * 9, "\x85"]
)
ranges = st.sampled_from([1, 2, 3, 7, 1 << 20])


@settings(max_examples=400, deadline=None)
@given(
    text=st.lists(letters, max_size=30).map("".join),
    delimiter=st.sampled_from(["||", "\n\n", "\x00", "\n", "a\n", "é", "\r\n\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]),
    bom=st.booleans(),
    range_bytes=ranges,
)
def test_delimiters_in_both_engines(text: str, delimiter: str, encoding: str, bom: bool, range_bytes: int) -> None:
    data = (("\ufeff" if bom else "") + text).encode(encoding)
    if not data:
        return
    expected = sequential(data, encoding, delimiter)
    python = in_python(data, range_bytes, settle(data, delimiter=delimiter, encoding=encoding))
    assert [(place, record.decode()) for place, record in python] == expected
    sql = in_sql(data, range_bytes, settle(data, for_sql=True, delimiter=delimiter, encoding=encoding))
    assert [(row["_offset"], row["line"]) for row in sql] == expected


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(letters, max_size=30).map("".join),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "latin-1"]),
    bom=st.booleans(),
    range_bytes=ranges,
)
def test_lines_of_every_encoding_in_both_engines(text: str, encoding: str, bom: bool, range_bytes: int) -> None:
    if encoding == "latin-1":
        text, bom = text.encode("latin-1", "ignore").decode("latin-1"), False
    data = (("\ufeff" if bom else "") + text).encode(encoding)
    if not data:
        return
    expected = [
        (place, content.removesuffix("\r") if data[place:].decode(encoding).startswith(content + "\n") else content)
        for place, content in sequential(data, encoding, "\n")
    ]
    python = in_python(data, range_bytes, settle(data, encoding=encoding))
    assert [(place, record.decode()) for place, record in python] == expected
    sql = in_sql(data, range_bytes, settle(data, for_sql=True, encoding=encoding))
    assert [(row["_offset"], row["line"]) for row in sql] == expected


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60), record_bytes=st.integers(1, 20), range_bytes=ranges)
def test_fixed_lengths_in_both_engines(data: bytes, record_bytes: int, range_bytes: int) -> None:
    data = data[: len(data) // record_bytes * record_bytes]
    if not data:
        return
    expected = [(at, data[at : at + record_bytes]) for at in range(0, len(data), record_bytes)]
    assert in_python(data, range_bytes, settle(data, record_bytes=record_bytes)) == expected
    as_latin: dict[str, Any] = {"record_bytes": record_bytes, "encoding": "latin-1"}
    sql = in_sql(data, range_bytes, settle(data, for_sql=True, **as_latin))
    assert [(row["_offset"], row["line"].encode("latin-1")) for row in sql] == expected
    python = in_python(data, range_bytes, settle(data, **as_latin))
    assert [(place, record.decode().encode("latin-1")) for place, record in python] == expected


@pytest.mark.parametrize("range_bytes", [1, 5, 1000])
def test_a_rest_of_a_fixed_length_is_a_bad_record(range_bytes: int) -> None:
    with pytest.raises(BadRecord, match="has 2 bytes, not 4") as caught:
        in_python(b"aaaabbbbcc", range_bytes, settle(b"aaaabbbbcc", record_bytes=4))
    assert caught.value.offset == 8


TRACES = (
    "\ufeffno date\n  yet\n2026-01-02 a\r\n  at é\n\tat f\r\n2026-01-02 b\n"
    "2026-01-03 c\n\nx 2026-01-04\n2026-01-05 d\n   \n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-be"])
@pytest.mark.parametrize("range_bytes", [1, 3, 10, 41, 1000])
def test_a_record_goes_on_until_a_line_that_matches(encoding: str, range_bytes: int) -> None:
    data = TRACES.encode(encoding)
    options: dict[str, Any] = {"record_start": r"\d{4}-\d\d-\d\d ", "encoding": encoding}
    expected = [
        "no date\n  yet",
        "2026-01-02 a\r\n  at é\n\tat f",
        "2026-01-02 b",
        "2026-01-03 c\n\nx 2026-01-04",
        "2026-01-05 d\n   ",
    ]
    python = in_python(data, range_bytes, settle(data, **options))
    assert [record.decode() for _, record in python] == expected
    sql = in_sql(data, range_bytes, settle(data, for_sql=True, **options))
    assert [row["line"] for row in sql] == expected
    assert [row["_offset"] for row in sql] == [place for place, _ in python]
    for place, record in python:
        assert data[place:].decode(encoding).startswith(record.decode())


def test_text_that_is_no_utf8_stays_as_it_is_in_python_and_is_refused_in_sql() -> None:
    data = b"ok||\xff\xfe||\xed\xa0\x80"
    assert [r for _, r in in_python(data, 3, settle(data, delimiter="||"))] == [b"ok", b"\xff\xfe", b"\xed\xa0\x80"]
    with pytest.raises(BadRecord, match="not UTF-8") as caught:
        in_sql(data, 3, settle(data, for_sql=True, delimiter="||"))
    assert caught.value.offset == 4
    lines = b"2026 a\n  \xff\n2026 b\n"
    records = in_python(lines, 4, settle(lines, record_start="2026"))
    assert [record for _, record in records] == [b"2026 a\n  \xff", b"2026 b"]


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        ("utf-16-le", b"\x00\xd8"),  # a lone surrogate
        ("utf-16-be", b"\xdc\x00"),
        ("utf-32-le", b"\x00\xd8\x00\x00"),
        ("windows-1252", b"\x81"),
    ],
)
@pytest.mark.parametrize("range_bytes", [1, 4, 1000])
def test_what_the_encoding_does_not_have_is_one_bad_record_among_others(
    encoding: str, bad: bytes, range_bytes: int
) -> None:
    before, behind = "first\nsecond\n".encode(encoding), "last\n".encode(encoding)
    data = before + "th".encode(encoding) + bad + "\n".encode(encoding) + behind
    settled = settle(before, encoding=encoding)
    bad_places: list[tuple[int, str, int | None]] = []
    good: list[tuple[int, bytes]] = []
    for block in blocks_of(data, range_bytes, settled):
        spans = list(text_format.spans(block.data, settled))
        for (start, end), place in zip(spans, block.places or (), strict=True):
            try:
                good += [(place, *text_format.records(block.data[start:end], settled, None))]
            except BadRecord as error:
                bad_places.append((place, error.message, error.offset))
    assert bad_places == [(len(before), f"it is not {encoding}", 0)]
    second = len("first\n".encode(encoding))
    assert good == [(0, b"first"), (second, b"second"), (len(data) - len(behind), b"last")]

    blocks = blocks_of(data, range_bytes, settle(before, for_sql=True, encoding=encoding))
    assert [refused.offset for block in blocks for refused in block.refused] == [len(before)]
    assert sum(block.records for block in blocks) == 4
    assert [line for block in blocks for line in block.data.splitlines()] == [
        b'{"line":"first"}',
        b'{"line":"second"}',
        b'{"line":"last"}',
    ]


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        ("utf-32-be", b"\x00\x11\x00\x00"),  # beyond Unicode
        ("utf-16-le", b"a"),  # half a unit, at the end
    ],
)
@pytest.mark.parametrize("for_sql", [False, True])
@pytest.mark.parametrize("range_bytes", [1, 4, 1000])
def test_what_is_no_sequence_of_the_encoding_at_all_is_refused(
    encoding: str, bad: bytes, for_sql: bool, range_bytes: int
) -> None:
    before = "first\nsecond\n".encode(encoding)
    data = before + "th".encode(encoding) + bad
    with pytest.raises(BadRecord, match=f"is not {encoding}") as caught:
        blocks_of(data, range_bytes, settle(before, for_sql=for_sql, encoding=encoding))
    assert caught.value.offset == len(before)


def test_the_byte_order_mark_decides() -> None:
    data = "a\nb\n".encode("utf-16")
    settled = settle(data)
    assert (settled.options["encoding"], settled.options["bom"]) == ("utf-16-le", "required")
    assert "utf-16-le by its byte order mark, not utf-8" in settled.notes[0]
    assert settle(data, encoding="utf-16").notes == []
    assert settle("a\n".encode("utf-32")).options["encoding"] == "utf-32-le"
    assert settle("\0a\n".encode("utf-16"), encoding="utf-16").options["encoding"] == "utf-16-le"
    assert settle(b"\xef\xbb\xbfa", encoding="utf-16").options["encoding"] == "utf-8"
    assert settle(b"\xff\xfea\n", encoding="latin-1").options["encoding"] == "latin-1"
    with pytest.raises(BadRecord, match=r"declare `format\.encoding: utf-16-le` or `utf-16-be`"):
        settle(b"a\0\n\0", encoding="utf-16")


@pytest.mark.parametrize(
    ("settled_on", "data"),
    [("a\n".encode("utf-16"), b"a\0\n\0"), (b"a\n", "a\n".encode("utf-16")), (b"a\n", "a\n".encode("utf-32"))],
)
def test_an_object_marked_otherwise_than_the_jobs_first_is_refused(settled_on: bytes, data: bytes) -> None:
    with pytest.raises(BadRecord, match="byte order mark") as caught:
        blocks_of(data, 1000, settle(settled_on))
    assert caught.value.offset == 0


def test_objects_that_differ_are_refused_at_plan() -> None:
    heads = [Sample("s3://b/one", b"a\n", 0, 2), Sample("s3://b/two", "a\n".encode("utf-16"), 0, 6)]
    with pytest.raises(BadRecord, match="s3://b/one is utf-8 and s3://b/two is utf-16-le"):
        formats.load("text").settle(heads, {}, False)


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(['{"a": 1}', "", '{"a": "é\\u00e9\U0001f40a"}', " \t", '{"a": null}', '{"b": [1]}']), max_size=8
    ),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "latin-1"]),
    bom=st.booleans(),
    final=st.booleans(),
    range_bytes=ranges,
)
def test_jsonl_of_every_encoding(
    lines: list[str], line_end: str, encoding: str, bom: bool, final: bool, range_bytes: int
) -> None:
    text = line_end.join(lines) + (line_end if final else "")
    if encoding == "latin-1":
        text, bom = text.replace("\U0001f40a", ""), False
    data = (("\ufeff" if bom else "") + text).encode(encoding)
    if not data:
        return
    python = in_python(data, range_bytes, settle(data, type_name="jsonl", encoding=encoding))
    expected = [json.loads(line) for line in text.replace(line_end, "\n").split("\n") if line.strip()]
    assert [record for _, record in python] == expected
    for place, record in python:
        assert json.loads(data[place:].decode(encoding).split("\n")[0]) == record
    settled = settle(data, type_name="jsonl", for_sql=True, encoding=encoding, columns={"a": "VARCHAR"})
    sql = in_sql(data, range_bytes, settled, "SELECT _offset, a FROM records")
    assert [row["_offset"] for row in sql] == [place for place, _ in python]
    assert [row["a"] for row in sql] == [r.get("a") if r.get("a") is None else str(r["a"]) for r in expected]


def test_jsonl_settles_on_samples_of_any_encoding() -> None:
    data = '{"cut off": 1}\n{"id": 1}\r\n{"id": 2.5, "é": "x"}\n{"cut'.encode("utf-16-be")
    sample = Sample("o", data[3:], 3, len(data) + 100)
    settled = formats.load("jsonl").settle([sample], {"encoding": "utf-16-be"}, True)
    assert settled.columns == [("id", "DOUBLE"), ("é", "VARCHAR")]


PATTERN = r"(?P<ip>\S+) \[(?P<day>[^\]]*)\] (?P<status>\d{3}) (?P<bytes>\d+)(?: (?P<who>\w+))?"
ACCESS = "1.2.3.4 [2026-01-02] 200 17 é\n5.6.7.8 [2026-01-03] 404 0\r\n::1 [2026-01-03] 200 9223372036854775807 z\u0661"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("range_bytes", [1, 10, 1000])
def test_lines_become_columns(encoding: str, range_bytes: int) -> None:
    data = ACCESS.encode(encoding)
    options: dict[str, Any] = {"pattern": PATTERN, "encoding": encoding}
    python = in_python(data, range_bytes, settle(data, **options))
    assert [record for _, record in python] == [
        {"ip": "1.2.3.4", "day": "2026-01-02", "status": "200", "bytes": "17", "who": "é"},
        {"ip": "5.6.7.8", "day": "2026-01-03", "status": "404", "bytes": "0", "who": None},
        {"ip": "::1", "day": "2026-01-03", "status": "200", "bytes": "9223372036854775807", "who": "z\u0661"},
    ]
    settled = settle(data, for_sql=True, **options, columns={"status": "INTEGER"})
    assert settled.columns == [
        ("ip", "VARCHAR"),
        ("day", "DATE"),
        ("status", "INTEGER"),
        ("bytes", "DECIMAL(38, 0)"),
        ("who", "VARCHAR"),
    ]
    sql = in_sql(data, range_bytes, settled)
    assert [row["_offset"] for row in sql] == [place for place, _ in python]
    assert sql[1] == {
        "_offset": python[1][0], "ip": "5.6.7.8", "day": "2026-01-03", "status": 404, "bytes": 0, "who": None,
    }  # fmt: skip


@pytest.mark.parametrize("for_sql", [False, True])
def test_a_line_that_does_not_match_is_a_bad_record_at_its_offset(for_sql: bool) -> None:
    data = b"a 1\nb 2\n\nc x\n"
    settled = settle(data[:8], for_sql=for_sql, pattern=r"(?P<name>\w) (?P<number>\d)")
    read = in_sql if for_sql else in_python_through_the_engine
    with pytest.raises(BadRecord, match=r"does not match `format\.pattern`") as caught:
        read(data, 1000, settled)
    assert caught.value.offset == 8


def in_python_through_the_engine(data: bytes, range_bytes: int, settled: Settled) -> None:
    module = formats.load("text")
    for block in blocks_of(data, range_bytes, settled):
        try:
            list(module.records(block.data, settled, None))
        except BadRecord as error:
            error.offset = (error.offset or 0) + block.offset
            raise


@pytest.mark.parametrize(("of", "value"), [("INTEGER", "1.5"), ("DOUBLE", "x"), ("DATE", "2026-01-02 03:04")])
def test_a_value_that_does_not_fit_its_column_is_named(of: str, value: str) -> None:
    data = f"a;1;2026-01-02\nb;{value};{value}\n".encode()
    pattern = r"(?P<name>[^;]*);(?P<number>[^;]*);(?P<day>.*)"
    column = "day" if of == "DATE" else "number"
    settled = settle(data, for_sql=True, pattern=pattern, columns={column: of})
    with pytest.raises(BadRecord, match=f"column {column} is not exactly a {of}") as caught:
        in_sql(data, 1000, settled)
    assert caught.value.offset == 15


def test_rows_become_the_struct_that_apply_is_annotated_with() -> None:
    class Access(msgspec.Struct):
        status: int
        who: str | None = None

    data = ACCESS.encode()
    settled = settle(data, pattern=PATTERN)
    records = list(formats.load("text").records(data, settled, Access))
    assert records == [Access(200, "é"), Access(404), Access(200, "z\u0661")]
    with pytest.raises(BadRecord, match="does not fit its type"):
        list(formats.load("text").records(b"x [] 200 1 a", settled, msgspec.defstruct("Other", [("who", int)])))


def test_multi_line_records_become_columns() -> None:
    data = b"2026-01-02 ERROR first\n  at a\n  at b\n2026-01-03 INFO second\n"
    options: dict[str, Any] = {"record_start": r"\d{4}", "pattern": r"(?s)(?P<day>\S+) (?P<level>\w+) (?P<message>.*)"}
    for range_bytes in (1, 1000):
        sql = in_sql(data, range_bytes, settle(data, for_sql=True, **options))
        assert [row["message"] for row in sql] == ["first\n  at a\n  at b", "second"]


ALB = (
    "http 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 "
    '0.000 200 200 34 366 "GET http://www.example.com:80/?a="b" c HTTP/1.1" "curl/7.46.0 "quoted"" - - '
    'arn:aws:elasticloadbalancing:us-east-2:1:targetgroup/my-targets/73e2 "Root=1-58337262" "-" '
    '"-" 0 2018-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90 "new field"\n'
    "wss 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 10.0.0.140:44244 - -1 -1 -1 460 - 218 0 "
    '"- http://www.example.com:80- -" "-" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 - "-" "-" "-" - 2018-07-02T22:22:48.364Z '
    '"-" "-" "-" "-" "-" "-" "-"\n\n'
    "h2 2018-07-02T22:22:48.364000Z app/lb/50 10.0.1.252:48160 10.0.0.66:9000 0.000 0.002 0.000 200 200 5 257 "
    '"GET https://10.0.2.105:773/ HTTP/2.0" "curl" ECDHE TLSv1.2 arn "Root" "a.com" "arn" 1 2018-07-02T22:22:48Z '
    '"redirect" "https://example.com:80/" "-"\n'
)
S3 = (
    "79a59df900b949e5 amzn-s3-demo-bucket1 [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a5 3E57427F3 REST.GET.VERSIONING - "
    '"GET /amzn-s3-demo-bucket1?versioning HTTP/1.1" 200 - 113 - 7 - "-" "S3Console/0.4" - s9lzHYrFp76ZVx= SigV4 '
    "ECDHE-RSA-AES128-GCM-SHA256 AuthHeader amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com TLSV1.2 "
    "arn:aws:s3:us-west-1:123456789012:accesspoint/example-AP Yes\n"
    '79a5 b [06/Feb/2019:00:01:00 +0000] - - 7B4 REST.PUT.OBJECT my%2Bkey "PUT /b/my"key HTTP/1.1" 403 Denied 243 1 '
    '28 27 "http://x/ "y"" "a "b" c" -\n'
    "79a5 b [06/Feb/2019:00:01:00 +0000] - svc 7B5 S3.EXPIRE.OBJECT key - - - - 5 - - - - v1 h - - - - - -\n"
)
CLOUDFRONT = (
    "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status "
    "cs(User-Agent) time-taken\n"
    "2019-12-04\t21:02:31\tLAX1\t392\t192.0.2.100\tGET\td111.cloudfront.net\t/index.html\t200\tMozilla/5.0%20(x)\t0.001\n"
    "2019-12-04\t21:02:32\tLAX1\t-\t2001:db8::1\tGET\td111.cloudfront.net\t/a#b\t000\t-\t1.25\n"
)


@pytest.mark.parametrize("range_bytes", [1, 100, 10_000])
def test_the_log_of_a_load_balancer(range_bytes: int) -> None:
    data = ALB.encode()
    records = [r for _, r in in_python(data, range_bytes, settle(data, preset="alb"))]
    assert len(records) == 3
    assert (records[0]["client_ip"], records[0]["client_port"]) == ("192.168.131.39", "2817")
    assert records[0]["request_url"] == 'http://www.example.com:80/?a="b" c'
    assert records[0]["user_agent"] == 'curl/7.46.0 "quoted"'
    assert (records[0]["target_port_list"], records[0]["conn_trace_id"]) == ("10.0.0.1:80", "TID_1234abcd5678ef90")
    assert (records[1]["target_ip"], records[1]["target_port"], records[1]["request_verb"]) == (None, None, None)
    assert records[1]["elb_status_code"] == "460"
    assert (records[2]["redirect_url"], records[2]["classification"]) == ("https://example.com:80/", None)
    statement = "SELECT sum(sent_bytes) AS n, sum(response_processing_time) AS s, count(target_port) AS p FROM records"
    rows = in_sql(data, range_bytes, settle(data, for_sql=True, preset="alb"), statement)
    assert rows == [{"n": 623, "s": -1.0, "p": 2}]


@pytest.mark.parametrize("range_bytes", [1, 100, 10_000])
def test_the_log_of_a_bucket(range_bytes: int) -> None:
    data = S3.encode()
    records = [r for _, r in in_python(data, range_bytes, settle(data, preset="s3"))]
    assert records[0]["request_uri"] == "GET /amzn-s3-demo-bucket1?versioning HTTP/1.1"
    assert (records[0]["key"], records[0]["bytes_sent"], records[0]["acl_required"]) == (None, "113", "Yes")
    assert records[1]["request_uri"] == 'PUT /b/my"key HTTP/1.1'
    assert (records[1]["referrer"], records[1]["user_agent"], records[1]["host_id"]) == (
        'http://x/ "y"',
        'a "b" c',
        None,
    )
    assert (records[2]["operation"], records[2]["request_uri"], records[2]["version_id"]) == (
        "S3.EXPIRE.OBJECT",
        None,
        "v1",
    )
    statement = "SELECT http_status, bytes_sent, time FROM records WHERE http_status >= 400"
    rows = in_sql(data, range_bytes, settle(data, for_sql=True, preset="s3"), statement)
    assert rows == [{"http_status": 403, "bytes_sent": 243, "time": "06/Feb/2019:00:01:00 +0000"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("range_bytes", [1, 100, 10_000])
def test_a_log_that_names_its_fields(encoding: str, range_bytes: int) -> None:
    data = (CLOUDFRONT + CLOUDFRONT).encode(encoding)  # the header again, as after a restart
    options: dict[str, Any] = {"preset": "cloudfront", "encoding": encoding}
    python = in_python(data, range_bytes, settle(data, **options))
    assert len(python) == 4
    assert python[1][1]["cs-uri-stem"] == "/a#b"
    assert (python[1][1]["sc-bytes"], python[0][1]["cs(User-Agent)"]) == (None, "Mozilla/5.0%20(x)")
    settled = settle(data, for_sql=True, **options)
    sql = in_sql(data, range_bytes, settled, 'SELECT _offset, date, "sc-status", "time-taken" FROM records')
    assert [row["_offset"] for row in sql] == [place for place, _ in python]
    assert [row["sc-status"] for row in sql] == [200, 0, 200, 0]
    assert sql[3] == {"_offset": python[3][0], "date": "2019-12-04", "sc-status": 0, "time-taken": 1.25}


def test_a_log_that_names_other_fields_is_refused() -> None:
    settled = settle(CLOUDFRONT.encode(), preset="cloudfront")
    data = CLOUDFRONT.encode() + b"#Fields: date time\n2019-12-04\t21:02:31\n"
    with pytest.raises(BadRecord, match="names 'date time', but the one before it 'date time x-edge") as caught:
        blocks_of(data, 50, settled)
    assert caught.value.offset == len(CLOUDFRONT)
    with pytest.raises(BadRecord, match="does not begin with a #Fields line"):
        settle(b"2019-12-04\t21:02:31\n", preset="cloudfront")
    fields: dict[str, Any] = {"preset": "cloudfront", "fields": ["date", "time"]}
    assert in_python(b"d\tt\n", 1, settle(b"d\tt\n", **fields)) == [(0, {"date": "d", "time": "t"})]
    with pytest.raises(BadRecord, match="does not have the 2 fields"):
        in_python(b"d\tt\tu\n", 1, settle(b"d\tt\tu\n", **fields))


def test_iis_logs_are_told_by_spaces() -> None:
    data = (
        b"#Software: IIS\n#Fields: date cs-method sc-status time-taken\n2026-01-02 GET 200 15\n2026-01-02 GET 500 -\n"
    )
    sql = in_sql(data, 10, settle(data, for_sql=True, preset="w3c"))
    assert [(row["sc-status"], row["time-taken"]) for row in sql] == [(200, 15.0), (500, None)]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{type: text, delimiter: ''}", "a delimiter of 1 to 1024 bytes"),
        ("{type: text, delimiter: '|', record_bytes: 3}", "only one of delimiter and record_bytes"),
        ("{type: text, record_start: '('}", "a regular expression"),
        ("{type: text, pattern: '(?P<a>'}", "a regular expression"),
        ("{type: text, pattern: '.*'}", "named groups"),
        ("{type: text, pattern: '(?P<a>.)', columns: {b: DATE}}", "none named b"),
        ("{type: text, pattern: '(?P<a>.)(?P<A>.)'}", "does not tell apart"),
        ("{type: text, preset: nginx}", "alb"),
        ("{type: text, preset: alb, pattern: '(?P<a>.)'}", "only one of pattern and preset"),
        ("{type: text, columns: {b: DATE}}", "beside a pattern or a preset"),
        ("{type: text, record_bytes: 8, encoding: utf-16}", "no number of characters"),
        ("{type: text, record_bytes: 1 GiB}", "at most max_record_bytes"),
        ("{type: text, encoding: ebcdic}", "utf-16"),
        ("{type: text, delimiter: 'é€', encoding: latin-1}", "cannot be written in latin-1"),
    ],
)
def test_mistakes_in_the_document_are_shown(written: str, problem: str) -> None:
    with pytest.raises(BadPipeline, match=problem):
        parse_pipeline(f"name: any\nformat: {written}\napply: {{python: module:Class}}\n", "f.yaml")


def test_delimiters_are_written_with_escapes() -> None:
    document = 'name: any\nformat: {type: text, delimiter: "\\r\\n\\0"}\napply: {python: module:Class}\n'
    options = parse_pipeline(document, "f.yaml").format.options
    assert in_python(b"a\r\nb\r\n\0c", 1, settle(b"", **options)) == [(0, b"a\r\nb"), (7, b"c")]


@pytest.mark.parametrize("range_bytes", [1, 2, 100])
def test_bytes_that_are_no_characters_tell_records_apart(range_bytes: int) -> None:
    document = "name: any\nformat: {type: text, delimiter: '\\xff\\xFE'}\napply: {python: module:Class}\n"
    options = parse_pipeline(document, "f.yaml").format.options
    data = "é".encode() + b"\xff\xfe\xff\xfe\n\xff\xfeend"
    expected = [(0, "é".encode()), (4, b""), (6, b"\n"), (9, b"end")]
    assert in_python(data, range_bytes, settle(data, **options)) == expected
    lines = in_sql(data, range_bytes, settle(data, for_sql=True, **options))
    assert [(line["_offset"], line["line"].encode()) for line in lines] == expected
    latin = "é||\xff".encode("latin-1")
    settled = settle(latin, encoding="latin-1", delimiter=r"\x7c\x7c")
    assert in_python(latin, range_bytes, settled) == [(0, "é".encode()), (3, "\xff".encode())]


def test_a_delimiter_that_no_sample_has_is_noted() -> None:
    data = b"record\xff" * 200
    assert settle(data, delimiter=r"\xff").notes == []
    (note,) = settle(data, delimiter="\xff").notes
    assert "(c3 bf in bytes) is in none of the samples" in note
    assert r"'\xff'" in note


def test_declared_columns_that_a_log_does_not_have_are_refused() -> None:
    with pytest.raises(BadPipeline, match=r"format\.columns\.nothing"):
        settle(ALB.encode(), for_sql=True, preset="alb", columns={"nothing": "DATE"})


def test_what_the_document_tells_of_columns() -> None:
    known = formats.load("text").known_columns  # type: ignore[attr-defined]
    assert known({}) == [("line", "VARCHAR")]
    assert known({"delimiter": "||"}) == [("line", "VARCHAR")]
    assert known({"pattern": "(?P<a>.)(?P<b>.)", "columns": {"b": "DATE"}}) is None
    assert known({"pattern": "(?P<a>.)", "columns": {"a": "DATE"}}) == [("a", "DATE")]
    assert known({"preset": "cloudfront"}) is None
    assert ("sent_bytes", "BIGINT") in known({"preset": "alb"})


def attempt(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RangemillError as error:
        return type(error), error.offset


@settings(max_examples=200, deadline=None)
@given(
    body=st.lists(st.sampled_from([b"a 1", b"b 2", b"\n", b"\n\n", b"\xff", b" ", b"#x", b"\r\n"]), max_size=12),
    option=st.sampled_from(["pattern", "w3c", "alb"]),
    range_bytes=ranges,
)
def test_ranges_do_not_change_what_is_read(body: list[bytes], option: str, range_bytes: int) -> None:
    data = b"a 1\n" + b"".join(body)
    ways: dict[str, dict[str, Any]] = {
        "pattern": {"pattern": r"(?P<a>\w) (?P<b>\d)"},
        "w3c": {"preset": "w3c", "fields": ["a", "b"]},
        "alb": {"preset": "alb"},
    }
    options = ways[option]
    settled = settle(b"", **options)
    python = attempt(lambda: in_python(data, range_bytes, settled))
    whole = attempt(lambda: in_python(data, 1 << 20, settled))
    assert (python == whole) if isinstance(whole, list) else isinstance(python, tuple)
    sql = attempt(lambda: in_sql(data, range_bytes, settle(b"", for_sql=True, **options)))
    assert isinstance(sql, list) == isinstance(whole, list)
    if isinstance(whole, list):
        assert sql == [{**record, "_offset": at} for at, record in whole]


def test_a_run_reads_its_own_range(tmp_path: Any) -> None:
    run = ByteRange(3, 6)
    settled = settle(b"", delimiter=";;")
    events = list(formats.load("text").align(run, 3, 12, iter([b"aa;;bb;;cc;;"]), settled, crc64, lambda: False))
    assert [e.data for e in events if isinstance(e, Block)] == [b"bb;;"]
