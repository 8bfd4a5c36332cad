"""Avro by sync markers: every block once, whatever stands inside records, and every value exactly."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.engines import make_engine
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadPipeline, BadRecord, IntegrityError, RangemillError, RecordTooLarge
from rangemill.formats import _avro_container, _snappy, avro
from rangemill.formats.base import Settled
from rangemill.ledger import Segment, merge, prove, segment_of
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import ByteRange

SIMPLE = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}, {"name": "b", "type": "bytes"}]}


class PiecesSource:
    """An object in memory, streamed in small pieces."""

    def __init__(self, data: bytes, piece_bytes: int = 1 << 16) -> None:
        self.uri, self.data, self.size_bytes, self.piece_bytes = "s3://any/key.avro", data, len(data), piece_bytes

    def read(self, start: int, end: int) -> bytes:
        return self.data[start:end]

    def stream(self, start: int, stop_hint: int) -> Iterator[bytes]:
        for at in range(start, len(self.data), self.piece_bytes):
            yield self.data[at : at + self.piece_bytes]


def written(records: list[Any], schema: Any = SIMPLE, *, codec: str = "null", interval: int = 40, **more: Any) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, schema, records, codec=codec, sync_interval=interval, **more)
    return out.getvalue()


def settle(data: bytes, *, for_sql: bool = False, **options: Any) -> Settled:
    return avro.settle_sources([PiecesSource(data)], options, for_sql)


def read_as_a_job_would(
    data: bytes,
    edges: list[int],
    range_bytes: int,
    settled: Settled,
    stops: Iterator[int | None] | None = None,
    piece_bytes: int = 1 << 16,
    block_bytes: int = 1 << 20,
    columns: frozenset[str] | None = None,
) -> tuple[list[Block], list[Segment], int]:
    """Runs from edge to edge, each looking for its first block; one that was fooled is worked on again as told."""
    blocks: list[Block] = []
    rows: list[Segment] = []
    fooled = 0
    left: str | None = None
    for start, end in pairwise(edges):
        todo, state = ByteRange(start, end), None
        while True:
            asked, stop_after = 0, next(stops or iter(()), None)

            def should_stop(stop_after: int | None = stop_after) -> bool:
                nonlocal asked
                asked += 1
                return stop_after is not None and asked >= stop_after

            source = PiecesSource(data, piece_bytes)
            try:
                events = list(
                    avro.align_source(todo, range_bytes, source, settled, columns, should_stop, state, block_bytes)
                )
                done = [segment_of(e) for e in events if isinstance(e, RangeDone)]
                assumed = done[0].assumed
            except RangemillError:
                if state is not None or todo.start == 0:
                    raise
                assumed = "?"
            if left is not None and assumed != left:
                assert state is None
                fooled, state = fooled + 1, left
                continue
            rows += done
            blocks += [e for e in events if isinstance(e, Block)]
            left = rows[-1].left
            stopped = next((e for e in events if isinstance(e, Remaining)), None)
            if stopped is None:
                break
            assert stopped.tile.start == rows[-1].end
            todo, state = stopped.tile, stopped.state
    return blocks, rows, fooled


def in_python(data: bytes, settled: Settled) -> list[Any]:
    blocks, _, _ = read_as_a_job_would(data, [0, len(data)], len(data), settled)
    return [record for block in blocks for record in avro.records(block.data, settled, None)]


def in_sql(data: bytes, settled: Settled, sql: str) -> list[dict[str, Any]]:
    pipeline = parse_pipeline(json.dumps({"name": "any", "format": {"type": "avro"}, "apply": {"sql": sql}}), "a")
    engine = make_engine(pipeline, settled)
    engine.begin_object(ObjectContext("any", "key.avro", None))
    for block in read_as_a_job_would(data, [0, len(data)], len(data), settled, columns=engine.columns)[0]:
        engine.take(block)
    return [json.loads(line) for line in engine.finish()[0].splitlines()]


@settings(max_examples=500, deadline=None)
@given(
    payloads=st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"\0" * 60, b"x" * 200])), max_size=12),
    sync=st.sampled_from([b"0123456789abcdef", b"\0" * 16, b"ab" * 8]),
    inside=st.booleans(),
    codec=st.sampled_from(["null", "deflate"]),
    interval=st.integers(1, 120),
    range_bytes=st.one_of(st.integers(1, 12), st.integers(1, 400)),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    piece_bytes=st.integers(1, 80),
    block_bytes=st.integers(1, 200),
    stops=st.lists(st.one_of(st.none(), st.integers(1, 3)), max_size=8),
)
def test_every_block_exactly_once(
    payloads: list[bytes],
    sync: bytes,
    inside: bool,
    codec: str,
    interval: int,
    range_bytes: int,
    cuts: list[float],
    piece_bytes: int,
    block_bytes: int,
    stops: list[int | None],
) -> None:
    if inside:  # what looks like whole blocks, inside a record
        payloads = [*payloads, b"".join((sync, b"\x02\x04", b"zz", sync, b"\x02\x00", sync)), *payloads]
    records = [{"n": n, "b": payload} for n, payload in enumerate(payloads)]
    data = written(records, codec=codec, interval=interval, sync_marker=sync)
    settled = settle(data)
    edges = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    blocks, rows, _ = read_as_a_job_would(data, edges, range_bytes, settled, iter(stops), piece_bytes, block_bytes)
    assert [r for block in blocks for r in avro.records(block.data, settled, None)] == records
    for block in blocks:
        assert len(block.places or ()) == block.records
    merged = merge(rows, "CRC64NVME", "o")
    prove(merged, len(data), len(data), "CRC64NVME", None, "o")
    assert merged[0].records == len(records)


def test_without_tricks_nobody_is_fooled() -> None:
    data = written([{"n": n, "b": b"y" * (n % 50)} for n in range(3000)], interval=400)
    edges = [*range(0, len(data), 173), len(data)]
    assert read_as_a_job_would(data, edges, 50, settle(data))[2] == 0


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_both_engines_read_every_codec(codec: str) -> None:
    records: list[dict[str, Any]] = [{"n": n, "b": bytes([n % 256]) * (n % 9)} for n in range(500)]
    data = written(records, codec=codec, interval=300)
    settled = settle(data)
    assert settled.level == "units"
    assert settled.columns == [("n", "BIGINT"), ("b", "BLOB")]
    assert in_python(data, settled) == records
    found = in_sql(
        data, settled, "SELECT sum(n)::BIGINT AS n, count(*) AS c, sum(octet_length(b))::BIGINT AS b FROM records"
    )
    assert found == [{"n": 124750, "c": 500, "b": sum(len(r["b"]) for r in records)}]
    assert in_sql(data, settled, "SELECT count(*) AS c FROM records") == [{"c": 500}]
    offsets = in_sql(data, settled, "SELECT DISTINCT _offset AS o FROM records ORDER BY o")
    assert all(data[row["o"] - 16 : row["o"]] == _avro_container.parse_header(data).sync for row in offsets)


def repacked(data: bytes, codec: bytes, pack: Any) -> bytes:
    """A file without compression as one with that codec."""
    header = _avro_container.parse_header(data)
    out, at = [data[: header.end].replace(b"\x08null", bytes([2 * len(codec)]) + codec)], header.end
    while at < len(data):
        count, at = _avro_container.long_at(data, at)
        size, at = _avro_container.long_at(data, at)
        packed = pack(data[at : at + size])
        out += [_avro_container.written_long(count), _avro_container.written_long(len(packed)), packed, header.sync]
        at += size + 16
    return b"".join(out)


def test_zstandard_and_snappy_blocks() -> None:
    import zlib

    from backports import zstd

    records = [{"n": n, "b": b"abcd" * (n % 30)} for n in range(500)]
    plain = written(records, interval=2000)

    def literal(payload: bytes) -> bytes:  # Snappy without copies, in literals of at most 100 bytes
        size, out = len(payload), bytearray()
        while size >= 0x80:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        out.append(size)
        for at in range(0, len(payload), 100):
            part = payload[at : at + 100]
            out += (bytes([(len(part) - 1) << 2]) if len(part) <= 60 else bytes([60 << 2, len(part) - 1])) + part
        return bytes(out) + zlib.crc32(payload).to_bytes(4)

    for codec, pack in ((b"zstandard", zstd.compress), (b"snappy", literal)):
        data = repacked(plain, codec, pack)
        assert in_python(data, settle(data)) == records
        broken = bytearray(data)
        broken[len(data) - 20] ^= 0xFF  # the last block's last bytes: its CRC, its end
        with pytest.raises(IntegrityError, match=r"the Avro block at byte \d+ is damaged"):
            in_python(bytes(broken), settle(data))


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (b"\x00", b""),
        (b"\x03\x08abc", b"abc"),
        (b"\x09\x04ab\x1a\x02\x00", b"ababababa"),
        (b"\x06\x04ab\x01\x02", b"ababab"),
        (b"\x05\x00a\x0e\x01\x00", b"aaaaa"),
        (b"\x05\x00a\x0f\x01\x00\x00\x00", b"aaaaa"),
    ],
)
def test_snappy_copies(packed: bytes, expected: bytes) -> None:
    assert _snappy.size_of(packed) == len(expected)
    assert _snappy.decompress(packed) == expected
    for broken in (packed[:-1], packed + b"\x00z", bytes([packed[0] + 1]) + packed[1:]):
        with pytest.raises(ValueError, match=r".+"):
            _snappy.decompress(broken)


def logical(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, "logicalType": name}


LONG_DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9}
F = {"type": "fixed", "name": "F", "size": 5, "logicalType": "decimal", "precision": 10, "scale": 2}
S_FIELDS = [{"name": "x", "type": ["null", "F"]}, {"name": "y_z", "type": "bytes"}]
T_FIELDS = [{"name": "v", "type": "int"}, {"name": "next", "type": ["null", "T"]}]
ALL: list[tuple[str, Any, Any]] = [
    ("nil", "null", None),
    ("flag", "boolean", True),
    ("i", "int", -(2**31)),
    ("l", "long", 2**63 - 1),
    ("f", "float", 1.5),
    ("d", "double", 0.1),
    ("inf", "double", float("inf")),
    ("raw", "bytes", bytes(range(256))),
    ("s", "string", 'é"\\\n\u2028x'),
    ("dec", LONG_DECIMAL, Decimal("-12345678901234567890.123456789")),
    ("fdec", F, Decimal("1.50")),
    ("day", logical("int", "date"), date(1960, 2, 29)),
    ("tm", logical("int", "time-millis"), time(1, 2, 3, 4000)),
    ("tu", logical("long", "time-micros"), time(23, 59, 59, 999999)),
    ("at", logical("long", "timestamp-millis"), datetime(1960, 1, 2, 3, 4, 5, 6000, UTC)),
    ("au", logical("long", "timestamp-micros"), datetime(2020, 1, 2, 3, 4, 5, 6, UTC)),
    ("lm", logical("long", "local-timestamp-micros"), datetime(1, 1, 1)),  # noqa: DTZ001
    ("u", logical("string", "uuid"), UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
    ("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
    ("fx", {"type": "fixed", "name": "G", "size": 3}, b"\x00\xff'"),
    ("opt", ["null", {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1}], Decimal("1.5")),
    ("arr", {"type": "array", "items": ["null", "int"]}, [1, None, 3]),
    ("map", {"type": "map", "values": logical("long", "timestamp-micros")}, {"k": datetime(2020, 1, 1, tzinfo=UTC)}),
    ("sub", {"type": "record", "name": "S", "fields": S_FIELDS}, {"x": Decimal("2.25"), "y_z": b"\x01"}),
    ("mix", ["string", "long", {"type": "array", "items": "bytes"}], [b"\xff"]),
    ("num", ["int", "long"], 2**40),
    ("tree", {"type": "record", "name": "T", "fields": T_FIELDS}, {"v": 1, "next": {"v": 2, "next": None}}),
]


def test_every_type_is_exact_in_both_engines() -> None:
    schema = {"type": "record", "name": "R", "namespace": "a.b", "fields": [{"name": n, "type": t} for n, t, _ in ALL]}
    record = {name: value for name, _, value in ALL}
    data = written([record], schema)
    settled = settle(data, for_sql=True)
    (found,) = in_python(data, settled)
    assert found == record
    assert {n: type(v) for n, v in found.items()} == {n: type(v) for n, v in record.items()}
    types = dict(settled.columns or [])
    assert types["dec"] == "DECIMAL(38,9)"
    assert types["au"] == "TIMESTAMP WITH TIME ZONE"
    assert types["sub"] == 'STRUCT("x" DECIMAL(10,2), "y_z" BLOB)'
    assert types["mix"] == "JSON"
    assert types["tree"] == 'STRUCT("v" INTEGER, "next" JSON)'
    texts = ", ".join(f'CAST("{name}" AS VARCHAR) AS "{name}"' for name, _, _ in ALL)
    (row,) = in_sql(data, settled, f"SELECT {texts} FROM records")
    assert row == {
        "nil": None, "flag": "true", "i": "-2147483648", "l": "9223372036854775807", "f": "1.5", "d": "0.1",
        "inf": "inf", "raw": row["raw"], "s": 'é"\\\n\u2028x', "dec": "-12345678901234567890.123456789", "fdec": "1.50",
        "day": "1960-02-29", "tm": "01:02:03.004", "tu": "23:59:59.999999", "at": "1960-01-02 03:04:05.006+00",
        "au": "2020-01-02 03:04:05.000006+00", "lm": "0001-01-01 00:00:00", "u": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "e": "B", "fx": "\\x00\\xFF\\x27", "opt": "1.5", "arr": "[1, NULL, 3]", "map": "{k='2020-01-01 00:00:00+00'}",
        "sub": row["sub"], "mix": '["\\\\xff"]', "num": "1099511627776", "tree": row["tree"],
    }  # fmt: skip
    (row,) = in_sql(data, settled, "SELECT hex(raw) AS raw, sub.x::VARCHAR AS x, hex(sub.y_z) AS y FROM records")
    assert row == {"raw": bytes(range(256)).hex().upper(), "x": "2.25", "y": "01"}


def test_text_with_a_nul_is_what_it_was_or_refused() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "s", "type": "string"}]}
    data = written([{"s": "a\0b"}], schema)
    assert in_python(data, settle(data)) == [{"s": "a\0b"}]
    try:
        found: Any = in_sql(data, settle(data), "SELECT length(s) AS n FROM records")
    except BadRecord:
        found = "refused"
    assert found in ([{"n": 3}], "refused")


def test_what_would_be_changed_is_refused() -> None:
    def one(logical: dict[str, Any], kind: str, value: Any) -> tuple[bytes, Settled]:
        plain = {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}
        typed = {"type": "record", "name": "R", "fields": [{"name": "x", "type": {"type": kind, **logical}}]}
        header = written([], typed)
        block = written([{"x": value}], plain, sync_marker=_avro_container.parse_header(header).sync)
        data = header + block[_avro_container.parse_header(block).end :]
        return data, settle(data)

    for logical, kind, value, words in (
        (
            {"logicalType": "decimal", "precision": 3, "scale": 1},
            "bytes",
            (123456).to_bytes(4),
            "more than the 3 digits",
        ),
        ({"logicalType": "timestamp-micros"}, "long", 2**62, "beyond the years|OverflowError"),
        ({"logicalType": "date"}, "int", 2**30, "beyond the years|ValueError"),
        ({"logicalType": "time-millis"}, "int", 24 * 3600 * 1000, "outside the day|ValueError"),
        ({"logicalType": "uuid"}, "string", "no uuid", "ValueError|DuckDB|UUID"),
    ):
        data, settled = one(logical, kind, value)
        with pytest.raises(BadRecord, match=words):
            in_python(data, settled)
        with pytest.raises(BadRecord, match=r"key.avro: the records from \d+ on cannot be read: .*(" + words + ")"):
            in_sql(data, settled, "SELECT x FROM records")
    data, settled = one({"logicalType": "timestamp-nanos"}, "long", 1_577_934_245_000_006_007)
    with pytest.raises(BadRecord, match="nanoseconds"):
        in_python(data, settled)
    assert in_sql(data, settled, "SELECT x::VARCHAR AS x FROM records") == [{"x": "2020-01-02 03:04:05.000006007"}]


def test_another_objects_schema_must_be_the_same() -> None:
    def schema(*fields: tuple[str, Any]) -> Any:
        return {"type": "record", "name": "Any", "doc": "x", "fields": [{"name": n, "type": t} for n, t in fields]}

    one = written([{"a": 1, "b": "x"}], schema(("a", "long"), ("b", "string")))
    turned = written([{"b": "y", "a": 2}], schema(("b", "string"), ("a", "long")))
    settled = settle(one)
    assert in_python(turned, settled) == [{"b": "y", "a": 2}]
    assert in_sql(turned, settled, "SELECT a, b FROM records") == [{"a": 2, "b": "y"}]
    wider = written([{"a": 3, "b": "x", "c": 1}], schema(("a", "long"), ("b", "string"), ("c", "int")))
    with pytest.raises(BadRecord, match="c is one too many"):
        in_python(wider, settled)
    assert in_sql(wider, settled, "SELECT a FROM records") == [{"a": 3}]
    with pytest.raises(BadRecord, match="b is missing, not string"):
        in_python(written([{"a": 1}], schema(("a", "long"))), settled)
    with pytest.raises(BadRecord, match="a is int, not long"):
        in_sql(written([{"a": 1, "b": ""}], schema(("a", "int"), ("b", "string"))), settled, "SELECT a FROM records")
    narrow = settle(one, columns=["b"])
    assert in_python(one, narrow) == [{"b": "x"}]
    assert narrow.columns == [("b", "VARCHAR")]
    with pytest.raises(BadPipeline, match="no field is called 'z'"):
        settle(one, columns=["z"])


def test_records_without_fields_are_values_for_python() -> None:
    data = written([1, 2, 3], "long")
    assert in_python(data, settle(data)) == [1, 2, 3]
    with pytest.raises(BadRecord, match="no records with fields"):
        settle(data, for_sql=True)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_an_integrity_error_or_what_it_was(at: int, value: int, cut: bool) -> None:
    records = [{"n": n, "b": b"abc"} for n in range(200)]
    data = written(records, codec="deflate", interval=200, sync_marker=b"0123456789abcdef")
    at %= len(data)
    broken = data[:at] if cut else data[:at] + bytes([value]) + data[at + 1 :]
    try:
        settled = settle(broken)
        found = in_python(broken, settled)
        # Cut off right behind its header it is a file without blocks, of which no engine is told.
        counted = [{"c": len(found)}] if found else []
        assert in_sql(broken, settled, "SELECT count(*) AS c FROM records") == counted
    except (IntegrityError, BadPipeline):
        return
    if cut:  # at the end of a block nothing tells that more followed
        assert records[: len(found)] == found
    else:
        assert len(found) == 200


def test_a_block_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    data = written([{"n": 1, "b": bytes(10**7)}], codec="deflate")
    assert len(data) < 20000
    with pytest.raises(RecordTooLarge, match=r"block at byte \d+ unpacks to more than"):
        in_python(data, settle(data, max_unit_bytes="1 MiB"))
    with pytest.raises(IntegrityError, match=r"is compressed with the Avro codec 'nope'"):
        in_python(data.replace(b"\x0edeflate", b"\x08nope"), settle(data))


@settings(max_examples=150, deadline=None)
@given(
    records=st.integers(0, 60),
    interval=st.integers(1, 80),
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=4).filter(any),
    cut=st.integers(0, 400),
)
def test_a_file_that_streams_past_is_what_it_is_at_rest(
    records: int, interval: int, sizes: list[int], cut: int
) -> None:
    data = written([{"n": n, "b": b"x" * (n % 9)} for n in range(records)], interval=interval)
    settled = settle(data)

    def pieces(until: int) -> Iterator[bytes]:
        at, turn = 0, 0
        while at < until:
            size = sizes[turn % len(sizes)]
            yield data[at : min(at + size, until)]
            at, turn = at + size, turn + 1

    blocks = list(avro.align_forward(pieces(len(data)), settled))
    assert [row for block in blocks for row in avro.records(block.data, settled, None)] == in_python(data, settled)
    end = len(data) - 1 - cut % len(data)
    try:
        found = sum(block.records for block in avro.align_forward(pieces(end), settled))
    except IntegrityError:
        return
    assert found <= records
    assert data[:end].endswith(data[-16:]), "a file that ends between two blocks is a shorter one"
