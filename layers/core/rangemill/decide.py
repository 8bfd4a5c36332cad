"""Decide: what follows a wave. Pure; the history is measured by the caller, not guessed."""

from rangemill.limits import WORST_EXIT_EVENTS, WORST_START_EVENTS, WORST_WAVE_EVENTS
from rangemill.messages import Checkpoint, JobRow, Next, Plan


def is_complete(checkpoint: Checkpoint, plan: Plan) -> bool:
    """Whether nothing is left to hand out."""
    waiting = checkpoint.retry or checkpoint.pending or checkpoint.indexing or checkpoint.redo
    return checkpoint.cursor.page >= plan.pages and not waiting


def rest_reason(row: JobRow, cost_cap_usd: float | None) -> str | None:
    """Why the job should rest now, or None."""
    if row.desired == "cancel":
        return "cancelled"
    if row.desired == "pause":
        return "paused"
    if cost_cap_usd is not None and row.cost_usd >= cost_cap_usd:
        return f"cost cap of ${cost_cap_usd:g} reached at ${row.cost_usd:.4f}"
    return None


def must_measure(waves_in_generation: int, budget_events: int) -> bool:
    """Whether the history must be counted.

    It need not while the worst case of the waves so far is within half the budget, and one more wave fits at its worst.
    """
    worst = waves_in_generation * WORST_WAVE_EVENTS
    after = WORST_START_EVENTS + worst + WORST_WAVE_EVENTS + WORST_EXIT_EVENTS
    return 2 * worst > budget_events or after > budget_events


def following(*, complete: bool, rests: bool, events: int | None, budget_events: int) -> Next:
    """The state after Aggregate. `events` is the measured history, or None where it cannot matter yet."""
    if complete:
        return "FINISH"
    if rests:
        return "REST"
    if events is not None and events + WORST_WAVE_EVENTS + WORST_EXIT_EVENTS > budget_events:
        return "EXECUTE_NEW"
    return "FETCH"
