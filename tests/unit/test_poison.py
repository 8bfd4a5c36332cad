"""A record that kills its workers is found and rejected, and all else is right: over whole jobs, in both engines."""

import gzip
import json
import random
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from rangemill import pages
from rangemill.engines.python import PythonEngine
from rangemill.engines.sql import SqlEngine
from rangemill.gateways import Gateways
from rangemill.messages import CodeIdentity, JobRequest, JobRow
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
POISON = b"poison"
SQL = {
    "apply": {"sql": "SELECT count(*) AS n, sum(length(line)) AS b FROM records"},
    "aggregate": {"sql": "SELECT sum(n) AS n, sum(b) AS b FROM partials"},
}
QUARANTINE = {"on_error": "quarantine"}


class Lines:
    """Counts records and their bytes."""

    def start(self, context: Any) -> list[int]:
        return [0, 0]

    def apply(self, partial: list[int], record: Any) -> list[int]:
        body = record.read() if hasattr(record, "read") else record
        if POISON in (body if isinstance(body, bytes) else repr(body).encode()):
            raise MemoryError
        return [partial[0] + 1, partial[1] + len(body)]

    def merge(self, left: list[int], right: list[int]) -> list[int]:
        return [left[0] + right[0], left[1] + right[1]]

    def finish(self, total: list[int]) -> Iterator[dict[str, int]]:
        yield {"n": total[0], "b": total[1]}


@pytest.fixture(autouse=True)
def _killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("poisoned_lines")
    module.Lines = Lines  # type: ignore[attr-defined]
    sys.modules["poisoned_lines"] = module
    pages.pipeline.cache_clear()
    take = SqlEngine.take

    def kills(engine: SqlEngine, block: Any) -> None:
        if POISON in block.data:
            raise MemoryError
        take(engine, block)

    monkeypatch.setattr(SqlEngine, "take", kills)
    yield
    del sys.modules["poisoned_lines"]


def run(
    bodies: list[bytes], policy: dict[str, Any], range_bytes: int = 2**20, names: str = "k{}", **more: Any
) -> tuple[JobRow, Gateways]:
    """A job in this process: a `MemoryError` is a worker's death, as the state machine sees it."""
    text = json.dumps(
        {
            "name": "lines",
            "format": {"type": "text"},
            "apply": {"python": "poisoned_lines:Lines"},
            "rejects": policy,
            **more,
        }
    )
    objects = MemoryObjects()
    refs = [objects.put("in", names.format(number), body) for number, body in enumerate(bodies)]
    gateways = in_memory(objects)
    request = JobRequest("j", "lines", text, "l.yaml", "run", refs, range_bytes=range_bytes)
    row = run_job(request, gateways, in_this_process(gateways, CODE), CODE, defaults=Defaults(64, 8, 20_000))
    return row, gateways


def report_of(row: JobRow, gateways: Gateways) -> dict[str, Any]:
    assert row.status == "SUCCEEDED", row.error
    assert row.result is not None
    return json.loads(gateways.store.get(row.result["report"].removeprefix("s3://work/")) or b"")


def kept(report: dict[str, Any], gateways: Gateways) -> list[dict[str, Any]]:
    bodies = (gateways.store.get(uri.removeprefix("s3://work/")) or b"" for uri in report["reject_files"])
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def result(row: JobRow, gateways: Gateways) -> dict[str, Any]:
    assert row.result is not None
    (uri,) = row.result["output"]
    return json.loads(gateways.store.get(uri.removeprefix("s3://work/")) or b"")


def lines_with(poisoned: set[int], count: int = 20_000) -> list[bytes]:
    rng = random.Random(3)
    return [b"%06d %s" % (n, POISON if n in poisoned else b"x" * rng.randrange(60)) for n in range(count)]


@pytest.mark.parametrize("engine", [{}, SQL], ids=["python", "sql"])
@pytest.mark.parametrize("poisoned", [{0}, {7_777}, {19_999}, {0, 9_000, 9_001, 15_000}])
def test_records_that_kill_are_rejected_and_the_others_are_right(engine: dict[str, Any], poisoned: set[int]) -> None:
    lines = lines_with(poisoned)
    body = b"".join(line + b"\n" for line in lines)
    row, gateways = run([body], QUARANTINE, **engine)
    report = report_of(row, gateways)
    good = [line for n, line in enumerate(lines) if n not in poisoned]
    assert result(row, gateways) == {"n": len(good), "b": sum(map(len, good))}
    assert sorted((each["offset"], each["bytes"], each["type"]) for each in kept(report, gateways)) == [
        (body.index(lines[n]), lines[n].decode() + "\n", "WorkerDied") for n in sorted(poisoned)
    ]
    assert "3 workers died of it alone (MemoryError)" in kept(report, gateways)[0]["message"]
    assert (report["records"], report["rejects"]) == (len(lines), len(poisoned))
    assert report["proof"]["matched"]
    assert report["totals"]["culprits"] == sum(w.get("culprits", 0) for w in report["wave_history"]) == len(poisoned)
    assert sum(w.get("deaths", 0) for w in report["wave_history"]) == row.totals.deaths
    assert sum(w.get("parted", 0) for w in report["wave_history"]) >= 5
    assert row.wave <= (15 if len(poisoned) == 1 else 25)


def test_where_rejects_fail_the_job_the_record_is_named() -> None:
    lines = lines_with({7_777})
    body = b"".join(line + b"\n" for line in lines)
    row, _ = run([body], {"on_error": "fail"})
    assert row.status == "FAILED"
    assert row.error is not None
    assert (row.error["type"], row.error["object"]) == ("WorkerDied", "s3://in/k0")
    assert row.error["offset"] == body.index(lines[7_777])
    assert "quarantine" in row.error["message"]


def test_too_many_of_them_fail_the_job() -> None:
    body = b"".join(line + b"\n" for line in lines_with({1, 10_000}))
    row, _ = run([body], {"on_error": "skip", "max_count": 1})
    assert row.error is not None
    assert row.error["type"] == "TooManyRejects"
    assert "WorkerDied (workers died of it)" in row.error["message"]


@pytest.mark.parametrize("quote_before", [False, True])
def test_rows_with_quoted_line_ends_are_told_apart_around_the_one_that_kills(quote_before: bool) -> None:
    rows = [f'{n},"a\nb, {"poison" if n == 333 else "fine"} ""q"" {"," * (n % 7)}\n"\n' for n in range(600)]
    if quote_before:  # a long field that looks like rows
        rows[332] = '332,"' + "1,x\n" * 200 + '"\n'
    body = "n,t\n" + "".join(rows)
    row, gateways = run([body.encode()], QUARANTINE, range_bytes=4096, format={"type": "csv"})
    report = report_of(row, gateways)
    (reject,) = kept(report, gateways)
    assert (reject["offset"], reject["bytes"]) == (body.index("333,"), rows[333])
    assert result(row, gateways)["n"] == 599
    assert report["records"] == 600


def test_jsonl_in_sql() -> None:
    lines = [json.dumps({"n": n, "t": "poison" if n == 50 else "é" * n}) for n in range(100)]
    body = "".join(line + "\n" for line in lines).encode()
    row, gateways = run(
        [body],
        QUARANTINE,
        format={"type": "jsonl"},
        apply={"sql": "SELECT sum(n) AS n FROM records"},
        aggregate={"sql": "SELECT sum(n) AS n FROM partials"},
    )
    report = report_of(row, gateways)
    assert [each["offset"] for each in kept(report, gateways)] == [body.index(lines[50].encode())]
    assert result(row, gateways) == {"n": sum(range(100)) - 50}


def test_an_object_that_is_a_record_and_kills_is_rejected() -> None:
    row, gateways = run([b"a", POISON, b"b"], QUARANTINE, format={"type": "object"})
    report = report_of(row, gateways)
    assert [each["object"] for each in kept(report, gateways)] == ["s3://in/k1"]
    assert result(row, gateways) == {"n": 2, "b": 2}


def test_a_record_in_what_is_only_read_as_a_whole_fails_the_job_by_name() -> None:
    body = gzip.compress(b"one\npoison\nthree\n")
    row, _ = run([b"fine\n", body], QUARANTINE, names="k{}")
    assert row.status == "FAILED"
    assert row.error is not None
    assert (row.error["type"], row.error["object"]) == ("WorkerDied", "s3://in/k1")
    assert "read as a whole" in row.error["message"]
    assert row.wave < 10


def test_cutting_that_kills_fails_the_job_after_a_bounded_number_of_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    from rangemill.formats import text

    align = text.align

    def kills(*arguments: Any, **more: Any) -> Iterator[Any]:
        for event in align(*arguments, **more):
            if POISON in getattr(event, "data", b""):
                raise MemoryError
            yield event

    monkeypatch.setattr(text, "align", kills)
    row, _ = run([b"".join(line + b"\n" for line in lines_with({500}, 1000))], QUARANTINE)
    assert row.error is not None
    assert row.error["type"] == "WorkerDied"
    assert "before any record was applied" in row.error["message"]
    assert row.wave < 20


def test_workers_that_die_at_random_reject_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(11)
    finish = PythonEngine.finish

    def dies(engine: PythonEngine) -> Any:
        if rng.random() < 0.5:
            raise MemoryError
        return finish(engine)

    monkeypatch.setattr(PythonEngine, "finish", dies)
    lines = lines_with(set(), 3000)
    row, gateways = run([b"".join(line + b"\n" for line in lines)], QUARANTINE, range_bytes=1000)
    report = report_of(row, gateways)
    assert result(row, gateways) == {"n": 3000, "b": sum(map(len, lines))}
    assert report["rejects"] == 0
    assert row.totals.deaths > 10
