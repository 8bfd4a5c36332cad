"""What people do to a job that is there, on the in-memory gateways: nothing is lost by it, nothing is done twice."""

import dataclasses
import json
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
import pytest
from msgspec.structs import replace

from rangemill import abandon, admission, admit, aggregate, apply, control, fetch, keys, pages, plan
from rangemill.catalog import Catalog
from rangemill.errors import UserCodeError, WrongStatus
from rangemill.gateways import Gateways
from rangemill.limits import TRANSIENT_MAX_TRIES
from rangemill.messages import ApplyMessage, CodeIdentity, Context, JobRequest, JobRow, SlotItem, StateMessage
from rangemill.plan import Defaults
from rangemill.sharing import Limits
from rangemill_cli.inprocess.driver import MACHINE, in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryExecutions, MemoryJobs, MemoryObjects, MemoryStore, in_memory

OLD = CodeIdentity("core", "pipelines", "dependencies")
NEW = CodeIdentity("core", "mended", "dependencies")
PIPELINE = "name: lines\nformat: {type: text}\napply: {python: control_lines:Lines}\n"
BODY = b"".join(b"line %03d\n" % number for number in range(200))
JOB = "lines-1"
DEFAULTS = Defaults(50, 4, 30)  # so small a budget makes waves of three ranges, each its own generation
NO_PIPELINES = Catalog({}, [])


class Lines:
    """Counts each line; what a test makes of a record happens before."""

    seen: ClassVar[Counter[bytes]] = Counter()
    on_record: Callable[[bytes], None] | None = None

    def start(self, context: Any) -> dict[str, int]:
        return {}

    def apply(self, partial: dict[str, int], record: bytes) -> dict[str, int]:
        if Lines.on_record is not None:
            Lines.on_record(record)
        Lines.seen[record] += 1
        partial[record.decode()] = partial.get(record.decode(), 0) + 1
        return partial

    def merge(self, left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
        return dict(Counter(left) + Counter(right))

    def finish(self, total: dict[str, int]) -> Iterator[dict[str, Any]]:
        yield from ({"line": text, "count": total[text]} for text in sorted(total))


@dataclass
class World:
    """A job, the machine that carries it, and the code that is deployed."""

    gateways: Gateways
    code: CodeIdentity = OLD
    watch: Callable[[JobRow], None] = lambda _: None
    waves: list[int] = field(default_factory=list)

    @property
    def row(self) -> JobRow:
        return self.gateways.jobs.load(JOB)

    def carry(self) -> JobRow:
        """What `admit` and the machine do with a job that waits."""
        request = pages.request(self.gateways.store, JOB)

        def watch(row: JobRow) -> None:
            self.waves.append(row.wave)
            self.watch(row)

        work = in_this_process(self.gateways, self.code)
        return run_job(request, self.gateways, work, self.code, defaults=DEFAULTS, machine=MACHINE, watch=watch)

    def at_wave(self, wave: int, do: Callable[[], Any]) -> None:
        """Do it once that wave is committed, as a person would who looks at the status."""

        def watch(row: JobRow) -> None:
            if row.wave == wave:
                self.watch = lambda _: None
                do()

        self.watch = watch

    def result(self) -> bytes:
        (uri,) = (self.row.result or {})["output"]
        body = self.gateways.store.get(uri)
        assert body is not None
        return body

    def report(self) -> dict[str, Any]:
        return json.loads(self.gateways.store.get(f"{keys.results('lines', JOB)}report.json") or b"")


def a_world() -> World:
    objects = MemoryObjects()
    world = World(in_memory(objects))
    request = JobRequest(JOB, "lines", PIPELINE, "lines.yaml", "submit", [objects.put("in", "k", BODY)])
    admission.create_job(request, world.gateways)
    return world


@pytest.fixture(autouse=True)
def user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("control_lines")
    module.Lines = Lines  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "control_lines", module)
    monkeypatch.setattr(Lines, "seen", Counter())
    monkeypatch.setattr(Lines, "on_record", None)
    pages.pipeline.cache_clear()


@pytest.fixture
def world() -> World:
    return a_world()


@pytest.fixture
def uninterrupted() -> bytes:
    """The result of the same job that nobody touched."""
    untouched = a_world()
    assert untouched.carry().status == "SUCCEEDED"
    Lines.seen.clear()
    return untouched.result()


def assert_same(world: World, uninterrupted: bytes) -> None:
    row = world.row
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert world.result() == uninterrupted
    assert row.result is not None
    assert row.result["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC64NVME", "matched": True}
    assert (row.result["records"], row.result["bytes"]) == (200, len(BODY))


# --- pause and resume ------------------------------------------------------------------------------------------------


def test_a_job_that_rests_and_goes_on_gives_what_an_uninterrupted_one_gives(world: World, uninterrupted: bytes) -> None:
    world.at_wave(2, lambda: control.pause(JOB, world.gateways))
    row = world.carry()
    assert (row.status, row.rest_reason, row.wave) == ("PAUSED", "paused", 3)
    assert control.resume(JOB, world.gateways).status == "WAITING"
    assert world.carry().rest_reason is None
    assert_same(world, uninterrupted)
    assert set(Lines.seen.values()) == {1}  # no record was applied twice


def test_a_job_that_rested_for_months_needs_nothing_of_what_expires(world: World, uninterrupted: bytes) -> None:
    world.at_wave(4, lambda: control.pause(JOB, world.gateways))
    world.carry()
    assert isinstance(world.gateways.store, MemoryStore)
    assert world.gateways.store.delete_below("scratch/") > 0
    control.resume(JOB, world.gateways)
    world.carry()
    assert_same(world, uninterrupted)
    assert set(Lines.seen.values()) == {1}


def test_a_job_that_waits_is_paused_and_cancelled_at_once(world: World) -> None:
    assert control.pause(JOB, world.gateways).status == "PAUSED"
    assert admit.run(NO_PIPELINES, world.gateways, Limits(10, 1_000, 4)).started == []
    assert control.resume(JOB, world.gateways).status == "WAITING"
    row = control.cancel(JOB, world.gateways)
    assert (row.status, row.rest_reason, row.ended is not None) == ("CANCELLED", "cancelled", True)
    assert admit.run(NO_PIPELINES, world.gateways, Limits(10, 1_000, 4)).started == []
    assert world.carry().wave == 0
    assert not Lines.seen


def test_a_job_that_rests_is_cancelled_at_once(world: World) -> None:
    world.at_wave(1, lambda: control.pause(JOB, world.gateways))
    world.carry()
    assert control.cancel(JOB, world.gateways).status == "CANCELLED"


def test_asking_twice_is_asking_once(world: World, uninterrupted: bytes) -> None:
    world.at_wave(1, lambda: [control.pause(JOB, world.gateways) for _ in range(2)])
    world.carry()
    assert control.pause(JOB, world.gateways).status == "PAUSED"
    first = control.resume(JOB, world.gateways)
    assert control.resume(JOB, world.gateways) == first
    world.carry()
    assert_same(world, uninterrupted)


def test_a_pause_that_is_taken_back_in_time_is_none(world: World, uninterrupted: bytes) -> None:
    world.at_wave(1, lambda: [control.pause(JOB, world.gateways), control.resume(JOB, world.gateways)])
    assert world.carry().generation == world.row.generation
    assert_same(world, uninterrupted)


def test_a_pause_taken_back_while_aggregate_decides_does_not_rest_the_job(
    world: World, uninterrupted: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at_wave(2, lambda: control.pause(JOB, world.gateways))
    rest = MemoryJobs.rest

    def late(self: MemoryJobs, *arguments: Any) -> bool:
        control.resume(JOB, world.gateways)
        return rest(self, *arguments)

    monkeypatch.setattr(MemoryJobs, "rest", late)
    world.carry()
    assert_same(world, uninterrupted)


def test_what_goes_on_has_no_share_until_admit_gives_it_one(world: World) -> None:
    """What it had when it came to rest is somebody else's by now, and what it had to do may be more."""
    assert admit.run(NO_PIPELINES, world.gateways, Limits(10, 1_000, 4)).started == [JOB]
    world.at_wave(2, lambda: control.pause(JOB, world.gateways))
    rests = world.carry()
    assert (rests.status, rests.held) == ("PAUSED", 1)  # by the object's size it had one range
    row = control.resume(JOB, world.gateways)
    assert (row.grant, row.held, row.leased_until, row.wants) == (None, None, None, None)
    admit.run(NO_PIPELINES, world.gateways, Limits(10, 3, 4))
    assert (world.row.grant, world.row.held) == (3, 3)


def test_admit_starts_what_goes_on_like_any_other_job(world: World) -> None:
    world.at_wave(2, lambda: control.pause(JOB, world.gateways))
    generation = world.carry().generation
    control.resume(JOB, world.gateways)
    assert admit.run(NO_PIPELINES, world.gateways, Limits(0, 1_000, 4)).started == []
    assert admit.run(NO_PIPELINES, world.gateways, Limits(1, 1_000, 4)).started == [JOB]
    assert isinstance(world.gateways.executions, MemoryExecutions)
    assert world.gateways.executions.started[-1].endswith(f"{JOB}-g{generation + 1}")
    assert (world.row.status, world.row.generation) == ("RUNNING", generation + 1)


def test_an_admit_that_saw_the_job_before_it_was_taken_up_does_not_mark_it(world: World) -> None:
    seen = world.row
    control.pause(JOB, world.gateways)
    control.resume(JOB, world.gateways)
    assert world.gateways.jobs.start(JOB, seen.generation, "now") is False
    assert world.row.status == "WAITING"


def test_the_generation_after_one_that_was_started_too_late_has_a_name_of_its_own(
    world: World, uninterrupted: bytes
) -> None:
    world.at_wave(2, lambda: control.cancel(JOB, world.gateways))
    generation = world.carry().generation
    world.gateways.executions.start(JOB, generation + 1)
    control.redrive(JOB, "same", world.gateways)
    assert world.row.generation == generation + 2
    world.carry()
    assert_same(world, uninterrupted)


# --- cancel, failure and redrive -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["same", "new"])
def test_a_cancelled_job_that_is_redriven_does_only_what_is_missing(
    world: World, uninterrupted: bytes, code: Any
) -> None:
    world.at_wave(2, lambda: control.cancel(JOB, world.gateways))
    assert world.carry().status == "CANCELLED"
    before = Lines.seen.total()
    control.redrive(JOB, code, world.gateways)
    world.carry()
    assert_same(world, uninterrupted)
    assert 0 < before < 200
    assert set(Lines.seen.values()) == {1}


def raise_at(line: bytes) -> Callable[[bytes], None]:
    def refuse(record: bytes) -> None:
        if record == line:
            raise ValueError("not to my taste")

    return refuse


def failed(world: World, line: bytes = b"line 077") -> JobRow:
    """The job, failed by code that does not like that line."""
    Lines.on_record = staticmethod(raise_at(line))
    row = world.carry()
    assert row.error is not None
    assert (row.status, row.error["type"]) == ("FAILED", "UserCodeError")
    Lines.on_record = None
    return row


def test_what_the_others_of_a_wave_did_counts_although_one_slot_failed_the_job(
    world: World, uninterrupted: bytes
) -> None:
    row = failed(world)
    checkpoint = pages.checkpoint(world.gateways.store, row.pointer or "")
    assert checkpoint.failure == row.error
    assert [(run.start, run.end) for slot in checkpoint.retry for run in slot.runs] == [(650, 700)]
    applied = Lines.seen.copy()
    world.code = NEW
    control.redrive(JOB, "new", world.gateways)
    world.carry()
    assert_same(world, uninterrupted)
    again = {record for record, count in Lines.seen.items() if count > 1}
    assert again <= {b"line %03d" % number for number in range(72, 78)}  # the failed slot's own records
    assert applied.total() < 200


def test_the_report_says_which_generation_ran_which_code_and_how_it_ended(world: World) -> None:
    row = failed(world)
    world.code = NEW
    control.redrive(JOB, "new", world.gateways)
    world.carry()
    report = world.report()
    history = {entry["generation"]: entry for entry in report["generation_history"]}
    assert history[row.generation]["status"] == "FAILED"
    assert history[row.generation]["error"]["type"] == "UserCodeError"
    assert {number: entry["code"]["pipelines"] for number, entry in history.items()} == {
        number: "mended" if number > row.generation else "pipelines" for number in history
    }
    assert (report["redrives"], report["code"]["pipelines"]) == (1, "mended")
    assert [entry["wave"] for entry in report["wave_history"]] == list(range(1, len(report["wave_history"]) + 1))
    assert sum(entry["bytes"] for entry in report["wave_history"]) == len(BODY)


def test_changed_code_is_refused_until_it_is_asked_for(world: World, uninterrupted: bytes) -> None:
    failed(world)
    world.code = NEW
    control.redrive(JOB, "same", world.gateways)
    row = world.carry()
    assert row.error is not None
    assert (row.status, row.error["type"]) == ("FAILED", "CodeChanged")
    assert "redrive JOB --code new" in row.error["message"]
    control.redrive(JOB, "new", world.gateways)
    world.carry()
    assert_same(world, uninterrupted)


def test_a_redrive_with_the_same_code_after_one_with_new_code_keeps_the_new(world: World, uninterrupted: bytes) -> None:
    failed(world)
    world.code = NEW
    control.redrive(JOB, "new", world.gateways)
    world.at_wave(world.row.wave + 1, lambda: control.cancel(JOB, world.gateways))
    assert world.carry().status == "CANCELLED"
    control.redrive(JOB, "same", world.gateways)
    world.carry()
    assert_same(world, uninterrupted)


def test_a_redrive_that_never_ran_and_is_redriven_finds_the_plan_before_it(world: World, uninterrupted: bytes) -> None:
    failed(world)
    world.code = NEW
    control.redrive(JOB, "new", world.gateways)
    control.cancel(JOB, world.gateways)
    control.redrive(JOB, "new", world.gateways)
    world.carry()
    assert_same(world, uninterrupted)


def test_a_job_that_failed_in_its_finish_step_is_finished_by_mended_code_and_applies_nothing_again(
    world: World, uninterrupted: bytes
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(Lines, "finish")
        assert world.carry().status == "FAILED"
    world.code = NEW
    control.redrive(JOB, "new", world.gateways)
    world.carry()
    assert_same(world, uninterrupted)
    assert set(Lines.seen.values()) == {1}


def test_a_restart_does_everything_again_with_the_new_code(world: World, uninterrupted: bytes) -> None:
    row = failed(world)
    before = Lines.seen.copy()
    world.code = NEW
    assert control.redrive(JOB, "restart", world.gateways).totals.records == 0
    world.carry()
    assert_same(world, uninterrupted)
    assert all(Lines.seen[record] == count + 1 for record, count in before.items())
    report = world.report()
    assert [entry["wave"] for entry in report["given_up_waves"]] == list(range(1, row.wave + 1))
    assert sum(entry["bytes"] for entry in report["wave_history"]) == len(BODY)
    assert world.row.cost_usd > row.cost_usd


def test_a_restart_of_a_job_whose_parts_are_its_output_publishes_each_record_once(world: World) -> None:
    objects = MemoryObjects()
    world = World(in_memory(objects))
    text = "name: lines\nformat: {type: text}\napply: {sql: SELECT line FROM records}\n"
    request = JobRequest(JOB, "lines", text, "lines.yaml", "submit", [objects.put("in", "k", BODY)])
    admission.create_job(request, world.gateways)
    world.at_wave(3, lambda: control.cancel(JOB, world.gateways))
    assert world.carry().totals.parts > 0
    control.redrive(JOB, "restart", world.gateways)
    row = world.carry()
    assert row.status == "SUCCEEDED", row.error
    assert row.result is not None
    manifest = json.loads(world.gateways.store.get(f"{keys.results('lines', JOB)}_manifest.json") or b"")
    rows = [
        json.loads(line) for uri in manifest["output"] for line in (world.gateways.store.get(uri) or b"").splitlines()
    ]
    assert sorted(row["line"] for row in rows) == [line.decode() for line in BODY.splitlines()]


def test_outcomes_of_a_wave_that_was_never_committed_do_not_reach_the_redrive(
    world: World, uninterrupted: bytes
) -> None:
    """A wave that ended in an abandoned execution: its outcomes are of the code before, and so are its verdicts."""
    context = Context(JOB, 0)
    arn = world.gateways.executions.start(JOB, 0)
    machine = _Steps(world, arn)
    context = machine.fetch(machine.plan(context))
    Lines.on_record = staticmethod(raise_at(b"line 003"))
    machine.work(context)
    abandon.run(abandon.Failure(JOB, 0, "States.Timeout", ""), world.gateways)
    assert world.row.wave == 0
    Lines.on_record = None
    Lines.seen.clear()
    world.code = NEW
    control.redrive(JOB, "new", world.gateways)
    world.carry()
    assert_same(world, uninterrupted)
    assert set(Lines.seen.values()) == {1}
    assert Lines.seen.total() == 200  # all by the new code


@dataclass
class _Steps:
    """Single states of the first generation."""

    world: World
    arn: str

    def plan(self, context: Context) -> Context:
        return plan.run(StateMessage(context, self.arn), self.world.gateways, DEFAULTS, self.world.code)

    def fetch(self, context: Context) -> Context:
        return fetch.run(StateMessage(context, self.arn), self.world.gateways, "f")

    def work(self, context: Context) -> None:
        assert context.map is not None
        body = self.world.gateways.store.get(context.map.key) or b""
        for item in msgspec.json.decode(body, type=list[SlotItem]):
            message = ApplyMessage(JOB, context.generation, context.wave, item)
            apply.run(message, self.world.gateways, self.world.code, lambda: False)


def test_a_repeat_of_aggregate_after_a_failed_wave_fails_again(world: World) -> None:
    machine = _Steps(world, world.gateways.executions.start(JOB, 0))
    context = machine.fetch(machine.plan(Context(JOB, 0)))
    Lines.on_record = staticmethod(raise_at(b"line 003"))
    machine.work(context)
    for attempt in ("a", "b"):
        with pytest.raises(UserCodeError, match="not to my taste"):
            aggregate.run(StateMessage(context, machine.arn), world.gateways, OLD, MACHINE, attempt)
    assert world.row.wave == 1


def test_what_failed_has_all_its_tries_again(world: World) -> None:
    row = failed(world)
    checkpoint = pages.checkpoint(world.gateways.store, row.pointer or "")
    tired = replace(
        checkpoint,
        retry=[replace(slot, deaths=1, tries=TRANSIENT_MAX_TRIES, condemned="why") for slot in checkpoint.retry],
        totals=replace(checkpoint.totals, deaths=99, culprits=9),
        first_slots=40,
        first_deaths=30,
    )
    again = control.forgiven(tired)
    assert [(slot.deaths, slot.tries, slot.condemned) for slot in again.retry] == [(0, 0, "")]
    assert (again.totals.deaths, again.totals.culprits, again.failure) == (0, 0, None)
    anew = replace(tired, retry=[], failure=None, first_slots=0, first_deaths=0)
    assert replace(again, retry=[], totals=tired.totals) == anew


def test_a_job_that_failed_before_it_was_planned_is_planned_by_its_redrive(world: World, uninterrupted: bytes) -> None:
    abandon.run(abandon.Failure(JOB, 0, "States.Timeout", ""), world.gateways)
    control.redrive(JOB, "new", world.gateways)
    world.code = NEW
    world.carry()
    assert_same(world, uninterrupted)
    assert world.report()["code"]["pipelines"] == "mended"


def test_such_a_job_that_is_cancelled_and_redriven_twice_goes_on_from_its_first_plan(
    world: World, uninterrupted: bytes
) -> None:
    abandon.run(abandon.Failure(JOB, 0, "States.Timeout", ""), world.gateways)
    control.redrive(JOB, "new", world.gateways)
    world.at_wave(2, lambda: control.cancel(JOB, world.gateways))
    assert world.carry().status == "CANCELLED"
    control.redrive(JOB, "new", world.gateways)
    control.cancel(JOB, world.gateways)
    control.redrive(JOB, "same", world.gateways)
    world.carry()
    assert_same(world, uninterrupted)


def test_an_abandon_that_comes_after_the_redrive_has_no_effect(world: World, uninterrupted: bytes) -> None:
    row = failed(world)
    control.redrive(JOB, "same", world.gateways)
    assert abandon.run(abandon.Failure(JOB, row.generation, "States.Timeout", ""), world.gateways) is False
    world.carry()
    assert_same(world, uninterrupted)


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        ("SUCCEEDED", ["pause", "cancel", "resume", "redrive", "adjust"]),
        ("FAILED", ["pause", "cancel", "resume", "adjust"]),
        ("CANCELLED", ["pause", "resume", "adjust"]),
        ("WAITING", ["redrive"]),
        ("RUNNING", ["redrive"]),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_changes_nothing(
    world: World, status: Any, refused: list[str]
) -> None:
    world.gateways.jobs.turn(world.row, {"status": status})
    before = world.row
    acts: dict[str, Callable[[], Any]] = {
        "pause": lambda: control.pause(JOB, world.gateways),
        "cancel": lambda: control.cancel(JOB, world.gateways),
        "resume": lambda: control.resume(JOB, world.gateways),
        "redrive": lambda: control.redrive(JOB, "same", world.gateways),
        "adjust": lambda: control.adjust(JOB, world.gateways, concurrency=3, cost_cap_usd=None),
    }
    for name in refused:
        with pytest.raises(WrongStatus, match=JOB):
            acts[name]()
        assert world.row == before


def test_a_job_that_is_being_cancelled_is_neither_paused_nor_resumed(world: World) -> None:
    def both() -> None:
        control.cancel(JOB, world.gateways)
        for act in (control.pause, control.resume):
            with pytest.raises(WrongStatus, match="being cancelled"):
                act(JOB, world.gateways)

    world.at_wave(1, both)
    assert world.carry().status == "CANCELLED"


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_concurrency_changed_while_the_job_runs_is_taken_up_by_the_next_fetch(
    world: World, uninterrupted: bytes
) -> None:
    widths: list[int] = []
    run = fetch.run

    def seen(*arguments: Any, **more: Any) -> Context:
        answer = run(*arguments, **more)
        widths.append(answer.concurrency)
        return answer

    world.at_wave(2, lambda: control.adjust(JOB, world.gateways, concurrency=1, cost_cap_usd=None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "run", seen)
        world.carry()
    assert widths[:2] != [1, 1]
    assert set(widths[2:]) == {1}
    assert world.report()["concurrency"] == 1
    assert_same(world, uninterrupted)


def test_a_job_at_its_cost_cap_goes_on_when_the_cap_is_raised(world: World, uninterrupted: bytes) -> None:
    control.adjust(JOB, world.gateways, concurrency=None, cost_cap_usd=1e-9)
    row = world.carry()
    assert row.status == "PAUSED"
    assert "cost cap" in (row.rest_reason or "")
    with pytest.raises(WrongStatus, match=f"rangemill set {JOB} --cost-usd"):
        control.resume(JOB, world.gateways)
    control.adjust(JOB, world.gateways, concurrency=None, cost_cap_usd=1.0)
    control.resume(JOB, world.gateways)
    world.carry()
    assert_same(world, uninterrupted)


# --- permissions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "writable", "refused"),
    [
        ("s3://other/place/", ("work",), True),
        ("s3://other/place/", ("work", "other"), False),
        ("s3://other/place/", None, False),
        (None, ("work",), False),
    ],
)
def test_an_output_that_the_stack_may_not_write_is_refused_by_plan(
    to: str | None, writable: tuple[str, ...] | None, refused: bool
) -> None:
    objects = MemoryObjects()
    world = in_memory(objects)
    text = PIPELINE + (f"output: {{format: jsonl, to: '{to}'}}\n" if to else "")
    request = JobRequest(JOB, "lines", text, "lines.yaml", "submit", [objects.put("in", "k", BODY)])
    defaults = dataclasses.replace(DEFAULTS, writable_buckets=writable)
    row = run_job(request, world, in_this_process(world, OLD), OLD, defaults=defaults)
    if not refused:
        assert row.status == "SUCCEEDED", row.error
        return
    assert row.error is not None
    assert (row.status, row.error["type"], row.wave) == ("FAILED", "AccessRefused", 0)
    assert "parameter OutputBuckets names, and other is none" in row.error["message"]
    assert not Lines.seen
