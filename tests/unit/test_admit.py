"""Jobs that share workers: the real admit, plan, fetch, apply, aggregate and finish on a clock that the test drives."""

import dataclasses
import heapq
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from rangemill import abandon, admission, admit, aggregate, apply, control, fetch, finish, pages, plan, sharing
from rangemill.abandon import Failure
from rangemill.catalog import Catalog
from rangemill.errors import BadRequest, Superseded, Transient
from rangemill.limits import LEASE_SECONDS
from rangemill.messages import (
    ApplyMessage,
    CodeIdentity,
    Context,
    JobRequest,
    JobRow,
    ObjectRef,
    SlotItem,
    StateMessage,
)
from rangemill.plan import Defaults
from rangemill.sharing import Limits
from rangemill_cli.inprocess.driver import MACHINE
from rangemill_cli.inprocess.memory import MemoryExecutions, MemoryJobs, MemoryObjects, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
NOTHING = Catalog({}, [])
RANGE_BYTES = 8
BYTES_PER_SECOND = 10.0  # of one worker
TEXT = "name: {name}\nformat: {{type: text}}\napply: {{python: admit_count:Count}}\n"


class Count:
    def start(self, context: Any) -> int:
        return 0

    def apply(self, partial: int, record: bytes) -> int:
        return partial + 1

    def merge(self, left: int, right: int) -> int:
        return left + right

    def finish(self, total: int) -> Iterator[dict[str, int]]:
        yield {"n": total}


class Slow(MemoryObjects):
    """Reading takes time: the workers' own, which the world's clock knows nothing of."""

    seconds = 0.0

    def read(self, pin: Any, start: int, stop_hint: int) -> Iterator[bytes]:
        self.seconds += (stop_hint - start) / BYTES_PER_SECOND
        return super().read(pin, start, stop_hint)


@dataclass
class Cloud:
    """Executions side by side. `using` is how many workers each job's wave in flight has."""

    limits: Limits
    monkeypatch: pytest.MonkeyPatch
    now: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)
    using: dict[str, int] = field(default_factory=dict)
    most_used: int = 0
    ended: list[str] = field(default_factory=list)
    began: dict[str, datetime] = field(default_factory=dict)  # first wave
    dead: set[str] = field(default_factory=set)  # executions that go no further, without a word
    stuck_seconds: dict[str, float] = field(default_factory=dict)  # by job: how much longer its waves take
    watch: Callable[["Cloud"], None] = lambda _: None

    def __post_init__(self) -> None:
        self.objects = Slow()
        self.world = dataclasses.replace(in_memory(self.objects, lambda: self.now), lambdas=self)
        self._queue: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._carried: set[str] = set()
        self.monkeypatch.setattr(apply, "time", SimpleNamespace(monotonic=lambda: self.objects.seconds))
        self.monkeypatch.setattr(fetch, "SLOT_FIRST_BYTES_PER_SECOND", BYTES_PER_SECOND)

    @property
    def jobs(self) -> MemoryJobs:
        assert isinstance(self.world.jobs, MemoryJobs)
        return self.world.jobs

    @property
    def executions(self) -> MemoryExecutions:
        assert isinstance(self.world.executions, MemoryExecutions)
        return self.world.executions

    # --- gateways.Lambdas ---

    def free_concurrency(self) -> int | None:
        return None

    def wake_admit(self) -> None:
        self.later(1, self.admit)

    # --- time ---

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + timedelta(seconds=seconds), next(self._order), act))

    def run(self, seconds: float) -> None:
        until = self.now + timedelta(seconds=seconds)
        while self._queue and self._queue[0][0] <= until:
            self.now, _, act = heapq.heappop(self._queue)
            act()
            self.most_used = max(self.most_used, sum(self.using.values()))
            self.watch(self)
        self.now = until

    def every_minute(self) -> None:
        self.admit()
        self.later(60, self.every_minute)

    # --- jobs ---

    def submit(self, name: str, ranges: int, pipeline: str, concurrency: int | None = None) -> None:
        ref = self.objects.put("in", name, b"1234567\n" * ranges)
        text = TEXT.format(name=pipeline)
        refs = [ObjectRef(ref.bucket, ref.key, size_bytes=ranges * 8)]
        request = JobRequest(
            name, pipeline, text, "p.yaml", "event", refs, concurrency=concurrency, range_bytes=RANGE_BYTES
        )
        admission.create_job(request, self.world)

    def admit(self) -> None:
        admit.run(NOTHING, self.world, self.limits)
        for arn in self.executions.started:
            if arn not in self._carried:
                self._carried.add(arn)
                job_id, _, generation = arn.rsplit(":", 1)[1].rpartition("-g")
                self._carry(arn, self._machine(job_id, int(generation), arn))

    def _carry(self, arn: str, machine: Iterator[float]) -> None:
        def step() -> None:
            if arn in self.dead:
                return
            try:
                self.later(next(machine), step)
            except StopIteration:
                self.executions.ended.setdefault(arn, "SUCCEEDED")

        step()

    def _machine(self, job_id: str, generation: int, arn: str) -> Iterator[float]:
        context = Context(job_id, generation)
        defaults = Defaults(RANGE_BYTES, 40, 20_000)
        yield 1
        try:
            context = plan.run(StateMessage(context, arn), self.world, defaults, CODE)
            while context.next == "FETCH":
                yield 1
                context = fetch.run(StateMessage(context, arn), self.world, f"f{next(self._order)}")
                self.using[job_id] = context.concurrency
                self.began.setdefault(job_id, self.now)
                yield self._map(context) + self.stuck_seconds.get(job_id, 0)
                del self.using[job_id]
                context = aggregate.run(StateMessage(context, arn), self.world, CODE, MACHINE, f"a{next(self._order)}")
            if context.next == "FINISH":
                finish.run(StateMessage(context, arn), self.world, CODE)
                self.ended.append(job_id)
        except Superseded:
            return

    def _map(self, context: Context) -> float:
        """All slots of the wave; how long that takes with so many workers."""
        body = self.world.store.get(context.map.key if context.map else "")
        items = msgspec.json.decode(body or b"", type=list[SlotItem])
        assert context.concurrency <= len(items)
        free_at = [0.0] * context.concurrency
        for item in items:
            message = ApplyMessage(context.job_id, context.generation, context.wave, item)
            header = apply.run(message, self.world, CODE, lambda: False)
            assert header is not None
            heapq.heapreplace(free_at, free_at[0] + 1 + header.milliseconds / 1000)
        return max(free_at)

    def row(self, job_id: str) -> JobRow:
        return self.jobs.load(job_id)

    def claims(self) -> int:
        return sum(sharing.claim(row, self.limits) for row in self.jobs.by_status("RUNNING"))


@pytest.fixture(autouse=True)
def user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("admit_count")
    module.Count = Count  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "admit_count", module)
    pages.pipeline.cache_clear()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    return Cloud(Limits(jobs=20, workers=40, own_workers=40), monkeypatch)


SMALL = [f"small-{n}" for n in range(10)]


@pytest.mark.parametrize(
    ("pipeline", "ranges"), [("many", 100_000), ("big", 50_000)], ids=["of another pipeline", "of the same"]
)
def test_a_job_of_100_000_ranges_does_not_starve_ten_small_ones(cloud: Cloud, pipeline: str, ranges: int) -> None:
    cloud.submit("big-1", ranges, "big", concurrency=100)
    cloud.every_minute()
    cloud.run(30)
    assert cloud.using == {"big-1": 40}  # all that there are
    for name in SMALL:
        cloud.submit(name, 2, pipeline)
    cloud.admit()  # as Ingest does
    came = cloud.now
    cloud.run(900)
    waves_meanwhile = cloud.row("big-1").wave
    cloud.run(40_000)
    assert cloud.ended == [*SMALL, "big-1"]
    waited = max((cloud.began[name] - came).total_seconds() for name in SMALL)
    assert waited < 200  # a wave of the big one, who had everything; not one minute each
    assert waves_meanwhile < 10  # it was nowhere near its end when the last small one was done
    assert cloud.most_used == 40
    history = list(cloud.jobs.waves("big-1"))
    assert history[0].workers == 40
    assert min(wave.workers for wave in history) < 40  # it gave some up,
    assert [wave.workers for wave in history[-4:-1]] == [40, 40, 40]  # and got them back
    assert history[0].granted == 40
    assert cloud.row("big-1").totals.ranges == ranges


def test_jobs_of_many_pipelines_never_use_more_than_there_is(cloud: Cloud) -> None:
    cloud.limits = Limits(jobs=6, workers=17, own_workers=40)
    for n in range(14):
        cloud.submit(f"j{n:02}", 40 * (1 + n % 5) ** 2, f"p{n % 3}", concurrency=(3, 9, 40)[n % 3])
    cloud.watch = lambda c: _require(c.claims() <= 17 and len(list(c.jobs.by_status("RUNNING"))) <= 6)
    cloud.every_minute()
    cloud.run(20_000)
    assert sorted(cloud.ended) == [f"j{n:02}" for n in range(14)]
    assert cloud.most_used == 17


def _require(holds: bool) -> None:
    assert holds


def test_what_is_free_is_used_at_once_and_not_at_the_next_minute(cloud: Cloud) -> None:
    cloud.limits = Limits(jobs=1, workers=40, own_workers=40)
    for name in SMALL:
        cloud.submit(name, 2, "p")
    cloud.admit()  # and no schedule at all
    cloud.run(120)
    assert cloud.ended == SMALL


def test_a_lease_that_was_never_returned_heals_and_one_whose_execution_is_there_is_kept(cloud: Cloud) -> None:
    cloud.submit("lost", 50_000, "p", concurrency=30)
    cloud.submit("long", 40, "q", concurrency=10)
    cloud.stuck_seconds["long"] = 3 * LEASE_SECONDS
    cloud.every_minute()
    cloud.run(60)
    cloud.submit("next", 400, "r")
    (arn,) = [arn for arn in cloud.executions.started if "lost" in arn]
    cloud.dead.add(arn)  # in the midst of a wave
    cloud.executions.ended[arn] = "ABORTED"
    del cloud.using["lost"]
    cloud.run(LEASE_SECONDS / 2)
    assert cloud.row("next").status == "WAITING" or cloud.row("next").held == 0 or "next" not in cloud.using
    cloud.run(LEASE_SECONDS / 2 + 61)
    assert (cloud.row("lost").held, cloud.row("lost").leased_until) == (0, None)
    assert cloud.ended == ["next"] or cloud.using["next"] == 30
    assert cloud.row("long").held == 10  # it works all this time
    cloud.run(4 * LEASE_SECONDS)
    assert sorted(cloud.ended) == ["long", "next"]


def test_a_job_that_wakes_up_after_its_lease_was_given_away_gets_its_share_anew(cloud: Cloud) -> None:
    cloud.submit("sleeper", 30_000, "p", concurrency=40)
    cloud.every_minute()
    cloud.run(60)
    (arn,) = cloud.executions.started
    cloud.stuck_seconds["sleeper"] = 0
    asleep = cloud._queue[:]
    cloud.executions.ended[arn] = "FAILED"  # somebody redrives it by hand later: it was no execution of ours that ended
    cloud._queue = [entry for entry in asleep if "every_minute" in repr(entry[2])]
    (wake,) = [entry[2] for entry in asleep if "step" in repr(entry[2])]
    cloud.run(2 * LEASE_SECONDS)
    assert cloud.row("sleeper").held == 0
    cloud.submit("other", 30_000, "q", concurrency=40)
    cloud.run(120)
    assert cloud.row("other").held == 40
    del cloud.executions.ended[arn]
    del cloud.using["sleeper"]
    cloud.most_used = 0
    cloud.later(0, wake)
    cloud.using["sleeper"] = 0  # its wave is over
    cloud.run(400)
    assert cloud.most_used <= 41  # its one worker, until `admit` has seen it
    assert cloud.using == {"sleeper": 20, "other": 20}


def test_more_that_is_granted_between_two_waves_is_taken_up_by_the_next_fetch(cloud: Cloud) -> None:
    cloud.submit("a", 30_000, "p", concurrency=40)
    cloud.limits = Limits(20, 10, 40)
    cloud.admit()
    cloud.limits = Limits(20, 40, 40)
    cloud.admit()  # while it is being planned
    assert (cloud.row("a").held, cloud.row("a").grant) == (10, 40)
    cloud.run(10)
    assert cloud.using == {"a": 40}


def test_what_is_lowered_while_a_wave_is_committed_is_not_lost(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit takes the grant as it is at that moment, not as Aggregate read it."""
    cloud.submit("big", 20_000, "p", concurrency=40)
    cloud.admit()
    cloud.run(20)
    really = cloud.jobs.commit

    def commit(*arguments: Any, **named: Any) -> JobRow:
        monkeypatch.setattr(cloud.jobs, "commit", really)
        cloud.submit("other", 20_000, "q", concurrency=40)
        cloud.admit()
        return really(*arguments, **named)

    monkeypatch.setattr(cloud.jobs, "commit", commit)
    cloud.run(240)
    assert cloud.row("big").wave >= 1
    assert cloud.most_used == 40
    assert cloud.using == {"big": 20, "other": 20}


# --- one at a time, and never with a job forgotten --------------------------------------------------------------------


def test_who_finds_admit_busy_leaves_word_and_another_round_is_gone(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.submit("a", 2, "p")
    really = cloud.jobs.by_status
    asked: list[str] = []

    def by_status(status: Any, **how: Any) -> Iterator[JobRow]:
        rows = list(really(status, **how))
        if not asked and status == "RUNNING":  # the line was looked at before
            asked.append("once")
            cloud.submit("b", 2, "p")
            assert admit.run(NOTHING, cloud.world, cloud.limits).started == []
        return iter(rows)

    monkeypatch.setattr(cloud.jobs, "by_status", by_status)
    assert admit.run(NOTHING, cloud.world, cloud.limits).started == ["a", "b"]
    assert cloud.jobs.bookmark("admit-again") is None


STEPS = [
    ("jobs", "lock"),
    ("jobs", "load"),
    ("jobs", "lease"),
    ("jobs", "start"),
    ("jobs", "keep_bookmark"),
    ("executions", "start"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize(("gateway", "method"), STEPS)
def test_dying_at_any_step_of_admit_starts_every_job_once_within_the_limits(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, gateway: str, method: str, call: int, after: bool
) -> None:
    cloud.limits = Limits(jobs=4, workers=10, own_workers=40)
    cloud.submit("running", 30_000, "p", concurrency=3)
    cloud.admit()
    for n in range(4):
        cloud.submit(f"j{n}", 30_000, f"p{n % 2}", concurrency=4)
    target = getattr(cloud.world, gateway)
    really, count = getattr(target, method), itertools.count(1)

    def step(*arguments: Any, **named: Any) -> Any:
        turn = next(count)
        if turn == call and not after:
            raise Transient("killed")
        answer = really(*arguments, **named)
        if turn == call:
            raise Transient("killed")
        return answer

    with monkeypatch.context() as broken:
        broken.setattr(target, method, step)
        broken.setattr(cloud.jobs, "unlock", lambda *_: None)  # who is killed gives nothing back
        try:
            cloud.admit()
        except Transient:
            cloud.run(0)
    cloud.now += timedelta(seconds=121)
    for _ in range(3):
        cloud.admit()
        cloud.run(5)
        rows = list(cloud.jobs.by_status("RUNNING"))
        assert len(rows) == 4
        assert cloud.claims() <= 10
    assert len(cloud.executions.started) == 4  # one each, and none for the job that waits
    assert [row.job_id for row in cloud.jobs.by_status("WAITING")] == ["j3"]
    assert all(row.held for row in rows)


def test_an_index_that_is_behind_hides_nobody(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows jobs as they were before `admit` started them, or not at all."""
    cloud.limits = Limits(jobs=2, workers=10, own_workers=40)
    for n in range(4):
        cloud.submit(f"j{n}", 30_000, "p", concurrency=4)
    before = list(cloud.jobs.by_status("WAITING"))
    cloud.admit()
    for stale in (before, before[2:], []):  # who runs is still in line; is nowhere; nobody is anywhere
        monkeypatch.setattr(
            cloud.jobs, "by_status", lambda status, rows=stale, **_: iter(rows if status == "WAITING" else [])
        )
        cloud.admit()
        assert len(cloud.executions.started) == 2
    monkeypatch.undo()


def test_a_job_that_is_paused_while_admit_looks_is_not_started_and_another_takes_its_place(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.limits = Limits(jobs=1, workers=10, own_workers=40)
    for name in ("a", "b"):
        cloud.submit(name, 2, "p")
    really = cloud.jobs.lease

    def lease(before: JobRow, **named: Any) -> bool:
        if before.job_id == "a":
            control.pause("a", cloud.world)
        return really(before, **named)

    monkeypatch.setattr(cloud.jobs, "lease", lease)
    assert admit.run(NOTHING, cloud.world, cloud.limits).started == ["b"]
    assert (cloud.row("a").status, cloud.row("a").grant) == ("PAUSED", None)
    assert len(cloud.executions.started) == 1


def test_an_admit_that_was_overtaken_gives_nothing_away(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock ran out while it looked; two who share out the same workers share out too many."""
    cloud.limits = Limits(jobs=9, workers=10, own_workers=40)
    for n in range(2):
        cloud.submit(f"j{n}", 30_000, "p", concurrency=10)
    really = cloud.jobs.by_status
    asked: list[str] = []

    def by_status(status: Any, **how: Any) -> Iterator[JobRow]:
        rows = list(really(status, **how))
        if not asked and status == "RUNNING":
            asked.append("once")
            cloud.now += timedelta(seconds=121)
            cloud.jobs.lock("admit", "another", cloud.now, 120)
        return iter(rows)

    monkeypatch.setattr(cloud.jobs, "by_status", by_status)
    assert admit.run(NOTHING, cloud.world, cloud.limits).started == []
    assert cloud.executions.started == []


def test_a_job_that_cannot_be_started_fails_alone(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        cloud.submit(name, 2, "p")
    really = cloud.executions.start

    def start(job_id: str, generation: int) -> str:
        if job_id == "a":
            raise BadRequest("its name is taken")
        return really(job_id, generation)

    monkeypatch.setattr(cloud.executions, "start", start)
    done = admit.run(NOTHING, cloud.world, cloud.limits)
    assert (done.started, done.failed) == (["b"], ["a"])
    assert cloud.row("a").status == "FAILED"


def test_a_job_that_fails_makes_room_at_once(cloud: Cloud) -> None:
    cloud.limits = Limits(jobs=1, workers=10, own_workers=40)
    cloud.submit("a", 30_000, "p")
    cloud.submit("b", 2, "p")
    cloud.admit()
    cloud.run(20)
    abandon.run(Failure("a", 0, "States.Timeout", ""), cloud.world)
    cloud.using.clear()
    cloud.run(30)
    assert cloud.ended == ["b"]
