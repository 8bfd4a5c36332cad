"""Parquet by row groups: every row once, and only the columns that are asked for are read."""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.engines import make_engine
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadPipeline, BadRecord, IntegrityError, RecordTooLarge
from rangemill.formats import _parquet_footer, _parquet_pages, _thrift, parquet
from rangemill.formats.base import Event, Settled
from rangemill.ledger import Segment, merge, prove, segment_of
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import ByteRange


class BytesSource:
    """An object in memory that remembers what was read of it."""

    def __init__(self, data: bytes) -> None:
        self.uri, self.data, self.size_bytes = "s3://any/key.parquet", data, len(data)
        self.spans: list[tuple[int, int]] = []

    def read(self, start: int, end: int) -> bytes:
        self.spans.append((start, end))
        return self.data[start:end]

    def stream(self, start: int, stop_hint: int) -> Iterator[bytes]:
        return iter([self.data[start:]])


def written(folder: Path, select: str, group_rows: int = 2048, options: str = "") -> bytes:
    path = folder / "any.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'; SET threads=1")
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {group_rows}{options})")
    return path.read_bytes()


def settle(data: bytes, for_sql: bool = False, **options: Any) -> Settled:
    return parquet.settle_sources([BytesSource(data)], options, for_sql)


def read(
    data: bytes,
    edges: list[int],
    range_bytes: int,
    settled: Settled,
    stops: Iterator[int | None] | None = None,
    columns: frozenset[str] | None = None,
) -> tuple[list[Block], list[Segment]]:
    """Runs from edge to edge, and after each stop what remained."""
    blocks: list[Block] = []
    rows: list[Segment] = []
    todo = [ByteRange(a, b) for a, b in pairwise(edges)][::-1]
    while todo:
        run = todo.pop()
        stop_after, asked = next(stops or iter(()), None), 0

        def should_stop(stop_after: int | None = stop_after) -> bool:
            nonlocal asked
            asked += 1
            return stop_after is not None and asked >= stop_after

        events: list[Event] = list(
            parquet.align_source(run, range_bytes, BytesSource(data), settled, columns, should_stop)
        )
        blocks += [e for e in events if isinstance(e, Block)]
        rows += [segment_of(e) for e in events if isinstance(e, RangeDone)]
        todo += [e.tile for e in events if isinstance(e, Remaining)]
    return blocks, rows


def in_python(data: bytes, settled: Settled) -> list[Any]:
    blocks, _ = read(data, [0, len(data)], len(data), settled)
    return [record for block in blocks if block.file for record in parquet.records(block.file, settled, None)]


def in_sql(data: bytes, settled: Settled, sql: str, edges: list[int] | None = None) -> list[dict[str, Any]]:
    pipeline = parse_pipeline(json.dumps({"name": "any", "format": {"type": "parquet"}, "apply": {"sql": sql}}), "a")
    engine = make_engine(pipeline, settled)
    engine.begin_object(ObjectContext("any", "key.parquet", None))
    for block in read(data, edges or [0, len(data)], len(data), settled, columns=engine.columns)[0]:
        engine.take(block)
    return [json.loads(line) for line in engine.finish()[0].splitlines()]


@pytest.fixture(scope="module")
def many_groups(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    select = "SELECT i AS id, 'name ' || i AS name, i % 7 = 0 AS flag FROM range(20000) t(i)"
    return written(tmp_path_factory.mktemp("parquet"), select)


class Held:
    """Bytes that hypothesis does not print."""

    def __init__(self, data: bytes) -> None:
        self.data = data


@pytest.fixture(scope="module")
def held(many_groups: bytes) -> Held:
    return Held(many_groups)


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.floats(0, 1), max_size=6),
    range_bytes=st.one_of(st.integers(1, 40), st.integers(1, 100_000)),
    stops=st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=12),
)
def test_every_row_group_exactly_once(held: Held, cuts: list[float], range_bytes: int, stops: list[int | None]) -> None:
    data = held.data
    settled = settle(data)
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    blocks, rows = read(data, edges, range_bytes, settled, iter(stops))
    assert [block.offset for block in blocks] == [n * 2048 for n in range(10)]
    assert sum(block.records for block in blocks) == 20000
    merged = merge(rows, "CRC64NVME", "o")
    prove(merged, len(data), len(data), "CRC64NVME", None, "o")
    assert (merged[0].first, merged[0].last_end, merged[0].total) == (0, 10, 10)
    assert merged[0].records == 20000


def test_both_engines_read_every_row(many_groups: bytes) -> None:
    settled = settle(many_groups)
    assert settled.level == "units"
    assert settled.columns == [("id", "BIGINT"), ("name", "VARCHAR"), ("flag", "BOOLEAN")]
    expected = [{"id": n, "name": f"name {n}", "flag": n % 7 == 0} for n in range(20000)]
    assert in_python(many_groups, settled) == expected
    assert in_sql(many_groups, settled, "SELECT * FROM records") == expected
    found = in_sql(many_groups, settled, "SELECT _offset AS o, id, _object AS k FROM records WHERE id % 6000 = 5")
    assert found == [{"o": n, "id": n, "k": "key.parquet"} for n in (5, 6005, 12005, 18005)]
    assert in_sql(many_groups, settled, "SELECT count(*) AS n FROM records", [0, 30000, len(many_groups)]) == [
        {"n": 20000}
    ]


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    select = "SELECT i AS id, repeat(md5(i::VARCHAR), 40) AS wide, i * 2 AS twice FROM range(40000) t(i)"
    data = written(tmp_path, select, 20000, ", COMPRESSION uncompressed")
    assert len(data) > 40_000_000
    source = BytesSource(data)
    settled = settle(data)
    run = ByteRange(0, len(data))
    for columns, bound in ((frozenset({"id", "twice"}), 1_500_000), (frozenset[str](), 200_000)):
        source.spans.clear()
        blocks = [
            e
            for e in parquet.align_source(run, len(data), source, settled, columns, lambda: False)
            if isinstance(e, Block)
        ]
        assert sum(block.records for block in blocks) == 40000
        assert sum(end - start for start, end in source.spans) < bound
    assert in_sql(data, settled, "SELECT sum(id) AS a, sum(twice) AS b FROM records") == [
        {"a": 799980000, "b": 1599960000}
    ]
    narrow = settle(data, columns=["twice", "id"])
    assert in_python(data, narrow)[7] == {"twice": 14, "id": 7}
    with pytest.raises(BadPipeline, match="no column is called 'nine'"):
        settle(data, columns=["nine"])


TYPES = {
    "b": ("true", True),
    "i8": ("-5::TINYINT", -5),
    "u64": ("18446744073709551615::UBIGINT", 2**64 - 1),
    "f": ("1.5::FLOAT", 1.5),
    "d": ("0.1::DOUBLE", 0.1),
    "dec": ("1234567890123456.789::DECIMAL(38, 3)", Decimal("1234567890123456.789")),
    "dec4": ("-1.50::DECIMAL(4, 2)", Decimal("-1.50")),
    "s": ("'é\n\u2028'", "é\n\u2028"),
    "blob": ("'\\x00\\xFF'::BLOB", b"\x00\xff"),
    "day": ("DATE '2020-02-29'", date(2020, 2, 29)),
    "t": ("TIME '01:02:03.000001'", time(1, 2, 3, 1)),
    "ts": ("TIMESTAMP '2020-01-02 03:04:05.000006'", datetime(2020, 1, 2, 3, 4, 5, 6)),  # noqa: DTZ001
    "tz": ("TIMESTAMPTZ '2020-01-02 03:04:05.000006+02'", datetime(2020, 1, 2, 1, 4, 5, 6, tzinfo=UTC)),
    "ns": ("TIMESTAMP_NS '2020-01-02 03:04:05.000006'", datetime(2020, 1, 2, 3, 4, 5, 6)),  # noqa: DTZ001
    "uuid": ("UUID '6f9619ff-8b86-d011-b42d-00c04fc964ff'", UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
    "l": ("[1, NULL, 3]", [1, None, 3]),
    "st": (
        "{'a': 1.5::DECIMAL(3, 1), 'b c': [TIMESTAMPTZ '2020-01-01 00:00:00+00']}",
        {"a": Decimal("1.5"), "b c": [datetime(2020, 1, 1, tzinfo=UTC)]},
    ),
    "m": ("MAP {'k': DATE '2020-01-01'}", {"k": date(2020, 1, 1)}),
    "nil": ("NULL::VARCHAR", None),
}


def test_python_values_are_exactly_the_files(tmp_path: Path) -> None:
    select = ", ".join(f'{sql} AS "{name}"' for name, (sql, _) in TYPES.items())
    nulls = ", ".join("NULL" for _ in TYPES)
    data = written(tmp_path, f"SELECT {select} UNION ALL SELECT {nulls}")
    first, second = in_python(data, settle(data))
    assert first == {name: value for name, (_, value) in TYPES.items()}
    assert {name: type(value) for name, value in first.items()} == {n: type(v) for n, (_, v) in TYPES.items()}
    assert set(second.values()) == {None}
    sql = in_sql(data, settle(data), "SELECT dec::VARCHAR AS a, u64, ns::VARCHAR AS b, blob::VARCHAR AS c FROM records")
    assert sql[0] == {
        "a": "1234567890123456.789",
        "u64": 2**64 - 1,
        "b": "2020-01-02 03:04:05.000006",
        "c": "\\x00\\xFF",
    }


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("TIMESTAMP_NS '2020-01-02 03:04:05.000000001'", "nanoseconds"),
        ("[TIMESTAMP_NS '2020-01-02 03:04:05.000000001']", "nanoseconds"),
        ("INTERVAL 1 MONTH", "INTERVAL"),
        ("DATE '20000-01-01'", "years 1 to 9999"),
        ("TIMESTAMP '20000-01-01'", "years 1 to 9999"),
    ],
)
def test_what_python_has_no_exact_value_for_is_refused(tmp_path: Path, sql: str, words: str) -> None:
    data = written(tmp_path, f"SELECT {sql} AS x, 1 AS y")
    with pytest.raises(BadRecord, match=words):
        in_python(data, settle(data))
    assert in_python(data, settle(data, columns=["y"])) == [{"y": 1}]


def test_another_objects_columns_are_matched_by_name(tmp_path: Path) -> None:
    one = written(tmp_path, "SELECT 1 AS a, 'x' AS b")
    turned = written(tmp_path, "SELECT 'y' AS b, 2 AS a")
    settled = settle(one)
    assert in_python(turned, settled) == [{"a": 2, "b": "y"}]
    assert in_sql(turned, settled, "SELECT b, a FROM records") == [{"b": "y", "a": 2}]
    for other, difference in (
        ("SELECT 1 AS a", "b is missing, not VARCHAR"),
        ("SELECT 1::BIGINT AS a, 'x' AS b", "a is BIGINT, not INTEGER"),
        ("SELECT 1 AS a, 'x' AS b, 3 AS c", "c is one too many"),
    ):
        with pytest.raises(BadRecord, match=difference):
            in_python(written(tmp_path, other), settled)
    wider = written(tmp_path, "SELECT 1 AS a, 'x' AS b, 3 AS c")
    assert in_sql(wider, settled, "SELECT a FROM records") == [{"a": 1}]
    assert in_sql(written(tmp_path, "SELECT 7 AS a, 5 AS b"), settled, "SELECT a FROM records") == [{"a": 7}]


def test_an_empty_table_is_proved(tmp_path: Path) -> None:
    data = written(tmp_path, "SELECT 1 AS a WHERE false")
    blocks, rows = read(data, [0, 50, len(data)], 30, settle(data))
    assert not blocks
    prove(merge(rows, "CRC64NVME", "o"), len(data), len(data), "CRC64NVME", None, "o")


# Arrow 26 wrote these: a row group without rows, which has dictionaries and no data page; a DECIMAL(60, 5).
ARROW_EMPTY = (
    "P(e~L6$BLk6#`5Z02Kfd0000L1Qh@k0!$SE6#x<d000#P89X%r7zT4=Xk~3-6$Ahk1SJ9(0bu|Y3?%{>0dpk)OdJ3J02Tll92qPo02~zr86^M)"
    "85jX!6#^Cj7918HCIBV~DI6696#x|i0000c02~zz86^M)85jX`6#^Cj7918HCIBWTDI6696#x|i0000MI2HgV2o^j5C?IfQa&dKKbS-0Wa4lhSa&"
    "LDac4cyNX>V>IGBz$SE-@J_8~^|u0001~0000`K~ga"
)
ARROW_WIDE = (
    "P(e~L6#x}L6+kQ%0u=xi1{DSz00002000020RR910000000000000000R?UkHl{>9;@^1{1Q{$f02l^yV`yb<VHE-Z6%G|N6#^ImWF-m}3Ke)PTo"
    "noxcmMzZ76KU@85|}692E{3B?bT)7y)Dz02TrkW)@~92uU0j02Kfg0suTI1{o#*0ssI27G@R#CI}X004N}EVRCVGWppiLaBwYQa&m8XAa-SPb7^m"
    "GATl;CFfK6}92@`u0Ez$r08l|vF#"
)


def test_a_row_group_without_rows_may_have_no_data_page() -> None:
    data = base64.b85decode(ARROW_EMPTY)
    blocks, rows = read(data, [0, 50, len(data)], 30, settle(data))
    assert not blocks
    prove(merge(rows, "CRC64NVME", "o"), len(data), len(data), "CRC64NVME", None, "o")


def test_decimals_that_sql_has_not_are_told_of() -> None:
    data = base64.b85decode(ARROW_WIDE)
    (note,) = settle(data).notes
    assert "d is a decimal of more than 38 digits; it is read as DOUBLE" in note
    assert in_python(data, settle(data)) == [{"d": pytest.approx(12345678901234567890.12345)}]


def test_pages_as_writers_of_2017_left_them_are_read() -> None:
    data = (Path(__file__).parent / "data/parquet-cpp-1.3.2.parquet").read_bytes()
    settled = settle(data)
    assert [row["a"] for row in in_python(data, settled)] == [1, 2, 3]
    assert in_sql(data, settled, "SELECT sum(a)::BIGINT AS a, min(c) AS c FROM records") == [
        {"a": 6, "c": "2016-12-31 23:00:00"}
    ]


def test_a_row_group_larger_than_the_bound_is_refused_by_name(many_groups: bytes) -> None:
    with pytest.raises(RecordTooLarge, match=r"row group 0 has \d+ bytes"):
        read(many_groups, [0, len(many_groups)], 1 << 20, settle(many_groups, max_unit_bytes=100))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_broken_footer_is_an_integrity_error_or_what_it_was(held: Held, data: st.DataObject) -> None:
    footer = _parquet_footer.read(BytesSource(held.data))
    at = data.draw(st.integers(footer.start, len(held.data) - 1))
    broken = bytearray(held.data)
    broken[at] = data.draw(st.integers(0, 255))
    try:
        found: Any = in_sql(bytes(broken), settle(bytes(broken)), "SELECT count(*) AS n FROM records")
    except IntegrityError as error:
        found = error.object_uri
    assert found in ([{"n": 20000}], "s3://any/key.parquet", "s3:///key.parquet", "s3://any/key.parquet")


@pytest.mark.parametrize("cut", [0, 3, 4, 11, 12, 100, -1, -4, -8])
def test_a_file_that_was_cut_off_is_named(many_groups: bytes, cut: int) -> None:
    with pytest.raises(IntegrityError, match=r"no whole Parquet file|broken Parquet footer"):
        settle(many_groups[:cut])


def test_a_broken_page_is_named(many_groups: bytes) -> None:
    settled = settle(many_groups)
    footer = _parquet_footer.read(BytesSource(many_groups))
    broken = bytearray(many_groups)
    start, end = footer.groups[3].chunks[1]
    broken[start:end] = bytes(end - start)
    with pytest.raises(IntegrityError, match=r"key.parquet: the records from 6144 on cannot be read"):
        in_sql(bytes(broken), settled, "SELECT name FROM records")
    assert in_sql(bytes(broken), settled, "SELECT count(id) AS n FROM records") == [{"n": 20000}]


def test_a_compressed_file_is_named_as_what_it_is(many_groups: bytes) -> None:
    with pytest.raises(IntegrityError, match="it is gzip by its first bytes"):
        settle(gzip.compress(many_groups))


def test_a_footer_without_a_schema_is_named() -> None:
    footer = b"\x15\x02\x19\x0c\x16\x00\x19\x0c\x00"
    with pytest.raises(IntegrityError, match="broken Parquet footer"):
        settle(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


CHECKSUMMED = Path(__file__).parent / "data" / "page-checksums.parquet"


def test_pages_with_checksums_are_read_as_they_are() -> None:
    data = CHECKSUMMED.read_bytes()
    blocks, _ = read(data, [0, len(data)], len(data), settle(data))
    assert sum(block.records for block in blocks) == 100


def test_a_damaged_page_is_told_by_its_checksum() -> None:
    data = CHECKSUMMED.read_bytes()
    settled = settle(data)
    (group, *_) = _parquet_footer.read(BytesSource(data)).groups
    for start, end in group.chunks:
        damaged = bytearray(data)
        damaged[end - 1] ^= 1  # of a plain number: DuckDB would read another one
        with pytest.raises(IntegrityError, match="does not fit the CRC-32 in its header") as caught:
            read(bytes(damaged), [0, len(data)], len(data), settled)
        assert caught.value.offset is not None
        assert start <= caught.value.offset < end


def test_columns_that_nobody_asks_for_are_not_held_against_their_checksums() -> None:
    data = bytearray(CHECKSUMMED.read_bytes())
    settled = settle(bytes(data))
    (group, *_) = _parquet_footer.read(BytesSource(bytes(data))).groups
    data[group.chunks[0][1] - 1] ^= 1
    blocks, _ = read(bytes(data), [0, len(data)], len(data), settled, columns=frozenset({"s"}))
    assert sum(block.records for block in blocks) == 100


def test_a_damaged_header_of_a_checksummed_page_is_told() -> None:
    chunk = b"\x15\x00\x15\x08\x15\x08\x15" + _thrift.zigzag(
        zlib.crc32(b"1234") - 2**32 * (zlib.crc32(b"1234") >= 2**31)
    )
    chunk += b"\x00" + b"1234"
    _parquet_pages.check(chunk * 2, 100, 100, 100 + 2 * len(chunk), "any")
    with pytest.raises(IntegrityError, match=f"page at byte {100 + len(chunk)} has a damaged header"):
        _parquet_pages.check(chunk + chunk[:-1], 100, 100, 99 + 2 * len(chunk), "any")
