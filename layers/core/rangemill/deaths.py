"""Workers that died: their slot once more, then in parts, down to the record that kills, which is then rejected.

Of a wave's deaths none is judged by itself: where workers die at random, a death
says little about the bytes that its worker had, and many of them in a row are needed before it says something.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from rangemill.errors import RangemillError, WorkerDied
from rangemill.limits import (
    CONDEMN_CHANCE,
    CONDEMN_MAX_DEATHS,
    CONDEMN_MIN_DEATHS,
    CULPRITS_MAX,
    DEATHS_MAX,
    DEATHS_MAX_FRACTION,
    PART_MAX_DEATHS,
    PARTS,
    RETRY_MAX_SLOTS,
)
from rangemill.messages import PinnedObject, RetrySlot, Run, Slot, Totals, Verdict


@dataclass(frozen=True, slots=True)
class Weather:
    """How many slots were handed out to their first worker lately, and how many of these workers died."""

    slots: int = 0
    deaths: int = 0

    def after(self, slots: int, deaths: int) -> "Weather":
        """With a wave more; what was before it counts half. A wave without first workers tells nothing."""
        return Weather(self.slots // 2 + slots, self.deaths // 2 + deaths) if slots else self

    @property
    def share(self) -> float:
        """How likely a worker dies whatever bytes it has. One death may be its bytes' own."""
        return max(0, self.deaths - 1) / max(1, self.slots)

    @property
    def deaths_to_part(self) -> int:
        """After how many deaths in a row a slot is parted: random ones then make less than one part of one."""
        return next((n for n in range(1, PART_MAX_DEATHS) if PARTS * self.share**n <= 1), PART_MAX_DEATHS)

    @property
    def deaths_to_condemn(self) -> int:
        """After how many deaths in a row what cannot be parted is held to kill its worker."""
        enough = (n for n in range(CONDEMN_MIN_DEATHS, CONDEMN_MAX_DEATHS) if self.share**n <= CONDEMN_CHANCE)
        return next(enough, CONDEMN_MAX_DEATHS)


@dataclass(frozen=True, slots=True)
class _Lost:
    slot: Slot
    before: RetrySlot | None
    verdict: Verdict


@dataclass
class Deaths:
    """The deaths of one wave: gathered slot by slot, judged together when all slots were seen."""

    weather: Weather
    verdicts: list[Verdict] = field(default_factory=list)  # of all that died, indexers too
    parted: int = 0
    failure: RangemillError | None = None
    _lost: list[_Lost] = field(default_factory=list)
    _first: int = 0
    _first_died: int = 0

    def saw(self, before: RetrySlot | None, *, died: bool) -> None:
        """Count a slot whose worker may have been the first to have it."""
        if before is None or before.deaths == 0:
            self._first += 1
            self._first_died += died

    def add(self, slot: Slot, before: RetrySlot | None, verdict: Verdict) -> None:
        """Keep a slot whose worker died until all of the wave were seen."""
        self._lost.append(_Lost(slot, before, verdict))

    def judge(self, waiting: int, *, tolerates: bool) -> list[RetrySlot]:
        """What is handed out again; `failure` is then why the job cannot go on, if it cannot.

        `waiting` slots are on the retry list already. `tolerates`: a record that kills is rejected, else it fails the
        job.
        """
        self.weather = self.weather.after(self._first, self._first_died)
        again: list[RetrySlot] = []
        for lost in self._lost:
            try:
                more = self._one(lost, tolerates=tolerates, has_room=waiting + len(again) < RETRY_MAX_SLOTS)
            except WorkerDied as error:
                self.failure = self.failure or error
                more = [_again(lost)]
            again += more
        return again

    def _one(self, lost: _Lost, *, tolerates: bool, has_room: bool) -> list[RetrySlot]:
        deaths = 1 + (lost.before.deaths if lost.before is not None else 0)
        is_condemned = deaths >= self.weather.deaths_to_condemn
        if lost.slot.condemned:
            if is_condemned:
                raise _of_cutting(lost, deaths)
            return [_again(lost, deaths)]
        parts = parted(lost.slot)
        if not parts:
            if not is_condemned:
                return [_again(lost, deaths)]
            if not tolerates:
                raise _of_culprit(lost, deaths)
            return [_again(lost, 0, f"{deaths} workers died of it alone ({_name(lost.verdict)})")]
        needed = self.weather.deaths_to_part
        if deaths < (needed if lost.slot.suspect else max(2, needed)) or not has_room:
            return [_again(lost, deaths)]
        self.parted += 1
        tries = lost.before.tries if lost.before is not None else 0
        redo = lost.slot.redo
        return [RetrySlot(part.objects, part.runs, 0, tries, suspect=True, redo=redo) for part in parts]


def require_few(totals: Totals, verdicts: list[Verdict]) -> None:
    """Raise `WorkerDied` when workers die everywhere, or of too many records."""
    bound = max(DEATHS_MAX, int(totals.slots * DEATHS_MAX_FRACTION))
    if totals.deaths > bound:
        last = verdicts[-1] if verdicts else Verdict()
        raise WorkerDied(
            f"{totals.deaths} workers died, more than the {bound} that a job may lose; "
            f"the last one with {_name(last)}: {first_line(last.Cause)}. "
            "Give the Apply function more memory, or shorten its records"
        )
    if totals.culprits > CULPRITS_MAX:
        raise WorkerDied(
            f"workers died of {totals.culprits} records, more than the {CULPRITS_MAX} that are looked for; "
            "give the Apply function more memory, or mend the pipeline's code"
        )


def parted(slot: Slot | RetrySlot, most: int = PARTS) -> list[RetrySlot]:
    """Up to `most` slots with the same bytes: by runs, then by ranges, then by bytes; none where it is one already."""
    runs = slot.runs
    if len(runs) > 1:
        size = -(-len(runs) // most)
        return [subset(slot.objects, runs[at : at + size]) for at in range(0, len(runs), size)]
    run = runs[0]
    if run.end - run.start <= 1 or (slot.objects and slot.objects[0].whole):
        return []
    unit = run.range_bytes if _first_boundary(run) < run.end else 1  # whole ranges while there are several
    low, high = run.start // unit, -(-run.end // unit)
    step = -(-(high - low) // most)
    edges = [run.start, *(at * unit for at in range(low + step, high, step)), run.end]
    return [
        subset(slot.objects, [Run(run.object_index, start, end, run.range_bytes, run.state if not number else None)])
        for number, (start, end) in enumerate(pairwise(edges))
    ]


def _first_boundary(run: Run) -> int:
    return (run.start // run.range_bytes + 1) * run.range_bytes


def subset(objects: list[PinnedObject], runs: list[Run]) -> RetrySlot:
    """A slot of these runs, with no more objects than they are of."""
    wanted = {run.object_index for run in runs}
    return RetrySlot([pin for pin in objects if pin.index in wanted], runs)


def _again(lost: _Lost, deaths: int = 0, condemned: str = "") -> RetrySlot:
    slot, tries = lost.slot, lost.before.tries if lost.before is not None else 0
    return RetrySlot(slot.objects, slot.runs, deaths, tries, slot.suspect, slot.condemned or condemned, slot.redo)


def _of_culprit(lost: _Lost, deaths: int) -> WorkerDied:
    run, pin = lost.slot.runs[0], lost.slot.objects[0] if lost.slot.objects else None
    is_whole = pin is not None and pin.whole
    what = "the object, which cannot be begun in the middle" if is_whole else f"the single byte at {run.start}"
    record = "a record in it" if is_whole else "the record that begins there"
    uri = pin.uri if pin is not None else None
    return WorkerDied(
        f"workers died {deaths} times ({_name(lost.verdict)}) on {what} of {uri}: {record} needs more memory or "
        "time than a worker has. Give the Apply function more, or leave such records out with `rejects: {on_error: "
        "quarantine}`",
        object_uri=uri,
        offset=run.start,
    )


def _of_cutting(lost: _Lost, deaths: int) -> WorkerDied:
    run, redo = lost.slot.runs[0], lost.slot.redo
    uri = redo[run.object_index] if redo else lost.slot.objects[0].uri
    return WorkerDied(
        f"workers died {deaths} times ({_name(lost.verdict)}) at {run.start} of {uri} before any record was "
        "applied: reading the data alone needs more memory or time than a worker has. Give the Apply function more, or "
        "lower `format.max_record_bytes`",
        object_uri=uri,
        offset=run.start,
    )


def _name(verdict: Verdict) -> str:
    return verdict.Error or "without a word"


def first_line(cause: str | None) -> str:
    """The first line of what the state machine was told."""
    return (cause or "no cause was given").strip().splitlines()[0][:500]
