"""Tiles that come back: as they are, or as the error that repeating cannot help."""

import msgspec
import pytest

from rangemill import retries
from rangemill.errors import TRANSIENT_SPELLINGS, Transient, UserCodeError, WorkerFailed
from rangemill.limits import TRANSIENT_MAX_TRIES
from rangemill.messages import PendingOutcome, PinnedObject, RetrySlot, Run, Slot, Verdict

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


@pytest.mark.parametrize(
    "verdict", [error(Transient, True), *(died(name) for name in sorted(TRANSIENT_SPELLINGS))], ids=str
)
def test_a_transient_failure_comes_back_as_it_is_a_bounded_number_of_times(verdict: Verdict) -> None:
    lost = slot((0, 0, 500), (1, 0, 9))
    before: RetrySlot | None = None
    for number in range(TRANSIENT_MAX_TRIES):
        before = retries.judge(lost, before, verdict)
        assert (before.runs, before.deaths, before.tries) == (lost.runs, 0, number + 1)
    with pytest.raises(WorkerFailed, match=f"failed in {TRANSIENT_MAX_TRIES + 1} waves") as caught:
        retries.judge(lost, before, verdict)
    assert caught.value.object_uri == "s3://b/k0"


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


def test_a_remainder_is_like_any_new_slot() -> None:
    worked = slot((0, 0, 500), (1, 0, 500), (2, 0, 500))
    rest = retries.remainder(worked, [Run(1, 77, 500, 64), Run(2, 0, 500, 64)])
    assert (rest.deaths, rest.tries, [p.index for p in rest.objects]) == (0, 0, [1, 2])


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
    suspect = RetrySlot([pin(0)], told.runs, suspect=True)
    assert retries.in_sequence(0, [suspect], waiting, 10_000) == ([suspect], waiting)
    parts = [PendingOutcome("k", 1, msgspec.structs.replace(each.slot, suspect=True)) for each in waiting]
    assert retries.in_sequence(0, [told], parts, 10_000) == ([told], parts)
    slots, still = retries.in_sequence(0, [told], waiting, 191)
    assert [entry.slot for entry in still] == [*others, behind[3], behind[2], behind[1]]
