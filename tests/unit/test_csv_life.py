"""CSV through whole jobs, in ranges of a few bytes: what was guessed wrong is worked on again, and no more."""

import csv
import io
import json
import sys
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import keys, pages
from rangemill.messages import CodeIdentity, JobRequest, JobRow
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
PYTHON = "name: rows\nformat: {type: csv%s}\napply: {python: csv_life_rows:Rows}\n"
SQL = """
name: rows
format: {type: csv%s}
apply: {sql: "SELECT coalesce(a, '') AS a, coalesce(b, '') AS b, count(*) AS n FROM records GROUP BY ALL"}
aggregate: {sql: "SELECT a, b, sum(n) AS n FROM partials GROUP BY ALL"}
"""


class Rows:
    """Counts rows."""

    def start(self, context: Any) -> dict[str, int]:
        return {}

    def apply(self, partial: dict[str, int], record: list[str]) -> dict[str, int]:
        text = json.dumps(record)
        partial[text] = partial.get(text, 0) + 1
        return partial

    def merge(self, left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
        for text, count in right.items():
            left[text] = left.get(text, 0) + count
        return left

    def finish(self, total: dict[str, int]) -> Iterator[dict[str, Any]]:
        for text, count in total.items():
            first, second = json.loads(text)
            yield {"a": first, "b": second, "n": count}


@pytest.fixture(autouse=True)
def user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("csv_life_rows")
    module.Rows = Rows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "csv_life_rows", module)
    pages.pipeline.cache_clear()


def run(pipeline: str, *bodies: bytes, range_bytes: int = 7, **request: Any) -> tuple[JobRow, Counter[tuple[str, str]]]:
    """The job's row at its end, and its result."""
    objects = MemoryObjects(get_bytes=50, piece_bytes=9) if range_bytes < 100_000 else MemoryObjects()
    refs = [objects.put("in", f"k{number}", body) for number, body in enumerate(bodies)]
    asked: dict[str, Any] = {"range_bytes": range_bytes, "objects": refs, "concurrency": 500, **request}
    gateways = in_memory(objects)
    job = JobRequest("rows-1", "rows", pipeline, "rows.yaml", "submit", **asked)
    row = run_job(job, gateways, in_this_process(gateways, CODE), CODE)
    manifest = json.loads(gateways.store.get(f"{keys.results('rows', 'rows-1')}_manifest.json") or b'{"output": []}')
    lines = b"".join(gateways.store.get(uri) or b"" for uri in manifest["output"]).splitlines()
    return row, Counter({(str(line["a"]), str(line["b"])): int(line["n"]) for line in map(json.loads, lines)})


def expected(*bodies: bytes) -> Counter[tuple[str, str]]:
    """What Python's csv reads of them, by the names of their columns."""
    counted: Counter[tuple[str, str]] = Counter()
    for body in bodies:
        rows = filter(None, csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))
        header = next(rows)
        counted.update((row[header.index("a")], row[header.index("b")]) for row in rows)
    return counted


MISLEADING = b'a,b\n1,"x,1\ny,2\nz,3\n"\n2,"p,4\nq,5\n\nr,6\n"\r\n"5"" tube",t\n5,a"b\n' + b'7,"\n8,9\n"\n' * 6


@pytest.mark.parametrize("pipeline", [PYTHON, SQL])
@pytest.mark.parametrize("range_bytes", [1, 7, 30, 1000])
def test_wrong_guesses_are_worked_on_again_and_the_result_is_exact(pipeline: str, range_bytes: int) -> None:
    row, found = run(pipeline % "", MISLEADING, range_bytes=range_bytes)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == expected(MISLEADING)
    tiles = -(-len(MISLEADING) // range_bytes)
    assert row.totals.ranges == tiles
    assert row.totals.records == sum(found.values())
    if range_bytes == 7:
        assert tiles < row.totals.slots < 3 * tiles, "some slots again, but not all over and over"


STRAY = b"a,b\n" + b"".join(
    [b'%d,"\n8,9\n"\n' % n if n % 3 else b'"",%d"\n",\n8",9\n' % n for n in range(60)]
)  # rows of two, whose quotes look as if they stood the other way round


@pytest.mark.parametrize("pipeline", [PYTHON, SQL])
def test_wrong_guesses_in_a_row_take_a_bounded_number_of_waves(pipeline: str) -> None:
    row, found = run(pipeline % ", columns: {a: VARCHAR, b: VARCHAR}", STRAY, STRAY, STRAY, range_bytes=9)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == expected(STRAY, STRAY, STRAY)
    assert row.totals.waves <= 6


def test_right_guesses_are_never_worked_on_again() -> None:
    body = b"a,b\n" + b"".join(b'%d,"say ""%d"",\nplease"\n' % (n, n) for n in range(400))
    row, found = run(PYTHON % "", body, range_bytes=2000, concurrency=3)
    assert found == expected(body)
    assert row.totals.waves == 1


def test_a_history_of_few_events_tells_states_instead_of_guessing() -> None:
    row, found = run(PYTHON % "", MISLEADING, history_budget_events=9)
    assert (row.status, found) == ("SUCCEEDED", expected(MISLEADING))
    assert row.totals.slots == -(-len(MISLEADING) // 7)


@pytest.mark.parametrize("pipeline", [PYTHON, SQL])
def test_a_bad_record_fails_the_job_at_its_own_offset_whatever_was_guessed(pipeline: str) -> None:
    body = MISLEADING + b"1,2,3\n" + b'7,"\n8,9\n"\n' * 6
    row, _ = run(pipeline % "", body)
    assert row.status == "FAILED"
    assert row.error is not None
    assert (row.error["type"], row.error["offset"]) == ("BadRecord", len(MISLEADING))
    assert "3 columns, not 2" in row.error["message"]


@pytest.mark.parametrize("range_bytes", [1, 7, 1000])
def test_a_quote_that_is_never_closed_fails_the_job_by_name(range_bytes: int) -> None:
    body = b'a,b\n1,2\n3,"open\n' + b"4,5\n" * 50
    row, _ = run(PYTHON % "", body, range_bytes=range_bytes)
    assert row.error is not None
    assert (row.error["type"], row.error["offset"], row.error["object"]) == ("BadRecord", 8, "s3://in/k0")
    row, _ = run(PYTHON % ", max_record_bytes: 64", body, range_bytes=range_bytes)
    assert row.error is not None
    assert (row.error["type"], row.error["offset"]) == ("RecordTooLarge", 8)


def test_a_guess_that_runs_into_the_record_limit_fails_nothing() -> None:
    """Outside quotes only by the left neighbour's word: guessed inside, a range finds no end within the limit."""
    body = b"a,b\n" + b'1,"' + b'x"",""\n' * 30 + b'"\n' + b"2,three\n" * 40
    row, found = run(PYTHON % ", max_record_bytes: 256", body)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == expected(body)


@pytest.mark.parametrize("pipeline", [PYTHON, SQL])
@pytest.mark.parametrize("range_bytes", [1, 5, 1000])
def test_each_object_has_its_columns_in_its_own_order(pipeline: str, range_bytes: int) -> None:
    bodies = [b'a,b\n1,"x\ny"\n3,4\n', b'\xef\xbb\xbf"b",a\r\n"x\ny",1\r\n\r\n"",7\r\n', b"b,a\n", b'"a",b\n8,"9"\n']
    row, found = run(pipeline % "", *bodies, range_bytes=range_bytes)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == expected(*bodies)


@pytest.mark.parametrize("pipeline", [PYTHON, SQL])
def test_columns_that_are_missing_or_extra_only_where_the_pipeline_says_so(pipeline: str) -> None:
    bodies = [b"a,b\n1,2\n", b"c,a\nx,3\n"]
    columns = ", columns: {a: VARCHAR, b: VARCHAR}"
    row, _ = run(pipeline % columns, *bodies)
    assert row.error is not None
    assert row.error["type"] == "BadRecord"
    assert "'b'" in row.error["message"]
    assert row.error["object"] == "s3://in/k1"
    row, found = run(pipeline % f"{columns}, missing_columns: 'null', extra_columns: ignore", *bodies)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == Counter({("1", "2"): 1, ("3", ""): 1})


@pytest.mark.parametrize("range_bytes", [1, 3, 9, 1000])
def test_comments_and_empty_lines_may_stand_before_the_header(range_bytes: int) -> None:
    body = b'\xef\xbb\xbf# made by, "someone\n\n#\r\na,b\n1,2\n# no,row\n3,"#4\n# 5"\n'
    for pipeline in (PYTHON, SQL):
        row, found = run(pipeline % ", comment: '#'", body, range_bytes=range_bytes)
        assert (row.status, row.error) == ("SUCCEEDED", None)
        assert found == Counter({("1", "2"): 1, ("3", "#4\n# 5"): 1})


@pytest.mark.parametrize("pipeline", [PYTHON, SQL])
def test_escapes_tabs_and_lone_returns(pipeline: str) -> None:
    body = b'a\tb\r1\t"say \\"hi\\"\\\n"\r2\tx\\\ty\r'
    row, found = run(pipeline % r', delimiter: "\t", escape: "\\"', body)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == Counter({("1", 'say "hi"\n'): 1, ("2", "x\ty"): 1})
    row, _ = run(pipeline % r', delimiter: "\t", escape: "\\", lone_return: refuse', body)
    assert row.error is not None
    assert row.error["type"] == "BadRecord"
    assert "carriage return" in row.error["message"]


def test_types_are_settled_over_columns_in_any_order_and_the_middle_of_objects() -> None:
    rows = [(str(n), f"text, {n}\nof two lines") for n in range(40_000)]
    bodies = []
    for names, swap in ((("a", "b"), False), (("b", "a"), True)):
        out = io.StringIO(newline="")
        csv.writer(out).writerows([names, *((b, a) if swap else (a, b) for a, b in rows)])
        bodies.append(out.getvalue().encode())
    total = """
name: rows
format: {type: csv}
apply: {sql: "SELECT 'all' AS a, 'sum' AS b, sum(a) AS n FROM records"}
aggregate: {sql: "SELECT a, b, sum(n) AS n FROM partials GROUP BY ALL"}
"""
    row, found = run(total, *bodies, range_bytes=300_000)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == Counter({("all", "sum"): 2 * sum(range(40_000))})


@pytest.mark.parametrize("pipeline", [PYTHON, SQL])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "latin-1", "windows-1252"])
@pytest.mark.parametrize("range_bytes", [3, 1000])
def test_other_encodings(pipeline: str, encoding: str, range_bytes: int) -> None:
    texts = ['a,b\r\n1,"é\n""ü"""\r\n2,x\r\n', 'b,a\n"y\n,ÿ",3\n']
    mark = "\ufeff" if encoding.startswith("utf") else ""
    declared = "" if mark else f", encoding: {encoding}"
    bodies = [(mark + text).encode(encoding) for text in texts]
    row, found = run(pipeline % declared, *bodies, range_bytes=range_bytes)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == expected(*(text.encode() for text in texts))
    bad = (mark + texts[0] + "3,4,5\n").encode(encoding)
    row, _ = run(pipeline % declared, bad, range_bytes=range_bytes)
    assert row.error is not None
    assert (row.error["type"], row.error["offset"]) == ("BadRecord", len((mark + texts[0]).encode(encoding)))


def test_validate_all_looks_at_columns_that_the_statement_does_not_read() -> None:
    body = b"a,b\n1,2\n3,4\n5,six\n"
    count = SQL.replace("coalesce(b, '')", "''")
    row, _ = run(count % ", columns: {a: VARCHAR, b: INTEGER}", body)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    row, _ = run(count % ", columns: {a: VARCHAR, b: INTEGER}, validate: all", body)
    assert row.error is not None
    assert (row.error["type"], row.error["offset"]) == ("BadRecord", 12)
    assert "column b" in row.error["message"]
    row, _ = run(PYTHON % ", validate: all", body)
    assert row.error is not None
    assert row.error["type"] == "BadPipeline"


cell = st.sampled_from(["1", "", "x,y", "a\nb", "\n", 'q"q', "\r\n", "é", "1,2\n3,4\n5,6"])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(cell, cell), max_size=12),
    range_bytes=st.integers(1, 40),
    concurrency=st.sampled_from([1, 3, 500]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    pipeline=st.sampled_from([PYTHON, PYTHON, SQL]),
)
def test_any_csv_in_any_ranges(
    rows: list[tuple[str, str]], range_bytes: int, concurrency: int, end: str, pipeline: str
) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end).writerows([("a", "b"), *rows])
    body = out.getvalue().encode()
    columns = ", columns: {a: VARCHAR, b: VARCHAR}"
    row, found = run(pipeline % columns, body, range_bytes=range_bytes, concurrency=concurrency)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert found == expected(body)
    assert row.totals.waves <= 6
