"""Fetch: hand out a wave. The retry list first, then from the cursor; the first Fetch of a wave decides for all."""

from dataclasses import dataclass
from typing import Final

import msgspec

from rangemill import decide, keys, messages, pages, redo, retries
from rangemill.errors import IncompleteProof, Superseded
from rangemill.gateways import Gateways
from rangemill.indexing import Behind, is_behind
from rangemill.ledger import THROUGH
from rangemill.limits import (
    HISTORY_BUDGET_EVENTS,
    INDEXING_MAX_OBJECTS,
    PENDING_MAX_OUTCOMES,
    SLOT_FIRST_BYTES_PER_SECOND,
    SLOT_LEAST_SECONDS,
    SLOT_MAX_RUNS,
    SLOT_TARGET_SECONDS,
    SLOTS_A_WORKER,
    WAVE_MAX_RUNS,
    WAVE_MAX_SLOTS,
    WAVE_STRETCH,
    WAVE_TARGET_SECONDS,
    WRONG_WAVES_MAX,
)
from rangemill.messages import (
    Checkpoint,
    Context,
    Handout,
    JobRow,
    MapInput,
    Plan,
    Slot,
    SlotItem,
    StateMessage,
)
from rangemill.sharing import allowed_workers, lease_end
from rangemill.walk import Pages, Walk

# Below a tenth of the usual history budget a job is meant to show its generations: waves shrink with the budget and a
# slot is one range, so that even a small file takes many waves.
_SMALL_BUDGET_EVENTS: Final = HISTORY_BUDGET_EVENTS // 10


def run(message: StateMessage, gateways: Gateways, attempt: str, *, slots_a_worker: int = SLOTS_A_WORKER) -> Context:
    """Write the wave document, unless another Fetch of the same wave has. `attempt` makes this one's names unique.

    A wave of little work has `slots_a_worker` slots for each worker: many where a slot costs nothing.

    Raises `Superseded`, `IncompleteProof`.
    """
    context, store = message.context, gateways.store
    row = gateways.jobs.load(context.job_id)
    row = row if _is_superseded(row, context) else _with_grant(row, gateways)
    if _is_superseded(row, context) or row.pointer is None:
        raise Superseded(f"generation {context.generation} of job {context.job_id} is not the one that carries it")
    plan = pages.plan(store, context.job_id, row.plan_number)
    checkpoint = pages.checkpoint(store, row.pointer)
    plan = msgspec.structs.replace(plan, concurrency=allowed_workers(row, plan, checkpoint))
    wave = row.wave + 1
    wave_key = keys.wave(context.job_id, wave, row.redrives)
    body = store.get(wave_key)
    if body is None:
        slots, handout = plan_wave(
            checkpoint,
            plan,
            lambda page: pages.plan_page(store, context.job_id, page),
            lambda at: redo.files(store, context.job_id, at),
            slots_a_worker,
        )
        if not slots:
            if not decide.is_complete(checkpoint, plan):
                raise IncompleteProof(f"job {context.job_id} is not complete, but nothing is left to hand out")
            raise Superseded(f"job {context.job_id} has nothing left to hand out: another execution did the rest")
        slots_key = keys.slots(context.job_id, wave, attempt)
        body = _write(gateways, row, slots_key, slots, handout)
    items = msgspec.json.decode(body, type=list[SlotItem])
    return Context(
        context.job_id,
        context.generation,
        wave=wave,
        slots=len(items),
        concurrency=max(1, min(plan.concurrency, len(items))),
        map=MapInput(store.bucket, wave_key),
    )


def _is_superseded(row: JobRow, context: Context) -> bool:
    return row.generation != context.generation or row.status != "RUNNING"


def _with_grant(row: JobRow, gateways: Gateways) -> JobRow:
    """The row with all that was granted since its last commit; with one worker where its lease was given away."""
    granted = max(1, row.grant or 0)
    if row.held is None or row.held >= granted:
        return row
    if not gateways.jobs.take_grant(row.job_id, row.generation, granted, lease_end(gateways.clock())):
        return row  # lowered just now
    return gateways.jobs.load(row.job_id)


def _write(gateways: Gateways, row: JobRow, slots_key: str, slots: list[Slot], handout: Handout) -> bytes:
    """Slots and handout first, then the wave document that names them: whoever puts that one decides."""
    wave, wave_key = row.wave + 1, keys.wave(row.job_id, row.wave + 1, row.redrives)
    documents = [messages.encode(slot) for slot in slots]
    items: list[SlotItem] = []
    position = 0
    for slot, document in zip(slots, documents, strict=True):
        end = position + len(document)
        verdict_key = keys.verdict(row.job_id, wave, slot.slot, row.redrives)
        items.append(SlotItem(slot.slot, slots_key, position, end, verdict_key, row.redrives, row.plan_number))
        position = end
    gateways.store.put(slots_key, b"".join(documents))
    gateways.store.put(keys.handout(slots_key), messages.encode(handout))
    body = messages.encode(items)
    if gateways.store.put_once(wave_key, body):
        return body
    return pages.required(gateways.store, wave_key)


@dataclass(frozen=True, slots=True)
class WaveShape:
    """How large a wave and its slots may become."""

    max_slots: int
    wave_bytes: int
    slot_bytes: int  # the largest slot
    least_bytes: int  # the smallest
    workers: int
    slots_a_worker: int

    @property
    def slot_runs(self) -> int:
        """How many runs a slot may hold: two slots for every worker in a wave of nothing but small objects."""
        return max(1, min(SLOT_MAX_RUNS, WAVE_MAX_RUNS // (2 * self.workers)))

    def slot_size(self, left_bytes: int, slots_used: int) -> int:
        """Bytes of the next slot: shrinking towards the end of the wave, so that all workers end together."""
        share = 2 * left_bytes // (self.slots_a_worker * self.workers)
        fit = -(-left_bytes // max(1, self.max_slots - slots_used))
        return max(self.least_bytes, min(self.slot_bytes, share), min(self.slot_bytes, fit))


def shape(plan: Plan, bytes_per_second: float | None, left_bytes: int, slots_a_worker: int) -> WaveShape:
    """The shape of the next wave at the throughput of one worker that the last one showed."""
    speed = bytes_per_second or SLOT_FIRST_BYTES_PER_SECOND
    budget = plan.history_budget_events
    if budget < _SMALL_BUDGET_EVENTS:
        max_slots = max(1, WAVE_MAX_SLOTS * budget // HISTORY_BUDGET_EVENTS)
        return WaveShape(
            max_slots,
            max_slots * plan.range_bytes,
            plan.range_bytes,
            plan.range_bytes,
            plan.concurrency,
            slots_a_worker,
        )
    wave_bytes = int(plan.concurrency * speed * WAVE_TARGET_SECONDS)
    if left_bytes <= WAVE_STRETCH * wave_bytes:  # rather than a short last wave, with as many slots as a whole one
        wave_bytes = left_bytes
    wave_bytes = max(plan.range_bytes, wave_bytes)
    least_bytes = min(int(speed * SLOT_LEAST_SECONDS), wave_bytes // (slots_a_worker * plan.concurrency))
    return WaveShape(
        WAVE_MAX_SLOTS,
        wave_bytes,
        max(plan.range_bytes, int(speed * SLOT_TARGET_SECONDS)),
        max(plan.range_bytes, least_bytes),
        plan.concurrency,
        slots_a_worker,
    )


def plan_wave(
    checkpoint: Checkpoint,
    plan: Plan,
    plan_pages: Pages,
    rejects: redo.Files = lambda _: iter(()),
    slots_a_worker: int = SLOTS_A_WORKER,
) -> tuple[list[Slot], Handout]:
    """The slots of the next wave and where the checkpoint stands once they are handed out.

    Reads nothing but pages of the plan, and which files keep the rejects that are to be applied again.
    """
    walk = Walk(checkpoint.cursor, plan, plan_pages)
    behind = Behind(list(checkpoint.indexing), plan)
    retry = checkpoint.retry
    if walk.at_end and not behind.available_bytes and not checkpoint.redo:  # nothing else for who is idle
        in_order = {entry.pin.index for entry in checkpoint.open_objects if entry.wrong_waves >= WRONG_WAVES_MAX}
        retry = retries.spread(retry, plan.concurrency, checkpoint.bytes_per_second, in_order)
    retried = retry[:WAVE_MAX_SLOTS]
    slots = [
        Slot(number, retry.objects, retry.runs, suspect=retry.suspect, condemned=retry.condemned, redo=retry.redo)
        for number, retry in enumerate(retried)
    ]
    again, redo_left = redo.hand_out(checkpoint.redo, len(slots), WAVE_MAX_SLOTS - len(slots), rejects)
    slots += again
    # With many outcomes waiting for a neighbour it comes first; there is one, among what came back.
    if len(slots) < WAVE_MAX_SLOTS and (not slots or len(checkpoint.pending) < PENDING_MAX_OUTCOMES):
        left_bytes = behind.available_bytes + (0 if walk.at_end else plan.bytes - walk.bytes_before())
        _hand_out(slots, walk, behind, shape(plan, checkpoint.bytes_per_second, left_bytes, slots_a_worker))
    waiting = retry[len(retried) :]
    handout = Handout(checkpoint.wave + 1, len(slots), walk.cursor, waiting, retried, behind.left(), redo_left)
    told = _states_told(checkpoint)
    if told:
        slots = [msgspec.structs.replace(slot, runs=retries.told_runs(slot.runs, told)) for slot in slots]
    if any(not slot.runs and slot.index is None for slot in slots):  # it would be handed out for ever
        raise IncompleteProof(f"a slot of wave {handout.wave} of job {checkpoint.job_id} has nothing to work on")
    return slots, handout


def _hand_out(slots: list[Slot], walk: Walk, behind: Behind, wave: WaveShape) -> None:
    """What is new: indexers first, since they take as long as the wave, then what they have indexed, then the walk."""
    slots += behind.turns(len(slots), WAVE_MAX_SLOTS - len(slots))
    most = min(WAVE_MAX_SLOTS, max(wave.max_slots, len(slots) + 1))
    # What came back was handed out before: were its runs not counted, waves of slow workers would grow and grow.
    left, runs_left = wave.wave_bytes, WAVE_MAX_RUNS - sum(len(slot.runs) for slot in slots)
    while len(slots) < most and left > 0 and runs_left > 0:
        slot = behind.take(len(slots), wave.slot_size(left, len(slots)))
        if slot is None:
            if walk.at_end:
                return
            if is_behind(walk.current()):
                if len(behind.entries) >= INDEXING_MAX_OBJECTS:
                    return
                behind.begin(walk.pass_over())
                slots += behind.turns(len(slots), 1)
                continue
            slot = walk.take(len(slots), wave.slot_size(left, len(slots)), wave.slot_runs)
        left -= max(1, sum(run.end - run.start for run in slot.runs))
        runs_left -= len(slot.runs)
        slots.append(slot)


def _states_told(checkpoint: Checkpoint) -> dict[tuple[int, int], str | None]:
    """(object, offset) -> the state there, as what is proved before it left it: nobody needs to assume it."""
    return {
        (entry.pin.index, segment.end): segment.left
        for entry in checkpoint.open_objects
        for segment in entry.segments
        if segment.left not in ("", THROUGH)
    }
