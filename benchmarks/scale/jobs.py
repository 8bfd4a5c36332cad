"""The jobs at scale, and what is held of each: exact totals, flat documents, history within its budget."""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import msgspec

from benchmarks.scale import alone, pattern
from benchmarks.scale.alone import Alone
from benchmarks.scale.gateways import MeasuredStore, PatternObjects
from benchmarks.scale.machine import Walker, retries_of
from benchmarks.scale.worker import PIPELINE, Weather, Workers
from rangemill import admission
from rangemill.limits import CONCURRENCY, FOLD_FAN_IN, HISTORY_BUDGET_EVENTS, RANGE_BYTES, S3_OBJECT_MAX_BYTES
from rangemill.messages import JobRequest, JobRow, Prefix, StateMessage
from rangemill.plan import Defaults
from rangemill_cli.inprocess.memory import in_memory

_NOISE_BYTES: Final = 4096  # by which a document may be larger later in a job than before: digits, and luck
_NOISE_REQUESTS: Final = 2 * FOLD_FAN_IN  # a level of the counter is folded now and then
# Written once, at the job's end, and not read by any state: one line for each wave.
_AT_THE_END: Final = frozenset({"report"})


@dataclass(frozen=True, slots=True)
class Shape:
    """A job to run. `many`: its objects come from a listing, else it has one and names it."""

    name: str
    what: str
    object_bytes: int
    objects: int = 1
    range_bytes: int = RANGE_BYTES
    concurrency: int = CONCURRENCY
    budget_events: int = HISTORY_BUDGET_EVENTS
    weather: Weather = field(default_factory=Weather)
    all_retries: bool = False  # every state fails as often as the machine repeats it
    has_state: bool = False  # as of a format whose ranges wait for the word of the range before them
    alone_at_wave: int = 0  # whose states are also run alone, each in a fresh process

    @property
    def bytes(self) -> int:
        """Of all objects."""
        return self.object_bytes * self.objects

    @property
    def ranges(self) -> int:
        """Of all objects, as they are cut at first."""
        return -(-self.object_bytes // self.range_bytes) * self.objects

    @property
    def records(self) -> int:
        """Of all objects."""
        return pattern.Tile(0, self.object_bytes, self.object_bytes).records * self.objects

    @property
    def record_bytes(self) -> int:
        """Of all objects, without line ends."""
        return pattern.Tile(0, self.object_bytes, self.object_bytes).record_bytes * self.objects


@dataclass(slots=True)
class Ran:
    """A job that was run, with all that was measured of it."""

    shape: Shape
    row: JobRow
    walker: Walker
    workers: Workers
    store: MeasuredStore
    seconds: float
    alone: list[Alone] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def waves(self) -> int:
        """Committed waves."""
        return self.row.totals.waves


def run(shape: Shape) -> Ran:
    """Run a job of that shape to its end and hold everything against what must be."""
    store = MeasuredStore()
    objects = PatternObjects(shape.objects, shape.object_bytes)
    gateways = replace(in_memory(objects), store=store)
    workers = Workers(gateways, shape.weather, shape.has_state)
    walker = Walker(gateways, Defaults(shape.range_bytes, shape.concurrency, shape.budget_events), workers.work)
    walker.kept_waves = shape.weather.poison_until_wave
    if shape.all_retries:
        walker.repeats = lambda state, _: retries_of(state)
    measured: list[Alone] = []
    if shape.alone_at_wave:
        walker.before_state = partial(_alone, shape.alone_at_wave, walker, measured)
    job_id = admission.new_job_id("counts")
    first = objects.ref(0)
    request = JobRequest(
        job_id,
        "counts",
        PIPELINE,
        "counts.yaml",
        "submit",
        [] if shape.objects > 1 else [first],
        [Prefix(first.bucket, objects.prefix)] if shape.objects > 1 else [],
    )
    admission.create_job(request, gateways)
    began = time.monotonic()
    walker.run(job_id)
    ran = Ran(shape, gateways.jobs.load(job_id), walker, workers, store, time.monotonic() - began, measured)
    ran.problems = [*_inexact(ran), *_over_budget(ran), *_growing(ran)]
    return ran


def _alone(wave: int, walker: Walker, found: list[Alone], state: str, message: StateMessage) -> None:
    """Run a state alone the first time that it comes at that wave or later; Plan the first time."""
    if (state == "Plan" or message.context.wave >= wave) and state not in [each.state for each in found]:
        found.append(alone.measure(state, message, walker))


def _inexact(ran: Ran) -> list[str]:
    """Where the job's totals, its proof or its result are not exactly what the pattern has."""
    row, shape = ran.row, ran.shape
    if row.status != "SUCCEEDED" or row.result is None:
        return [f"the job is {row.status}: {row.error}"]
    found: dict[str, Any] = {name: row.result[name] for name in ("objects", "bytes", "records", "ranges", "rejects")}
    wanted: dict[str, Any] = {
        "objects": shape.objects,
        "bytes": shape.bytes,
        "records": shape.records,
        "ranges": shape.ranges + len(ran.workers.unaligned),
        "rejects": 0,
    }
    problems = [f"{name}: {found[name]:,}, not {wanted[name]:,}" for name in wanted if found[name] != wanted[name]]
    proof = {"complete": True, "level": "bytes", "checksum": "CRC64NVME", "matched": True}
    if row.result["proof"] != proof:
        problems.append(f"the proof is {row.result['proof']}")
    result = msgspec.json.decode(ran.store.get(row.result["output"][0]) or b"{}")
    if result != {"records": shape.records, "bytes": shape.record_bytes}:
        problems.append(f"the result is {result}")
    if row.totals.deaths != ran.workers.deaths:
        problems.append(f"{row.totals.deaths} deaths were counted of {ran.workers.deaths}")
    return problems


def _over_budget(ran: Ran) -> list[str]:
    most = max(ran.walker.events)
    return [f"{most} events in one execution"] if most > ran.shape.budget_events else []


def _growing(ran: Ran) -> list[str]:
    """Documents that are larger in the last third of the waves than in the second, and requests that become more."""
    problems: list[str] = []
    first, second = ran.waves // 3, ran.waves * 2 // 3
    for (state, request, kind), seen in ran.store.seen.items():
        if kind in _AT_THE_END or ran.waves < 9:
            continue
        for what, by_wave, slack in (("bytes", seen.largest, _NOISE_BYTES), ("requests", seen.counts, _NOISE_REQUESTS)):
            middle = max((v for wave, v in by_wave.items() if first < wave <= second), default=0)
            last = max((v for wave, v in by_wave.items() if second < wave < ran.waves), default=0)
            if last > middle + middle // 10 + slack:
                problems.append(
                    f"{state} {request} {kind}: {last:,} {what} in the last third, {middle:,} in the second"
                )
    return problems


# --- the jobs --------------------------------------------------------------------------------------------------------

_BAD_DAY: Final = Weather(deaths=20, transient=30, remainders=50)
MILLION_RANGES_BYTES: Final = -(-S3_OBJECT_MAX_BYTES // 10**6)  # the largest object in exactly a million ranges

JOBS: Final = (
    Shape(
        "each range a slot",
        "a budget so small that every slot is one range, and a bad day",
        S3_OBJECT_MAX_BYTES,
        range_bytes=MILLION_RANGES_BYTES,
        budget_events=1_990,
        weather=_BAD_DAY,
        alone_at_wave=4_000,
    ),
    Shape(
        "every retry",
        "two workers; every state fails as often as the machine repeats it, in every wave",
        S3_OBJECT_MAX_BYTES,
        range_bytes=MILLION_RANGES_BYTES,
        concurrency=2,
        budget_events=5_000,
        all_retries=True,
    ),
    Shape("defaults", "everything as the stack has it", S3_OBJECT_MAX_BYTES, alone_at_wave=30),
    Shape(
        "full waves",
        "10,000 workers and a bad day: 2,000 slots a wave, hundreds of which come back",
        S3_OBJECT_MAX_BYTES,
        range_bytes=MILLION_RANGES_BYTES,
        concurrency=10_000,
        weather=Weather(deaths=20, transient=200, remainders=200),
        alone_at_wave=3,
    ),
    Shape(
        "a million objects",
        "objects of 1 MB from a listing, each a range, and a bad day: 100,000 ranges a wave",
        10**6,
        objects=10**6,
        weather=_BAD_DAY,
        alone_at_wave=7,
    ),
)
# In seconds, for every run of the unit tests.
SHORT: Final = (
    replace(JOBS[0], name="short", object_bytes=20_000 * MILLION_RANGES_BYTES - 1, budget_events=500, alone_at_wave=0),
    replace(JOBS[1], name="short, every retry", object_bytes=3_000 * MILLION_RANGES_BYTES - 1, budget_events=250),
    replace(
        JOBS[4],
        name="short, objects",
        object_bytes=9_001,
        objects=6_000,
        range_bytes=100_000,
        budget_events=500,
        alone_at_wave=0,
    ),
)
