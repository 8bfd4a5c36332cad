"""The SQL engine: what it reads, what it refuses, how partials fold, and what a statement may not do."""

import csv
import json
import re
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rangemill import formats
from rangemill.blocks import Block
from rangemill.engines import (
    _bounds,
    _sandbox,
    _sql_chunk,
    _sql_readers,
    _sql_sieve,
    check_pipeline,
    make_engine,
    make_folder,
)
from rangemill.engines import sql as sql_engine
from rangemill.engines._sandbox import Session
from rangemill.engines.base import ObjectContext
from rangemill.errors import AggregateTooLarge, BadRecord, BadStatement, CountMismatch
from rangemill.formats.base import Sample, Settled
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.pipeline import Pipeline, parse_pipeline
from rangemill.ranges import ByteRange, tile

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]
OBJECT = ObjectContext("any-bucket", "any/key", None)


def pipeline(
    apply: str,
    aggregate: str | None = None,
    finish: str | None = None,
    *,
    format_type: str = "text",
    options: dict[str, Any] | None = None,
    output: str = "jsonl",
    **limits: Any,
) -> Pipeline:
    document = {
        "name": "any",
        "format": {"type": format_type, **(options or {})},
        "apply": {"sql": apply},
        "aggregate": {"sql": aggregate} if aggregate else {},
        "finish": {"sql": finish} if finish else {},
        "output": {"format": output},
        "limits": limits,
    }
    return parse_pipeline(json.dumps(document), "any.yaml")


def settle(of: Pipeline, data: bytes) -> Settled:
    samples = [Sample("s3://any/key", data, 0, len(data))]
    return formats.load(of.format.type).settle(samples, of.format.options, True)


def apply_ranges(of: Pipeline, data: bytes, range_bytes: int, settled: Settled) -> tuple[list[bytes], int]:
    """One partial per range, each from an engine of its own."""
    module = formats.load(of.format.type)
    partials, taken = [], 0
    for each in tile(0, len(data), range_bytes):
        engine = make_engine(of, settled)
        engine.begin_object(OBJECT)
        start = max(0, each.start - module.look_behind(settled))
        for event in module.align(each, range_bytes, len(data), iter([data[start:]]), settled, crc64, lambda: False):
            if isinstance(event, Block):
                engine.take(event)
        partial, records = engine.finish()
        partials.append(partial)
        taken += records
    return partials, taken


def run(of: Pipeline, data: bytes, range_bytes: int = 1 << 30, settled: Settled | None = None) -> list[dict[str, Any]]:
    """The rows of a job over one object, through align, apply, fold and finish."""
    settled = settled or settle(of, data)
    partials, _ = apply_ranges(of, data, range_bytes, settled)
    if not of.is_folded:
        return [json.loads(line) for part in partials for line in part.splitlines()]
    folder = make_folder(of, settled)
    rows = folder.finish(folder.fold(partials))
    found = [json.loads(line, parse_float=Decimal) for line in rows.body.splitlines()]
    assert len(found) == rows.rows
    return found


LINES = "SELECT line FROM records"


@pytest.mark.parametrize("range_bytes", [3, 1 << 20])
@pytest.mark.parametrize(
    "data",
    [
        b"a\nb\n",
        b"a\nb",
        b"\n",
        b"\n\n\n",
        b"a\n\nb\n\n",
        b"a\r\nb\r\n",
        b"a\r\nb\n\r\nc\rd\n",
        b"a\r\r\nb",
        b"a\r",
        b"x\r\ny\r",
        b"a\x00b\n\x00\n",
        b'"quoted\n,"\n\'\n#\n',
        "é\u2028ü\x85\n\U0001f600\x0b\x1c\n".encode(),
        b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n",
        b"e\xcc\x81\r\n\xcc\x81\n",
        b"NULL\n\\N\n",
        b"x" * 3_000_000 + b"\ny\n",
    ],
    ids=range(17),
)
def test_text_lines_are_the_same_in_sql_and_python(data: bytes, range_bytes: int) -> None:
    if len(data) > 100 and range_bytes == 3:
        range_bytes = 1_000_000
    of = pipeline(LINES)
    module, settled = formats.load("text"), settle(of, data)
    run_over = ByteRange(0, len(data))
    events = module.align(run_over, len(data), len(data), iter([data]), settled, crc64, lambda: False)
    expected = [r.decode() for e in events if isinstance(e, Block) for r in module.records(e.data, settled, None)]
    assert [row["line"] for row in run(of, data, range_bytes)] == expected


def test_text_that_is_not_utf8_is_a_bad_record_at_its_offset() -> None:
    with pytest.raises(BadRecord, match="not UTF-8") as caught:
        run(pipeline(LINES), b"ok\nno\xff\nok\n")
    assert (caught.value.object_uri, caught.value.offset) == ("s3://any-bucket/any/key", 3)


CSV = b'i,m,d,t,x\n1,1.50,2026-01-02,a,\n\n-2,,2026-02-28,"b, ""c""",x\r\n3,2.25,,"",\xc3\xa9'


@pytest.mark.parametrize("range_bytes", [1, 5, 1 << 20])
def test_csv_values_keep_their_types_and_empty_ones_are_null(range_bytes: int) -> None:
    assert run(pipeline("SELECT * FROM records", format_type="csv"), CSV, range_bytes) == [
        {"i": 1, "m": 1.5, "d": "2026-01-02", "t": "a", "x": None},
        {"i": -2, "m": None, "d": "2026-02-28", "t": 'b, "c"', "x": "x"},
        {"i": 3, "m": 2.25, "d": None, "t": None, "x": "é"},
    ]


def test_csv_texts_are_what_python_reads() -> None:
    data = b'a,b\n" x ", y \n\\N,NULL\n#,"\xe2\x80\xa8"\n"a""b",a"b"c\n\xef\xbb\xbfz,\x00\n0x10,007\n'
    rows = run(pipeline("SELECT * FROM records", format_type="csv"), data)
    expected = list(csv.reader(StringIO(data.decode(), newline="\n")))[1:]
    assert [list(row.values()) for row in rows] == expected


def test_csv_of_one_column_and_of_a_header_alone() -> None:
    of = pipeline(
        "SELECT count(*) AS n, count(a) AS a FROM records",
        "SELECT sum(n) AS n, sum(a) AS a FROM partials",
        format_type="csv",
    )
    assert run(of, b"a\n1\n\n\n2\n") == [{"n": 2, "a": 2}]
    assert run(of, b"a\n") == [{"n": 0, "a": 0}]


def test_nulls_as_declared() -> None:
    of = pipeline("SELECT * FROM records", format_type="csv", options={"null": ["NA", "-"]})
    assert run(of, b"a,b\n1,NA\n-,x\n") == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("BIGINT", "1.5"), ("BIGINT", "x"), ("BIGINT", "15e-1"), ("BIGINT", "9223372036854775808"), ("BIGINT", "0x10"),
        ("DECIMAL(18,2)", "1.239"), ("DECIMAL(18,2)", "1e-5"), ("DECIMAL(4,2)", "123.4"), ("DECIMAL(18,2)", "abc"),
        ("DATE", "2026-01-02 03:04:05"), ("DATE", "2026-02-30"), ("DATE", "x"),
        ("TIMESTAMP", "2026-01-02 03:04:05.1234567"), ("DOUBLE", "x"), ("BOOLEAN", "maybe"), ("INTEGER", " "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("format_type", ["csv", "jsonl"])
def test_a_value_that_its_column_would_change_is_a_bad_record(column: str, value: str, format_type: str) -> None:
    of = pipeline(
        "SELECT v, k FROM records", format_type=format_type, options={"columns": {"k": "VARCHAR", "v": column}}
    )
    if format_type == "csv":
        lines = [f"{n},".encode() for n in range(1000)]
        lines[617] = f"bad,{value}".encode()
        data = b"k,v\n" + b"\n".join(lines)
    else:
        lines = [b'{"k": "%d"}' % n for n in range(1000)]
        lines[617] = json.dumps({"k": "bad", "v": value}).encode()
        data = b"\n".join(lines)
    with pytest.raises(BadRecord, match=r"column v is not exactly a .*VARCHAR under `format\.columns`") as caught:
        run(of, data)
    assert caught.value.offset == data.index(lines[617])
    assert value not in str(caught.value) or value in (" ", "x")


@pytest.mark.parametrize(
    ("column", "value", "result"),
    [
        ("BIGINT", "+7", 7), ("BIGINT", "007", 7), ("BIGINT", " 7", 7), ("BIGINT", "7.00", 7),
        ("BIGINT", "-9223372036854775808", -(2**63)), ("DECIMAL(18,2)", "1.500", 1.5), ("DECIMAL(18,2)", "17", 17),
        ("DECIMAL(18,2)", "12.5", 12.5), ("DECIMAL(18,2)", "-.5", -0.5),
        ("DATE", "2026-01-02", "2026-01-02"), ("TIMESTAMP", "2026-01-02T03:04:05.123456", "2026-01-02 03:04:05.123456"),
        ("DOUBLE", "1e3", 1000), ("VARCHAR", " 1.50", " 1.50"),
    ],
)  # fmt: skip
def test_a_value_that_is_exact_in_another_form_is_taken(column: str, value: str, result: Any) -> None:
    of = pipeline("SELECT v FROM records", format_type="csv", options={"columns": {"v": column}})
    assert run(of, f"k,v\n1,{value}\n".encode()) == [{"v": result}]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"1", "1 columns, not 2"),
        (b"1,2,3", "3 columns, not 2"),
        (b'"1,2', "quote that is never closed"),
    ],
)
def test_a_csv_record_of_another_shape_is_a_bad_record(line: bytes, problem: str) -> None:
    data = b"a,b\n" + b"1,2\n" * 50_000 + line + b"\n1,2\n"
    of = pipeline("SELECT count(*) AS n FROM records", format_type="csv")
    with pytest.raises(BadRecord, match=problem) as caught:
        run(of, data, settled=settle(of, b"a,b\n1,2\n"))
    assert caught.value.offset == 200_004


def test_a_bad_value_in_a_column_that_nobody_reads_is_no_matter() -> None:
    of = pipeline("SELECT sum(i) AS s FROM records", format_type="csv", options={"columns": {"x": "BIGINT"}})
    assert run(of, b"i,x\n1,nope\n2,3\n") == [{"s": 3}]


JSONL = (
    b'\xef\xbb\xbf{"i": 1, "f": 0.1, "s": "a\\u0000b", "o": {"k": [1, "x"]}, "b": true}\n\n \t\r\n'
    b'{"i": null, "s": "\xc3\xa9", "l": [1, 2]}\r\n{}\n{"i": 9007199254740993, "f": 3}'
)


@pytest.mark.parametrize("range_bytes", [1, 30, 1 << 20])
def test_jsonl_columns(range_bytes: int) -> None:
    of = pipeline(
        "SELECT i, f, s, b, o->>'$.k[1]' AS x, l[1] AS l FROM records",
        format_type="jsonl",
        options={"columns": {"l": "BIGINT[]"}},
    )
    assert run(of, JSONL, range_bytes, settle(of, JSONL)) == [
        {"i": 1, "f": 0.1, "s": "a\x00b", "b": True, "x": "x", "l": None},
        {"i": None, "f": None, "s": "é", "b": None, "x": None, "l": 1},
        {"i": None, "f": None, "s": None, "b": None, "x": None, "l": None},
        {"i": 9007199254740993, "f": 3, "s": None, "b": None, "x": None, "l": None},
    ]
    of = pipeline("SELECT count(*) AS n FROM records", format_type="jsonl")
    assert sum(row["n"] for row in run(of, JSONL, range_bytes)) == 4


@pytest.mark.parametrize(
    "line", [b'{"i": 1} {"i": 2}', b'{"i": 1', b"[1]", b'{"i": "x"}', b'{"i": 1.5}', b'{"i": NaN}']
)
def test_a_jsonl_record_that_does_not_fit_is_a_bad_record(line: bytes) -> None:
    data = b'{"i": 1}\n\n' * 1000 + line + b'\n{"i": 2}\n'
    of = pipeline("SELECT sum(i) AS s FROM records", format_type="jsonl", options={"columns": {"i": "BIGINT"}})
    with pytest.raises(BadRecord) as caught:
        run(of, data, settled=settle(of, b'{"i": 1}\n'))
    assert caught.value.offset == 10_000


@pytest.mark.parametrize(
    ("format_type", "data", "expected"),
    [
        ("text", b"\xef\xbb\xbfa\n\r\nbc\n", [3, 5, 7]),
        ("csv", b'a,b\n1,2\n\n3,"4,"\r\n5,6', [4, 9, 17]),
        ("jsonl", b'{"a":1}\n\n{"a":2}', [0, 9]),
    ],
)
def test_offset_object_and_bucket_are_there_when_they_are_named(
    format_type: str, data: bytes, expected: list[int]
) -> None:
    of = pipeline("SELECT _offset AS o, _object AS k, _bucket AS b FROM records", format_type=format_type)
    for range_bytes in (2, 1 << 20):
        rows = run(of, data, range_bytes)
        assert rows == [{"o": o, "k": "any/key", "b": "any-bucket"} for o in expected]


def test_object_names_the_object_of_each_record() -> None:
    of = pipeline("SELECT _object AS k, line FROM records")
    engine = make_engine(of, settle(of, b""))
    for key in ("a", "b"):
        engine.begin_object(ObjectContext("bucket", key, None))
        engine.take(Block(b"1\n2\n", 0, 2))
    body, taken = engine.finish()
    assert ([json.loads(line)["k"] for line in body.splitlines()], taken) == (["a", "a", "b", "b"], 4)


def test_many_small_objects_are_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []

    def counted(session: Session, chunk: _sql_chunk.Chunk, *rest: Any) -> None:
        loads.append(len(chunk.blocks))
        _sql_chunk.load(session, chunk, *rest)

    monkeypatch.setattr(_sql_sieve, "load", counted)
    of = pipeline("SELECT count(*) AS n FROM records", "SELECT sum(n) AS n FROM partials")
    engine = make_engine(of, settle(of, b""))
    for key in range(500):
        engine.begin_object(ObjectContext("bucket", str(key), None))
        engine.take(Block(b"no newline at the end", 0, 1))
    assert engine.finish()[1] == 500
    assert loads == [500]


SUMS = (
    "SELECT line AS k, count(*) AS n, sum(length(line)) AS s, min(line) AS m FROM records GROUP BY line",
    "SELECT k, sum(n) AS n, sum(s) AS s, min(m) AS m FROM partials GROUP BY k",
    "SELECT k, n, s / n AS average FROM result ORDER BY n DESC, k LIMIT 2",
)


@pytest.mark.parametrize("range_bytes", [2, 7, 1 << 20])
def test_partials_fold_to_the_same_rows_however_the_object_is_cut(range_bytes: int) -> None:
    data = b"bb\na\nbb\nccc\na\nbb"
    assert run(pipeline(*SUMS), data, range_bytes) == [
        {"k": "bb", "n": 3, "average": 2.0},
        {"k": "a", "n": 2, "average": 1.0},
    ]


def test_a_slot_of_several_chunks_gives_one_folded_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_engine, "CHUNK_BYTES", 10)
    assert run(pipeline(*SUMS), b"bb\na\n" * 500, 100)[0] == {"k": "a", "n": 500, "average": 1.0}
    of = pipeline(*SUMS)
    (partial,), _ = apply_ranges(of, b"bb\na\n" * 5, 1000, settle(of, b""))
    session = Session()
    assert session.run(f"SELECT count(*) FROM read_parquet('{session.put('p', partial)}')") == [(2,)]


def test_a_job_without_records_counts_nothing_as_zero() -> None:
    of = pipeline("SELECT count(*) AS n FROM records", "SELECT sum(n) AS n FROM partials")
    folder = make_folder(of, settle(of, b""))
    assert folder.finish(folder.fold([])).body == b'{"n":0}\n'
    engine = make_engine(of, settle(of, b""))
    assert folder.finish(folder.fold([engine.finish()[0]])).body == b'{"n":0}\n'


def test_sums_of_big_integers_stay_exact_and_their_overflow_is_an_error() -> None:
    of = pipeline("SELECT sum(CAST(line AS BIGINT)) AS s FROM records", "SELECT sum(s) AS s FROM partials")
    assert run(of, b"9007199254740993\n" * 1000, 500) == [{"s": 9007199254740993 * 1000}]
    of = pipeline("SELECT sum(CAST(line AS HUGEINT)) AS s FROM records", "SELECT sum(s) AS s FROM partials")
    with pytest.raises(BadStatement):
        run(of, b"99999999999999999999999999999999999999\n" * 2)


@pytest.mark.parametrize("output", ["jsonl", "csv", "parquet"])
def test_output_formats_folded_and_not(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_engine, "CHUNK_BYTES", 3)
    for aggregate in (None, "SELECT line, sum(n) AS n FROM partials GROUP BY line ORDER BY line"):
        of = pipeline("SELECT line, sum(1) AS n FROM records GROUP BY line", aggregate, output=output)
        settled = settle(of, b"")
        engine = make_engine(of, settled)
        engine.begin_object(OBJECT)
        engine.take(Block(b"a\n", 0, 1))
        engine.take(Block(b"b\n", 2, 1))
        engine.take(Block(b"c", 4, 1))
        body, _ = engine.finish()
        if aggregate:
            rows = make_folder(of, settled).finish(body)
            assert rows.rows == 3
            body = rows.body
        (tmp_path / "out").write_bytes(body)
        reader = {"jsonl": "read_json", "csv": "read_csv", "parquet": "read_parquet"}[output]
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT line, n FROM {reader}('{tmp_path}/out') ORDER BY line").fetchall()
        assert found == [("a", 1), ("b", 1), ("c", 1)]


def test_a_pipeline_without_aggregate_and_records_writes_nothing() -> None:
    of = pipeline(LINES)
    assert make_engine(of, settle(of, b"")).finish() == (b"", 0)


def test_partials_and_totals_have_bounds() -> None:
    of = pipeline(*SUMS, max_partial_bytes=100)
    with pytest.raises(AggregateTooLarge, match=r"2 rows .*max_partial_bytes \(100\)"):
        run(of, b"a\nb\n")
    of = pipeline(*SUMS, max_aggregate_bytes=100)
    with pytest.raises(AggregateTooLarge, match="max_aggregate_bytes"):
        run(of, b"a\nb\n")


def test_a_record_that_duckdb_does_not_take_is_a_count_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    real = _sql_readers.READERS["text"]

    def lossy(blocks: list[bytes], columns: Any, settled: Settled) -> Any:
        files, select = real(blocks, columns, settled)
        return files, lambda paths: f"SELECT * FROM ({select(paths)}) WHERE line <> 'lost'"

    monkeypatch.setitem(_sql_readers.READERS, "text", lossy)
    with pytest.raises(CountMismatch, match="found 4 records, DuckDB took 3") as caught:
        run(pipeline(LINES), b"a\nb\nlost\nc\n")
    assert caught.value.offset == 4


def test_an_error_of_the_statement_names_object_bytes_and_try_cast() -> None:
    with pytest.raises(BadStatement, match=r"s3://any-bucket/any/key: bytes 0 to 9.*TRY_CAST") as caught:
        run(pipeline("SELECT CAST(line AS INTEGER) AS i FROM records"), b"1\nsecret\n")
    assert "secret" not in caught.value.message
    assert (caught.value.object_uri, caught.value.offset) == ("s3://any-bucket/any/key", 0)


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (("SELECT 1; SELECT 2",), r"apply\.sql: expected one SELECT statement, found SELECT, SELECT"),
        (("COPY (SELECT 1) TO '/tmp/x'",), "found COPY"),
        (("ATTACH 'x'",), "found ATTACH"),
        (("SET threads = 8",), "found SET"),
        (("INSTALL httpfs",), "expected one SELECT"),
        (("-- nothing",), "found nothing"),
        (("SELEC 1",), "syntax error"),
        (("SELECT $1 FROM records",), "no parameters"),
        (("SELECT nope FROM records",), r"apply\.sql: .*nope"),
        (("SELECT 1 AS a, 2 AS A FROM records",), "two columns are called a"),
        (("SELECT CAST(1 AS UHUGEINT) AS u FROM records",), "column u is UHUGEINT"),
        (("SELECT CAST('a' AS ENUM('a')) AS e FROM records",), r"column e is ENUM"),
        (("SELECT CAST('1' AS BIT) AS b FROM records",), "column b is BIT"),
        (("SELECT union_value(a := 1) AS u FROM records",), "column u is UNION"),
        (("SELECT INTERVAL 1 DAY AS i FROM records",), "column i is INTERVAL"),
        (("SELECT [CAST(1 AS HUGEINT)] AS h FROM records",), r"column h is HUGEINT\[\]"),
        (
            (LINES, "SELECT line AS other FROM partials"),
            r"aggregate\.sql: it must give the columns that apply.sql gives \(line\)",
        ),
        (("SELECT 1 AS n FROM records", "SELECT avg(n) AS n FROM partials"), r"aggregate\.sql: column n is DOUBLE"),
        (("SELECT 1.5 AS n FROM records", "SELECT n / 3.0 AS n FROM partials"), r"aggregate\.sql: column n is"),
        ((LINES, LINES.replace("records", "partials"), "SELECT nope FROM result"), r"finish\.sql: .*nope"),
    ],
)
def test_statements_that_cannot_be_are_refused_before_a_record_is_read(
    statements: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(BadStatement, match=problem):
        check_pipeline(pipeline(*statements))


def test_types_of_declared_columns_are_checked() -> None:
    of = pipeline("SELECT 1 AS a FROM records", format_type="csv", options={"columns": {"x": "BIGNIT"}})
    with pytest.raises(BadStatement, match=r"format\.columns\.x: .*BIGNIT"):
        check_pipeline(of, Settled("csv", {}, [("x", "BIGNIT")]))
    assert "BIGNIT" in check_pipeline(of)[0]
    for bad in ("BIGINT) AS x, (SELECT 1", "BIGINT); DROP TABLE x; --"):
        with pytest.raises(BadStatement, match=r"format\.columns\.x"):
            check_pipeline(of, Settled("csv", {}, [("x", bad)]))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ([], "the records have no columns"),
        ([("a", "BIGINT"), ("", "BIGINT")], "a column of the records has an empty name"),
        ([("a", "BIGINT"), ("A", "BIGINT")], "the records' columns cannot be a table"),
    ],
)
def test_columns_that_no_statement_could_say_are_refused(columns: list[tuple[str, str]], problem: str) -> None:
    of = pipeline("SELECT 1 AS a FROM records", format_type="jsonl")
    with pytest.raises(BadStatement, match=rf"apply\.sql: {problem}"):
        sql_engine.bind(of, Settled("jsonl", {}, columns))


@pytest.mark.parametrize(
    ("statements", "warning"),
    [
        (("SELECT first(line) AS f FROM records",), "first without ORDER BY"),
        (("SELECT list(line) AS f FROM records",), "list without ORDER BY"),
        ((LINES, "SELECT string_agg(line, ',') AS line FROM partials"), r"aggregate\.sql: string_agg without ORDER BY"),
        (("SELECT line FROM records LIMIT 3",), "LIMIT"),
        (("SELECT row_number() OVER () AS r FROM records",), "window"),
        (("SELECT random() AS r FROM records",), "random"),
    ],
)
def test_what_depends_on_how_the_work_was_cut_is_warned_of(statements: tuple[str, ...], warning: str) -> None:
    assert len([found for found in check_pipeline(pipeline(*statements)) if re.search(warning, found)]) == 1


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT line, count(*) AS n FROM records GROUP BY line", "GROUP BY or DISTINCT"),
        ("SELECT DISTINCT line FROM records", "GROUP BY or DISTINCT"),
        ("SELECT max(line) AS m FROM records", "max()"),
        ("SELECT a.line FROM records a JOIN records b ON a.line = b.line", "a join of `records` with itself"),
    ],
)
def test_what_is_done_piece_by_piece_without_aggregate_is_warned_of(sql: str, what: str) -> None:
    assert any(what in found and "add `aggregate`" in found for found in check_pipeline(pipeline(sql)))


def test_statements_that_do_not_depend_on_it_are_not() -> None:
    assert check_pipeline(pipeline(*SUMS)) == []
    assert check_pipeline(pipeline("SELECT upper(line) AS l FROM records WHERE length(line) > 3")) == []
    ordered = "SELECT string_agg(line, ',' ORDER BY line) AS line FROM partials"
    assert check_pipeline(pipeline("SELECT line FROM records", ordered)) == []


def test_only_the_columns_that_a_statement_reads_are_loaded() -> None:
    columns = [("a", "BIGINT"), ("b", "VARCHAR"), ("c", "DATE")]

    def needed(sql: str) -> set[str]:
        return set(sql_engine.bind(pipeline(sql, format_type="csv"), Settled("csv", {}, columns)).needed)

    assert needed("SELECT count(*) AS n FROM records") == set()
    assert needed("SELECT a FROM records WHERE b = 'x'") == {"a", "b"}
    assert needed("SELECT a FROM (SELECT * EXCLUDE (c) FROM records) ORDER BY a") == {"a"}
    assert needed("WITH x AS (FROM records) SELECT x.a FROM x JOIN x y ON x.c = y.c") == {"a", "c"}
    assert needed("SELECT to_json(r) AS j FROM records r") == {"a", "b", "c"}
    assert needed("SELECT * FROM records") == {"a", "b", "c"}
    assert needed("SELECT a FROM records WHERE false") <= {"a"}
    of = pipeline("SELECT a FROM (SELECT * EXCLUDE (b) FROM records)", format_type="csv")
    assert run(of, b"a,b\n1,2\n") == [{"a": 1}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT content FROM read_text('/proc/self/environ')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_parquet('https://example.com/x')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''/tmp/x''')",
        "SELECT * FROM enable_logging()",
        "SELECT * FROM os_module",
        "SELECT getenv('HOME') AS h",
        "SELECT * FROM sqlite_scan('/tmp/x', 'y')",
    ],
)
def test_a_statement_reaches_nothing_but_the_records(sql: str) -> None:
    os_module = [1]
    with pytest.raises(BadStatement):
        check_pipeline(pipeline(sql))
    assert os_module


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '/tmp/rangemill-escape.csv'",
        "ATTACH '/tmp/rangemill-escape.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 8",
        "SET GLOBAL enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "EXPORT DATABASE '/tmp/rangemill-escape'",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
    ],
)
@pytest.mark.parametrize("planning", [True, False])
def test_the_sandbox_holds_even_without_the_check_of_statements(sql: str, planning: bool) -> None:
    session = Session(planning=planning)
    with pytest.raises(duckdb.Error):
        session.run(sql)
    settings = dict(
        session.run("SELECT name, value FROM duckdb_settings()"),
    )
    assert (settings["TimeZone"], settings["threads"], settings["lock_configuration"]) == ("UTC", "1", "true")
    assert not list(Path("/tmp").glob("rangemill-escape*"))


def test_a_path_of_ours_leads_nowhere_else() -> None:
    assert Session().run("SELECT * FROM read_text('rangemill://../../../../etc/passwd')") == []


def test_what_does_not_fit_into_memory_is_spilled_within_its_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _bounds.configure(_bounds.Bounds(memory_bytes=64 * 2**20, temporary_bytes=128 * 2**20))
    _sandbox.close_all()
    try:
        session = Session()
        numbers = "SELECT range AS n, md5(range::VARCHAR) AS t FROM range({}) ORDER BY t"
        session.run(f"CREATE TEMP TABLE spilled AS {numbers.format(1_000_000)}")
        assert session.run("SELECT count(*) FROM spilled") == [(1_000_000,)]
        with pytest.raises(duckdb.OutOfMemoryException):
            session.run(f"CREATE TEMP TABLE too_much AS {numbers.format(10_000_000)}")
        session.close()
    finally:
        _bounds.configure(_bounds.Bounds())
        _sandbox.close_all()


def test_sessions_do_not_see_each_other() -> None:
    one, other = Session(), Session()
    one.run("CREATE TEMP TABLE t AS SELECT 1")
    with pytest.raises(duckdb.Error):
        other.run("FROM t")
    one.close()
    other.close()
