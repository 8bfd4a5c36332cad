"""What a job costs, from what it counted. Prices and their date are in `limits`; people see it as an estimate."""

from rangemill.limits import (
    LAMBDA_GB_SECOND_USD,
    LAMBDA_REQUEST_USD,
    S3_GET_USD,
    S3_PUT_USD,
    SFN_TRANSITION_USD,
)
from rangemill.messages import Totals

_TRANSITIONS_A_CHILD = 2  # a Standard child: its start and its one Task
_TRANSITIONS_A_WAVE = 4  # Fetch, Apply, Aggregate, Decide
_GETS_A_SLOT = 3  # plan and slot by the worker, outcome by Aggregate
_PUTS_A_SLOT = 1
_PUTS_A_WAVE = 6  # slots, handout, wave document, aggregate, checkpoint, closed objects


def estimate_usd(totals: Totals, memory_mb: int, architecture: str) -> float:
    """Dollars in us-east-1 for the workers and the control plane, without free tiers and without storage."""
    gb_seconds = totals.worker_milliseconds / 1000 * memory_mb / 1024
    compute = gb_seconds * LAMBDA_GB_SECOND_USD[architecture]
    invocations = totals.invocations + 3 * totals.waves
    transitions = _TRANSITIONS_A_CHILD * totals.slots + _TRANSITIONS_A_WAVE * totals.waves
    gets = totals.worker_requests + _GETS_A_SLOT * totals.slots
    puts = _PUTS_A_SLOT * totals.slots + _PUTS_A_WAVE * totals.waves
    return (
        compute
        + invocations * LAMBDA_REQUEST_USD
        + transitions * SFN_TRANSITION_USD
        + gets * S3_GET_USD
        + puts * S3_PUT_USD
    )
