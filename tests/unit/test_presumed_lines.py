"""Lines of CSV taken for rows: DuckDB's reading proves it, or the rows are read one by one; nothing else shows."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from rangemill.blocks import Block, RangeDone
from rangemill.engines import _sql_lines, make_engine
from rangemill.engines._sql_lines import Presuming
from rangemill.engines.base import NotAsPresumed, ObjectContext
from rangemill.errors import RangemillError
from rangemill.formats import _csv_split
from rangemill.formats import csv as csv_format
from rangemill.formats.base import Settled
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.messages import CodeIdentity, JobRequest, JobRow
from rangemill.pipeline import Pipeline, parse_pipeline
from rangemill.plan import Defaults
from rangemill.ranges import tile
from rangemill.rejects import RejectLog
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

CRC = CRC_FUNCTIONS["CRC64NVME"][0]
OBJECT = ObjectContext("any", "any.csv", None)
EVERYTHING = "SELECT * FROM records"


@pytest.fixture(autouse=True)
def _from_the_second_row_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_csv_split, "SNIFFED_BYTES", 1)
    Presuming.forget()
    yield
    Presuming.forget()


def pipeline_of(sql: str, rejects: dict[str, Any] | None = None) -> Pipeline:
    document = {"name": "any", "format": {"type": "csv"}, "apply": {"sql": sql}, "rejects": rejects or {}}
    return parse_pipeline(json.dumps(document), "any.yaml")


def settled_of(types: list[str], header: str | None = None, **options: Any) -> Settled:
    columns = [(f"c{number}", of) for number, of in enumerate(types)]
    return Settled("csv", {"header": header is not None, **options}, columns, header)


def pieces_of(data: bytes, start: int, piece_bytes: int) -> Iterator[bytes]:
    return (data[at : at + piece_bytes] for at in range(start, len(data), piece_bytes))


def worked(
    data: bytes, range_bytes: int, piece_bytes: int, settled: Settled, pipeline: Pipeline, *, presumes: bool
) -> Any:
    """What a slot of all ranges, each begun without a known state, comes to: rows, ranges, rejects."""
    log = RejectLog(pipeline.rejects)
    engine = make_engine(pipeline, settled, rejects=log)
    engine.begin_object(OBJECT)
    ranges: list[RangeDone] = []
    behind = csv_format.look_behind(settled)
    for run in tile(0, len(data), range_bytes):
        pieces = pieces_of(data, max(0, run.start - behind), piece_bytes)
        asked = presumes and engine.presumes
        for found in csv_format.align(run, range_bytes, len(data), pieces, settled, CRC, lambda: False, presumes=asked):
            if isinstance(found, Block):
                engine.take(found)
            elif isinstance(found, RangeDone):
                ranges.append(found)
    body, taken = engine.finish()
    assert sum(row.records for row in ranges) == taken + log.count
    return sorted(body.splitlines()), ranges, sorted(log.body.splitlines())


def attempt(*arguments: Any, presumes: bool) -> Any:
    try:
        return worked(*arguments, presumes=presumes)
    except RangemillError as error:
        return type(error).__name__


def presumed(*arguments: Any) -> Any:
    """As a worker does it: what turns out not to be as presumed is done again."""
    try:
        return attempt(*arguments, presumes=True)
    except NotAsPresumed:
        event("done again")
        return attempt(*arguments, presumes=False)


NUMBERS = (
    "1 22 -3 +4 5 1.5 1.50 1.239 1.2300 .5 5. 1e2 1E-2 1_000 0x1F 99999999999999999999 -0 00.10 1.005 123456789012.5"
)
DATES = "2026-01-02 2026-1-2 2026-01-02T00:00 2026-01-02\x2000:00:00 20260102 infinity 02/01/2026 2026-01-02\x20 epoch"
WORDS = ["", " ", "a", "a b", '"q"', '"a,b"', '"a\nb"', '" "', '"" ', ' "s"', '"s" ', 'x"y', '"d""q"', '"un', 'e"', "é"]
MORE = [
    "true",
    " true",
    "\x00",
    "\x1f",
    "\r",
    "\t",
    "\ufeff",
    "-",
    '"\r\n"',
    '"2026-01-02" ',
    ' "1"',
    '"1.239"',
    '"1"',
    ",",
]
cells = st.sampled_from([*NUMBERS.split(), *DATES.split(" "), "2026-01-02 03:04", " 1", "1 ", *WORDS, *MORE])
TYPES = ["VARCHAR", "INTEGER", "BIGINT", "DECIMAL(15,2)", "DATE", "TIMESTAMP", "DOUBLE", "BOOLEAN", "DECIMAL(4,0)"]
line_ends = st.sampled_from(["\n"] * 12 + ["\r\n", "\n\n", "\r", " \n"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3))
    good = {
        "INTEGER": "7",
        "BIGINT": "8",
        "DECIMAL(15,2)": "1.25",
        "DATE": "2026-01-02",
        "TIMESTAMP": "2026-01-02 03:04:05",
    }
    good |= {"DOUBLE": "1.5", "BOOLEAN": "true", "VARCHAR": '"a b"', "DECIMAL(4,0)": "12"}
    rows: list[str] = []
    for _ in range(draw(st.integers(1, 8))):
        odd = draw(st.integers(-3, len(types)))  # at most one odd cell in most rows, so that some get through
        row = [draw(cells) if index == odd else good[of] for index, of in enumerate(types)]
        if draw(st.integers(0, 30)) == 0:
            row = row[1:] if draw(st.booleans()) else [*row, draw(cells)]
        rows.append(",".join(row) + draw(line_ends))
    text = "".join(rows)
    data = (text if draw(st.booleans()) else text.rstrip("\n")).encode()
    return (data + b"\xff" if draw(st.integers(0, 20)) == 0 else data), types


@settings(max_examples=100, deadline=None)
@given(
    table=tables(),
    range_bytes=st.sampled_from([5, 13, 40, 1 << 20]),
    piece_bytes=st.sampled_from([3, 16, 1 << 20]),
    quarantines=st.booleans(),
    null=st.sampled_from(["", "a b", ["", "-"]]),
)
@example((b'a,"b" ,c\na,"b" ,c\n', ["VARCHAR"] * 3), 1 << 20, 1 << 20, False, "")
@example((b'a,b\na, "b"\n', ["VARCHAR"] * 2), 1 << 20, 1 << 20, False, "")
@example((b'a,b\n1, "b,c"\n', ["VARCHAR"] * 2), 1 << 20, 1 << 20, False, "")
@example((b"a,1.5\nb,1.239\n", ["VARCHAR", "DECIMAL(15,2)"]), 1 << 20, 1 << 20, False, "")
@example((b'a,b\nc,"d\nd"\ne,f\n', ["VARCHAR"] * 2), 5, 3, False, "")
def test_a_result_does_not_tell_whether_lines_were_taken_for_rows(
    table: tuple[bytes, list[str]], range_bytes: int, piece_bytes: int, quarantines: bool, null: Any
) -> None:
    data, types = table
    if not data:
        return
    Presuming.forget()
    rejects = {"on_error": "quarantine", "max_fraction": 1.0} if quarantines else {}
    given_all = (data, range_bytes, piece_bytes, settled_of(types, null=null), pipeline_of(EVERYTHING, rejects))
    assert presumed(*given_all) == attempt(*given_all, presumes=False)


PLAIN = b"".join(b'%d,"x, %d "" y",%d.%02d,2026-01-%02d\n' % (n, n, n, n % 100, 1 + n % 28) for n in range(400))
PLAIN_TYPES = ["BIGINT", "VARCHAR", "DECIMAL(15,2)", "DATE"]


@pytest.mark.parametrize("range_bytes", [97, 1000, 1 << 20])
@pytest.mark.parametrize(
    "sql", [EVERYTHING, "SELECT count(*) AS n FROM records", "SELECT sum(c2) AS s FROM records WHERE c3 > '2026-01-15'"]
)
def test_plain_lines_are_read_by_nobody_but_duckdb(range_bytes: int, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = worked(PLAIN, 1 << 20, 1 << 20, settled_of(PLAIN_TYPES), pipeline_of(sql), presumes=False)

    def refuse(*_: Any) -> None:
        raise AssertionError("rows were read")

    monkeypatch.setattr(csv_format, "proved", refuse)
    monkeypatch.setattr(_sql_lines, "_FREE_FAILURES", -1)
    rows, ranges, _ = worked(PLAIN, range_bytes, 64, settled_of(PLAIN_TYPES), pipeline_of(sql), presumes=True)
    assert rows == exact[0]
    assert len(ranges) == -(-len(PLAIN) // range_bytes)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"7,x,1.239,2026-01-02\n", "rounded"),
        (b"7.5,x,1.23,2026-01-02\n", "rounded"),
        (b"7,x,1.23,2026-01-02 03:04\n", "cut to a day"),
        (b'7,"x" ,1.23,2026-01-02\n', "its space dropped"),
        (b'7,"x\nx",1.23,2026-01-02\n', "two lines"),
    ],
)
@pytest.mark.parametrize("before", [1, 6])  # among the values that are looked at first, and behind them
def test_what_duckdb_would_change_or_join_proves_nothing(bad: bytes, why: str, before: int) -> None:
    settled = settled_of(PLAIN_TYPES)
    engine: Any = make_engine(pipeline_of(EVERYTHING), settled)
    engine.begin_object(OBJECT)
    data = PLAIN * before + bad + PLAIN
    engine.take(Block(data, 0, data.count(b"\n"), is_presumed=True))
    assert not engine._presuming.insert(), why
    assert engine._session.run("SELECT count(*) FROM _rangemill_partial") == [(0,)]


def test_values_that_are_written_otherwise_than_the_first_are_cast_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = PLAIN * 6 + b"7,x,1.2300,2026-01-02\n8,x,,\n9,x,+1.5, 2026-01-02 \n"
    arguments = (data, 1 << 20, 1 << 20, settled_of(PLAIN_TYPES), pipeline_of(EVERYTHING))
    exact = worked(*arguments, presumes=False)
    assert presumed(*arguments) == exact
    monkeypatch.setattr(csv_format, "proved", lambda *_: None)
    fine = (data[: data.index(b"9,x,+1.5")], *arguments[1:])
    assert len(worked(*fine, presumes=True)[0]) == len(exact[0]) - 1


def test_spaces_before_a_quote_stay() -> None:
    arguments = (b'1,2\n7, "x"\n8,  "x y"\n', 1 << 20, 1 << 20, settled_of(["VARCHAR"] * 2), pipeline_of(EVERYTHING))
    rows = worked(*arguments, presumes=True)[0]
    assert [json.loads(row)["c1"] for row in rows] == ["2", ' "x"', '  "x y"']


@pytest.mark.parametrize("odd", [b"\x1f", b" \x1f ", b"x\0y", b"\0", b"\xff", b"\xef\xbb\xbf", b" ", b"\t"])
def test_odd_characters_stay_what_they_are(odd: bytes) -> None:
    data = b'1,2\n"a b",' + odd + b"\n" + odd + b',"c d"\n'
    arguments = (data, 1 << 20, 1 << 20, settled_of(["VARCHAR"] * 2), pipeline_of(EVERYTHING))
    assert presumed(*arguments) == attempt(*arguments, presumes=False)


def test_a_column_that_the_statement_could_do_without_is_cast_all_the_same() -> None:
    sql = "SELECT count(*) AS n FROM records WHERE c3 IS NOT NULL OR true"
    data = PLAIN + b"7,x,1.23,none\n"
    arguments = (data, 1 << 20, 1 << 20, settled_of(PLAIN_TYPES), pipeline_of(sql))
    assert presumed(*arguments) == attempt(*arguments, presumes=False) == "BadRecord"


def test_an_object_that_was_not_as_presumed_is_read_as_rows_from_then_on() -> None:
    data = PLAIN + b'7,"x\nx",1.23,2026-01-02\n'
    settled, pipeline = settled_of(PLAIN_TYPES), pipeline_of(EVERYTHING)
    with pytest.raises(NotAsPresumed):
        worked(data, 1 << 20, 1 << 20, settled, pipeline, presumes=True)
    engine = make_engine(pipeline, settled)
    engine.begin_object(OBJECT)
    assert not engine.presumes
    engine.begin_object(ObjectContext("any", "another.csv", None))
    assert engine.presumes


def test_one_file_of_blocks_is_for_one_engine_at_a_time() -> None:
    settled, pipeline = settled_of(PLAIN_TYPES), pipeline_of("SELECT sum(c0) AS s FROM records")
    engines = [make_engine(pipeline, settled) for _ in range(2)]
    for engine in engines:
        engine.begin_object(OBJECT)
    for engine in engines * 2:
        engine.take(Block(PLAIN, 0, 400, is_presumed=True))
    results = {engine.finish() for engine in engines}
    assert len(results) == 1


def job_over(body: bytes) -> tuple[JobRow, list[Any]]:
    """A job of the given CSV in ranges of 1,000 bytes; its row and its one result row."""
    document = {
        "name": "any",
        "format": {"type": "csv", "header": False},
        "apply": {"sql": "SELECT count(*) AS n, sum(length(column1)) AS characters FROM records"},
        "aggregate": {"sql": "SELECT sum(n) AS n, sum(characters) AS characters FROM partials"},
    }
    objects = MemoryObjects(piece_bytes=100)
    refs = [objects.put("in", "any.csv", body)]
    gateways = in_memory(objects)
    request = JobRequest("j", "any", json.dumps(document), "any.yaml", "run", refs, range_bytes=1000)
    code = CodeIdentity("core", "pipelines", "dependencies")
    row = run_job(request, gateways, in_this_process(gateways, code), code, defaults=Defaults(1000, 2, 20_000))
    assert row.result is not None, row.error
    return row, [json.loads(line) for uri in row.result["output"] for line in (gateways.store.get(uri) or b"").split()]


def test_a_slot_whose_lines_are_not_its_rows_is_worked_on_again_as_rows() -> None:
    body = PLAIN + b'7,"one\nrow\n\nof four lines",1.23,2026-01-02\n' + PLAIN
    cells = list(csv.reader(io.StringIO(body.decode(), newline="")))
    row, found = job_over(body)
    assert found == [{"n": 801, "characters": sum(len(each[1]) for each in cells)}]
    assert (row.status, row.totals.records) == ("SUCCEEDED", 801)
    assert row.result is not None
    assert row.result["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC64NVME", "matched": True}
