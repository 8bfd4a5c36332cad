"""Objects that are handed out behind their indexer: what Fetch gives out of them, what Aggregate makes of the answer.

A wave has one indexer's turn for each of them, until it has reached the object's end, and slots for the stretch that
earlier waves have indexed. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from rangemill import errors
from rangemill.compression import BEHIND_INDEXER
from rangemill.errors import WorkerDied, WorkerFailed, is_transient
from rangemill.limits import INDEXER_MAX_DEATHS, TRANSIENT_MAX_TRIES, WAVE_OWN_SECONDS, WAVE_TARGET_SECONDS
from rangemill.messages import Indexing, IndexTurn, PinnedObject, Plan, Run, Slot, Verdict


def is_behind(pin: PinnedObject) -> bool:
    """Whether the object is handed out behind its indexer."""
    return pin.compression == BEHIND_INDEXER


@dataclass
class Behind:
    """The objects of a checkpoint that are handed out so, as Fetch goes through them."""

    entries: list[Indexing]
    plan: Plan
    _given: dict[int, Indexing] = field(default_factory=dict)

    def begin(self, pin: PinnedObject) -> None:
        """An object that the cursor has come to."""
        self.entries.append(Indexing(pin))

    def turns(self, number: int, most: int) -> Iterator[Slot]:
        """A turn for each indexer that has not had one in this wave, in slots of these numbers."""
        for position, entry in enumerate(self.entries):
            if most <= 0:
                return
            if entry.indexed == entry.pin.size_bytes or entry.pin.index in self._given:
                continue
            self._given[entry.pin.index] = entry
            yield Slot(number, [entry.pin], [], IndexTurn(entry.indexed, self._seconds(entry)))
            self.entries[position] = replace(entry, turns=entry.turns + 1)
            number, most = number + 1, most - 1

    def _seconds(self, entry: Indexing) -> float:
        first = self.plan.gzip.first_seconds if self.plan.gzip is not None else WAVE_OWN_SECONDS
        return float(min(WAVE_TARGET_SECONDS, first * 2 ** min(entry.turns, 32)))

    @property
    def available_bytes(self) -> int:
        """Stored bytes that could be handed out now."""
        return sum(self._end(entry) - entry.handed for entry in self.entries)

    def take(self, number: int, slot_bytes: int) -> Slot | None:
        """The next slot, of about that many bytes and whole ranges; None where the indexers must get further first."""
        for position, entry in enumerate(self.entries):
            end = self._end(entry)
            if entry.handed < end:
                range_bytes = self.plan.range_bytes
                whole = entry.handed // range_bytes + max(1, slot_bytes // range_bytes)
                run = Run(entry.pin.index, entry.handed, min(whole * range_bytes, end), range_bytes)
                self.entries[position] = replace(entry, handed=run.end)
                return Slot(number, [entry.pin], [run])
        return None

    def left(self) -> list[Indexing]:
        """Those that are not yet handed out to their ends."""
        return [entry for entry in self.entries if entry.handed < entry.pin.size_bytes]

    def _end(self, entry: Indexing) -> int:
        """Up to where whole ranges are indexed."""
        if entry.indexed == entry.pin.size_bytes:
            return entry.indexed
        return max(entry.handed, entry.indexed // self.plan.range_bytes * self.plan.range_bytes)


def answered(entries: list[Indexing], slot: Slot, indexed: int) -> list[Indexing]:
    """The entries after an indexer's turn that got as far as `indexed`."""
    index = slot.objects[0].index
    return [
        replace(entry, indexed=max(entry.indexed, indexed), tries=0, deaths=0) if entry.pin.index == index else entry
        for entry in entries
    ]


def unanswered(entries: list[Indexing], slot: Slot, verdict: Verdict | None) -> list[Indexing]:
    """The entries after a turn that left no outcome: its next one begins where it did.

    Raises the verdict's own error when repeating cannot help, `WorkerDied`, `WorkerFailed` when it helps no more.
    """
    if verdict is not None and verdict.error is not None and not verdict.error.get("retryable"):
        raise errors.rebuild(verdict.error)
    index = slot.objects[0].index
    (entry,) = (entry for entry in entries if entry.pin.index == index)
    name = (verdict.Error if verdict is not None else None) or "Lambda.Unknown"
    if (verdict is not None and verdict.error is not None) or is_transient(name):
        after = replace(entry, tries=entry.tries + 1)
    else:
        after = replace(entry, deaths=entry.deaths + 1)
    if after.tries > TRANSIENT_MAX_TRIES:
        raise WorkerFailed(
            f"the indexer failed in {after.tries} waves at byte {entry.indexed}",
            object_uri=entry.pin.uri,
            offset=entry.indexed,
        )
    if after.deaths >= INDEXER_MAX_DEATHS:
        raise WorkerDied(
            f"the indexer died {after.deaths} times ({name}) on the stretch from byte {entry.indexed} on",
            object_uri=entry.pin.uri,
            offset=entry.indexed,
        )
    return [after if each.pin.index == index else each for each in entries]
