"""Requests and transitions in dollars against the workers' time: arithmetic, from the prices and bounds in `limits`."""

from dataclasses import dataclass
from math import ceil

from benchmarks.model import Comparison, Line, Results
from benchmarks.world import GIB, World
from rangemill import costs, limits
from rangemill.messages import Totals

BYTES = 1024 * GIB
WORKER_BYTES_PER_SECOND = 80 * 10**6
MEMORY_MB = 1769  # one vCPU
ARCHITECTURE = "arm64"


@dataclass(frozen=True, slots=True)
class Bill:
    """What a job of `BYTES` at the defaults counts, and what that costs in us-east-1."""

    totals: Totals
    compute_usd: float
    control_usd: float


def bill() -> Bill:
    """The counts follow from the bounds in `limits`; `costs` makes dollars of them, as every job's report has them."""
    slot_bytes = WORKER_BYTES_PER_SECOND * limits.SLOT_TARGET_SECONDS
    wave_bytes = limits.SLOT_FIRST_BYTES_PER_SECOND * limits.WAVE_TARGET_SECONDS * limits.CONCURRENCY
    ranges = BYTES // limits.RANGE_BYTES
    slots = ceil(BYTES / slot_bytes)
    work = Totals(worker_milliseconds=round(BYTES / WORKER_BYTES_PER_SECOND * 1000))
    totals = Totals(
        objects=1,
        bytes=BYTES,
        ranges=ranges,
        slots=slots,
        waves=ceil(BYTES / wave_bytes),
        worker_milliseconds=work.worker_milliseconds,
        worker_requests=BYTES // limits.GET_BYTES + slots,  # and the end of each slot's last record
        invocations=slots,
    )
    compute = costs.estimate_usd(work, MEMORY_MB, ARCHITECTURE)
    return Bill(totals, compute, costs.estimate_usd(totals, MEMORY_MB, ARCHITECTURE) - compute)


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
        "Computed, not measured: counts from the bounds in `rangemill/limits.py`, dollars by `rangemill/costs.py`, "
        "prices of us-east-1 from https://aws.amazon.com/lambda/pricing/, "
        "https://aws.amazon.com/step-functions/pricing/ and https://aws.amazon.com/s3/pricing/ (November 2026), "
        "without free tiers and storage."
    )
    return [Comparison("dollars", "Requests and transitions in dollars", what, [], [line], say=_say)]


def _say(_: Results) -> list[str]:
    made = bill()
    totals = made.totals
    seconds = totals.worker_milliseconds / 1000
    gb_second = limits.LAMBDA_GB_SECOND_USD[ARCHITECTURE]
    compute = (
        f"Compute: {seconds:,.0f} worker-seconds × {MEMORY_MB} MiB / 1024 × ${gb_second:.10f} ({ARCHITECTURE}) = "
        f"${made.compute_usd:.4f}."
    )
    counts = (
        f"Counts: {totals.ranges:,} ranges of {limits.RANGE_BYTES >> 20} MiB in {totals.slots:,} slots of "
        f"{limits.SLOT_TARGET_SECONDS} s in {totals.waves} waves; {totals.worker_requests:,} GETs of "
        f"{limits.GET_BYTES >> 20} MiB by workers."
    )
    control = (
        f"GETs by workers: ${totals.worker_requests * limits.S3_GET_USD:.4f}. All requests, invocations and "
        f"transitions: ${made.control_usd:.4f}, {made.control_usd / made.compute_usd:.1%} of compute."
    )
    return [compute, counts, control]
