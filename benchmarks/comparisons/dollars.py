"""Requests and transitions in dollars against the workers' time: counted by Fetch itself, priced as `limits` has it."""

from dataclasses import dataclass
from functools import cache

from msgspec.structs import replace

from benchmarks.model import Comparison, Line, Results
from benchmarks.world import GIB, World
from rangemill import costs, fetch, limits
from rangemill.costs import Requests
from rangemill.formats.base import Settled
from rangemill.messages import Checkpoint, CodeIdentity, Cursor, PinnedObject, Plan, PlanPage, Totals

BYTES = 1024 * GIB
WORKER_BYTES_PER_SECOND = 80 * 10**6
MEMORY_MB = 1769  # one vCPU
ARCHITECTURE = "arm64"


@dataclass(frozen=True, slots=True)
class Bill:
    """What a job of `BYTES` at the defaults counts, and what that costs in us-east-1."""

    totals: Totals
    requests: Requests
    compute_usd: float
    control_usd: float


@cache
def bill(size_bytes: int = BYTES) -> Bill:
    """Slots and waves as Fetch hands them out, one object; `costs` makes dollars of them, as in every job's report."""
    slots, waves = _handed_out(size_bytes)
    totals = Totals(
        objects=1,
        bytes=size_bytes,
        ranges=-(-size_bytes // limits.RANGE_BYTES),
        slots=slots,
        waves=waves,
        worker_milliseconds=round(size_bytes / WORKER_BYTES_PER_SECOND * 1000),
        worker_requests=-(-size_bytes // limits.GET_BYTES) + slots,  # and the end of each slot's last record
        invocations=slots,
    )
    requests = costs.requests_of(totals)
    return Bill(totals, requests, costs.compute_usd(totals, MEMORY_MB, ARCHITECTURE), requests.usd)


def _handed_out(size_bytes: int) -> tuple[int, int]:
    """How many slots and waves."""
    code = CodeIdentity("", "", "")
    range_bytes, workers, budget = limits.RANGE_BYTES, limits.CONCURRENCY, limits.HISTORY_BUDGET_EVENTS
    plan = Plan("j", "p", "", "", Settled("text", {}), code, range_bytes, workers, budget, 1, size_bytes, 1)
    page = PlanPage([PinnedObject(0, "b", "k", "e", size_bytes)], 0, 0, None)
    checkpoint, slots = Checkpoint("j", 0, Cursor()), 0
    while checkpoint.cursor.page < plan.pages:
        handed, handout = fetch.plan_wave(checkpoint, plan, lambda _: page)
        slots += len(handed)
        checkpoint = replace(
            checkpoint, wave=handout.wave, cursor=handout.cursor, bytes_per_second=WORKER_BYTES_PER_SECOND
        )
    return slots, checkpoint.wave


def comparisons(_: World) -> list[Comparison]:
    """One, without sides."""
    made = bill()
    line = Line(
        "requests and transitions against compute, 1 TiB at 80 MB/s a worker",
        lambda _: made.control_usd,
        lambda _: made.compute_usd,
        "$",
        at_most=0.1,
        peer_name="compute",
    )
    what = (
        "Computed, not measured: slots and waves as Fetch hands them out, requests of each by `rangemill/costs.py` (a "
        "test counts them on the local cloud), prices of us-east-1 from https://aws.amazon.com/lambda/pricing/, "
        "https://aws.amazon.com/step-functions/pricing/, https://aws.amazon.com/s3/pricing/ and "
        "https://aws.amazon.com/dynamodb/pricing/ (November 2026), without free tiers and storage."
    )
    return [Comparison("dollars", "Requests and transitions in dollars", what, [], [line], say=_say)]


def _say(_: Results) -> list[str]:
    made = bill()
    totals, asked = made.totals, made.requests
    seconds = totals.worker_milliseconds / 1000
    gb_second = limits.LAMBDA_GB_SECOND_USD[ARCHITECTURE]
    compute = (
        f"Compute: {seconds:,.0f} worker-seconds × {MEMORY_MB} MiB / 1024 × ${gb_second:.10f} ({ARCHITECTURE}) = "
        f"${made.compute_usd:.4f}."
    )
    counts = (
        f"Counts: {totals.ranges:,} ranges of {limits.RANGE_BYTES >> 20} MiB in {totals.slots:,} slots of "
        f"{limits.SLOT_LEAST_SECONDS} to {limits.SLOT_TARGET_SECONDS} s in {totals.waves} wave(s); "
        f"{totals.worker_requests:,} GETs of {limits.GET_BYTES >> 20} MiB by workers."
    )
    control = (
        f"{asked.transitions:,.0f} transitions ${asked.transitions * limits.SFN_TRANSITION_USD:.4f}, "
        f"{asked.gets:,.0f} GETs ${asked.gets * limits.S3_GET_USD:.4f}, "
        f"{asked.puts:,.0f} PUTs ${asked.puts * limits.S3_PUT_USD:.4f}, "
        f"{asked.invocations:,.0f} invocations ${asked.invocations * limits.LAMBDA_REQUEST_USD:.4f}, "
        f"{asked.table_reads:,.0f} reads and {asked.table_writes:,.0f} writes of the table "
        f"${asked.table_reads * limits.DYNAMODB_READ_USD + asked.table_writes * limits.DYNAMODB_WRITE_USD:.4f}: "
        f"${made.control_usd:.4f}, {made.control_usd / made.compute_usd:.1%} of compute."
    )
    return [compute, counts, control]
