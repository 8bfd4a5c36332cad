"""How jobs share the workers that there are: max-min over pipelines, then over the jobs of each. Pure.

A job's row says what it may use: `held` by the wave that is handed out or about to be, `grant` from its next commit on.
Until then it may have both, so that is what it claims of the limit. Only what nobody claims is given away: the sum of
what is in use never passes the limit, however late a job hears that its share has become smaller.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Literal

from rangemill.limits import LAMBDA_KEPT_CONCURRENCY, LEASE_SECONDS, RANGE_BYTES, WAVE_MAX_SLOTS
from rangemill.messages import Checkpoint, JobRequest, JobRow, Plan, now_text
from rangemill.pipeline import Pipeline
from rangemill.units import parse_bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What all jobs may have together, and what one may have that does not say."""

    jobs: int
    workers: int
    own_workers: int
    range_bytes: int = RANGE_BYTES


@dataclass(frozen=True, slots=True)
class Division:
    """What to write: new grants of jobs that run (with the row as it was seen), and the jobs to start with theirs."""

    grants: list[tuple[JobRow, int]]
    starts: list[tuple[JobRow, int]]


def within_account(max_workers: int, free_concurrency: int | None) -> int:
    """How many workers all jobs may have in an account with so much unreserved concurrency.

    The last 100 are left to others, as Lambda leaves them; where an account has no more than these (new ones have 10),
    half of it is: the states of a job need some beside its workers.
    """
    if free_concurrency is None:
        return max_workers
    if free_concurrency > LAMBDA_KEPT_CONCURRENCY:
        return min(max_workers, free_concurrency - LAMBDA_KEPT_CONCURRENCY)
    return min(max_workers, max(1, free_concurrency // 2))


def lease_end(now: datetime) -> str:
    """Until when a lease holds that is given now."""
    return now_text(now + timedelta(seconds=LEASE_SECONDS))


def wants_of_request(request: JobRequest, pipeline: Pipeline | None) -> int | None:
    """How many slots a job may have, going by what an event or a listing told of its objects.

    None where that tells nothing: of a prefix, of archives (a small one may hold a million files), without sizes.
    """
    sizes = [ref.size_bytes for ref in request.objects]
    known = [size for size in sizes if size is not None]
    if pipeline is None or request.prefixes or len(known) < len(sizes):
        return None
    if pipeline.format.type == "auto" or pipeline.format.nesting.archive not in (None, "none"):
        return None
    range_bytes = request.range_bytes or pipeline.limits.range_bytes or RANGE_BYTES
    range_bytes = min(RANGE_BYTES, parse_bytes(range_bytes))
    return min(WAVE_MAX_SLOTS, sum(max(1, ceil(size / range_bytes)) for size in known))


def wants(checkpoint: Checkpoint, plan: Plan) -> int:
    """How many slots the next wave has at most: every one has a range at least, and no range is of two objects."""
    totals = checkpoint.totals
    ranges = (plan.bytes - totals.bytes) // plan.range_bytes + plan.objects - totals.objects + len(checkpoint.retry)
    if checkpoint.redo is not None:  # how many files of rejects are left, nobody has counted
        ranges = WAVE_MAX_SLOTS
    most = WAVE_MAX_SLOTS if checkpoint.worker_bound is None else checkpoint.worker_bound
    return max(1, min(ranges, most))


def allowed_workers(row: JobRow, plan: Plan, checkpoint: Checkpoint) -> int:
    """How many workers the next wave may have: what people or the plan said, less if AWS throttles or others wait."""
    own_workers = row.concurrency or plan.concurrency
    held = own_workers if row.held is None else max(1, row.held)
    return min(own_workers, held, checkpoint.worker_bound or own_workers)


def demand(row: JobRow, limits: Limits) -> int:
    """How many workers a job could use."""
    return max(1, min(_useful(row, limits), limits.workers))


def _useful(row: JobRow, limits: Limits) -> int:
    own_workers = row.concurrency or row.own_workers or limits.own_workers
    slots = row.wants or own_workers
    if row.pointer is None:  # before the plan, by ranges of the usual size: the stack's may be smaller
        slots *= max(1, RANGE_BYTES // limits.range_bytes)
    return min(own_workers, slots)


def _with_slots(workers: int, row: JobRow) -> int:
    """So many, but no more than the next wave has slots for, where that is known for certain."""
    return workers if row.pointer is None or row.wants is None else min(workers, row.wants)


def settled(row: JobRow, limits: Limits) -> int:
    """How many workers a running job may be using whatever is decided now: until its next commit."""
    if row.held is None:  # of an earlier release: it takes what it was planned with
        return _useful(row, limits)
    return _with_slots(row.held, row)


def claim(row: JobRow, limits: Limits) -> int:
    """How many workers a running job may be using, or take up at any moment."""
    return max(settled(row, limits), _with_slots(row.grant or 0, row))


def waterfall(demands: Sequence[int], total: int) -> list[int]:
    """Max-min shares of a total: nobody gets more than they ask for, and nobody less than another who asks for more.

    What cannot be divided goes to the first ones.
    """
    shares = [0] * len(demands)
    left = total
    order = sorted(range(len(demands)), key=lambda n: demands[n])
    for position, n in enumerate(order):
        share = left // (len(order) - position)
        if demands[n] > share:  # and all that follow
            rest = sorted(order[position:])
            for first, m in enumerate(rest):
                shares[m] = min(demands[m], share + (first < left - share * len(rest)))
            break
        shares[n] = demands[n]
        left -= demands[n]
    return shares


def in_turn(running: Sequence[JobRow], waiting: Sequence[JobRow]) -> list[JobRow]:
    """Who is next: pipelines in turn, those first that hold the fewest places; within one the oldest first."""
    holds = Counter(row.pipeline for row in running)
    lines: dict[str, list[JobRow]] = {}
    for row in sorted(waiting, key=lambda r: (r.created, r.job_id), reverse=True):
        lines.setdefault(row.pipeline, []).append(row)
    order: list[JobRow] = []
    while lines:
        name = min(lines, key=lambda p: (holds[p], lines[p][-1].created, p))
        order.append(lines[name].pop())
        holds[name] += 1
        if not lines[name]:
            del lines[name]
    return order


def shares(rows: Sequence[JobRow], limits: Limits, running: int) -> list[int]:
    """What each job should have: max-min over pipelines, then over the jobs of each, in the order of the rows.

    The first ones are `running` already and go on, be it with one worker: another gives it, who has most.
    """
    of: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        of.setdefault(row.pipeline, []).append(position)
    asked = [demand(row, limits) for row in rows]
    found = [0] * len(rows)
    of_pipelines = waterfall([sum(asked[n] for n in positions) for positions in of.values()], limits.workers)
    for positions, total in zip(of.values(), of_pipelines, strict=True):
        for n, share in zip(positions, waterfall([asked[n] for n in positions], total), strict=True):
            found[n] = share
    for n in range(running):
        if not found[n]:
            found[n] = 1
            givers = [m for m, share in enumerate(found) if share > (m < running)]
            if givers:
                found[max(givers, key=lambda m: found[m])] -= 1
    return found


def divide(running: Sequence[JobRow], waiting: Sequence[JobRow], limits: Limits) -> Division:
    """Who gets what. Grants above the share are lowered at once; what nobody claims goes to who has less than theirs.

    A job that waits is started with what is free, be it less than its share: it gets the rest as others commit.
    """
    starting = in_turn(running, waiting)[: max(0, limits.jobs - len(running))]
    targets = shares([*running, *starting], limits, len(running))
    kept: list[int] = []  # grants that nothing has to be free for
    lacking: list[int] = []
    free = limits.workers
    for row, share in zip(running, targets, strict=False):
        using = settled(row, limits)
        kept.append(share if share <= using else max(using, min(row.grant or 0, share)))
        lacking.append(max(0, share - max(using, kept[-1])))
        free -= max(using, kept[-1])
    given = waterfall([*targets[len(running) :], *lacking], max(0, free))
    starts = [(row, workers) for row, workers in zip(starting, given, strict=False) if workers]
    grants = [
        (row, grant + more)
        for row, grant, more in zip(running, kept, given[len(starting) :], strict=True)
        if grant + more != row.grant
    ]
    return Division(grants, starts)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands in line (1 is next), of how many, and what it waits for."""

    position: int
    of: int
    waits_for: Literal["jobs", "workers", "admit"]  # a limit, or no more than the next run of `admit`


def line(running: Sequence[JobRow], waiting: Sequence[JobRow], limits: Limits) -> dict[str, Place]:
    """Job id -> its place. As it is now: whoever comes from a pipeline that holds little goes before some of these."""
    places = limits.jobs - len(running)
    using = sum(claim(row, limits) for row in running)
    found: dict[str, Place] = {}
    for position, row in enumerate(in_turn(running, waiting), 1):
        reason: Literal["jobs", "workers", "admit"] = "admit"
        if position > places:
            reason = "jobs"
        elif using >= limits.workers:
            reason = "workers"
        using += demand(row, limits)
        found[row.job_id] = Place(position, len(waiting), reason)
    return found
