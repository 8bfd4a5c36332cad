"""Rejects over whole jobs: counted once however work is cut and repeated, kept where the report says, bounded."""

import gzip
import json
import sys
import types
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import aggregate, apply, fetch, keys, pages, plan, redo, rejects
from rangemill.errors import CountMismatch
from rangemill.gateways import Gateways
from rangemill.messages import ApplyMessage, CodeIdentity, Context, JobRequest, JobRow, SlotItem, StateMessage
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import MACHINE, in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
DEFAULTS = Defaults(64, 2, 20_000)


class Lines:
    """Counts lines; what it raises at has already been counted."""

    def start(self, context: Any) -> list[int]:
        return [0, 0]

    def apply(self, partial: list[int], record: bytes) -> list[int]:
        partial[0] += 1
        partial[1] += len(record)
        if record.startswith(b"bad"):
            raise ValueError(record.decode())
        return partial

    def merge(self, left: list[int], right: list[int]) -> list[int]:
        return [left[0] + right[0], left[1] + right[1]]

    def finish(self, total: list[int]) -> Iterator[dict[str, int]]:
        yield {"records": total[0], "bytes": total[1]}


@pytest.fixture(autouse=True, scope="module")
def _user_code() -> Iterator[None]:
    module = types.ModuleType("rejecting_lines")
    module.Lines = Lines  # type: ignore[attr-defined]
    sys.modules["rejecting_lines"] = module
    pages.pipeline.cache_clear()
    yield
    del sys.modules["rejecting_lines"]


def document(policy: dict[str, Any], **more: Any) -> str:
    return json.dumps(
        {
            "name": "lines",
            "format": {"type": "text"},
            "apply": {"python": "rejecting_lines:Lines"},
            "rejects": policy,
            **more,
        }
    )


def started(bodies: list[bytes], text: str, range_bytes: int = 64) -> tuple[Gateways, JobRequest]:
    objects = MemoryObjects()
    refs = [objects.put("in", f"k{number}", body) for number, body in enumerate(bodies)]
    return in_memory(objects), JobRequest("j", "lines", text, "l.yaml", "run", refs, range_bytes=range_bytes)


def run(bodies: list[bytes], text: str, range_bytes: int = 64) -> tuple[JobRow, Gateways]:
    gateways, request = started(bodies, text, range_bytes)
    row = run_job(request, gateways, in_this_process(gateways, CODE), CODE, defaults=DEFAULTS)
    return row, gateways


def report_of(row: JobRow, gateways: Gateways) -> dict[str, Any]:
    assert row.status == "SUCCEEDED", row.error
    assert row.result is not None
    return json.loads(gateways.store.get(row.result["report"].removeprefix("s3://work/")) or b"")


def kept(report: dict[str, Any], gateways: Gateways) -> list[dict[str, Any]]:
    bodies = (gateways.store.get(uri.removeprefix("s3://work/")) or b"" for uri in report["reject_files"])
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def result(row: JobRow, gateways: Gateways) -> list[dict[str, Any]]:
    assert row.result is not None
    return [json.loads(line) for uri in row.result["output"] for line in (gateways.store.get(uri) or b"").splitlines()]


LINES = st.lists(
    st.sampled_from([b"", b"a", b"bad", b"bad one", b"x" * 30, b"longer than a range is" * 4]), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(LINES, min_size=1, max_size=3), range_bytes=st.integers(1, 90))
def test_a_job_is_exact_over_the_good_records_and_names_the_bad_ones(
    bodies: list[list[bytes]], range_bytes: int
) -> None:
    objects = [b"".join(line + b"\n" for line in lines) for lines in bodies]
    row, gateways = run(objects, document({"on_error": "quarantine"}), range_bytes)
    report = report_of(row, gateways)
    bad = []
    for number, lines in enumerate(bodies):
        at = 0
        for line in lines:
            if line.startswith(b"bad"):
                bad.append((f"s3://in/k{number}", at, line.decode() + "\n"))
            at += len(line) + 1
    good = [line for lines in bodies for line in lines if not line.startswith(b"bad")]
    assert result(row, gateways) == [{"records": len(good), "bytes": sum(map(len, good))}]
    assert sorted((each["object"], each["offset"], each["bytes"]) for each in kept(report, gateways)) == sorted(bad)
    assert report["rejects"] == row.totals.rejects == len(bad) == sum(each["count"] for each in report["reject_groups"])
    assert report["records"] == len(good) + len(bad)
    per_object = {each["uri"]: each.get("rejects", 0) for each in report["proved_objects"]}
    assert per_object == {f"s3://in/k{n}": sum(uri == f"s3://in/k{n}" for uri, _, _ in bad) for n in range(len(bodies))}
    assert sum(wave.get("rejects", 0) for wave in report["wave_history"]) == len(bad)
    assert report["proof"]["complete"]


def test_sql_counts_rejects_of_several_objects_by_object() -> None:
    bodies = [b"1\nx\n2\n", b"y\nz\n", b"", b"5\n"]
    text = document(
        {"on_error": "quarantine"},
        apply={"sql": "SELECT sum(CAST(line AS INTEGER)) AS s, _object AS o FROM records GROUP BY ALL"},
        aggregate={"sql": "SELECT sum(s) AS s, o FROM partials GROUP BY ALL"},
        finish={"sql": "SELECT * FROM result ORDER BY o"},
    )
    row, gateways = run(bodies, text)
    report = report_of(row, gateways)
    assert result(row, gateways) == [{"s": 3, "o": "k0"}, {"s": 5, "o": "k3"}]
    assert [each.get("rejects", 0) for each in report["proved_objects"]] == [1, 2, 0, 0]
    assert sorted((each["object"], each["offset"]) for each in kept(report, gateways)) == [
        ("s3://in/k0", 2),
        ("s3://in/k1", 0),
        ("s3://in/k1", 2),
    ]


def test_the_offset_of_rejects_in_compressed_objects_is_that_of_the_decompressed_bytes() -> None:
    row, gateways = run([gzip.compress(b"a\nbad\n" * 50)], document({"on_error": "quarantine"}))
    assert [each["offset"] for each in kept(report_of(row, gateways), gateways)] == [2 + 6 * n for n in range(50)]


def test_skipped_records_are_counted_and_nothing_of_them_is_kept() -> None:
    row, gateways = run([b"a\nbad\n"], document({"on_error": "skip"}))
    report = report_of(row, gateways)
    assert (report["rejects"], report["reject_files"]) == (1, [])
    assert "bad" not in json.dumps(msgspec.to_builtins(row))


@pytest.mark.parametrize(
    ("policy", "type_name"),
    [({"max_count": 9}, "max_count"), ({"max_fraction": 0.002}, "max_fraction")],
)
def test_a_job_that_passes_its_limit_stops_early_and_says_why(policy: dict[str, Any], type_name: str) -> None:
    body = b"a fine line\n" * 20 + b"bad line\n" * 20 + b"a fine line\n" * 2000
    text = document({"on_error": "quarantine", **policy})
    gateways, request = started([body], text)
    tight = msgspec.structs.replace(request, history_budget_events=100)
    row = run_job(tight, gateways, in_this_process(gateways, CODE), CODE, defaults=DEFAULTS)
    assert row.status == "FAILED"
    assert row.error is not None
    assert (row.error["type"], row.error["object"]) == ("TooManyRejects", "s3://in/k0")
    assert f"rejects.{type_name}" in row.error["message"]
    assert "UserCodeError (ValueError at " in row.error["message"]
    assert "bad line" not in json.dumps(msgspec.to_builtins(row))
    assert row.totals.bytes < len(body) / 2
    assert row.result is None


def test_a_limit_that_is_kept_does_not_depend_on_where_the_bad_records_lie() -> None:
    body = b"bad\n" + b"good\n" * 999
    for data in (body, body[4:] + body[:4]):
        row, gateways = run([data], document({"on_error": "skip", "max_fraction": 0.001, "max_count": 1}))
        assert report_of(row, gateways)["rejects"] == 1


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("range_bytes", [7, 64, 5000])
@pytest.mark.parametrize(
    "engine",
    [
        {},
        {
            "apply": {"sql": "SELECT count(*) AS records, sum(length(line)) AS bytes FROM records"},
            "aggregate": {"sql": "SELECT sum(records) AS records, sum(bytes) AS bytes FROM partials"},
        },
        {
            "apply": {"sql": "SELECT count(*) AS records, sum(octet_length(raw)) AS bytes FROM records"},
            "aggregate": {"sql": "SELECT sum(records) AS records, sum(bytes) AS bytes FROM partials"},
        },
    ],
    ids=["python", "sql", "raw"],
)
def test_a_record_that_is_too_large_is_rejected_and_the_next_one_is_where_it_ends(
    compress: Any, range_bytes: int, engine: dict[str, Any]
) -> None:
    lines = [b"a", b"x" * 300, b"bb", b"", b"y" * 101, b"z" * 100, b"w" * 1000]
    body = b"\n".join(lines)
    text = document({"on_error": "quarantine"}, **{"format": {"type": "text", "max_record_bytes": 100}, **engine})
    row, gateways = run([compress(body)], text, range_bytes)
    report = report_of(row, gateways)
    assert result(row, gateways) == [{"records": 4, "bytes": 103}]
    assert [(each["offset"], each["type"], each.get("bytes")) for each in kept(report, gateways)] == [
        (body.index(letter), "RecordTooLarge", None) for letter in (b"x", b"y", b"w")
    ]
    assert report["reject_groups"][0]["problem"].startswith("longer than max_record_bytes (100)")
    assert (report["records"], report["proof"]["complete"]) == (7, True)


def test_a_full_worker_hands_the_rest_of_its_slot_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "REJECTS_FULL_BYTES", 300)
    body = b"bad\ngood\n" * 100
    row, gateways = run([body], document({"on_error": "quarantine"}), range_bytes=50)
    report = report_of(row, gateways)
    assert result(row, gateways) == [{"records": 100, "bytes": 400}]
    assert sorted(each["offset"] for each in kept(report, gateways)) == [9 * n for n in range(100)]
    assert report["waves"] > 1


class Steps:
    """A job's first wave by hand."""

    def __init__(self, bodies: list[bytes], text: str) -> None:
        from rangemill import admission

        self.gateways, request = started(bodies, text)
        admission.create_job(request, self.gateways)
        self.arn = self.gateways.executions.start("j", 0)
        context = plan.run(StateMessage(Context("j", 0), self.arn), self.gateways, DEFAULTS, CODE)
        self.context = fetch.run(StateMessage(context, self.arn), self.gateways, "f")
        assert self.context.map is not None
        self.items = msgspec.json.decode(self.gateways.store.get(self.context.map.key) or b"", type=list[SlotItem])

    def work(self, item: SlotItem) -> None:
        apply.run(ApplyMessage("j", 0, self.context.wave, item), self.gateways, CODE, lambda: False)

    def aggregate(self) -> None:
        aggregate.run(StateMessage(self.context, self.arn), self.gateways, CODE, MACHINE, "a")


def test_of_two_workers_for_one_slot_only_the_rejects_of_the_outcome_count() -> None:
    steps = Steps([b"bad\ngood\n"], document({"on_error": "quarantine"}))
    for _ in range(2):
        for item in steps.items:
            steps.work(item)
    steps.aggregate()
    store: Any = steps.gateways.store
    assert len(store.keys("jobs/j/rejects/")) == 2
    checkpoint = pages.checkpoint(store, steps.gateways.jobs.load("j").pointer or "")
    assert checkpoint.totals.rejects == 1
    (wave,) = steps.gateways.jobs.waves("j")
    (file,) = redo.reject_files(store.get(wave.rejects_key) or b"")
    assert file.records == 1
    assert file.key in store.keys("jobs/j/rejects/")


def test_rejects_that_are_not_counted_break_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mechanism removed: a record that is neither taken nor in the log fails the job."""
    monkeypatch.setattr(rejects.RejectLog, "add", lambda *_: None)
    steps = Steps([b"bad\ngood\n"], document({"on_error": "quarantine"}))
    steps.work(steps.items[0])
    assert steps.gateways.store.get(keys.outcome("j", 1, 0)) is None
    with pytest.raises(CountMismatch):
        steps.aggregate()


def test_rejects_that_rows_do_not_count_break_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "with_rejects", lambda rows, _: rows)
    steps = Steps([b"bad\ngood\n"], document({"on_error": "quarantine"}))
    steps.work(steps.items[0])
    with pytest.raises(CountMismatch, match="1 rejects, 0 in its rows"):
        steps.aggregate()


def test_what_a_wrong_guess_makes_of_csv_is_not_rejected() -> None:
    """A range that takes the inside of quotes for rows finds bad ones; its neighbour tells, and they do not count."""
    inside = b'7,"\nx,9\n"\n' * 20
    body = b"a,b\n" + inside + b"zz,1\n" + inside
    text = json.dumps(
        {
            "name": "lines",
            "format": {"type": "csv", "columns": {"a": "BIGINT"}},
            "apply": {"sql": "SELECT count(*) AS n, sum(a) AS s FROM records"},
            "aggregate": {"sql": "SELECT sum(n) AS n, sum(s) AS s FROM partials"},
            "rejects": {"on_error": "quarantine", "max_count": 5},
        }
    )
    gateways, request = started([body], text, range_bytes=7)
    request = msgspec.structs.replace(request, history_budget_events=100)  # slots of one range
    row = run_job(request, gateways, in_this_process(gateways, CODE), CODE, defaults=DEFAULTS)
    report = report_of(row, gateways)
    assert result(row, gateways) == [{"n": 40, "s": 280}]
    assert [each["offset"] for each in kept(report, gateways)] == [body.index(b"zz")]
    assert (row.totals.rejects, len(report["reject_files"])) == (1, 1)
    store: Any = gateways.store
    assert len(store.keys("jobs/j/rejects/")) > len(report["reject_files"]), "some were found under a wrong guess"
