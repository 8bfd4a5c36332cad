"""Aggregate: judge a wave from S3, fold it, commit. The pointer in the job row is the commit; nothing else counts."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import msgspec

from rangemill import code, costs, decide, errors, folding, keys, messages, pages, rejects, sharing
from rangemill.engines import make_folder
from rangemill.errors import Superseded
from rangemill.gateways import Gateways, Store
from rangemill.limits import OUTCOME_THREADS, PLAN_STEP_PAGES
from rangemill.messages import (
    Checkpoint,
    ClosedObject,
    CodeIdentity,
    Context,
    Handout,
    JobRow,
    Plan,
    RejectFile,
    Slot,
    SlotItem,
    StateMessage,
    Status,
    Verdict,
    WaveRow,
    now_text,
)
from rangemill.pressure import next_bound
from rangemill.wave import Wave


@dataclass(frozen=True, slots=True)
class Machine:
    """What the workers run on: for the price."""

    memory_mb: int
    architecture: str


def run(message: StateMessage, gateways: Gateways, running: CodeIdentity, machine: Machine, attempt: str) -> Context:
    """Commit the wave of the context, or find it committed, and decide what follows.

    Raises `Superseded`, `CodeChanged`, and the error of any slot that repeating cannot help.
    """
    context = message.context
    row = _fenced(gateways.jobs.load(context.job_id), context)
    plan = pages.plan(gateways.store, context.job_id, row.plan_number)
    if row.wave < context.wave:
        code.require_same(plan.code, running)
        if row.pointer is None or row.wave != context.wave - 1:
            raise Superseded(f"wave {context.wave} of job {context.job_id} is not the one that follows wave {row.wave}")
        row = _commit(row, plan, context, gateways, machine, attempt)
    return _decide(row, plan, message, gateways)


def _fenced(row: JobRow, context: Context) -> JobRow:
    if row.generation != context.generation or row.status != "RUNNING":
        raise Superseded(f"generation {context.generation} of job {context.job_id} is not the one that carries it")
    return row


def _decide(row: JobRow, plan: Plan, message: StateMessage, gateways: Gateways) -> Context:
    context = message.context
    if row.pointer is None:
        raise Superseded(f"job {row.job_id} lost its pointer")
    checkpoint = pages.checkpoint(gateways.store, row.pointer)
    if checkpoint.failure is not None:  # in the checkpoint, so that a repeat fails as well
        raise errors.rebuild(checkpoint.failure)
    require_few_rejects(checkpoint, plan)
    complete = decide.is_complete(checkpoint, plan)
    reason = decide.rest_reason(row, row.cost_cap_usd or pages.pipeline_of(plan).limits.cost_usd)
    events = None
    steps = row.wave - row.generation_first_wave
    if row.generation_first_wave == 0:
        steps += plan.pages // PLAN_STEP_PAGES  # planning has its part in the history of the first generation
    if not complete and decide.must_measure(steps, plan.history_budget_events):
        events = gateways.executions.event_count(message.execution_arn)
    following = decide.following(
        complete=complete, rests=reason is not None, events=events, budget_events=plan.history_budget_events
    )
    if following == "REST" and reason is not None:
        cancelled = row.desired == "cancel"
        ended = now_text(gateways.clock()) if cancelled else None
        status: Status = "CANCELLED" if cancelled else "PAUSED"
        if not gateways.jobs.rest(row.job_id, row.generation, status, reason, ended, row.desired):
            # People changed their mind between the look at the row and the rest.
            return _decide(_fenced(gateways.jobs.load(row.job_id), context), plan, message, gateways)
        gateways.lambdas.wake_admit()
    next_generation = context.generation + 1 if following == "EXECUTE_NEW" else 0
    return Context(context.job_id, context.generation, following, wave=row.wave, next_generation=next_generation)


def require_few_rejects(checkpoint: Checkpoint, plan: Plan) -> None:
    """Raise `TooManyRejects` when the pipeline's limits are passed; not while rejects wait to be applied again."""
    if checkpoint.redo is not None or any(slot.redo for slot in checkpoint.retry):
        return
    totals, policy = checkpoint.totals, pages.pipeline_of(plan).rejects
    rejects.require_few(policy, totals.rejects, totals.records, totals.bytes, plan.bytes, checkpoint.reject_groups)


def _commit(row: JobRow, plan: Plan, context: Context, gateways: Gateways, machine: Machine, attempt: str) -> JobRow:
    store = gateways.store
    pointer = row.pointer or ""
    before = pages.checkpoint(store, pointer)
    items = msgspec.json.decode(
        pages.required(store, keys.wave(row.job_id, context.wave, row.redrives)), type=list[SlotItem]
    )
    slots_key = items[0].slots_key
    handout = messages.decode(pages.required(store, keys.handout(slots_key)), Handout, slots_key)
    slots = [messages.decode(body, Slot, slots_key) for body in _split(pages.required(store, slots_key), items)]
    pipeline = pages.pipeline_of(plan)
    folder = make_folder(pipeline, plan.settled)
    wave = Wave(before, plan, handout, folder, pipeline.rejects.tolerates, redrives=row.redrives)
    for slot, item, body in zip(slots, items, _outcomes(store, row.job_id, context.wave, items), strict=True):
        wave.add(slot, body, partial(_verdict, store, item.verdict_key))
    with ThreadPoolExecutor(OUTCOME_THREADS) as pool:
        wave.settle_pending(_read_ahead(store, pool, [entry.key for entry in before.pending if entry.key]))
    checkpoint, closed = wave.close()
    checkpoint = folding.with_wave(checkpoint, wave.partial, wave.folder, store, attempt)
    own_workers = row.concurrency or plan.concurrency
    bound = next_bound(wave.pressure, own_workers, context.concurrency, before.worker_bound)
    checkpoint = msgspec.structs.replace(checkpoint, worker_bound=bound)
    moment = now_text(gateways.clock())
    wave_row = WaveRow(
        context.wave,
        context.generation,
        moment,
        slots=len(items),
        bytes=checkpoint.totals.bytes - before.totals.bytes,
        records=checkpoint.totals.records - before.totals.records,
        ranges=checkpoint.totals.ranges - before.totals.ranges,
        returned_slots=len(wave.returned),
        milliseconds=wave.milliseconds,
        closed_key=_put_list(store, keys.closed_objects(row.job_id, context.wave, attempt), closed),
        parts_key=_put_list(store, keys.parts(row.job_id, context.wave, attempt), wave.parts),
        rejects=wave.rejects,
        rejects_key=_put_list(store, keys.rejects_list(row.job_id, context.wave, attempt), wave.rejects_keys),
        workers=context.concurrency,
        granted=row.held,
        answers=wave.pressure.answers,
        throttled=wave.pressure.throttled,
        throttled_slots=wave.pressure.throttled_slots,
        deaths=len(wave.deaths.verdicts),
        parted=wave.deaths.parted,
        culprits=wave.culprits,
        redone=wave.redone,
    )
    key = keys.checkpoint(row.job_id, context.wave, attempt)
    store.put(key, messages.encode(checkpoint))
    cost = costs.estimate_usd(checkpoint.totals, machine.memory_mb, machine.architecture)
    after = gateways.jobs.commit(
        row.job_id,
        context.generation,
        wave_row,
        key,
        checkpoint.totals,
        cost,
        leased_until=None if row.grant is None else sharing.lease_end(gateways.clock()),
        own_workers=plan.concurrency,
        wants=sharing.wants(checkpoint, plan),
    )
    if after.held is not None and row.held is not None and after.held < row.held:
        gateways.lambdas.wake_admit()  # somebody waits for what this job has just given back
    return after


def _put_list(store: Store, key: str, items: list[ClosedObject] | list[RejectFile] | list[str]) -> str | None:
    if not items:
        return None
    store.put(key, messages.encode(items))
    return key


def _split(body: bytes, items: list[SlotItem]) -> Iterator[bytes]:
    return (body[item.start : item.end] for item in items)


def _outcomes(store: Store, job_id: str, wave: int, items: list[SlotItem]) -> Iterator[bytes | None]:
    """The wave's outcomes in slot order, read ahead by a bounded number."""
    with ThreadPoolExecutor(OUTCOME_THREADS) as pool:
        waiting = (keys.outcome(job_id, wave, item.slot, item.redrives) for item in items)
        pending = [pool.submit(store.get, key) for key in islice(waiting, 2 * OUTCOME_THREADS)]
        while pending:
            yield pending.pop(0).result()
            pending.extend(pool.submit(store.get, key) for key in islice(waiting, 1))


def _read_ahead(store: Store, pool: ThreadPoolExecutor, keys_in_order: list[str]) -> Callable[[str], bytes | None]:
    """Reads outcomes that waited; once one has followed another the next ones ahead, a bounded number.

    A neighbour that tells at last lets thousands count, one after the other.
    """
    places = {key: place for place, key in enumerate(keys_in_order)}
    ahead: dict[str, Future[bytes | None]] = {}
    last = len(keys_in_order)

    def read(key: str) -> bytes | None:
        nonlocal ahead, last
        place = places.get(key)
        if place is None:
            return store.get(key)
        many = 2 * OUTCOME_THREADS if place == last + 1 else 1
        ahead = {each: ahead.get(each) or pool.submit(store.get, each) for each in keys_in_order[place : place + many]}
        last = place
        return ahead.pop(key).result()

    return read


def _verdict(store: Store, key: str) -> Verdict | None:
    body = store.get(key)
    return None if body is None else messages.decode(body, Verdict, key)
