"""Tiles that come back: remainders, transient failures, slots whose worker died. Halving happens here, nowhere else."""

from collections.abc import Mapping
from typing import Final

import msgspec

from rangemill import errors
from rangemill.errors import RangemillError, WorkerDied, WorkerFailed
from rangemill.limits import DEATHS_MAX, DEATHS_MAX_FRACTION, TRANSIENT_MAX_TRIES
from rangemill.messages import PendingOutcome, PinnedObject, RetrySlot, Run, Slot, Totals, Verdict

_DIED_WITHOUT_A_WORD: Final = Verdict(Error="Lambda.Unknown", Cause="the worker left neither outcome nor verdict")


def remainder(slot: Slot, remaining: list[Run]) -> RetrySlot:
    """What a worker handed back in good order: a slot like any new one."""
    return _subset(slot.objects, remaining)


def with_states(slot: Slot, told: Mapping[tuple[int, int], str | None]) -> RetrySlot:
    """The slot again, its runs beginning in the states that their neighbours have told."""
    return RetrySlot(slot.objects, told_runs(slot.runs, told))


def told_runs(runs: list[Run], told: Mapping[tuple[int, int], str | None]) -> list[Run]:
    """The runs, beginning in the states told of (object, start)."""
    return [msgspec.structs.replace(run, state=told.get((run.object_index, run.start), run.state)) for run in runs]


def assuming(runs: list[Run]) -> list[tuple[int, int]]:
    """Object and start of the runs whose state nobody has told."""
    return [(run.object_index, run.start) for run in runs if run.start > 0 and run.state is None]


def parted(slot: Slot) -> tuple[list[Run], RetrySlot | None]:
    """The runs of a slot that assume a state, and the others as a slot of their own."""
    assumed = [run for run in slot.runs if run.start > 0 and run.state is None]
    others = [run for run in slot.runs if run.start == 0 or run.state is not None]
    return assumed, _subset(slot.objects, others) if assumed and others else None


def in_sequence(
    index: int, returned: list[RetrySlot], waiting: list[PendingOutcome], most_bytes: int
) -> tuple[list[RetrySlot], list[PendingOutcome]]:
    """Slots to be worked on again, each as one run with what waits right behind it in that object, and who waits still.

    What waits was worked on under a guess; in one run a worker knows every state. `most_bytes` bounds it.
    """
    ends = {run.start: run.end for entry in waiting for run in _only_run(entry.slot.runs, index)}
    slots: list[RetrySlot] = []
    taken: set[int] = set()  # starts of what waited
    for slot in returned:
        runs = slot.runs
        for run in _only_run(runs, index):
            end = run.end
            while run.state is not None and end in ends and ends[end] - run.start <= most_bytes:
                taken.add(end)
                end = ends.pop(end)
            runs = [msgspec.structs.replace(run, end=end)]
        slots.append(msgspec.structs.replace(slot, runs=runs))
    return slots, [
        entry for entry in waiting if not any(run.start in taken for run in _only_run(entry.slot.runs, index))
    ]


def _only_run(runs: list[Run], index: int) -> list[Run]:
    """The run of a slot that has no more than one, of that object."""
    return runs if len(runs) == 1 and runs[0].object_index == index else []


def judge(slot: Slot, before: RetrySlot | None, verdict: Verdict | None) -> list[RetrySlot]:
    """What becomes of a slot without an outcome: itself again, or its halves.

    Raises the verdict's own error when repeating cannot help, `WorkerDied` when there is nothing left to halve,
    `WorkerFailed` when a transient failure does not pass.
    """
    verdict = verdict or _DIED_WITHOUT_A_WORD
    deaths, tries = (before.deaths, before.tries) if before else (0, 0)
    if verdict.error is not None:
        if not verdict.error.get("retryable"):
            raise errors.rebuild(verdict.error)
        return [_again(slot, deaths, tries + 1, verdict)]
    name = verdict.Error or "Lambda.Unknown"
    if errors.is_transient(name):
        return [_again(slot, deaths, tries + 1, verdict)]
    if not errors.is_died(name):
        raise WorkerFailed(f"a worker ended with {name}: {_first_line(verdict.Cause)}", object_uri=_where(slot))
    if deaths == 0:
        return [RetrySlot(slot.objects, slot.runs, 1, tries)]
    halves = _halve(slot)
    if halves is None:
        raise WorkerDied(
            f"workers died {deaths + 1} times ({name}) on the single byte at {slot.runs[0].start}: "
            "the record that begins there needs more memory or time than a worker has",
            object_uri=_where(slot),
            offset=slot.runs[0].start,
        )
    return [RetrySlot(half.objects, half.runs, 1, tries) for half in halves]


def require_few_deaths(totals: Totals, verdicts: list[Verdict]) -> None:
    """Raise `WorkerDied` when workers die everywhere, not on a poisoned record."""
    bound = max(DEATHS_MAX, int(totals.slots * DEATHS_MAX_FRACTION))
    if totals.deaths > bound:
        last = verdicts[-1] if verdicts else _DIED_WITHOUT_A_WORD
        raise WorkerDied(
            f"{totals.deaths} workers died, more than the {bound} that a job may lose; "
            f"the last one with {last.Error}: {_first_line(last.Cause)}. "
            "Give the Apply function more memory, or shorten its records"
        )


def _again(slot: Slot, deaths: int, tries: int, verdict: Verdict) -> RetrySlot:
    if tries > TRANSIENT_MAX_TRIES:
        said: RangemillError | str = (
            errors.rebuild(verdict.error) if verdict.error else f"{verdict.Error}: {_first_line(verdict.Cause)}"
        )
        raise WorkerFailed(f"a slot failed in {tries} waves, the last time with {said}", object_uri=_where(slot))
    return RetrySlot(slot.objects, slot.runs, deaths, tries)


def _halve(slot: Slot) -> tuple[RetrySlot, RetrySlot] | None:
    """Two halves with the same runs: by runs, then by ranges, then by bytes."""
    runs = slot.runs
    if len(runs) > 1:
        middle = len(runs) // 2
        return _subset(slot.objects, runs[:middle]), _subset(slot.objects, runs[middle:])
    run = runs[0]
    if run.end - run.start <= 1 or slot.objects[0].whole:
        return None
    cut = run.start + (run.end - run.start) // 2
    boundary = cut // run.range_bytes * run.range_bytes
    if boundary > run.start:
        cut = boundary  # whole ranges while there are several
    left = Run(run.object_index, run.start, cut, run.range_bytes, run.state)
    right = Run(run.object_index, cut, run.end, run.range_bytes)
    return _subset(slot.objects, [left]), _subset(slot.objects, [right])


def _subset(objects: list[PinnedObject], runs: list[Run]) -> RetrySlot:
    wanted = {run.object_index for run in runs}
    return RetrySlot([pin for pin in objects if pin.index in wanted], runs)


def _where(slot: Slot) -> str | None:
    return slot.objects[0].uri if slot.objects else None


def _first_line(cause: str | None) -> str:
    return (cause or "no cause was given").strip().splitlines()[0][:500]
