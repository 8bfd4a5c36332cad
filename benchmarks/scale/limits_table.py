"""The limits as a table: every number is taken or computed from `rangemill/limits.py` and the state machine."""

from collections.abc import Iterator
from typing import Final

from benchmarks.scale.machine import START_EVENTS, events_of, worst_of
from rangemill import limits
from rangemill.limits import GIB, KIB, LOOK_EVERY_SECONDS, MIB
from rangemill.pipeline import Limits as PipelineLimits

BEGIN: Final = "<!-- made from rangemill/limits.py by `python -m benchmarks.scale --table`; do not edit -->"
END: Final = "<!-- end of what is made from rangemill/limits.py -->"
_WAVE: Final = ("Fetch", "Apply", "Aggregate", "Decide")

type Row = tuple[str, str, str]


def table() -> str:
    """The part of docs/limits.md between its two marks, both included."""
    lines = [BEGIN, "", "| what | bound | why, and what follows |", "|---|---|---|"]
    lines += [f"| {what} | {bound} | {why} |" for what, bound, why in (*_a_job(), *_a_wave(), *_history(), *_data())]
    return "\n".join([*lines, "", END])


def _a_job() -> Iterator[Row]:
    least = worst_of("Plan", "MorePlan?")
    steps = (limits.HISTORY_BUDGET_EVENTS - limits.WORST_WAVE_EVENTS - limits.WORST_EXIT_EVENTS) // least
    per_step = limits.PLAN_STEP_PAGES * limits.PLAN_PAGE_OBJECTS
    yield "an object", _bytes(limits.S3_OBJECT_MAX_BYTES), "S3's own: 10,000 parts of 5 GiB, which it calls 50 TB"
    why = (
        f"they are pinned by one execution, {per_step:,} a step of Plan, {least} events each at worst: "
        f"{steps:,} steps in {limits.HISTORY_BUDGET_EVENTS:,} events"
    )
    yield "objects of a job", f"{steps * per_step / 10**6:.0f} million", why
    yield "ranges, bytes, waves of a job", "none", "no document and no row grows with them"
    yield "ranges by default", _bytes(limits.RANGE_BYTES), "`limits.range_bytes`, `--range-bytes`"
    yield "generations", "10⁹", "digits that fit the execution's name of 80 characters"
    yield "workers of a job", f"{limits.CONCURRENCY} by default, {limits.SFN_MAP_MAX_CHILDREN:,}", "of one Map Run"
    yield "name of a pipeline", f"{limits.PIPELINE_NAME_MAX_CHARS} characters", "likewise"


def _a_wave() -> Iterator[Row]:
    yield "what passes between states", _bytes(limits.CONTEXT_MAX_BYTES), "Step Functions takes 256 KiB"
    yield "slots of a wave", f"{limits.WAVE_MAX_SLOTS:,}", "what came back comes first"
    why = (
        f"at the workers' pace in the wave before, {limits.WAVE_STRETCH - 1:.0%} more at the end of a job; "
        f"slots of {limits.SLOT_TARGET_SECONDS} s that shrink to {limits.SLOT_LEAST_SECONDS} s"
    )
    yield "work of a wave", f"about {limits.WAVE_TARGET_SECONDS} s", why
    yield (
        "runs of a wave, of a slot",
        f"{limits.WAVE_MAX_RUNS:,}, {limits.SLOT_MAX_RUNS:,}",
        "adjacent ranges of one object are one run, so these are small objects: their pins are some 200 bytes each",
    )
    yield (
        "outcomes that wait for a neighbour",
        f"{limits.PENDING_MAX_OUTCOMES:,}",
        "formats with a state only; with more nothing new is handed out until the neighbour has told",
    )
    yield "objects behind their indexers", f"{limits.INDEXING_MAX_OBJECTS}", "plain gzip that is read in waves"
    yield (
        "folded partials that wait",
        f"{limits.FOLD_FAN_IN - 1} a level",
        f"{limits.FOLD_FAN_IN} of a level are folded into one of the next: five levels for a million waves",
    )
    yield "waves that a slot may come back for a service's errors", f"{limits.TRANSIENT_MAX_TRIES}", "`WorkerFailed`"
    yield (
        "deaths of workers",
        f"{limits.DEATHS_MAX}, or {limits.DEATHS_MAX_FRACTION:.0%} of the slots",
        "`WorkerDied`: workers die everywhere, not on one record",
    )


def _history() -> Iterator[Row]:
    plain = sum(events_of(name) for name in _WAVE)
    worst = worst_of(*_WAVE)
    start = START_EVENTS + worst_of("Plan", "MorePlan?")
    budget, exit_events = limits.HISTORY_BUDGET_EVENTS, limits.WORST_EXIT_EVENTS
    yield (
        "events of an execution",
        f"{budget:,}",
        f"of AWS's {limits.SFN_HISTORY_MAX_EVENTS:,}; `--history-budget`; the rest is for what nobody foresaw",
    )
    yield (
        "events of a wave",
        f"{plain}, at worst {worst}",
        " + ".join(f"{name} {events_of(name)}" for name in _WAVE) + "; three more for each retry of the state machine",
    )
    yield "events before the first wave", f"{START_EVENTS + 7}, at worst {start}", "the start, Plan, MorePlan?"
    yield (
        "events after the last wave",
        f"at worst {exit_events}",
        "Finish or ExecuteNew that no retry helps, then Abandon with all of its own, and Failed",
    )
    most = (budget - START_EVENTS - 7 - worst - exit_events) // plain + 1
    yield (
        "waves of an execution",
        f"{most:,}, at worst {(budget - start - exit_events) // worst:,}",
        "an execution goes on while its next wave and its end fit at their worst",
    )
    yield "least budget that is kept whatever is retried", f"{start + worst + exit_events} events", "one wave"


def _data() -> Iterator[Row]:
    yield "a record", _bytes(limits.MAX_RECORD_BYTES), "`format.max_record_bytes`"
    yield (
        "a partial, the folded total",
        f"{_bytes(int(PipelineLimits().max_partial_bytes))}, {_bytes(int(PipelineLimits().max_aggregate_bytes))}",
        "`limits.max_partial_bytes`, `limits.max_aggregate_bytes`",
    )
    yield "partials in Aggregate's memory", _bytes(limits.FOLD_BATCH_BYTES), "read and folded in such batches"
    yield (
        "a worker's time",
        f"{limits.LAMBDA_MAX_SECONDS} s",
        f"Lambda's own; it stops taking records {limits.STOP_MARGIN_MS // 1000} s before",
    )
    yield "a worker looks at its job's row", f"every {LOOK_EVERY_SECONDS:.0f} s", "one read of the table"
    why = (
        f"then it hands the rest back; {_bytes(limits.REJECTS_MAX_BYTES)} where it cannot. "
        f"{_bytes(limits.REJECT_MAX_BYTES)} of a record are kept, {limits.REJECT_GROUPS_MAX} kinds are told apart"
    )
    yield "rejects of a slot", _bytes(limits.REJECTS_FULL_BYTES), why
    yield (
        "objects, files of rejects in the report itself",
        f"{limits.REPORT_MAX_OBJECTS:,}, {limits.REPORT_MAX_REJECT_FILES:,}",
        "the documents that it names list all",
    )


def _bytes(count: int) -> str:
    for unit, name in ((GIB * KIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} bytes"
