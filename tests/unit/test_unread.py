"""Row groups that a statement's filters leave out are not fetched, and the result is what it would be."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_parquet import BytesSource, settle, written

from rangemill.blocks import Block, SparseFile
from rangemill.engines import _sql_unread, make_engine, make_folder
from rangemill.engines.base import ObjectContext
from rangemill.formats import parquet
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import ByteRange
from rangemill.rejects import RejectLog

ROWS = 20_000
TABLE = (
    f"SELECT i AS id, i % 7 AS k, DATE '2020-01-01' + (i // 100)::INT AS day, md5(i::VARCHAR) AS s, "
    "CASE WHEN i % 5000 < 2500 THEN NULL ELSE i END AS sparse, "
    f"CASE WHEN i % 3000 = 0 THEN 'NaN'::DOUBLE ELSE i / 2 END AS f FROM range({ROWS}) t(i)"
)
TOTALS = "count(*) AS n, coalesce(sum(id), 0) AS total"
AGAIN = "SELECT sum(n) AS n, sum(total) AS total FROM partials"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("unread"), TABLE)


def run(data: bytes, sql: str, aggregate: str | None = None, **more: Any) -> tuple[list[dict[str, Any]], int, int]:
    """The rows, how many records were taken, and how many bytes of columns were read."""
    document = {"name": "any", "format": {"type": "parquet"}, "apply": {"sql": sql}, "output": {"format": "jsonl"}}
    pipeline = parse_pipeline(
        json.dumps(document | ({"aggregate": {"sql": aggregate}} if aggregate else {}) | more), "a"
    )
    settled, source = settle(data, for_sql=True), BytesSource(data)
    engine = make_engine(pipeline, settled, rejects=RejectLog(pipeline.rejects))
    engine.begin_object(ObjectContext("any", "key.parquet", None))
    whole = ByteRange(0, len(data))
    events = parquet.align_source(whole, len(data), source, settled, engine.columns, lambda: False, engine.take_unread)
    for event in events:
        if isinstance(event, Block):
            engine.take(event)
    body, taken = engine.finish()
    if aggregate:
        body = make_folder(pipeline, settled).finish(make_folder(pipeline, settled).fold([body])).body
    footer = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    return (
        [json.loads(line) for line in body.splitlines()],
        taken,
        sum(b - a for a, b in source.spans if 4 < b <= footer),
    )


def expected(data: bytes, sql: str, folder: Path) -> list[tuple[Any, ...]]:
    (folder / "t.parquet").write_bytes(data)
    with duckdb.connect() as connection:
        return connection.execute(sql.replace("records", f"'{folder / 't.parquet'}'")).fetchall()


def test_what_no_row_of_passes_the_filter_is_not_fetched(table: bytes) -> None:
    wanted, _, some = run(table, "SELECT id, s FROM records WHERE id BETWEEN 12000 AND 12002")
    assert [row["id"] for row in wanted] == [12000, 12001, 12002]
    _, taken, everything = run(table, "SELECT id, s FROM records")
    assert taken == ROWS
    assert some < everything / 3


COMPARED = st.tuples(
    st.sampled_from(["id", "f", "sparse"]), st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]), st.integers(-5, ROWS)
)
OTHERS = ["sparse IS NULL", "sparse IS NOT NULL", "isnan(f)", "k = 9", "k IN (1, 12)", "id >= 0", "s < '01'"]
CONDITIONS = (
    COMPARED.map(lambda c: f"{c[0]} {c[1]} {c[2]}")
    | st.integers(-5, 300).map(lambda n: f"day >= DATE '2020-01-01' + {n}")
    | st.sampled_from(OTHERS)
    | st.tuples(st.integers(0, ROWS), st.integers(0, 300)).map(lambda c: f"(id < {c[0]} OR k = 3) AND id >= {c[1]}")
)


@given(CONDITIONS)
@settings(max_examples=40, deadline=None)
def test_the_result_is_the_same_as_of_the_whole_file(
    table: bytes, tmp_path_factory: pytest.TempPathFactory, condition: str
) -> None:
    folder = tmp_path_factory.mktemp("expected")
    listed, taken, _ = run(table, f"SELECT id FROM records WHERE {condition}")
    assert taken == ROWS
    assert sorted(row["id"] for row in listed) == sorted(
        row[0] for row in expected(table, f"SELECT id FROM records WHERE {condition}", folder)
    )
    summed, taken, _ = run(table, f"SELECT {TOTALS} FROM records WHERE {condition}", AGAIN)
    assert taken == ROWS
    assert [(row["n"], row["total"]) for row in summed] == expected(
        table, f"SELECT {TOTALS} FROM records WHERE {condition}", folder
    )


def test_what_is_counted_without_reading_is_counted(table: bytes) -> None:
    assert run(table, "SELECT count(*) AS n FROM records", "SELECT sum(n) AS n FROM partials") == (
        [{"n": ROWS}],
        ROWS,
        0,
    )
    sql = "SELECT count(*) AS n FROM records WHERE id >= 0"  # which every footer tells of all rows
    assert run(table, sql, "SELECT sum(n) AS n FROM partials")[:2] == ([{"n": ROWS}], ROWS)


def test_records_on_which_the_statement_fails_are_found_beside_row_groups_that_were_not_read(table: bytes) -> None:
    sql = "SELECT CASE WHEN id = 15000 THEN error('no') ELSE id END AS id FROM records WHERE id > 14000"
    listed, taken, _ = run(table, sql, rejects={"on_error": "skip"})
    assert taken == ROWS - 1
    assert [row["id"] for row in listed] == [n for n in range(14001, ROWS) if n != 15000]


def test_offsets_are_told_of_what_is_read(table: bytes) -> None:
    listed, taken, _ = run(table, "SELECT id, _offset FROM records WHERE id > 19990")
    assert taken == ROWS
    assert all(row["id"] == row["_offset"] for row in listed)
    assert len(listed) == 9


def test_the_less_it_helps_the_less_it_is_tried(table: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[ObjectContext] = []
    applies = _sql_unread.Unread._applies

    def counted(self: _sql_unread.Unread, of: ObjectContext, footer: SparseFile) -> bool:
        tried.append(of)
        return applies(self, of, footer)

    monkeypatch.setattr(_sql_unread.Unread, "_applies", counted)
    assert len(run(table, "SELECT s FROM records WHERE s >= ''")[0]) == ROWS
    groups = -(-ROWS // 2048)
    assert len(tried) < groups / 2
