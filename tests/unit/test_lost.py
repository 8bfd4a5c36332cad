"""Executions that are gone without a word: their jobs are taken up where they stand, a bounded number of times."""

import json
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from rangemill import admission, control, keys, lost, pages
from rangemill.gateways import Gateways
from rangemill.limits import LEASE_SECONDS, TAKE_UPS_MAX
from rangemill.messages import CodeIdentity, JobRequest, JobRow
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryExecutions, MemoryObjects, NoNotices, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
JOB = "lines-1"
BODY = b"".join(b"line %03d\n" % number for number in range(200))
TEXT = "name: lines\nformat: {type: text}\napply: {python: lost_lines:Lines}\n"


class Gone(BaseException):
    """The execution ends, and nothing of ours runs."""


class Lines:
    seen: ClassVar[Counter[bytes]] = Counter()

    def start(self, context: Any) -> int:
        return 0

    def apply(self, partial: int, record: bytes) -> int:
        Lines.seen[record] += 1
        return partial + 1

    def merge(self, left: int, right: int) -> int:
        return left + right

    def finish(self, total: int) -> Iterator[dict[str, int]]:
        yield {"n": total}


@dataclass
class World:
    """A job, its machine, and a clock."""

    now: datetime = datetime(2026, 11, 20, tzinfo=UTC)
    gateways: Gateways = field(init=False)
    request: JobRequest = field(init=False)

    def __post_init__(self) -> None:
        objects = MemoryObjects()
        self.gateways = in_memory(objects, lambda: self.now)
        ref = objects.put("in", "k", BODY)
        self.request = JobRequest(JOB, "lines", TEXT, "l.yaml", "submit", [ref], range_bytes=50)
        admission.create_job(self.request, self.gateways)

    @property
    def row(self) -> JobRow:
        return self.gateways.jobs.load(JOB)

    def carry(self, watch: Callable[[JobRow], None] = lambda _: None) -> JobRow:
        """The machine, until it is gone or has come to the job's end."""
        work = in_this_process(self.gateways, CODE)
        try:
            run_job(self.request, self.gateways, work, CODE, defaults=Defaults(50, 4, 30), watch=watch)
        except Gone:
            executions = self.gateways.executions
            assert isinstance(executions, MemoryExecutions)
            executions.ended[executions.started[-1]] = "FAILED"
        return self.row

    def wait(self) -> None:
        self.now += timedelta(seconds=LEASE_SECONDS + 1)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    module = types.ModuleType("lost_lines")
    module.Lines = Lines  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lost_lines", module)
    monkeypatch.setattr(Lines, "seen", Counter())
    pages.pipeline.cache_clear()
    return World()


def gone_at(wave: int) -> Callable[[JobRow], None]:
    def watch(row: JobRow) -> None:
        if row.wave == wave:
            raise Gone

    return watch


def test_a_job_whose_execution_is_gone_goes_on_where_it_stood(world: World) -> None:
    assert world.carry(gone_at(2)).status == "RUNNING"
    assert lost.recover(world.gateways) == {}  # its end, or its next start, may still be told
    world.wait()
    assert lost.recover(world.gateways) == {JOB: "taken up"}
    assert lost.recover(world.gateways) == {}  # once
    assert (world.row.status, world.row.generation > 0, world.row.wave) == ("WAITING", True, 2)
    row = world.carry()
    assert row.status == "SUCCEEDED"
    assert row.result is not None
    assert set(Lines.seen.values()) == {1}
    assert len(Lines.seen) == 200
    report = json.loads(world.gateways.store.get(f"{keys.results('lines', JOB)}report.json") or b"")
    ended = next(each for each in report["generation_history"] if each.get("status"))
    assert (ended["status"], ended["error"]["type"]) == ("FAILED", "ExecutionFailed")
    assert "is gone (FAILED)" in ended["error"]["message"]


def test_a_job_that_gets_no_further_is_failed_after_a_bounded_number_of_take_ups(world: World) -> None:
    world.carry(gone_at(1))
    for _ in range(TAKE_UPS_MAX):
        world.wait()
        assert lost.recover(world.gateways) == {JOB: "taken up"}
        world.carry(gone_at(1))
    world.wait()
    assert lost.recover(world.gateways) == {JOB: "failed"}
    row = world.row
    assert (row.status, row.error and row.error["type"]) == ("FAILED", "ExecutionFailed")
    assert row.error is not None
    assert f"taken up {TAKE_UPS_MAX} times since wave 1" in row.error["message"]
    assert isinstance(world.gateways.notices, NoNotices)
    assert len(world.gateways.notices.published) == 1
    assert lost.recover(world.gateways) == {}
    control.redrive(JOB, "same", world.gateways)
    assert world.carry().status == "SUCCEEDED"


def test_a_job_that_gets_further_each_time_is_taken_up_as_often_as_it_needs(world: World) -> None:
    for wave in range(1, TAKE_UPS_MAX + 4):
        world.carry(gone_at(wave))
        world.wait()
        assert lost.recover(world.gateways) == {JOB: "taken up"}
    assert world.carry().status == "SUCCEEDED"
    assert set(Lines.seen.values()) == {1}


@pytest.mark.parametrize(("wish", "status"), [(control.cancel, "CANCELLED"), (control.pause, "PAUSED")])
def test_what_people_wanted_of_it_meanwhile_happens(
    world: World, wish: Callable[[str, Gateways], JobRow], status: str
) -> None:
    world.carry(gone_at(2))
    wish(JOB, world.gateways)
    world.wait()
    assert lost.recover(world.gateways) == {JOB: "ended"}
    assert (world.row.status, world.row.rest_reason) == (status, status.lower())


def test_an_execution_that_somebody_stopped_is_not_started_again(world: World) -> None:
    world.carry(gone_at(2))
    executions = world.gateways.executions
    assert isinstance(executions, MemoryExecutions)
    executions.ended[executions.started[-1]] = "ABORTED"
    assert lost.recover(world.gateways) == {JOB: "failed"}
    assert "(ABORTED)" in (world.row.error or {})["message"]


def test_a_job_that_moves_while_it_is_looked_at_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sweeps at once, or one beside a late word of the end: the row's generation decides."""
    world.carry(gone_at(2))
    world.wait()
    turn = world.gateways.jobs.turn

    def late(*arguments: Any) -> bool:
        monkeypatch.undo()
        assert lost.recover(world.gateways) == {JOB: "taken up"}
        return turn(*arguments)

    monkeypatch.setattr(world.gateways.jobs, "turn", late)
    assert lost.recover(world.gateways) == {}
    assert (world.row.status, world.row.take_ups) == ("WAITING", 1)
