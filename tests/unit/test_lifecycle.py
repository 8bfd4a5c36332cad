"""The whole life of a job on the in-memory gateways: whatever is repeated, raced, killed or tampered with."""

import dataclasses
import itertools
import json
import random
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from rangemill import (
    abandon,
    admission,
    aggregate,
    apply,
    engines,
    fetch,
    finish,
    keys,
    messages,
    outcomes,
    pages,
    pinning,
    plan,
    states,
)
from rangemill.errors import (
    AggregateTooLarge,
    BadRequest,
    ChecksumMismatch,
    CodeChanged,
    CountMismatch,
    IncompleteProof,
    IntegrityError,
    ObjectChanged,
    ObjectMissing,
    RangemillError,
    Superseded,
    Transient,
    UserCodeError,
    WorkerDied,
)
from rangemill.gateways import Gateways
from rangemill.ledger import Segment, offset_of
from rangemill.limits import CONTEXT_MAX_BYTES
from rangemill.messages import (
    ApplyMessage,
    CodeIdentity,
    Context,
    JobRequest,
    JobRow,
    ObjectRef,
    OutcomeHeader,
    Prefix,
    SlotItem,
    StateMessage,
    Verdict,
)
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import MACHINE, in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryExecutions, MemoryJobs, MemoryObjects, MemoryStore, in_memory

BUCKET = "in"
CODE = CodeIdentity("core", "pipelines", "dependencies")
PIPELINE = "name: lines\nformat: {type: text}\napply: {python: lifecycle_lines:Lines}\n"
DEFAULTS = Defaults(64, 4, 20_000)
EVENTS = {"Plan": 7, "Fetch": 5, "Apply": 6, "Aggregate": 7}


class Lines:
    """Counts each line; a test may let a record raise or kill."""

    on_record: Callable[[bytes], None] | None = None

    def start(self, context: Any) -> dict[str, int]:
        return {}

    def apply(self, partial: dict[str, int], record: bytes) -> dict[str, int]:
        if Lines.on_record is not None:
            Lines.on_record(record)
        text = record.decode()
        partial[text] = partial.get(text, 0) + 1
        return partial

    def merge(self, left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
        for text, count in right.items():
            left[text] = left.get(text, 0) + count
        return left

    def finish(self, total: dict[str, int]) -> Iterator[dict[str, Any]]:
        yield from ({"line": text, "count": total[text]} for text in sorted(total))


@pytest.fixture(autouse=True)
def user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("lifecycle_lines")
    module.Lines = Lines  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lifecycle_lines", module)
    monkeypatch.setattr(Lines, "on_record", None)
    pages.pipeline.cache_clear()


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects(get_bytes=50, piece_bytes=9)


class Killed(BaseException):
    """A worker that dies without a word: no outcome, no verdict."""


@dataclass
class Life:
    """A job and the machine that carries it, one state at a time."""

    objects: MemoryObjects
    request: JobRequest
    gateways: Gateways = field(init=False)
    attempts: Iterator[int] = field(default_factory=itertools.count)
    defaults: Defaults = DEFAULTS

    def __post_init__(self) -> None:
        self.gateways = in_memory(self.objects)
        admission.create_job(self.request, self.gateways)

    @property
    def store(self) -> MemoryStore:
        assert isinstance(self.gateways.store, MemoryStore)
        return self.gateways.store

    @property
    def jobs(self) -> MemoryJobs:
        assert isinstance(self.gateways.jobs, MemoryJobs)
        return self.gateways.jobs

    @property
    def row(self) -> JobRow:
        return self.jobs.load(self.request.job_id)

    @property
    def checkpoint(self) -> messages.Checkpoint:
        return pages.checkpoint(self.store, self.row.pointer or "")

    def arn(self, generation: int) -> str:
        return self.gateways.executions.start(self.request.job_id, generation)

    def step(self, name: str, context: Context, do: Callable[[StateMessage], Context]) -> Context:
        arn = self.arn(context.generation)
        assert isinstance(self.gateways.executions, MemoryExecutions)
        self.gateways.executions.add_events(arn, EVENTS.get(name, 5))
        answer = states.guarded(lambda: do(StateMessage(context, arn)), context, self.gateways)
        assert len(messages.encode(answer)) <= CONTEXT_MAX_BYTES
        return answer

    def plan(self, generation: int = 0, code: CodeIdentity = CODE) -> Context:
        context = Context(self.request.job_id, generation, "MORE_PLAN")
        while context.next == "MORE_PLAN":
            context = self.step("Plan", context, lambda m: plan.run(m, self.gateways, self.defaults, code))
        return context

    def fetch(self, context: Context) -> Context:
        return self.step("Fetch", context, lambda m: fetch.run(m, self.gateways, f"f{next(self.attempts)}"))

    def items(self, context: Context) -> list[SlotItem]:
        assert context.map is not None
        return msgspec.json.decode(self.store.get(context.map.key) or b"", type=list[SlotItem])

    def work(
        self, context: Context, item: SlotItem, code: CodeIdentity = CODE, stop: Callable[[], bool] = lambda: False
    ) -> OutcomeHeader | None:
        message = ApplyMessage(context.job_id, context.generation, context.wave, item)
        try:
            return apply.run(message, self.gateways, code, stop)
        except Killed:
            return None

    def work_all(self, context: Context, **how: Any) -> list[OutcomeHeader | None]:
        return [self.work(context, item, **how) for item in self.items(context)]

    def aggregate(self, context: Context, code: CodeIdentity = CODE) -> Context:
        attempt = f"a{next(self.attempts)}"
        return self.step("Aggregate", context, lambda m: aggregate.run(m, self.gateways, code, MACHINE, attempt))

    def finish(self, context: Context, code: CodeIdentity = CODE) -> Context:
        return self.step("Finish", context, lambda m: finish.run(m, self.gateways, code))

    def wave(self, context: Context, **how: Any) -> Context:
        context = self.fetch(context)
        self.work_all(context, **how)
        return self.aggregate(context)

    def to_end(self, context: Context, most_waves: int = 500) -> JobRow:
        for _ in range(most_waves):
            if context.next == "EXECUTE_NEW":
                context = self.plan(context.next_generation)
            elif context.next == "FETCH":
                context = self.wave(context)
            else:
                break
        if context.next == "FINISH":
            assert self.finish(context).next == "DONE"
        return self.row

    def result(self) -> dict[str, int]:
        root = keys.results("lines", self.request.job_id)
        manifest = json.loads(self.store.get(f"{root}_manifest.json") or b"null")
        body = b"".join(self.store.get(uri) or b"" for uri in manifest["output"])
        return {row["line"]: row["count"] for row in map(json.loads, body.splitlines())}


def lines_of(*bodies: bytes) -> dict[str, int]:
    """What a reader of whole objects counts."""
    counted: Counter[str] = Counter()
    for body in bodies:
        counted.update(line.removesuffix(b"\r").decode() for line in body.removesuffix(b"\n").split(b"\n") if body)
    return dict(counted)


def text(count: int, seed: int = 1, longest: int = 40) -> bytes:
    """Lines of all lengths, empty ones too."""
    rng = random.Random(seed)
    return b"".join(f"{rng.randrange(1000)}".encode() * rng.randrange(longest // 3) + b"\n" for _ in range(count))


def life_of(objects: MemoryObjects, bodies: list[bytes], *, pipeline: str = PIPELINE, **request: Any) -> Life:
    refs = [objects.put(BUCKET, f"k{number:03d}", body) for number, body in enumerate(bodies)]
    asked: dict[str, Any] = {"range_bytes": 64, "objects": refs, **request}
    return Life(objects, JobRequest("lines-1", "lines", pipeline, "lines.yaml", "submit", **asked))


def assert_whole(life: Life, *bodies: bytes) -> None:
    """The job succeeded, its result is exact, and its report says so."""
    row = life.row
    assert (row.status, row.error) == ("SUCCEEDED", None)
    expected = lines_of(*bodies)
    assert life.result() == expected
    assert row.result is not None
    assert (row.result["records"], row.result["bytes"]) == (sum(expected.values()), sum(map(len, bodies)))
    assert row.result["objects"] == len(bodies)
    assert row.result["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC64NVME", "matched": True}
    report = json.loads(life.store.get(keys.results("lines", life.request.job_id) + "report.json") or b"")
    assert sum(o["records"] for o in report["proved_objects"]) == sum(expected.values())
    assert sum(w["bytes"] for w in report["wave_history"]) == sum(map(len, bodies))
    assert len(report["generation_history"]) == row.result["generations"] == row.generation + 1


# --- whole lives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("range_bytes", [1, 7, 64])
@pytest.mark.parametrize("body", [b"a\nbb\r\n\nccc\n", b"one line, no end", b"\n\n\n", b"x" * 200 + b"\ny"])
def test_a_job_over_one_object_is_exact_at_any_range_size(
    objects: MemoryObjects, range_bytes: int, body: bytes
) -> None:
    life = life_of(objects, [body], range_bytes=range_bytes)
    life.to_end(life.plan())
    assert_whole(life, body)
    assert life.row.totals.ranges == -(-len(body) // range_bytes)


def test_a_job_over_several_objects_closes_empty_ones_too(objects: MemoryObjects) -> None:
    bodies = [b"", text(30), b"", b"", text(5, 2), b"z", text(50, 3), b""]
    life = life_of(objects, bodies)
    life.to_end(life.plan())
    assert_whole(life, *bodies)


def test_a_job_over_nothing_but_empty_objects_succeeds_with_no_rows(objects: MemoryObjects) -> None:
    life = life_of(objects, [b"", b""])
    life.to_end(life.plan())
    assert_whole(life, b"", b"")


def test_a_job_over_a_prefix_pins_small_objects_when_they_are_read(objects: MemoryObjects) -> None:
    objects.list_page_objects = 3
    bodies = [text(2, seed) if seed % 4 else b"" for seed in range(11)]
    for number, body in enumerate(bodies):
        objects.put(BUCKET, f"p/{number:02d}.log", body)
    objects.put(BUCKET, "p/other.txt", b"no\n")
    objects.put(BUCKET, "p/x.log/", b"")
    request = JobRequest(
        "lines-1",
        "lines",
        PIPELINE,
        "l.yaml",
        "submit",
        prefixes=[Prefix(BUCKET, "p/", ".log"), Prefix(BUCKET, "p/")],
    )
    request = replace(request, prefixes=request.prefixes[:1], range_bytes=64)
    life = Life(objects, request)
    life.to_end(life.plan())
    assert_whole(life, *bodies)


def test_a_prefix_whose_first_pages_hold_nothing_wanted_is_planned(objects: MemoryObjects) -> None:
    objects.list_page_objects = 2
    for number in range(5):
        objects.put(BUCKET, f"p/{number}.txt", b"no\n")
    objects.put(BUCKET, "p/9.log", b"yes\n")
    request = JobRequest("lines-1", "lines", PIPELINE, "l", "submit", prefixes=[Prefix(BUCKET, "p/", ".log")])
    life = Life(objects, request)
    life.to_end(life.plan())
    assert_whole(life, b"yes\n")


def test_a_prefix_without_any_object_says_so(objects: MemoryObjects) -> None:
    request = JobRequest("lines-1", "lines", PIPELINE, "l", "submit", prefixes=[Prefix(BUCKET, "none/")])
    with pytest.raises(BadRequest, match=r"no object lies under s3://in/none/"):
        Life(objects, request).plan()


def test_planning_takes_as_many_steps_as_it_needs_and_can_be_repeated(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinning, "PLAN_PAGE_OBJECTS", 2)
    monkeypatch.setattr(plan, "PLAN_STEP_PAGES", 3)
    bodies = [text(3, seed) for seed in range(13)]
    life = life_of(objects, bodies)
    context, seen = Context("lines-1", 0), []
    while True:
        message = StateMessage(context, life.arn(0))
        answer = plan.run(message, life.gateways, life.defaults, CODE)
        assert plan.run(message, life.gateways, life.defaults, CODE) == answer
        seen.append(answer.next)
        if answer.next != "MORE_PLAN":
            break
        context = answer
    assert seen == ["MORE_PLAN", "MORE_PLAN", "FETCH"]
    assert pages.plan(life.store, "lines-1").pages == 7
    life.to_end(answer)
    assert_whole(life, *bodies)


class Flaky:
    """Every call that writes fails once before and once after it took effect, in each state."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, life: Life) -> None:
        self.state = ""
        self.seen: set[tuple[str, str, str]] = set()
        for target, names in (
            (life.store, ("put", "put_once")),
            (life.jobs, ("take_generation", "planned", "commit", "succeed")),
        ):
            for name in names:
                monkeypatch.setattr(target, name, self._flaky(name, getattr(target, name)))

    def _flaky(self, name: str, really: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._fail_once(name, "before")
            answer = really(*arguments, **named)
            self._fail_once(name, "after")
            return answer

        return call

    def _fail_once(self, name: str, when: str) -> None:
        if (self.state, name, when) not in self.seen:
            self.seen.add((self.state, name, when))
            raise Transient(when)

    def again[T](self, state: str, do: Callable[..., T], *arguments: Any) -> T:
        """As the machine does it: the state is run until it does not fail."""
        self.state = state
        for _ in range(20):
            try:
                return do(*arguments)
            except Transient:
                continue
        raise AssertionError(state)


def test_every_write_may_fail_before_or_after_it_took_effect(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [text(200), text(90, 2)]
    life = life_of(objects, bodies, history_budget_events=160, concurrency=2)
    flaky = Flaky(monkeypatch, life)
    context = flaky.again("plan", life.plan)
    while context.next != "FINISH":
        if context.next == "EXECUTE_NEW":
            context = flaky.again("plan", life.plan, context.next_generation)
        context = flaky.again("fetch", life.fetch, context)
        for item in life.items(context):
            flaky.again("apply", life.work, context, item)
        context = flaky.again("aggregate", life.aggregate, context)
    flaky.again("finish", life.finish, context)
    assert_whole(life, *bodies)
    assert {(state, name) for state, name, when in flaky.seen if when == "after"} == {
        ("plan", "take_generation"), ("plan", "put_once"), ("plan", "planned"), ("fetch", "put"), ("fetch", "put_once"),
        ("apply", "put_once"), ("aggregate", "put"), ("aggregate", "commit"), ("finish", "put"),
        ("finish", "succeed"),
    }  # fmt: skip


# --- twice -----------------------------------------------------------------------------------------------------------


def test_a_second_fetch_of_a_wave_takes_the_first_ones_slots(objects: MemoryObjects) -> None:
    body = text(60)
    life = life_of(objects, [body])
    start = life.plan()
    first = life.fetch(start)
    body_before = life.store.get(first.map.key if first.map else "")
    assert life.fetch(start) == first
    assert life.store.get(first.map.key if first.map else "") == body_before
    life.work_all(first)
    life.to_end(life.aggregate(first))
    assert_whole(life, body)


def test_two_fetches_that_race_hand_out_the_same_slots(objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one has written other slots (it saw another throughput): the first wave document decides."""
    body = text(60)
    life = life_of(objects, [body])
    start = life.plan()
    really = life.store.put_once
    others: list[Context] = []

    def put_once(key: str, content: bytes) -> bool:
        if not others and "/waves/" in key:
            monkeypatch.setattr(life.store, "put_once", really)
            monkeypatch.setattr(fetch, "SLOT_FIRST_BYTES_PER_SECOND", 1)
            others.append(life.fetch(start))
        return really(key, content)

    monkeypatch.setattr(life.store, "put_once", put_once)
    mine = life.fetch(start)
    assert mine == others[0]
    life.work_all(mine)
    life.to_end(life.aggregate(mine))
    assert_whole(life, body)


def test_two_workers_for_one_slot_leave_one_outcome(objects: MemoryObjects) -> None:
    body = text(60)
    life = life_of(objects, [body])
    context = life.fetch(life.plan())
    for item in life.items(context):
        assert life.work(context, item, stop=lambda: True) is not None
        assert life.work(context, item) is None  # it came second, with another remainder, and that is success
    life.to_end(life.aggregate(context))
    assert_whole(life, body)


def test_a_late_verdict_does_not_undo_an_outcome(objects: MemoryObjects) -> None:
    body = text(10)
    life = life_of(objects, [body])
    context = life.fetch(life.plan())
    life.work_all(context)
    for item in life.items(context):
        life.store.put(item.verdict_key, messages.encode(Verdict(Error="Lambda.Unknown", Cause="late")))
    life.to_end(life.aggregate(context))
    assert_whole(life, body)
    assert life.row.totals.deaths == 0


def test_an_outcome_that_comes_after_its_wave_was_committed_does_not_count(objects: MemoryObjects) -> None:
    body = text(60)
    life = life_of(objects, [body])
    context = life.fetch(life.plan())
    late, *others = life.items(context)
    for item in others:
        life.work(context, item)
    following = life.aggregate(context)
    life.work(context, late)
    assert len(life.checkpoint.retry) == 1
    life.to_end(following)
    assert_whole(life, body)


def test_a_second_aggregate_of_a_wave_changes_nothing(objects: MemoryObjects) -> None:
    body = text(60)
    life = life_of(objects, [body])
    context = life.fetch(life.plan())
    life.work_all(context)
    first = life.aggregate(context)
    row = life.row
    assert life.aggregate(context) == first
    assert life.row == row
    life.to_end(first)
    assert_whole(life, body)


def test_two_aggregates_that_race_commit_one_of_them(objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    """They saw different outcomes; whichever commits, no byte is lost and none counts twice."""
    body = text(60)
    life = life_of(objects, [body])
    context = life.fetch(life.plan())
    late, *others = life.items(context)
    for item in others:
        life.work(context, item)
    really = life.jobs.commit
    second: list[Context] = []

    def commit(*arguments: Any, **named: Any) -> JobRow:
        if not second:
            monkeypatch.setattr(life.jobs, "commit", really)
            life.work(context, late)  # the other one sees it
            second.append(life.aggregate(context))
        return really(*arguments, **named)

    monkeypatch.setattr(life.jobs, "commit", commit)
    following = life.aggregate(context)
    assert following == second[0]
    assert life.checkpoint.retry == []
    life.to_end(following)
    assert_whole(life, body)


def test_two_executions_of_one_generation_leave_one_world(objects: MemoryObjects) -> None:
    body = text(600)
    life = life_of(objects, [body], history_budget_events=300)
    mine, theirs = life.plan(), life.plan()
    while mine.next == "FETCH":
        mine, theirs = life.fetch(mine), life.fetch(theirs)
        life.work_all(theirs)
        life.work_all(mine)
        theirs = life.aggregate(theirs)
        mine = life.aggregate(mine)
        assert mine == theirs
    life.to_end(theirs)
    life.to_end(mine)
    assert_whole(life, body)


def everything(life: Life) -> dict[str, bytes | None]:
    return {key: life.store.get(key) for key in life.store.keys()}  # noqa: SIM118 - it is no dict


def test_a_second_finish_changes_nothing(objects: MemoryObjects) -> None:
    body = text(10)
    life = life_of(objects, [body])
    context = life.wave(life.plan())
    assert context.next == "FINISH"
    life.finish(context)
    before = everything(life)
    row = life.row
    assert life.finish(context).next == "DONE"
    assert (life.row, everything(life)) == (row, before)


# --- generations -----------------------------------------------------------------------------------------------------


def test_a_small_history_budget_takes_many_generations_to_the_same_result(objects: MemoryObjects) -> None:
    bodies = [text(400), text(400, 2)]
    life = life_of(objects, bodies, history_budget_events=150, concurrency=2)
    row = life.to_end(life.plan())
    assert_whole(life, *bodies)
    assert row.generation >= 3
    assert [g.generation for g in life.jobs.generations("lines-1")] == list(range(row.generation + 1))


def test_the_driver_of_the_command_line_lives_the_same_life(objects: MemoryObjects) -> None:
    bodies = [text(400), b"", text(400, 2)]
    life = life_of(objects, bodies, history_budget_events=150, concurrency=2)
    row = run_job(life.request, life.gateways, in_this_process(life.gateways, CODE), CODE)
    assert_whole(life, *bodies)
    assert row.generation >= 3


@pytest.mark.parametrize("asleep_in", ["fetch", "aggregate", "finish", "plan"])
def test_an_old_generation_that_wakes_after_the_takeover_has_no_effect(objects: MemoryObjects, asleep_in: str) -> None:
    body = text(60)
    life = life_of(objects, [body], history_budget_events=150, concurrency=2)
    old = life.plan()
    if asleep_in == "aggregate":
        old = life.fetch(old)
        life.work_all(old)
    new = life.plan(generation=1)
    row = life.row
    wake: Callable[[], Context] = life.plan if asleep_in == "plan" else lambda: getattr(life, asleep_in)(old)
    with pytest.raises(Superseded):
        wake()
    assert life.row == row
    life.to_end(new)
    assert_whole(life, body)


def test_a_takeover_in_the_middle_of_a_wave_uses_what_its_workers_did(objects: MemoryObjects) -> None:
    body = text(60)
    life = life_of(objects, [body])
    context = life.fetch(life.plan())
    done = [life.work(context, item) for item in life.items(context)[::2]]
    new = life.fetch(life.plan(generation=1))
    assert new.wave == context.wave
    again = [life.work(new, item) for item in life.items(new)]
    assert sum(header is None for header in again) == len(done)
    life.to_end(life.aggregate(new))
    assert_whole(life, body)


def test_an_error_abandons_the_job_only_for_the_generation_that_carries_it(objects: MemoryObjects) -> None:
    life = life_of(objects, [text(10)])
    life.plan()
    life.plan(generation=1)
    old = abandon.Failure("lines-1", 0, "States.Timeout", "")
    assert abandon.run(old, life.gateways) is False
    assert life.row.status == "RUNNING"
    assert abandon.run(replace(old, generation=1), life.gateways) is True
    assert life.row.error == {
        "type": "ExecutionFailed", "message": "States.Timeout", "object": None, "offset": None,
    }  # fmt: skip
    assert abandon.run(replace(old, generation=1), life.gateways) is False
    assert len(life.gateways.notices.published) == 1  # type: ignore[attr-defined]


# --- what happens to objects and to code -----------------------------------------------------------------------------


def abandoned(life: Life, context: Context) -> JobRow:
    """Run to the error and abandon, as the machine would."""
    with pytest.raises(RangemillError) as caught:
        life.to_end(context)
    failure = abandon.Failure("lines-1", context.generation, type(caught.value).__name__, str(caught.value))
    abandon.run(failure, life.gateways)
    return life.row


def test_an_object_that_is_overwritten_fails_the_job_with_both_etags(objects: MemoryObjects) -> None:
    body = text(60)
    life = life_of(objects, [body])
    before = life.request.objects[0].etag
    context = life.plan()
    now = objects.put(BUCKET, "k000", body[::-1]).etag
    row = abandoned(life, context)
    assert row.status == "FAILED"
    assert row.error is not None
    assert (row.error["type"], row.error["object"]) == ("ObjectChanged", "s3://in/k000")
    assert before in row.error["message"]
    assert str(now) in row.error["message"]


def test_an_object_that_is_deleted_fails_the_job(objects: MemoryObjects) -> None:
    life = life_of(objects, [text(60), b"", text(9)])
    context = life.plan()
    objects.delete(BUCKET, "k002")
    row = abandoned(life, context)
    assert row.error is not None
    assert (row.status, row.error["type"], row.error["object"]) == ("FAILED", "ObjectMissing", "s3://in/k002")


def test_an_object_that_is_gone_before_planning_fails_the_job(objects: MemoryObjects) -> None:
    life = life_of(objects, [text(60)])
    objects.delete(BUCKET, "k000")
    with pytest.raises(ObjectMissing):
        life.plan()
    assert life.row.error is not None
    assert life.row.error["object"] == "s3://in/k000"


def test_an_object_changed_between_event_and_planning_fails_the_job(objects: MemoryObjects) -> None:
    life = life_of(objects, [text(60)])
    objects.put(BUCKET, "k000", b"other\n")
    with pytest.raises(ObjectChanged):
        life.plan()


def test_a_pinned_version_is_read_to_the_end_though_a_newer_one_came(objects: MemoryObjects) -> None:
    body = text(60)
    ref = objects.put(BUCKET, "v", body, versioned=True)
    life = Life(objects, JobRequest("lines-1", "lines", PIPELINE, "l", "event", [ref], range_bytes=64, concurrency=1))
    context = life.plan()
    objects.put(BUCKET, "v", b"newer\n", versioned=True)
    life.to_end(context)
    assert_whole(life, body)


def test_a_listed_object_that_vanished_is_missing_even_if_it_was_empty(objects: MemoryObjects) -> None:
    objects.put(BUCKET, "p/a", b"")
    objects.put(BUCKET, "p/b", b"b\n")
    request = JobRequest("lines-1", "lines", PIPELINE, "l", "submit", prefixes=[Prefix(BUCKET, "p/")])
    life = Life(objects, request)
    context = life.plan()
    objects.delete(BUCKET, "p/a")
    with pytest.raises(ObjectMissing):
        life.to_end(context)


@pytest.mark.parametrize("part", ["core", "pipelines", "dependencies"])
@pytest.mark.parametrize("where", ["work", "aggregate", "finish"])
def test_code_that_changed_stops_the_job_wherever_it_is_seen(objects: MemoryObjects, part: str, where: str) -> None:
    life = life_of(objects, [text(10)])
    changed = replace(CODE, **{part: "another"})
    context = life.fetch(life.plan())
    row = life.row
    life.work_all(context, code=changed if where == "work" else CODE)
    if where == "finish":
        following = life.aggregate(context)
        row = life.row
        with pytest.raises(CodeChanged, match="another"):
            life.finish(following, changed)
    else:
        with pytest.raises(CodeChanged, match="another"):
            life.aggregate(context, changed if where == "aggregate" else CODE)
    if where == "work":  # the wave is committed with nothing done: what its workers refused is left for a redrive
        assert (life.row.wave, life.row.totals.bytes) == (1, 0)
        assert sum(run.end - run.start for slot in life.checkpoint.retry for run in slot.runs) == row.bytes_total
    else:
        assert replace(life.row, error=None) == row
    assert not life.store.get(keys.results("lines", "lines-1") + "_manifest.json")


def test_a_plan_repeated_by_newer_code_keeps_the_code_of_the_first(objects: MemoryObjects) -> None:
    life = life_of(objects, [text(10)])
    life.plan()
    life.plan(generation=1, code=replace(CODE, core="newer"))
    assert pages.plan(life.store, "lines-1").code == CODE


# --- workers that die, stop, or fail ---------------------------------------------------------------------------------


def test_a_slot_whose_worker_left_nothing_is_handed_out_again_and_then_halved(objects: MemoryObjects) -> None:
    body = b"".join(b"%03d\n" % n for n in range(64))  # 256 bytes: four ranges
    life = life_of(objects, [body], range_bytes=64, concurrency=2)
    context = life.fetch(life.plan())
    for item in life.items(context)[1:]:
        life.work(context, item)
    following = life.aggregate(context)
    (again,) = life.checkpoint.retry
    assert (again.deaths, life.row.totals.deaths) == (1, 1)
    context = life.fetch(following)
    slots = [msgspec.json.decode(life.store.get(i.slots_key, (i.start, i.end)) or b"") for i in life.items(context)]
    assert slots[0]["runs"] == [list(msgspec.structs.astuple(run)) for run in again.runs]
    for item in life.items(context)[1:]:
        life.work(context, item)
    following = life.aggregate(context)
    halves = life.checkpoint.retry
    assert len(halves) == 2
    spans = [(run.start, run.end) for half in halves for run in half.runs]
    assert spans[0][0] == again.runs[0].start
    assert spans[0][1] == spans[1][0]
    assert spans[1][1] == again.runs[-1].end
    life.to_end(following)
    assert_whole(life, body)


def test_a_record_that_kills_its_worker_is_found_by_halving_and_named(objects: MemoryObjects) -> None:
    lines = [b"%03d" % n for n in range(64)]
    body = b"\n".join(lines) + b"\n"

    def kill(record: bytes) -> None:
        if record == b"037":
            raise Killed

    Lines.on_record = staticmethod(kill)
    life = life_of(objects, [body], range_bytes=64)
    with pytest.raises(WorkerDied) as caught:
        life.to_end(life.plan())
    assert (caught.value.object_uri, caught.value.offset) == ("s3://in/k000", 37 * 4)
    # All others are done: only the halving of one range is missing.
    assert life.row.totals.bytes >= len(body) - 2


def test_a_worker_that_dies_twice_and_then_lives_costs_nothing_but_time(objects: MemoryObjects) -> None:
    body = text(60)
    deaths = iter(range(3))

    def kill(record: bytes) -> None:
        if next(deaths, None) is not None:
            raise Killed

    Lines.on_record = staticmethod(kill)
    life = life_of(objects, [body], concurrency=1)
    life.to_end(life.plan())
    assert_whole(life, body)
    assert life.row.totals.deaths == 3


def test_workers_that_die_everywhere_end_the_job_soon(objects: MemoryObjects) -> None:
    def kill(record: bytes) -> None:
        raise Killed

    Lines.on_record = staticmethod(kill)
    life = life_of(objects, [text(2000)], range_bytes=64, concurrency=50)
    with pytest.raises(WorkerDied, match="more memory"):
        life.to_end(life.plan())
    assert life.row.wave <= 2


def test_a_transient_verdict_is_handed_out_as_it_is_until_it_passes(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = text(60)
    life = life_of(objects, [body], concurrency=1)
    failing = iter(range(5))
    really = objects.read

    def read(*arguments: Any) -> Iterator[bytes]:
        if next(failing, None) is not None:
            raise Transient("SlowDown")
        return really(*arguments)

    context = life.plan()
    monkeypatch.setattr(objects, "read", read)
    life.to_end(context)
    assert_whole(life, body)
    assert life.row.totals.deaths == 0


def test_a_failure_that_does_not_pass_ends_the_job_with_its_name(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = life_of(objects, [text(10)])
    context = life.plan()

    def read(*_: Any) -> Iterator[bytes]:
        raise Transient("SlowDown", object_uri="s3://in/k000", offset=3)

    monkeypatch.setattr(objects, "read", read)
    row = abandoned(life, context)
    assert row.error is not None
    assert row.error["type"] == "WorkerFailed"
    assert "SlowDown" in row.error["message"]
    assert 5 < row.wave < 20


def test_an_error_of_user_code_fails_the_job_with_type_message_object_and_offset(objects: MemoryObjects) -> None:
    first, second = text(20), b"good\nbad\ngood\n"

    def refuse(record: bytes) -> None:
        if record == b"bad":
            raise ValueError("no such colour")

    Lines.on_record = staticmethod(refuse)
    life = life_of(objects, [first, second])
    row = abandoned(life, life.plan())
    assert row.status == "FAILED"
    assert row.error is not None
    assert (row.error["type"], row.error["object"], row.error["offset"]) == ("UserCodeError", "s3://in/k001", 5)
    assert "ValueError: no such colour" in row.error["message"]
    assert life.gateways.notices.published[0][1]["error"] == row.error  # type: ignore[attr-defined]


def test_a_total_that_grows_too_large_fails_the_job(objects: MemoryObjects) -> None:
    life = life_of(objects, [text(200)], pipeline=PIPELINE + "limits: {max_aggregate_bytes: 100}\n")
    with pytest.raises(AggregateTooLarge, match="keys"):
        life.to_end(life.plan())


def after(blocks: int) -> Callable[[], bool]:
    asked = itertools.count()
    return lambda: next(asked) >= blocks


@pytest.mark.parametrize("blocks", [0, 1, 2, 5])
def test_a_worker_that_stops_early_hands_the_rest_back_and_the_result_is_exact(
    objects: MemoryObjects, blocks: int
) -> None:
    bodies = [text(60), text(30, 2), b"", text(1, 3), b"x" * 300]
    life = life_of(objects, bodies, concurrency=2)
    context = life.plan()
    for _ in range(500):
        if context.next != "FETCH":
            break
        context = life.fetch(context)
        for item in life.items(context):
            life.work(context, item, stop=after(blocks))
        context = life.aggregate(context)
    assert context.next == "FINISH"
    life.finish(context)
    assert_whole(life, *bodies)
    assert life.row.totals.waves > 1


@pytest.mark.parametrize("crc_name", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_listed_object_keeps_its_checksum_through_stops_and_halving(objects: MemoryObjects, crc_name: str) -> None:
    """Its CRC comes with the first read; the rest of it must be held against the same one."""
    body = text(60)
    objects.put(BUCKET, "p/a", body, crc_name=crc_name)
    really = objects.list_page
    # A listing need not tell the algorithm.
    objects.list_page = lambda *a: replace_crc(really(*a))  # type: ignore[method-assign]
    small_blocks = PIPELINE.replace("type: text", "type: text, max_record_bytes: 64")
    whole = [Prefix(BUCKET, "p/")]
    request = JobRequest("lines-1", "lines", small_blocks, "l", "submit", prefixes=whole, range_bytes=4096)
    for how in ("stop", "die"):
        life = Life(objects, request)
        deaths = iter(range(2 if how == "die" else 0))

        def kill(record: bytes, deaths: Iterator[int] = deaths) -> None:
            if next(deaths, None) is not None:
                raise Killed

        Lines.on_record = staticmethod(kill)
        context = life.plan()
        if how == "stop":
            context = life.fetch(context)
            life.work_all(context, stop=lambda: True)
            context = life.aggregate(context)
        row = life.to_end(context)
        assert row.result is not None
        assert life.result() == lines_of(body)
        assert row.result["proof"] == {"complete": True, "level": "bytes", "checksum": crc_name, "matched": True}
        assert row.wave > 1


def replace_crc(listing: Any) -> Any:
    return dataclasses.replace(listing, crc_names={})


# --- what was tampered with ------------------------------------------------------------------------------------------


def tamper(life: Life, context: Context, change: Callable[[OutcomeHeader], OutcomeHeader]) -> None:
    """Change the header of the wave's first outcome."""
    key = keys.outcome(context.job_id, context.wave, 0)
    header, partial = outcomes.decode(life.store.get(key) or b"", key)
    life.store.put(key, outcomes.encode(change(header), partial))


def first_segment(header: OutcomeHeader, **changes: Any) -> OutcomeHeader:
    (index, (segment, *more)), *rows = header.rows
    return replace(header, rows=[(index, [replace(segment, **changes), *more]), *rows])


TAMPERED: dict[str, tuple[Callable[[OutcomeHeader], OutcomeHeader], type[IntegrityError]]] = {
    "a row dropped": (lambda h: replace(h, rows=h.rows[1:]), IncompleteProof),
    "a row twice": (lambda h: replace(h, rows=[*h.rows, h.rows[0]]), IncompleteProof),
    "a row of another object": (lambda h: replace(h, rows=[(7, h.rows[0][1]), *h.rows[1:]]), IncompleteProof),
    "a byte less": (lambda h: first_segment(h, end=h.rows[0][1][0].end - 1), IncompleteProof),
    "a byte more": (lambda h: first_segment(h, end=h.rows[0][1][0].end + 1), IncompleteProof),
    "a remainder invented": (
        lambda h: replace(h, remaining=[messages.Run(0, 0, 5, 64)]),
        IncompleteProof,
    ),
    "another slot": (lambda h: replace(h, slot=h.slot + 1), IncompleteProof),
    "another wave": (lambda h: replace(h, wave=h.wave + 1), IncompleteProof),
    "another job": (lambda h: replace(h, job_id="lines-2"), IncompleteProof),
    "a wrong CRC": (lambda h: first_segment(h, crc=h.rows[0][1][0].crc ^ 1), ChecksumMismatch),
    "a record more in a row": (lambda h: first_segment(h, records=h.rows[0][1][0].records + 1), CountMismatch),
    "a record more found": (lambda h: replace(h, records=h.records + 1), CountMismatch),
    "a record less taken": (lambda h: replace(h, taken=h.taken - 1), CountMismatch),
    "a record rejected": (lambda h: replace(h, rejects=1), CountMismatch),
    "a record rejected that no row has": (lambda h: replace(h, rejects=1, taken=h.taken - 1), CountMismatch),
    "a reject in a row": (lambda h: first_segment(h, rejects=1), CountMismatch),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_an_outcome_that_was_tampered_with_never_becomes_a_result(objects: MemoryObjects, what: str) -> None:
    change, error = TAMPERED[what]
    life = life_of(objects, [text(9), text(7, 2)])
    context = life.fetch(life.plan())
    life.work_all(context)
    tamper(life, context, change)
    with pytest.raises(error) as caught:
        life.to_end(life.aggregate(context))
    assert isinstance(caught.value, IntegrityError)
    assert life.row.status == "RUNNING"
    assert life.row.error is not None
    assert life.row.error["type"] == error.__name__
    assert life.row.result is None


def test_a_chain_that_does_not_fit_is_refused(objects: MemoryObjects) -> None:
    """A worker of the second wave begins its records where the first one's did not end."""
    body = text(600)
    life = life_of(objects, [body], concurrency=1, history_budget_events=150)
    context = life.wave(life.plan())
    context = life.fetch(life.plan(context.next_generation) if context.next == "EXECUTE_NEW" else context)
    life.work_all(context)
    tamper(life, context, lambda h: first_segment(h, first=(offset_of(h.rows[0][1][0].first) or 0) + 1))
    with pytest.raises(IntegrityError, match="begin at"):
        life.aggregate(context)


CHECKPOINTS: dict[str, Callable[[messages.Checkpoint], messages.Checkpoint]] = {
    "an object forgotten": lambda c: replace(c, closed=[(0, 1)]),
    "an object too many": lambda c: replace(c, closed=[(0, 3)]),
    "a hole between objects": lambda c: replace(c, closed=[(0, 1), (2, 3)]),
    "an object still open": lambda c: replace(
        c,
        open_objects=[messages.OpenObject(messages.PinnedObject(0, "in", "k", "e", 9), [Segment(0, 4, 0, 0, 4, 1, 1)])],
    ),
    "bytes missing": lambda c: replace(c, totals=replace(c.totals, bytes=c.totals.bytes - 1)),
    "a slot that never came back": lambda c: replace(c, retry=[messages.RetrySlot([], [])]),
    "a cursor before the end": lambda c: replace(c, cursor=messages.Cursor(0, 1, 5)),
}


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_finish_refuses_a_checkpoint_that_does_not_prove_everything(objects: MemoryObjects, what: str) -> None:
    life = life_of(objects, [text(9), text(7, 2)])
    context = life.wave(life.plan())
    assert context.next == "FINISH"
    pointer = life.row.pointer or ""
    life.store.put(pointer, messages.encode(CHECKPOINTS[what](life.checkpoint)))
    with pytest.raises(IncompleteProof):
        life.finish(context)
    assert (life.row.status, life.row.result) == ("RUNNING", None)
    assert life.store.keys("results/") == []


def test_a_document_that_was_deleted_is_named(objects: MemoryObjects) -> None:
    life = life_of(objects, [text(9)])
    context = life.wave(life.plan())
    for level in life.checkpoint.levels:
        for key in level:
            del life.store._bodies[life.store.uri(key)]
    with pytest.raises(IntegrityError, match=r"aggregates.* is missing"):
        life.finish(context)


def test_an_object_without_a_checksum_is_proved_but_not_matched(objects: MemoryObjects) -> None:
    bodies = [text(9), text(30, 2)]
    refs = [objects.put(BUCKET, f"k{n}", body, crc_name=(None, "CRC32C")[n]) for n, body in enumerate(bodies)]
    life = Life(objects, JobRequest("lines-1", "lines", PIPELINE, "l", "submit", refs, range_bytes=64))
    row = life.to_end(life.plan())
    assert row.result is not None
    assert row.result["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC32C", "matched": None}


# --- rest ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wish", "status"), [("pause", "PAUSED"), ("cancel", "CANCELLED")])
def test_a_wish_ends_the_execution_after_the_wave_and_the_row_says_why(
    objects: MemoryObjects, wish: Any, status: str
) -> None:
    life = life_of(objects, [text(300)], history_budget_events=150, concurrency=1)
    context = life.fetch(life.plan())
    life.jobs.desire("lines-1", wish)
    life.work_all(context)
    following = life.aggregate(context)
    assert following.next == "REST"
    row = life.row
    assert (row.status, row.wave) == (status, 1)
    assert row.rest_reason == {"pause": "paused", "cancel": "cancelled"}[wish]
    assert (row.ended is not None) == (wish == "cancel")
    with pytest.raises(Superseded):
        life.aggregate(context)  # a repeat ends quietly
    assert life.row == row


def test_a_job_that_is_complete_finishes_whatever_was_wished(objects: MemoryObjects) -> None:
    body = text(9)
    life = life_of(objects, [body])
    context = life.fetch(life.plan())
    life.jobs.desire("lines-1", "cancel")
    life.work_all(context)
    life.to_end(life.aggregate(context))
    assert_whole(life, body)


def test_a_cost_cap_rests_the_job_and_says_so(objects: MemoryObjects) -> None:
    capped = PIPELINE + "limits: {cost_usd: 0.0000001}\n"
    life = life_of(objects, [text(300)], pipeline=capped, history_budget_events=150, concurrency=1)
    row = life.to_end(life.plan())
    assert row.status == "PAUSED"
    assert (row.rest_reason or "").startswith("cost cap of $1e-07 reached at $")
    assert row.cost_usd > 1e-7


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_documents_and_contexts_do_not_grow_with_the_job(objects: MemoryObjects) -> None:
    """In order, an object's done ranges are one segment, the levels a counter, and the row stays as it is."""
    body = text(4000, longest=20)
    life = life_of(objects, [body], range_bytes=64, history_budget_events=150, concurrency=1)
    context, checkpoints, contexts, rows, levels = life.plan(), [], [], [], []
    while context.next != "FINISH":
        if context.next == "EXECUTE_NEW":
            context = life.plan(context.next_generation)
        context = life.wave(context)
        checkpoints.append(len(life.store.get(life.row.pointer or "") or b""))
        contexts.append(len(messages.encode(context)))
        rows.append(len(messages.encode(life.row)))
        levels.append([len(level) for level in life.checkpoint.levels])
    assert len(checkpoints) > 18
    assert max(contexts) - min(contexts) < 40
    assert max(rows) - min(rows[:2]) < 120
    # Keys of at most 16 partials a level, one open segment, one interval.
    assert max(checkpoints) < 4_000
    assert all(count < 16 for level in levels for count in level)
    life.finish(context)
    assert_whole(life, body)


def test_a_finished_job_says_what_is_in_the_design(objects: MemoryObjects) -> None:
    life = life_of(objects, [text(9)])
    result = life.to_end(life.plan()).result
    assert result is not None
    assert list(result) == [
        "job_id", "pipeline", "status", "objects", "ranges", "slots", "waves", "generations", "records", "rejects",
        "bytes", "seconds", "cost_usd", "proof", "output", "report", "error",
    ]  # fmt: skip
    assert result["report"].endswith("report.json")


def test_user_code_error_is_a_bad_request() -> None:
    assert issubclass(UserCodeError, BadRequest)


def test_refs_of_a_request_may_be_bare(objects: MemoryObjects) -> None:
    """As `submit s3://bucket/key` makes them: neither ETag nor size."""
    body = text(9)
    objects.put(BUCKET, "k", body)
    life = Life(objects, JobRequest("lines-1", "lines", PIPELINE, "l", "submit", [ObjectRef(BUCKET, "k")]))
    life.to_end(life.plan())
    assert_whole(life, body)


# --- races of planning, and engines that lose records ----------------------------------------------------------------


def test_two_plans_that_saw_different_listings_agree_on_the_first_page_put(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put(BUCKET, "p/b", b"b\n")
    request = JobRequest("lines-1", "lines", PIPELINE, "l", "submit", prefixes=[Prefix(BUCKET, "p/")])
    life = Life(objects, request)
    really = objects.list_page
    others: list[Context] = []

    def list_page(*arguments: Any) -> Any:
        listing = really(*arguments)
        if not others:
            monkeypatch.setattr(objects, "list_page", really)
            objects.put(BUCKET, "p/a", b"a\n")
            others.append(life.plan())
        return listing

    monkeypatch.setattr(objects, "list_page", list_page)
    assert life.plan() == others[0]
    assert [pin.key for pin in pages.plan_page(life.store, "lines-1", 0).objects] == ["p/a", "p/b"]
    life.to_end(others[0])
    assert_whole(life, b"a\n", b"b\n")


def test_of_two_plans_that_race_the_first_one_put_stays(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = life_of(objects, [text(9)])
    really, newer = plan.settle_schema, replace(CODE, core="newer")

    def settle_schema(*arguments: Any) -> Any:
        monkeypatch.setattr(plan, "settle_schema", really)
        life.plan(code=newer)
        return really(*arguments)

    monkeypatch.setattr(plan, "settle_schema", settle_schema)
    life.plan()
    assert pages.plan(life.store, "lines-1").code == newer


@pytest.mark.parametrize("lost", [-1, 1])
def test_an_engine_that_takes_other_than_all_records_fails_the_slot(
    objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    life = life_of(objects, [text(9)])
    context = life.fetch(life.plan())
    really = engines.make_engine

    def make_engine(*arguments: Any, **more: Any) -> Any:
        engine = really(*arguments, **more)
        finish_engine = engine.finish

        def finish_with_a_difference() -> tuple[bytes, int]:
            partial, taken = finish_engine()
            return partial, taken + lost

        monkeypatch.setattr(engine, "finish", finish_with_a_difference)
        return engine

    monkeypatch.setattr(apply, "make_engine", make_engine)
    item = life.items(context)[0]
    assert life.work(context, item) is None
    assert life.store.get(keys.outcome("lines-1", 1, item.slot)) is None
    with pytest.raises(CountMismatch, match="the engine took"):
        life.aggregate(context)


def test_small_listed_objects_of_a_versioned_bucket_are_read_as_pinned(objects: MemoryObjects) -> None:
    for number in range(4):
        objects.put(BUCKET, f"p/{number}", b"as pinned %d\n" % number, versioned=True)
    request = JobRequest("lines-1", "lines", PIPELINE, "l", "submit", prefixes=[Prefix(BUCKET, "p/")])
    life = Life(objects, request)
    context = life.plan()
    for number in range(4):
        objects.put(BUCKET, f"p/{number}", b"written later\n", versioned=True)
    life.to_end(context)
    assert_whole(life, *(b"as pinned %d\n" % number for number in range(4)))
