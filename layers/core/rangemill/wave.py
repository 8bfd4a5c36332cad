"""A wave judged: what its slots' outcomes and verdicts make of the checkpoint before it. Nothing here writes."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from rangemill import closing, indexing, keys, outcomes, redo, rejects, retries
from rangemill.deaths import Deaths, Weather, require_few
from rangemill.engines.base import Folder
from rangemill.errors import RangemillError
from rangemill.ledger import THROUGH
from rangemill.limits import (
    FOLD_BATCH_BYTES,
    FOLD_BATCH_PARTIALS,
    SLOT_FIRST_BYTES_PER_SECOND,
    WAVE_TARGET_SECONDS,
    WRONG_WAVES_MAX,
)
from rangemill.messages import (
    Checkpoint,
    ClosedObject,
    Handout,
    Indexing,
    OpenObject,
    OutcomeHeader,
    PendingOutcome,
    Plan,
    RejectFile,
    RejectGroup,
    RetrySlot,
    Slot,
    Totals,
    Verdict,
)
from rangemill.pressure import WavePressure

type VerdictReader = Callable[[], Verdict | None]


@dataclass
class Wave:
    """A wave's outcomes, added one by one, and what they make of the checkpoint before them."""

    before: Checkpoint
    plan: Plan
    handout: Handout
    folder: Folder
    tolerates: bool = False  # whether a record that kills its workers is rejected, or fails the job
    returned: list[RetrySlot] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    rejects: int = 0
    redone: int = 0  # records that were rejects before
    rejects_keys: list[RejectFile] = field(default_factory=list)
    reject_groups: list[RejectGroup] = field(default_factory=list)
    pending: list[PendingOutcome] = field(default_factory=list)
    milliseconds: int = 0
    partial: bytes | None = None
    redrives: int = 0  # of the job, so far
    pressure: WavePressure = field(default_factory=WavePressure)
    deaths: Deaths = field(init=False)
    culprits: int = 0  # records that killed their workers, and are rejected now
    failure: RangemillError | None = None  # the first error that repeating cannot help; what the others did counts
    _objects: dict[int, OpenObject] = field(default_factory=dict)
    _waiting: list[bytes] = field(default_factory=list)
    _misled: set[int] = field(default_factory=set)  # objects in which a guess of this wave was wrong
    _indexing: list[Indexing] = field(default_factory=list)
    _worked_bytes: int = 0
    _index_milliseconds: int = 0  # of indexers, who show nothing of how quickly records are applied
    _headers: int = 0
    _waiting_again: int = 0  # rejects that a redrive has not applied again yet
    _requests: int = 0

    def __post_init__(self) -> None:
        self.deaths = Deaths(Weather(self.before.first_slots, self.before.first_deaths))
        self._objects = {entry.pin.index: entry for entry in self.before.open_objects}
        self.reject_groups, self._waiting_again = redo.without_waiting(self.before.reject_groups)
        self._indexing = list(self.handout.indexing)

    def add(self, slot: Slot, body: bytes | None, verdict: VerdictReader) -> None:
        """A slot's outcome, or what became of it; `failure` is the error of a slot that repeating cannot help."""
        if body is None:
            self._missing(slot, verdict())
            return
        if slot.index is None:
            self.deaths.saw(self._known(slot), died=False)
        wave = self.handout.wave
        header = self._take(slot, wave, body, keys.outcome(self.plan.job_id, wave, slot.slot, self.redrives))
        if header.indexed is not None:
            self._indexing = indexing.answered(self._indexing, slot, header.indexed)
            self._index_milliseconds += header.milliseconds
        self.milliseconds += header.milliseconds
        if slot.redo:  # of lines that were kept: shows nothing either
            self._index_milliseconds += header.milliseconds
        else:
            self._worked_bytes += header.bytes
        self._requests += header.requests
        self.pressure.outcome(header)
        self._headers += 1

    def settle_pending(self, read: Callable[[str], bytes | None]) -> None:
        """Outcomes that waited for a neighbour, as long as one of them can be judged. `read` reads from the store."""
        waiting = [*self.before.pending, *self.pending]
        progress = True
        while progress and waiting:
            self.pending, progress = [], False
            for entry in waiting:
                if any(self._left_before(*place) is None for place in entry.needs):
                    self.pending.append(entry)
                    continue
                if not entry.key:
                    progress = self._tell_failed(entry) or progress
                    continue
                body = read(entry.key)
                if body is None:  # expired while the job rested: its slot is worked on again
                    self.returned.append(RetrySlot(entry.slot.objects, entry.slot.runs))
                    progress = True
                    continue
                self._take(entry.slot, entry.wave, body, entry.key)
                progress = progress or not (self.pending and self.pending[-1].key == entry.key)
            waiting = self.pending
        others, self.pending = retries.without_others(self.pending)
        self.returned += others
        self._put_in_sequence()

    def _take(self, slot: Slot, wave: int, body: bytes, key: str) -> OutcomeHeader:
        """Count an outcome, put it aside until its neighbour tells, or hand its slot out again with what it told."""
        where = f"the outcome of slot {slot.slot} of wave {wave}"
        header, encoded = outcomes.decode(body, where)
        outcomes.require_whole(header, self.plan.job_id, wave, slot, where)
        outcomes.require_counts(header, where)
        told = self._states_told(header)
        needs = [place for place, state in told.items() if state is None]
        if needs:
            self.pending.append(PendingOutcome(key, wave, slot, needs))
            return header
        if told:
            self._tell(slot, told)
            return header
        self._accept(slot, header, encoded)
        return header

    def _states_told(self, header: OutcomeHeader) -> dict[tuple[int, int], str | None]:
        """Where a run assumed a state that its left neighbour does not confirm: (object, start) -> its word.

        None where the neighbour has not told yet. Formats without a state assume nothing.
        """
        told: dict[tuple[int, int], str | None] = {}
        for index, segments in header.rows:
            known = self._objects.get(index)
            before = {s.end: s.left for s in (*(known.segments if known else ()), *segments)}
            for segment in segments:
                left = before.get(segment.start)
                if segment.start > 0 and segment.assumed not in ("", THROUGH) and left != segment.assumed:
                    told[index, segment.start] = None if left == THROUGH else left
        return told

    def _tell_failed(self, entry: PendingOutcome) -> bool:
        """Hand a slot that failed while it assumed out again, if the states that it needs are known now."""
        told = {place: self._left_before(*place) for place in retries.assuming(entry.slot.runs)}
        if any(state is None for state in told.values()):
            self.pending.append(entry)
            return False
        self._tell(entry.slot, told)
        return True

    def _tell(self, slot: Slot, told: dict[tuple[int, int], str | None]) -> None:
        self._misled |= {index for index, _ in told}
        self.returned.append(retries.with_states(slot, told))

    def _put_in_sequence(self) -> None:
        """Of an object that misled guesses in several waves, let one worker go on where the states are known.

        Else k wrong guesses in a row take k waves.
        """
        speed = self.before.bytes_per_second or SLOT_FIRST_BYTES_PER_SECOND
        for index in sorted(self._misled & self._objects.keys()):
            entry = self._objects[index]
            self._objects[index] = msgspec.structs.replace(entry, wrong_waves=entry.wrong_waves + 1)
            if entry.wrong_waves + 1 >= WRONG_WAVES_MAX:
                most_bytes = int(speed * WAVE_TARGET_SECONDS)
                self.returned, self.pending = retries.in_sequence(index, self.returned, self.pending, most_bytes)

    def _left_before(self, index: int, start: int) -> str | None:
        known = self._objects.get(index)
        left = next((s.left for s in known.segments if s.end == start), None) if known is not None else None
        return None if left == THROUGH else left

    def _accept(self, slot: Slot, header: OutcomeHeader, encoded: bytes) -> None:
        if slot.redo:
            self.redone += header.records
        else:
            closing.add_rows(self._objects, slot, header)
        self.culprits += bool(slot.condemned and header.rejects)
        if header.remaining:
            # What the worker learnt of an object's version and CRC holds for the rest of it.
            known = {pin.index: pin for pin in header.pins}
            objects = [known.get(pin.index, pin) for pin in slot.objects]
            self.returned.append(retries.remainder(msgspec.structs.replace(slot, objects=objects), header.remaining))
        if header.part is not None:
            self.parts.append(header.part)
        self.rejects += header.rejects
        self.reject_groups = rejects.merged(self.reject_groups, header.reject_groups)
        if header.rejects_key is not None:
            self.rejects_keys.append(RejectFile(header.rejects_key, header.rejects))
        if encoded:
            self._waiting.append(encoded)
            if len(self._waiting) >= FOLD_BATCH_PARTIALS or sum(map(len, self._waiting)) >= FOLD_BATCH_BYTES:
                self._fold()

    def _missing(self, slot: Slot, verdict: Verdict | None) -> None:
        self.pressure.missing(verdict)
        has_died = retries.died(verdict)
        if has_died:
            self.deaths.verdicts.append(verdict or Verdict())
        if verdict is not None and verdict.guessed:
            self.pending.append(PendingOutcome("", self.handout.wave, slot))
            return
        known = self._known(slot)
        if slot.index is None:
            self.deaths.saw(known, died=has_died)
        try:
            if slot.index is not None:
                self._indexing = indexing.unanswered(self._indexing, slot, verdict)
            elif verdict is None or has_died:
                self.deaths.add(slot, known, verdict or Verdict())
            else:
                self.returned.append(retries.judge(slot, known, verdict))
        except RangemillError as error:
            self.failure = self.failure or error
            if slot.index is None:
                self.returned.append(RetrySlot(slot.objects, slot.runs, redo=slot.redo))

    def _known(self, slot: Slot) -> RetrySlot | None:
        """What the slot was on the retry list; None of one that was not on it."""
        retried = self.handout.retried
        return retried[slot.slot] if slot.slot < len(retried) else None

    def _fold(self) -> None:
        partials = self._waiting if self.partial is None else [self.partial, *self._waiting]
        self.partial = self.folder.fold(partials)
        self._waiting = []

    def close(self) -> tuple[Checkpoint, list[ClosedObject]]:
        """The checkpoint after the wave (its levels still those of before), and the objects that the wave proved."""
        if self._waiting:
            self._fold()
        waiting = len(self.returned) + len(self.handout.retry)
        self.returned += self.deaths.judge(waiting, tolerates=self.tolerates)
        self.failure = self.failure or self.deaths.failure
        closed = [
            closing.closed(entry, self.plan.settled.level)
            for entry in self._objects.values()
            if closing.is_whole(entry)
        ]
        closed.sort(key=lambda c: c.index)
        done = {c.index for c in closed}
        still_open = [entry for index, entry in sorted(self._objects.items()) if index not in done]
        totals = self._totals(closed, still_open)
        try:
            require_few(totals, self.deaths.verdicts)
        except RangemillError as error:
            self.failure = self.failure or error
        seconds = (self.milliseconds - self._index_milliseconds) / 1000
        return Checkpoint(
            self.before.job_id,
            self.handout.wave,
            self.handout.cursor,
            [*self.returned, *self.handout.retry],
            still_open,
            closing.merge_intervals(
                [*self.before.closed, *((index, index + 1) for index in sorted(done))], self.plan.job_id
            ),
            self.before.levels,
            totals,
            sorted({*self.before.crc_names, *(c.crc_name for c in closed if c.matched)}),
            self._worked_bytes / seconds if seconds > 1 else self.before.bytes_per_second,
            self.pending,
            reject_groups=[*self.reject_groups, *redo.waiting_group(self._waiting_again - self.redone)],
            indexing=self._indexing,
            failure=None if self.failure is None else self.failure.to_json(),
            first_slots=self.deaths.weather.slots,
            first_deaths=self.deaths.weather.deaths,
            redo=self.handout.redo,
        ), closed

    def _totals(self, closed: list[ClosedObject], still_open: list[OpenObject]) -> Totals:
        old = self.before.totals
        return msgspec.structs.replace(
            closing.counted(old, self.before.open_objects, closed, still_open),
            rejects=old.rejects + self.rejects - self.redone,
            slots=old.slots + self.handout.slots,
            waves=old.waves + 1,
            worker_milliseconds=old.worker_milliseconds + self.milliseconds,
            worker_requests=old.worker_requests + self._requests,
            invocations=old.invocations + self.handout.slots,
            deaths=old.deaths + len(self.deaths.verdicts),
            parts=old.parts + len(self.parts),
            culprits=old.culprits + self.culprits,
        )
