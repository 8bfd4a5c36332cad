"""Control: what people may do to a job that is there: pause, resume, cancel, redrive, change its bounds.

Each may be repeated, by two at once. A job that no execution carries is changed at once, under the condition that its
status and generation are those that were seen; of one that runs only the wish is kept, which its workers and its
Aggregate see. Nothing here starts an execution: a job that is taken up waits for `admit` like any other.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from rangemill import decide, keys, messages, pages, redo, renewal
from rangemill.errors import Transient, WrongStatus
from rangemill.gateways import Gateways
from rangemill.messages import Checkpoint, Cursor, GenerationRow, JobRow, PipelineDocument, Totals, now_text

CodeChoice = Literal["same", "new", "restart"]
_TRIES: Final = 8  # each lost one means that the job has moved on meanwhile


def pause(job_id: str, gateways: Gateways) -> JobRow:
    """Let the job rest: at once while it waits, else after its wave. Raises `WrongStatus`, `UnknownJob`."""

    def attempt(row: JobRow) -> bool:
        _require_no_result(row)
        if row.status == "WAITING":
            return gateways.jobs.turn(row, {"status": "PAUSED", "rest_reason": "paused"})
        if row.status == "RUNNING":
            if row.desired == "cancel":
                raise WrongStatus(f"job {job_id} is being cancelled")
            return gateways.jobs.desire(job_id, "pause")
        return row.status == "PAUSED" or _refuse(row, "paused")

    return _until(attempt, job_id, gateways)


def cancel(job_id: str, gateways: Gateways) -> JobRow:
    """End the job: at once while it waits or rests, else after its wave, whose workers stop at their next look.

    Raises `WrongStatus`, `UnknownJob`.
    """

    def attempt(row: JobRow) -> bool:
        _require_no_result(row)
        if row.status in ("WAITING", "PAUSED"):
            ended = now_text(gateways.clock())
            return gateways.jobs.turn(row, {"status": "CANCELLED", "rest_reason": "cancelled", "ended": ended})
        if row.status == "RUNNING":
            return gateways.jobs.desire(job_id, "cancel")
        return row.status == "CANCELLED" or _refuse(row, "cancelled")

    return _until(attempt, job_id, gateways)


def resume(job_id: str, gateways: Gateways) -> JobRow:
    """Let a job that rests go on as its next generation, or take back a pause that it has not come to.

    Raises `WrongStatus`, `UnknownJob`.
    """

    def attempt(row: JobRow) -> bool:
        if row.status == "PAUSED":
            _require_room(row, gateways)
            return take_up(row, _looked_at_again(row, gateways), gateways)
        if row.status == "RUNNING":
            if row.desired == "cancel":
                raise WrongStatus(f"job {job_id} is being cancelled; `rangemill redrive` takes it up afterwards")
            return row.desired == "run" or gateways.jobs.desire(job_id, "run")
        return row.status == "WAITING" or _refuse(row, "resumed", "; `rangemill redrive` takes it up")

    return _until(attempt, job_id, gateways)


def redrive(
    job_id: str,
    code: CodeChoice,
    gateways: Gateways,
    *,
    document: PipelineDocument | None = None,
    rejects: bool = False,
) -> JobRow:
    """Take up a job that failed, was cancelled or rests, as its next generation: only what is not yet committed.

    `same` code is what it was planned with, and no other passes; `new` goes on with the code that is deployed by then;
    `restart` takes that code and does all objects again, as they were pinned. These two go on with the `document`,
    else with the one that is deployed where the job's was. With `rejects` the records that were rejected are applied
    again, also of a job that has succeeded.

    Raises `WrongStatus`, `UnknownJob`, and `BadPipeline` for a document that does not fit what the job has done.
    """

    def attempt(row: JobRow) -> bool:
        if row.status == "SUCCEEDED" and not rejects:
            remedy = "; its rejects are applied again with `--rejects`" if row.totals.rejects else ""
            return _refuse(row, "redriven", remedy)
        if row.status in ("WAITING", "RUNNING"):
            return _refuse(row, "redriven")
        _require_room(row, gateways)
        redrives = row.redrives + 1
        changes: dict[str, Any] = {"redrives": redrives, "error": None, "ended": None}
        if code != "same":
            changes |= {"plan_number": redrives, "document": _put(document, row, code, gateways)}
        if row.pointer is not None:
            before = pages.checkpoint(gateways.store, row.pointer)
            after = from_the_beginning(before) if code == "restart" else forgiven(before)
            changes["pointer"] = keys.checkpoint(job_id, row.wave, f"r{redrives}-{secrets.token_hex(4)}")
            if rejects and code != "restart":
                after, more = _rejects_again(row, after, gateways)
                changes |= more
            gateways.store.put(changes["pointer"], messages.encode(after))
            if code == "restart":
                changes |= {"restarted_after_wave": row.wave, "totals": after.totals}
        if row.status == "SUCCEEDED":
            changes |= {"published": row.published + 1, "result": None, "ending": None}
        return take_up(row, changes, gateways)

    return _until(attempt, job_id, gateways)


def _put(document: PipelineDocument | None, row: JobRow, code: CodeChoice, gateways: Gateways) -> str | None:
    """The key under which a document was put, if there is one and it fits what the job has done."""
    if document is None:
        return None
    renewal.require_name(row.pipeline, document)
    if row.pointer is not None:
        before = pages.checkpoint(gateways.store, row.pointer)
        plan = pages.newest_plan(gateways.store, row.job_id, row.plan_number)
        renewal.require_fit(plan, document, from_the_beginning(before) if code == "restart" else before)
    key = keys.pipeline_document(row.job_id, secrets.token_hex(4))
    gateways.store.put(key, messages.encode(document))
    return key


def _rejects_again(row: JobRow, checkpoint: Checkpoint, gateways: Gateways) -> tuple[Checkpoint, dict[str, Any]]:
    """The checkpoint with all rejects waiting to be applied again, and what changes in the row.

    Where rejects of an earlier redrive wait still, they go on first. Raises `WrongStatus` where there is nothing to do.
    """
    if checkpoint.redo is not None or any(slot.redo for slot in checkpoint.retry):
        return checkpoint, {}
    if not checkpoint.totals.rejects:
        raise WrongStatus(f"job {row.job_id} has no rejects")
    plan = pages.newest_plan(gateways.store, row.job_id, row.plan_number)
    if pages.pipeline_of(plan).rejects.on_error != "quarantine":
        raise WrongStatus(
            f"job {row.job_id} has not kept its {checkpoint.totals.rejects} rejects (`on_error: skip`), so that nobody "
            "knows where they lie; `--code restart` does all records again"
        )
    after_wave = max(row.restarted_after_wave, row.rejects_after_wave)
    lists = [w.rejects_key for w in gateways.jobs.waves(row.job_id) if w.rejects_key and w.wave > after_wave]
    again = msgspec.structs.replace(
        checkpoint,
        redo=redo.begin(gateways.store, row.job_id, row.redrives + 1, lists),
        reject_groups=redo.waiting_group(checkpoint.totals.rejects),
    )
    return again, {"rejects_after_wave": row.wave}


def adjust(job_id: str, gateways: Gateways, *, concurrency: int | None, cost_cap_usd: float | None) -> JobRow:
    """Change a job's bounds while it waits, runs or rests; None leaves one as it is. Its next Fetch takes them up.

    Raises `WrongStatus`, `UnknownJob`.
    """
    asked = {"concurrency": concurrency, "cost_cap_usd": cost_cap_usd}
    changes = {name: value for name, value in asked.items() if value is not None}
    if changes and not gateways.jobs.adjust(job_id, changes):
        _refuse(gateways.jobs.load(job_id), "changed")
    return gateways.jobs.load(job_id)


def forgiven(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as if nothing in it had failed before: what was mended gets all its tries again.

    Indexers begin anew: restart points expire. Where they have not, the first turn finds them and goes on behind them.
    """
    return msgspec.structs.replace(
        checkpoint,
        retry=[msgspec.structs.replace(slot, deaths=0, tries=0, condemned="") for slot in checkpoint.retry],
        indexing=[msgspec.structs.replace(entry, indexed=0, deaths=0, tries=0) for entry in checkpoint.indexing],
        totals=msgspec.structs.replace(checkpoint.totals, deaths=0, culprits=0),
        first_slots=0,
        first_deaths=0,
        failure=None,
    )


def from_the_beginning(checkpoint: Checkpoint) -> Checkpoint:
    """Nothing is done any more; what was spent stays spent, and waves count on."""
    spent = checkpoint.totals
    totals = Totals(
        slots=spent.slots,
        waves=spent.waves,
        worker_milliseconds=spent.worker_milliseconds,
        worker_requests=spent.worker_requests,
        invocations=spent.invocations,
    )
    return Checkpoint(checkpoint.job_id, checkpoint.wave, Cursor(), totals=totals)


def _until(attempt: Callable[[JobRow], bool], job_id: str, gateways: Gateways) -> JobRow:
    for _ in range(_TRIES):
        if attempt(gateways.jobs.load(job_id)):
            return gateways.jobs.load(job_id)
    raise Transient(f"job {job_id} changed each time it was looked at; try again")


def _refuse(row: JobRow, done: str, remedy: str = "") -> bool:
    what = {"SUCCEEDED": "has succeeded", "FAILED": "has failed", "CANCELLED": "was cancelled"}
    state = what.get(row.status, f"is {row.status.lower()}")
    hint = remedy if row.status != "SUCCEEDED" or done == "redriven" else ""
    raise WrongStatus(f"job {row.job_id} {state} and cannot be {done}{hint}")


def _require_no_result(row: JobRow) -> None:
    if row.ending is not None and row.status != "SUCCEEDED":
        raise WrongStatus(f"job {row.job_id} has its result and is about to succeed")


def _require_room(row: JobRow, gateways: Gateways) -> None:
    """Raise `WrongStatus` when the job has reached its cost cap: it would rest again after a wave."""
    if row.pointer is None:
        return
    pipeline = pages.pipeline_of(pages.newest_plan(gateways.store, row.job_id, row.plan_number))
    cap = row.cost_cap_usd or pipeline.limits.cost_usd
    reason = decide.rest_reason(msgspec.structs.replace(row, desired="run"), cap)
    if reason is not None:
        raise WrongStatus(f"job {row.job_id}: {reason}; raise it with `rangemill set {row.job_id} --cost-usd N`")


def _looked_at_again(row: JobRow, gateways: Gateways) -> dict[str, Any]:
    """A checkpoint whose indexers begin anew, if there are any; nothing else of a checkpoint expires."""
    checkpoint = pages.checkpoint(gateways.store, row.pointer) if row.pointer is not None else None
    if checkpoint is None or not checkpoint.indexing:
        return {}
    key = keys.checkpoint(row.job_id, row.wave, f"g{row.generation}-{secrets.token_hex(4)}")
    gateways.store.put(key, messages.encode(forgiven(checkpoint)))
    return {"pointer": key}


def take_up(row: JobRow, changes: dict[str, Any], gateways: Gateways, ended: JobRow | None = None) -> bool:
    """Let the job wait again, as a generation whose execution has never been; False when it has moved meanwhile.

    `ended` is the row as the history shows the end of its generation.
    """
    generation = row.generation + 1
    while gateways.executions.status(row.job_id, generation) is not None:
        generation += 1  # started by the one before just as it failed: too late, and its name is gone
    up: dict[str, Any] = {
        "status": "WAITING",
        "generation": generation,
        "generation_first_wave": row.wave,
        "desired": "run",
        "rest_reason": None,
        # Its share is decided anew when it starts; how much there is to do, when that is known.
        **dict.fromkeys(("grant", "held", "leased_until", "wants")),
    }
    return gateways.jobs.turn(row, {**up, **changes}, _ended(ended or row, gateways))


def _ended(row: JobRow, gateways: Gateways) -> GenerationRow | None:
    """The history of the row's generation with how it ended; None where no execution ever had the row."""
    for known in gateways.jobs.generations(row.job_id):
        if known.generation == row.generation:
            return msgspec.structs.replace(known, status=row.status, ended=row.ended, error=row.error)
    return None
