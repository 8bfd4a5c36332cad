"""Redrives of rejects: exactly those records are applied again, by whatever way they can be had, and counted once."""

import gzip
import io
import json
import random
import sys
import tarfile
import types
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from rangemill import apply, control, keys, pages, redo
from rangemill.errors import WrongStatus
from rangemill.gateways import Gateways
from rangemill.limits import REJECT_MAX_BYTES
from rangemill.messages import CodeIdentity, JobRequest, JobRow, Redo, RejectFile
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

OLD = CodeIdentity("core", "pipelines", "dependencies")
NEW = CodeIdentity("core", "mended", "dependencies")
JOB = "lines-1"
KEEP = {"on_error": "quarantine"}


class Lines:
    """Counts records by their content, and raises at what it is told to."""

    bad: ClassVar[Callable[[bytes], bool]] = lambda _: False
    seen: ClassVar[Counter[bytes]] = Counter()

    def start(self, context: Any) -> dict[str, int]:
        return {}

    def apply(self, partial: dict[str, int], record: Any) -> dict[str, int]:
        body = (
            record.read() if hasattr(record, "read") else record if isinstance(record, bytes) else repr(record).encode()
        )
        Lines.seen[body] += 1
        if Lines.bad(body):
            raise ValueError("no")
        name = body.decode("latin-1")[:80]
        partial[name] = partial.get(name, 0) + 1
        return partial

    def merge(self, left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
        return dict(Counter(left) + Counter(right))

    def finish(self, total: dict[str, int]) -> Iterator[dict[str, Any]]:
        yield from ({"line": text, "count": total[text]} for text in sorted(total))


@dataclass
class World:
    """A job that rejects, and what takes it up again."""

    gateways: Gateways
    request: JobRequest
    code: CodeIdentity = OLD
    defaults: Defaults = Defaults(50, 4, 20_000)  # noqa: RUF009 - frozen

    def carry(self) -> JobRow:
        work = in_this_process(self.gateways, self.code)
        return run_job(self.request, self.gateways, work, self.code, defaults=self.defaults)

    def again(self, code: Any = "new") -> JobRow:
        self.code = NEW if code == "new" else self.code
        row = control.redrive(JOB, code, self.gateways, rejects=True)
        assert row.status == "WAITING"
        return self.carry()

    @property
    def row(self) -> JobRow:
        return self.gateways.jobs.load(JOB)

    def report(self) -> dict[str, Any]:
        return json.loads(self.gateways.store.get(f"{keys.results('lines', JOB)}report.json") or b"")

    def kept(self) -> list[dict[str, Any]]:
        bodies = [self.gateways.store.get(u.removeprefix("s3://work/")) or b"" for u in self.report()["reject_files"]]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    def result(self) -> list[dict[str, Any]]:
        manifest = json.loads(self.gateways.store.get(f"{keys.results('lines', JOB)}_manifest.json") or b"")
        bodies = (self.gateways.store.get(uri.removeprefix("s3://work/")) or b"" for uri in manifest["output"])
        return [json.loads(line) for body in bodies for line in body.splitlines()]


def world_of(bodies: list[bytes], policy: dict[str, Any] = KEEP, range_bytes: int = 50, **more: Any) -> World:
    text = json.dumps(
        {
            "name": "lines",
            "format": {"type": "text"},
            "apply": {"python": "redone_lines:Lines"},
            "rejects": policy,
            **more,
        }
    )
    pages.pipeline.cache_clear()
    objects = MemoryObjects()
    refs = [objects.put("in", f"k{number}", body) for number, body in enumerate(bodies)]
    request = JobRequest(JOB, "lines", text, "l.yaml", "submit", refs, range_bytes=range_bytes)
    return World(in_memory(objects), request)


def bad_when(monkeypatch: pytest.MonkeyPatch, test: Callable[[bytes], bool]) -> None:
    monkeypatch.setattr(Lines, "bad", staticmethod(test))


@pytest.fixture(autouse=True)
def user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("redone_lines")
    module.Lines = Lines  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "redone_lines", module)
    monkeypatch.setattr(Lines, "seen", Counter())
    bad_when(monkeypatch, lambda body: b"bad" in body)


def unrejected(bodies: list[bytes], **more: Any) -> list[dict[str, Any]]:
    """The result where nothing was ever rejected."""
    world = world_of(bodies, **more)
    assert world.carry().status == "SUCCEEDED"
    Lines.seen.clear()
    return world.result()


def lines(count: int, bad_every: int) -> bytes:
    return b"".join(b"%s %03d\n" % (b"bad" if n % bad_every == 0 else b"good", n) for n in range(count))


@pytest.mark.parametrize("range_bytes", [7, 50, 5000])
def test_rejects_of_a_job_that_succeeded_are_applied_with_new_code_and_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch, range_bytes: int
) -> None:
    bodies = [lines(90, 4), lines(10, 1), b"bad without an end"]
    world = world_of(bodies, range_bytes=range_bytes)
    first = world.carry()
    assert (first.status, first.totals.rejects) == ("SUCCEEDED", 34)
    before = world.result()
    bad_when(monkeypatch, lambda _: False)
    Lines.seen.clear()
    row = world.again()
    assert (row.status, row.totals.rejects, row.totals.records) == ("SUCCEEDED", 0, 101)
    assert Lines.seen == Counter(line for body in bodies for line in body.splitlines() if b"bad" in line)
    assert world.result() == unrejected(bodies, range_bytes=range_bytes) != before
    report = world.report()
    assert (report["rejects"], report["reject_files"], report["reject_groups"]) == (0, [], [])
    assert [g.get("status") for g in report["generation_history"]] == ["SUCCEEDED", None]
    assert report["generation_history"][1]["code"]["pipelines"] == "mended"
    assert sum(wave.get("redone", 0) for wave in report["wave_history"]) == 34
    assert report["proof"]["complete"]
    old = world.gateways.store.get(f"{keys.results('lines', JOB)}result.jsonl")  # who reads it still, reads it whole
    assert [json.loads(line) for line in (old or b"").splitlines()] == before


def test_those_rejected_again_stay_rejects_and_can_be_taken_up_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of([lines(60, 3)])
    world.carry()
    bad_when(monkeypatch, lambda body: b"bad 0" in body and body.endswith(b"7"))
    assert world.again().totals.rejects == 2
    assert sorted(each["bytes"] for each in world.kept()) == ["bad 027\n", "bad 057\n"]
    assert [group["count"] for group in world.report()["reject_groups"]] == [2]
    bad_when(monkeypatch, lambda _: False)
    Lines.seen.clear()
    assert world.again("same").totals.rejects == 0
    assert sorted(Lines.seen) == [b"bad 027", b"bad 057"]
    assert world.result() == unrejected([lines(60, 3)])
    assert world.row.published == 2


def test_a_job_that_failed_of_its_rejects_goes_on_with_code_that_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of([lines(2, 1) + lines(200, 1000)], {**KEEP, "max_fraction": 0.001})
    row = world.carry()
    assert (row.status, (row.error or {})["type"]) == ("FAILED", "TooManyRejects")
    bad_when(monkeypatch, lambda _: False)
    assert world.again().status == "SUCCEEDED"
    assert world.row.totals.rejects == 0
    assert world.result() == unrejected([lines(2, 1) + lines(200, 1000)])


def test_a_job_whose_rejects_are_rejected_again_fails_again_of_its_limit() -> None:
    world = world_of([lines(20, 2)], {**KEEP, "max_fraction": 0.001})
    world.carry()
    row = world.again()
    assert (row.status, (row.error or {})["type"]) == ("FAILED", "TooManyRejects")


def zipped(body: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a!b.txt", body)
        archive.writestr("c.txt", b"bad end\n")
    return out.getvalue()


def tarred(body: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in (("a.txt", body), ("b/c.txt", b"bad end\n")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


LONG = b"bad " + b"x" * 70_000 + b"\n"  # more than is kept of a reject


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (gzip.compress(lines(90, 4)), {}),
        (zipped(lines(90, 4)), {"format": {"type": "text", "archive": "auto"}}),
        (tarred(lines(90, 4)), {"format": {"type": "text", "archive": "auto"}}),
        (lines(9, 2) + LONG + lines(9, 3), {}),
        (b"n,t\n" + b'1,"bad\n2,good"\r\n' * 40 + b'3,"' + LONG + b'"\n4,bad', {"format": {"type": "csv"}}),
        ("\ufeffgüt\nbäd bad ü\n".encode("utf-16"), {"format": {"type": "text"}}),
        (b'{"t": "bad"}\n{"t": "good"}\n', {"format": {"type": "jsonl"}}),
        (b'[{"t": "bad"}, {"t": "good"}, {"t": "bad"}]', {"format": {"type": "json"}}),
        (b"a||bad||c||bad", {"format": {"type": "text", "delimiter": "||"}}),
        (b"abad1b    cbad2", {"format": {"type": "text", "record_bytes": 5}}),
        (b"bad \xff\xfe\ngood\n", {}),
        (b"bad object", {"format": {"type": "object"}}),
    ],
    ids=["gzip", "zip", "tar.gz", "long", "csv", "utf-16", "jsonl", "json", "delimiter", "length", "no-text", "object"],
)
def test_rejects_of_any_format_are_had_again(
    monkeypatch: pytest.MonkeyPatch, body: bytes, more: dict[str, Any]
) -> None:
    bodies = [b"good object" if "object" in str(more) else b"", body]
    world = world_of(bodies, range_bytes=64, **more)
    row = world.carry()
    assert row.status == "SUCCEEDED", row.error
    assert row.totals.rejects > 0
    bad_when(monkeypatch, lambda _: False)
    row = world.again()
    assert (row.status, row.totals.rejects) == ("SUCCEEDED", 0), world.report()["reject_groups"]
    assert world.result() == unrejected(bodies, range_bytes=64, **more)


def test_sql_takes_rejects_again_and_keeps_those_that_fail_again() -> None:
    more: dict[str, Any] = {
        "apply": {
            "sql": "SELECT _object AS o, sum(CAST(line AS INTEGER)) AS s, count(*) AS n FROM records GROUP BY ALL"
        },
        "aggregate": {"sql": "SELECT o, sum(s) AS s, sum(n) AS n FROM partials GROUP BY ALL"},
        "finish": {"sql": "SELECT * FROM result ORDER BY o"},
    }
    world = world_of([b"1\nx\n2\n", b"y\n5\nz\xff\n" * 3], **more)
    world.carry()
    before = world.result(), sorted((each["object"], each["offset"], each["type"]) for each in world.kept())
    row = world.again()
    assert (row.status, row.totals.rejects, row.totals.records) == ("SUCCEEDED", 7, 12)
    after = world.result(), sorted((each["object"], each["offset"], each["type"]) for each in world.kept())
    assert after == before


def test_parts_of_a_pipeline_that_does_not_fold_are_published_with_those_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more: dict[str, Any] = {"apply": {"sql": "SELECT CAST(line AS INTEGER) AS n FROM records"}}
    world = world_of([b"1\n2\nx\n"], **more)
    world.carry()
    assert sorted(row["n"] for row in world.result()) == [1, 2]
    (line,) = world.kept()
    mended = json.dumps(line | {"bytes": "3\n", "length": 2}).encode() + b"\n"
    world.gateways.store.put(world.report()["reject_files"][0].removeprefix("s3://work/"), mended)
    assert world.again().totals.rejects == 0
    assert sorted(row["n"] for row in world.result()) == [1, 2, 3]


def test_a_redrive_of_rejects_that_is_cancelled_midway_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    body = lines(400, 2)
    world = world_of([body], range_bytes=20)
    world.defaults = Defaults(20, 4, 100)  # slots of one range
    world.carry()
    rejects = world.row.totals.rejects
    bad_when(monkeypatch, lambda _: False)
    Lines.seen.clear()
    work, slots = apply.run, iter(range(20))

    def stops(*arguments: Any) -> Any:
        if next(slots, None) is None and world.row.desired == "run":
            control.cancel(JOB, world.gateways)
        return work(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(redo, "REDO_SLOT_RECORDS", 1)
        patch.setattr(redo, "REDO_PAGE_LISTS", 2)
        patch.setattr("rangemill.fetch.WAVE_MAX_SLOTS", 16)
        patch.setattr(apply, "run", stops)
        assert world.again().status == "CANCELLED"
    assert 0 < world.row.totals.rejects < rejects
    assert world.again("same").status == "SUCCEEDED"
    assert world.row.totals.rejects == 0
    assert set(Lines.seen.values()) == {1}
    assert len(Lines.seen) == rejects
    assert world.result() == unrejected([body], range_bytes=20)


@pytest.mark.parametrize(
    ("policy", "body", "says"),
    [({"on_error": "skip"}, b"bad\n", "on_error: skip"), (KEEP, b"good\n", "has no rejects")],
)
def test_what_cannot_be_taken_up_is_refused_in_a_sentence(policy: dict[str, Any], body: bytes, says: str) -> None:
    world = world_of([body], policy)
    row = world.carry()
    with pytest.raises(WrongStatus, match=says):
        control.redrive(JOB, "same", world.gateways, rejects=True)
    assert world.row == row
    with pytest.raises(WrongStatus, match=r"--rejects" if row.totals.rejects else "succeeded"):
        control.redrive(JOB, "same", world.gateways)


def test_a_reject_that_kills_its_worker_the_second_time_is_found_and_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of([lines(300, 2)], range_bytes=5000)
    world.carry()

    def kills(body: bytes) -> bool:
        if body == b"bad 150":
            raise MemoryError
        return False

    bad_when(monkeypatch, kills)
    row = world.again()
    assert (row.status, row.totals.rejects, row.totals.culprits) == ("SUCCEEDED", 1, 1)
    (reject,) = world.kept()
    assert (reject["bytes"], reject["type"]) == ("bad 150\n", "WorkerDied")
    assert sum(each["count"] for each in world.result()) == 299


def test_rejects_that_rows_do_not_take_back_break_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mechanism removed: a file that lost a line does not pass for one whose records were all applied."""
    world = world_of([lines(20, 2)], range_bytes=5000)
    world.carry()
    key = world.report()["reject_files"][0].removeprefix("s3://work/")
    body = world.gateways.store.get(key) or b""
    world.gateways.store.put(key, body[body.index(b"\n") + 1 :])
    row = world.again()
    assert (row.status, (row.error or {})["type"]) == ("FAILED", "IntegrityError")


def test_a_reject_that_does_not_begin_where_it_was_rejected_breaks_the_count() -> None:
    """The mechanism removed: a place at which no record begins does not pass for one whose record was applied."""
    world = world_of([b"good\nbad " + b"x" * 2 * REJECT_MAX_BYTES + b"\ngood\n"], range_bytes=100_000)
    world.carry()
    (reject,) = world.kept()
    assert reject["is_cut"]  # so that it is read from its object again
    key = world.report()["reject_files"][0].removeprefix("s3://work/")
    world.gateways.store.put(key, json.dumps({**reject, "offset": reject["offset"] + 1}).encode() + b"\n")
    row = world.again()
    assert (row.status, (row.error or {})["type"]) == ("FAILED", "CountMismatch")
    assert "where one was rejected" in (row.error or {})["message"]


@pytest.mark.parametrize("seed", range(20))
def test_files_are_handed_out_once_each_in_bounded_slots(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(redo, "REDO_PAGE_LISTS", rng.randint(1, 4))
    most_files = rng.randint(1, 5)
    monkeypatch.setattr(redo, "REDO_SLOT_FILES", most_files)
    monkeypatch.setattr(redo, "REDO_SLOT_RECORDS", rng.randint(1, 30))
    store, wanted, names = in_memory(MemoryObjects()).store, [], []
    for wave in range(rng.randint(1, 9)):
        listed: list[Any] = [[f"w{wave}-{n}", rng.randint(1, 9)] for n in range(rng.randint(1, 6))]
        if rng.random() < 0.3:  # as an earlier version wrote it
            for key, records in listed:
                store.put(key, b"{}\n" * records)
            store.put(f"list{wave}", json.dumps([key for key, _ in listed]).encode())
        else:
            store.put(f"list{wave}", json.dumps(listed).encode())
        wanted += [(key, 0, records) for key, records in listed]
        names.append(f"list{wave}")
    at: Redo | None = redo.begin(store, JOB, 3, names)
    found = []
    for _ in range(100):
        slots, at = redo.hand_out(at, 7, rng.randint(1, 4), lambda at: redo.files(store, JOB, at))
        assert [slot.slot for slot in slots] == list(range(7, 7 + len(slots)))
        found += [(slot.redo[run.object_index], run.start, run.end) for slot in slots for run in slot.runs]
        assert all(len(slot.runs) <= most_files for slot in slots)
        if at is None:
            break
    assert found == wanted


def test_a_list_of_an_earlier_version_is_read() -> None:
    assert redo.reject_files(b'["a","b"]') == [RejectFile("a", None), RejectFile("b", None)]
    assert redo.reject_files(b'[["a",3]]') == [RejectFile("a", 3)]
