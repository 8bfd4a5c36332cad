"""Tiles that come back: as they are, or halved, or as the error that repeating cannot help."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import retries
from rangemill.errors import DIED_SPELLINGS, TRANSIENT_SPELLINGS, Transient, UserCodeError, WorkerDied, WorkerFailed
from rangemill.limits import DEATHS_MAX, TRANSIENT_MAX_TRIES
from rangemill.messages import PendingOutcome, PinnedObject, RetrySlot, Run, Slot, Totals, Verdict

SIZE = 1000


def pin(index: int) -> PinnedObject:
    return PinnedObject(index, "b", f"k{index}", "e", SIZE)


def slot(*runs: tuple[int, int, int], range_bytes: int = 64) -> Slot:
    objects = [pin(index) for index in dict.fromkeys(run[0] for run in runs)]
    return Slot(3, objects, [Run(index, start, end, range_bytes) for index, start, end in runs])


def died(name: str = "Lambda.Unknown") -> Verdict:
    return Verdict(Error=name, Cause="RequestId: x Error: Runtime exited")


def error(cls: type[Exception], retryable: bool, **more: object) -> Verdict:
    return Verdict(
        error={"type": cls.__name__, "message": "m", "object": None, "offset": None, **more, "retryable": retryable}
    )


def spans(slots: list[RetrySlot]) -> list[tuple[int, int, int]]:
    return [(run.object_index, run.start, run.end) for each in slots for run in each.runs]


@pytest.mark.parametrize("name", [None, *sorted(DIED_SPELLINGS)])
def test_a_slot_whose_worker_died_once_is_handed_out_as_it_was(name: str | None) -> None:
    lost = slot((0, 0, 500), (1, 0, 500))
    (again,) = retries.judge(lost, None, died(name) if name else None)
    assert (again.runs, again.objects, again.deaths, again.tries) == (lost.runs, lost.objects, 1, 0)


@pytest.mark.parametrize("name", [None, *sorted(DIED_SPELLINGS)])
def test_a_slot_whose_worker_died_twice_is_halved(name: str | None) -> None:
    lost = slot((0, 0, 500), (1, 0, 500), (2, 0, 100))
    halves = retries.judge(lost, RetrySlot(lost.objects, lost.runs, 1, 5), died(name) if name else None)
    assert [len(half.runs) for half in halves] == [1, 2]
    assert [[p.index for p in half.objects] for half in halves] == [[0], [1, 2]]
    assert [(half.deaths, half.tries) for half in halves] == [(1, 5), (1, 5)]


def test_a_run_is_halved_at_a_ranges_end_while_it_has_several() -> None:
    lost = slot((0, 0, 1000), range_bytes=300)
    halves = retries.judge(lost, RetrySlot(lost.objects, lost.runs, 1), died())
    assert spans(halves) == [(0, 0, 300), (0, 300, 1000)]


def test_a_single_range_is_halved_in_bytes() -> None:
    lost = slot((0, 300, 600), range_bytes=300)
    halves = retries.judge(lost, RetrySlot(lost.objects, lost.runs, 1), died())
    assert spans(halves) == [(0, 300, 450), (0, 450, 600)]


@given(
    st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)), min_size=1, max_size=6),
    st.integers(1, 400),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100)
def test_halving_goes_down_to_one_byte_and_names_it(runs: list[tuple[int, int]], range_bytes: int, rng: object) -> None:
    """Whichever half kills; nothing gets lost on the way."""
    current = slot(
        *((n, start, min(start + size, SIZE)) for n, (start, size) in enumerate(runs)), range_bytes=range_bytes
    )
    before = RetrySlot(current.objects, current.runs, 1)
    poisoned = rng.choice([(r.object_index, at) for r in current.runs for at in range(r.start, r.end)])  # type: ignore[attr-defined]
    while sum(max(1, r.end - r.start) for r in before.runs) > 1:
        halves = retries.judge(Slot(0, before.objects, before.runs), before, died())
        assert all(half.runs for half in halves)
        whole = sum(r.end - r.start for r in before.runs)
        assert sum(r.end - r.start for half in halves for r in half.runs) == whole
        (before,) = [
            h for h in halves for r in h.runs if r.object_index == poisoned[0] and r.start <= poisoned[1] < r.end
        ]
        assert sum(r.end - r.start for r in before.runs) < whole
    with pytest.raises(WorkerDied) as caught:
        retries.judge(Slot(0, before.objects, before.runs), before, died())
    assert (caught.value.object_uri, caught.value.offset) == (f"s3://b/k{poisoned[0]}", poisoned[1])


@pytest.mark.parametrize(
    "verdict", [error(Transient, True), *(died(name) for name in sorted(TRANSIENT_SPELLINGS))], ids=str
)
def test_a_transient_failure_comes_back_as_it_is_a_bounded_number_of_times(verdict: Verdict) -> None:
    lost = slot((0, 0, 500), (1, 0, 9))
    before: RetrySlot | None = None
    for number in range(TRANSIENT_MAX_TRIES):
        (before,) = retries.judge(lost, before, verdict)
        assert (before.runs, before.deaths, before.tries) == (lost.runs, 0, number + 1)
    with pytest.raises(WorkerFailed, match=f"failed in {TRANSIENT_MAX_TRIES + 1} waves") as caught:
        retries.judge(lost, before, verdict)
    assert caught.value.object_uri == "s3://b/k0"


def test_deaths_and_tries_are_counted_apart() -> None:
    lost = slot((0, 0, 500))
    (first,) = retries.judge(lost, None, died())
    (second,) = retries.judge(lost, first, error(Transient, True))
    assert (second.deaths, second.tries) == (1, 1)
    assert len(retries.judge(lost, second, died())) == 2


def test_an_error_that_repeating_cannot_help_is_raised_as_it_was() -> None:
    verdict = error(UserCodeError, False, message="ValueError: no", object="s3://b/k0", offset=2**53 + 1)
    with pytest.raises(UserCodeError, match="ValueError: no") as caught:
        retries.judge(slot((0, 0, 500)), None, verdict)
    assert (caught.value.object_uri, caught.value.offset) == ("s3://b/k0", 2**53 + 1)
    assert caught.value.to_json() == {k: v for k, v in (verdict.error or {}).items() if k != "retryable"}


@pytest.mark.parametrize("name", ["KeyError", "Runtime.ImportModuleError", "States.Runtime", "Sandbox.Weird"])
def test_an_error_that_nobody_knows_fails_the_job_with_its_name(name: str) -> None:
    with pytest.raises(WorkerFailed, match=f"{name}: first line$"):
        retries.judge(slot((0, 0, 500)), None, Verdict(Error=name, Cause="first line\nsecond"))


def test_an_empty_object_that_kills_is_named() -> None:
    lost = slot((0, 0, 0))
    (again,) = retries.judge(lost, None, died())
    with pytest.raises(WorkerDied):
        retries.judge(lost, again, died())


def test_a_remainder_is_like_any_new_slot() -> None:
    worked = slot((0, 0, 500), (1, 0, 500), (2, 0, 500))
    rest = retries.remainder(worked, [Run(1, 77, 500, 64), Run(2, 0, 500, 64)])
    assert (rest.deaths, rest.tries, [p.index for p in rest.objects]) == (0, 0, [1, 2])


@pytest.mark.parametrize(
    ("slots", "deaths", "passes"),
    [
        (10, DEATHS_MAX, True),
        (10, DEATHS_MAX + 1, False),
        (50_000, 5_000, True),
        (50_000, 5_001, False),
    ],
)
def test_a_job_may_lose_a_bounded_number_of_workers(slots: int, deaths: int, passes: bool) -> None:
    totals = Totals(slots=slots, deaths=deaths)
    if passes:
        retries.require_few_deaths(totals, [died()])
    else:
        with pytest.raises(WorkerDied, match=r"more memory"):
            retries.require_few_deaths(totals, [died()])
        with pytest.raises(WorkerDied):
            retries.require_few_deaths(totals, [])


def test_what_waits_behind_a_slot_in_the_same_object_is_put_in_sequence_within_bounds() -> None:
    told = RetrySlot([pin(0)], [Run(0, 128, 192, 64, "quoted")])
    untold = RetrySlot([pin(0)], [Run(0, 600, 664, 64)], 1)  # a half of a slot whose worker died
    of_another = RetrySlot([pin(1)], [Run(1, 128, 192, 64, "quoted")])
    behind = [slot((0, start, start + 64)) for start in (192, 256, 320, 664)]
    others = [slot((1, 192, 256)), slot((0, 384, 448), (1, 0, 64))]
    waiting = [PendingOutcome("k", 1, each) for each in [*others, *reversed(behind)]]

    slots, still = retries.in_sequence(0, [of_another, told, untold], waiting, 10_000)
    assert slots == [of_another, RetrySlot([pin(0)], [Run(0, 128, 384, 64, "quoted")]), untold]
    assert [entry.slot for entry in still] == [*others, behind[3]]

    slots, still = retries.in_sequence(0, [told], waiting, 191)
    assert spans(slots) == [(0, 128, 256)]
    assert [entry.slot for entry in still] == [*others, behind[3], behind[2], behind[1]]
