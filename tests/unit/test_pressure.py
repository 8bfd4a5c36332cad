"""Throttling halves the concurrency of later waves, calm raises it by steps; each worker counts what it met."""

import itertools
import sys
import types
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangemill import apply, pages, report
from rangemill.backoff import backoff_seconds
from rangemill.errors import Transient
from rangemill.gateways import Gateways
from rangemill.limits import BACKOFF_MAX_SECONDS, BOUND_LOWEST_PART, BOUND_STEPS
from rangemill.messages import ApplyMessage, CodeIdentity, JobRequest, JobRow, OutcomeHeader, Verdict
from rangemill.plan import Defaults
from rangemill.pressure import Pressure, WavePressure, next_bound
from rangemill_cli.inprocess.driver import run_job
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
TEXT = "name: counted\nformat: {type: text}\napply: {python: pressure_count:Count}\n"
CALM = WavePressure(answers=1_000, throttled=10, slots=100)
PRESSED = WavePressure(answers=1_000, throttled=300, slots=100)


class Count:
    def start(self, context: Any) -> int:
        return 0

    def apply(self, partial: int, record: bytes) -> int:
        return partial + 1

    def merge(self, left: int, right: int) -> int:
        return left + right

    def finish(self, total: int) -> Iterator[dict[str, int]]:
        yield {"n": total}


@pytest.fixture(autouse=True)
def user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("pressure_count")
    module.Count = Count  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pressure_count", module)
    pages.pipeline.cache_clear()


def test_a_wave_that_was_throttled_halves_the_next_and_calm_ones_bring_all_workers_back() -> None:
    bound = next_bound(PRESSED, 800, 800, None)
    assert bound == 400
    bounds = [bound := next_bound(CALM, 800, bound or 800, bound) for _ in range(5)]
    assert bounds == [500, 600, 700, None, None]


def test_what_never_passes_does_not_hold_a_job_at_its_lowest_for_ever() -> None:
    bound: int | None = None
    bounds = [bound := next_bound(PRESSED, 160, bound or 160, bound) for _ in range(8)]
    assert bounds == [80, 40, 20, 10, 30, 15, 10, 30]


@pytest.mark.parametrize(
    ("pressure", "persists"),
    [
        (WavePressure(), False),
        (WavePressure(answers=10, throttled=2), False),  # one worker's bad luck
        (WavePressure(answers=10, throttled=3), True),
        (WavePressure(answers=1_000, throttled=50), False),
        (WavePressure(answers=1_000, throttled=51), True),
        (WavePressure(slots=100, throttled_slots=5), False),
        (WavePressure(slots=100, throttled_slots=6), True),
    ],
)
def test_a_single_refusal_is_no_pressure(pressure: WavePressure, persists: bool) -> None:
    assert pressure.persists is persists
    assert (next_bound(pressure, 64, 64, None) is not None) is persists


@given(own=st.integers(1, 10_000), pressed=st.lists(st.booleans(), max_size=60), slots=st.integers(1, 10_000))
def test_the_bound_stays_within_what_the_job_may_have_and_comes_back(own: int, pressed: list[bool], slots: int) -> None:
    bound: int | None = None
    for is_pressed in pressed:
        workers = min(bound or own, slots)
        bound = next_bound(PRESSED if is_pressed else CALM, own, workers, bound)
        assert bound is None or max(1, own // BOUND_LOWEST_PART) <= bound < own
    for _ in range(BOUND_STEPS + 8):
        bound = next_bound(CALM, own, 1, bound)
    assert bound is None


def test_what_lambda_refused_and_what_a_worker_gave_up_count_as_throttled_slots() -> None:
    pressure = WavePressure()
    header = OutcomeHeader("j", 1, 0, [], [], 0, 0, 0, 0, 0, 0, answers=9, throttled=4)
    pressure.outcome(header)
    pressure.missing(Verdict(Error="Lambda.TooManyRequestsException"))
    pressure.missing(Verdict(error={"type": "Transient", "retryable": True}, answers=6, throttled=6))
    pressure.missing(Verdict(error={"type": "UserCodeError", "retryable": False}, answers=2))
    pressure.missing(Verdict(Error="Lambda.Unknown"))
    pressure.missing(None)
    assert pressure == WavePressure(answers=17, throttled=10, slots=6, throttled_slots=2)


class Throttling(MemoryObjects):
    """Objects that are throttled in the first waves: every third answer, as boto3 would meet and count it."""

    pressure: Pressure
    waves_throttled = 0

    def read(self, *arguments: Any) -> Iterator[bytes]:
        for number in range(6):
            self.pressure.note(throttled=number % 3 == 0 and self.waves_throttled > 0)
        return super().read(*arguments)


def run(waves_throttled: int, waves: int, concurrency: int = 32) -> tuple[JobRow, Gateways, dict[str, Any]]:
    objects = Throttling(get_bytes=50, piece_bytes=9)
    world = in_memory(objects)
    objects.pressure = world.pressure
    objects.waves_throttled = waves_throttled + 1
    # The budget lets a wave have few slots of one range each.
    ref = objects.put("in", "a", b"one line\n" * (8 * waves * 6))
    request = JobRequest("counted-1", "counted", TEXT, "p.yaml", "submit", [ref])

    def wave(messages: list[ApplyMessage]) -> None:
        objects.waves_throttled -= 1
        for message in messages:
            apply.run(message, world, CODE, lambda: False)

    row = run_job(request, world, wave, CODE, defaults=Defaults(36, concurrency, 120))
    body = world.store.get("results/counted/counted-1/report.json")
    return row, world, msgspec.json.decode(body or b"{}")


def test_a_job_is_slowed_while_it_is_throttled_and_its_report_shows_how() -> None:
    row, _, document = run(waves_throttled=3, waves=14)
    assert row.status == "SUCCEEDED"
    history = document["wave_history"]
    assert len(history) > 9
    assert [wave["throttled"] > 0 for wave in history] == [True] * 3 + [False] * (len(history) - 3)
    workers = [wave["workers"] for wave in history]
    assert workers[1:4] == [6, 3, 2]  # the first wave had 12 slots, and the job no more workers than it had slots
    assert workers[4:8] == [6, 10, 12, 12]
    assert all(wave["answers"] == 6 * wave["slots"] for wave in history)


def test_the_outcome_of_a_calm_job_is_the_same_as_that_of_a_throttled_one() -> None:
    results = []
    for waves_throttled in (0, 4):
        row, world, document = run(waves_throttled, waves=8)
        assert row.status == "SUCCEEDED"
        results.append((world.store.get("results/counted/counted-1/result.jsonl"), document["proof"]))
    assert results[0] == results[1]


def test_what_a_worker_met_before_it_gave_up_is_in_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: Any) -> Any:
        world.pressure.note(throttled=True)
        raise Transient("SlowDown")

    objects = MemoryObjects()
    world = in_memory(objects)
    ref = objects.put("in", "a", b"one\n")
    verdicts: list[Verdict] = []

    def wave(messages: list[ApplyMessage]) -> None:
        with monkeypatch.context() as refused:
            if not verdicts:
                refused.setattr(objects, "read", give_up)
            for message in messages:
                apply.run(message, world, CODE, lambda: False)
                body = world.store.get(message.item.verdict_key)
                verdicts.extend([] if body is None else [msgspec.json.decode(body, type=Verdict)])

    request = JobRequest("counted-1", "counted", TEXT, "p.yaml", "submit", [ref])
    row = run_job(request, world, wave, CODE, defaults=Defaults(36, 4, 20_000))
    assert row.status == "SUCCEEDED"
    assert [(verdict.answers, verdict.throttled) for verdict in verdicts] == [(1, 1)]
    first = report._of_wave(next(world.jobs.waves("counted-1")))  # what the report says of it
    assert (first["throttled"], first["throttled_slots"]) == (1, 1)


@given(failures=st.integers(0, 200), refused=st.booleans())
def test_backoff_is_jittered_and_capped(failures: int, refused: bool) -> None:
    waits = [backoff_seconds(failures, refused=refused) for _ in range(20)]
    assert all(0 <= seconds <= BACKOFF_MAX_SECONDS for seconds in waits)
    assert len(set(waits)) > 1


def test_backoff_grows_and_is_shorter_where_nobody_refused() -> None:
    for refused in (True, False):
        means = [sum(backoff_seconds(n, refused=refused) for _ in range(400)) / 400 for n in (0, 2)]
        assert means[0] < means[1]
    pairs = itertools.pairwise(sum(backoff_seconds(1, refused=r) for _ in range(400)) for r in (False, True))
    assert all(short < long for short, long in pairs)
