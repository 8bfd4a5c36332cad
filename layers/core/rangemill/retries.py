"""Tiles that come back: remainders, and failures that may pass. Of workers that died: `deaths`."""

import math
from collections.abc import Container, Mapping

import msgspec

from rangemill import errors
from rangemill.deaths import first_line, parted, subset
from rangemill.errors import RangemillError, WorkerFailed
from rangemill.limits import PARTS, SLOT_TARGET_SECONDS, TRANSIENT_MAX_TRIES
from rangemill.messages import PendingOutcome, RetrySlot, Run, Slot, Verdict


def remainder(slot: Slot, remaining: list[Run]) -> RetrySlot:
    """What a worker handed back in good order: a slot like any new one."""
    return msgspec.structs.replace(subset(slot.objects, remaining), redo=slot.redo)


def spread(
    retry: list[RetrySlot], workers: int, bytes_per_second: float | None, in_order: Container[int] = ()
) -> list[RetrySlot]:
    """The slots, those cut that would take a worker long while others have nothing to do.

    Slow code makes few bytes long, and what its workers hand back would be theirs alone, one deadline after the other.
    Compressed data stays as it is, and so do the objects that are `in_order`: their worker knows where it stands.
    """
    idle = workers - len(retry)
    slots: list[RetrySlot] = []
    for slot in retry:
        total_bytes = sum(run.end - run.start for run in slot.runs)
        wanted = min(PARTS, 1 + idle, int(total_bytes / ((bytes_per_second or math.inf) * SLOT_TARGET_SECONDS)))
        is_plain = not (slot.deaths or slot.tries or slot.suspect or slot.condemned or slot.redo) and not any(
            pin.compression or pin.archive or pin.index in in_order for pin in slot.objects
        )
        parts = parted(slot, wanted) if is_plain and wanted > 1 else []
        idle -= max(0, len(parts) - 1)
        slots += parts or [slot]
    return slots


def with_states(slot: Slot, told: Mapping[tuple[int, int], str | None]) -> RetrySlot:
    """The slot again, its runs beginning in the states that their neighbours have told."""
    return RetrySlot(slot.objects, told_runs(slot.runs, told), suspect=slot.suspect)


def told_runs(runs: list[Run], told: Mapping[tuple[int, int], str | None]) -> list[Run]:
    """The runs, beginning in the states told of (object, start)."""
    return [msgspec.structs.replace(run, state=told.get((run.object_index, run.start), run.state)) for run in runs]


def assuming(runs: list[Run]) -> list[tuple[int, int]]:
    """Object and start of the runs whose state nobody has told."""
    return [(run.object_index, run.start) for run in runs if run.start > 0 and run.state is None]


def without_others(waiting: list[PendingOutcome]) -> tuple[list[RetrySlot], list[PendingOutcome]]:
    """What waits for nothing in slots that wait, to be handed out by itself, and who waits still.

    Else an object waits for the one before it.
    """
    handed: list[RetrySlot] = []
    still: list[PendingOutcome] = []
    for entry in waiting:
        slot = entry.slot
        others = [run for run in slot.runs if run.start == 0 or run.state is not None]
        if not others or len(others) == len(slot.runs):
            still.append(entry)
            continue
        handed.append(subset(slot.objects, others))
        assumed = [run for run in slot.runs if run.start > 0 and run.state is None]
        # Without its key: its outcome held both.
        still.append(PendingOutcome("", entry.wave, msgspec.structs.replace(slot, runs=assumed)))
    return handed, still


def in_sequence(
    index: int, returned: list[RetrySlot], waiting: list[PendingOutcome], most_bytes: int
) -> tuple[list[RetrySlot], list[PendingOutcome]]:
    """Slots to be worked on again, each as one run with what waits right behind it in that object, and who waits still.

    What waits was worked on under a guess; in one run a worker knows every state. `most_bytes` bounds it. Parts of a
    slot whose worker died stay apart.
    """
    ends = {
        run.start: run.end for entry in waiting if not entry.slot.suspect for run in _only_run(entry.slot.runs, index)
    }
    slots: list[RetrySlot] = []
    taken: set[int] = set()  # starts of what waited
    for slot in returned:
        runs = slot.runs
        for run in _only_run(runs, index) if not slot.suspect else []:
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


def died(verdict: Verdict | None) -> bool:
    """Whether a slot without an outcome lost its worker, so that `deaths` judges it."""
    return verdict is None or (verdict.error is None and errors.is_died(verdict.Error or "Lambda.Unknown"))


def judge(slot: Slot, before: RetrySlot | None, verdict: Verdict) -> RetrySlot:
    """The slot again, where a verdict says that it may pass.

    Raises the verdict's own error when repeating cannot help, `WorkerFailed` when a transient failure does not pass.
    """
    if verdict.error is not None:
        if not verdict.error.get("retryable"):
            raise errors.rebuild(verdict.error)
    elif not errors.is_transient(verdict.Error or ""):
        raise WorkerFailed(f"a worker ended with {verdict.Error}: {first_line(verdict.Cause)}", object_uri=_where(slot))
    return _again(slot, before, verdict)


def _again(slot: Slot, before: RetrySlot | None, verdict: Verdict) -> RetrySlot:
    deaths, tries = (before.deaths, before.tries + 1) if before is not None else (0, 1)
    if tries > TRANSIENT_MAX_TRIES:
        said: RangemillError | str = (
            errors.rebuild(verdict.error) if verdict.error else f"{verdict.Error}: {first_line(verdict.Cause)}"
        )
        raise WorkerFailed(f"a slot failed in {tries} waves, the last time with {said}", object_uri=_where(slot))
    return RetrySlot(slot.objects, slot.runs, deaths, tries, slot.suspect, slot.condemned, slot.redo)


def _where(slot: Slot) -> str | None:
    return slot.objects[0].uri if slot.objects else None
