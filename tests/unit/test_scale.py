"""Jobs as large as the limits, in short: the whole ones run by `make scale`, which writes docs/limits.md."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from benchmarks.scale import jobs, pattern, worker
from benchmarks.scale.gateways import MeasuredStore, PatternObjects, Seen
from benchmarks.scale.machine import CODE

from rangemill import apply, crcs, keys, limits, messages, outcomes
from rangemill.formats.base import Settled
from rangemill.gateways import Gateways
from rangemill.messages import ApplyMessage, ObjectRef, OutcomeHeader, PinnedObject, Plan, Run, Slot, SlotItem
from rangemill_cli.inprocess.memory import in_memory

OBJECT_BYTES = 50_001


@pytest.mark.parametrize("shape", jobs.SHORT, ids=lambda shape: shape.name)
def test_a_job_at_its_limits_is_exact_and_flat_whatever_becomes_of_its_workers(shape: jobs.Shape) -> None:
    ran = jobs.run(shape)
    assert ran.problems == []
    assert ran.walker.largest_payload_bytes <= limits.CONTEXT_MAX_BYTES
    if shape.objects == 1:
        assert ran.row.generation + 1 >= 20
    if shape.weather.deaths:
        assert min(ran.workers.deaths, ran.workers.failures, ran.workers.stops) > 10


def test_outcomes_behind_a_range_that_kills_its_workers_are_read_when_they_come_and_when_they_count() -> None:
    poison = 300 * jobs.MILLION_RANGES_BYTES + 5  # in the second wave
    shape = replace(
        jobs.SHORT[0],
        object_bytes=3_000 * jobs.MILLION_RANGES_BYTES,
        budget_events=1_990,
        has_state=True,
        weather=worker.Weather(poison=poison, poison_until_wave=8),
    )
    ran = jobs.run(shape)
    assert ran.problems == []
    assert ran.workers.deaths > 3
    read = ran.store.seen["Aggregate", "GET", "outcome"]
    assert sum(read.counts.values()) <= 2 * ran.row.totals.slots
    assert max(read.counts.values()) > 4 * 199  # they had waited over several waves


def test_a_document_that_grows_with_the_job_is_told() -> None:
    ran = jobs.run(replace(jobs.SHORT[1], object_bytes=300 * jobs.MILLION_RANGES_BYTES))
    assert ran.problems == []
    seen = Seen()
    for wave in range(1, ran.waves + 1):
        seen.add(wave, wave * 10_000)
    ran.store.seen["Aggregate", "PUT", "checkpoint"] = seen
    (problem,) = jobs._growing(ran)
    assert problem.startswith("Aggregate PUT checkpoint: ")


class Read(PatternObjects):
    """The same objects, read as a worker does it."""

    def read(self, pin: PinnedObject, start: int, stop_hint: int) -> Iterator[bytes]:
        while start < pin.size_bytes:
            end = min(start + 1_000, pin.size_bytes)
            yield pattern.data(start, end)
            start = end


def published(world: Gateways, slot: Slot, should_stop: bool) -> tuple[OutcomeHeader, bytes]:
    """What the real `apply` publishes for the slot."""
    message = apply_message(world, slot)
    assert apply.run(message, world, CODE, lambda: should_stop) is not None
    return outcomes.decode(world.store.get(keys.outcome("counts-j", 1, slot.slot)) or b"", "it")


def apply_message(world: Gateways, slot: Slot) -> ApplyMessage:
    body = messages.encode(slot)
    world.store.put("slots", body)
    return ApplyMessage("counts-j", 0, 1, SlotItem(slot.slot, "slots", 0, len(body), "verdict"))


def world_of(objects: PatternObjects) -> Gateways:
    world = in_memory(objects)
    settled = Settled("text", {})
    plan = Plan("counts-j", "counts", worker.PIPELINE, "f", settled, CODE, 1_000, 4, 20_000, 1, OBJECT_BYTES, 1)
    world.store.put(keys.plan("counts-j"), messages.encode(plan))
    return world


SPANS = [
    [(0, OBJECT_BYTES)],
    [(1_000, 2_000)],
    [(3_000, 9_000)],
    [(49_000, OBJECT_BYTES)],
    [(1_000, 3_000), (7_000, 8_000)],
    [(1_013, 1_013 + 97)],  # nothing remains of it
]


@pytest.mark.parametrize(
    ("spans", "stops"), [*((spans, False) for spans in SPANS), *((spans, True) for spans in SPANS[:-1])]
)
def test_a_made_up_worker_publishes_what_a_real_one_does(spans: list[tuple[int, int]], stops: bool) -> None:
    objects = Read(2, OBJECT_BYTES)
    world = world_of(objects)
    pins = [objects.pin(objects.ref(number), number) for number in range(len(spans))]
    runs = [Run(number, start, end, 1_000) for number, (start, end) in enumerate(spans)]
    slot = Slot(0, pins, runs)
    real, partial = published(world, slot, stops)
    # A real worker stops behind its first block; where that is, is not for the made-up one to know.
    stopped = next((run.start for run in real.remaining if run.object_index == 0), spans[0][1])
    made, made_partial = worker.outcome(apply_message(world, slot), slot, (lambda _: stopped) if stops else None)
    assert bool(real.remaining) is stops or stopped == spans[0][1]
    assert msgspec.structs.replace(made, milliseconds=0, requests=0) == msgspec.structs.replace(
        real, milliseconds=0, requests=0
    )
    assert made_partial == partial


def test_a_small_object_of_a_listing_gets_its_checksum_from_its_worker() -> None:
    objects = Read(3, 9_001)
    world = world_of(objects)
    pins = [
        PinnedObject(number, "objects", objects.ref(number).key, objects.ref(number).etag or "", 9_001, crc_later=True)
        for number in range(3)
    ]
    slot = Slot(0, pins, [Run(number, 0, 9_001, 100_000) for number in range(3)])
    real, partial = published(world, slot, should_stop=False)
    made, made_partial = worker.outcome(apply_message(world, slot), slot, None)
    assert (made.pins, made.rows, made_partial) == (real.pins, real.rows, partial)


@pytest.mark.parametrize(
    ("start", "end"), [(0, 97), (0, 1_000), (5, 98), (100, 101), (1_000, 30_000), (96, 97 * 40 + 3)]
)
def test_a_tile_has_the_checksum_and_the_records_of_its_bytes(start: int, end: int) -> None:
    tile, body = pattern.Tile(start, end, 10**6), pattern.data(0, 10**6)
    assert tile.crc == crcs.CRC_FUNCTIONS[crcs.DEFAULT_CRC][0](body[start:end], 0)
    starts = [at for at in range(0, len(body), len(pattern.RECORD)) if start <= at < end]
    assert tile.records == len(starts)
    assert tile.first == (starts[0] if starts else None)
    assert tile.record_bytes == 96 * len(starts)


def test_the_store_forgets_what_only_earlier_waves_read() -> None:
    store = MeasuredStore()
    store.state, store.wave = "Fetch", 3
    store.put(keys.wave("j", 3), b"x")
    store.put(keys.plan("j"), b"y")
    store.forget(3)
    assert store.get(keys.wave("j", 3)) == b"x"
    store.forget(4)
    assert (store.get(keys.wave("j", 3)), store.get(keys.plan("j"))) == (None, b"y")
    assert store.seen["Fetch", "PUT", "wave document"].largest == {3: 1}


def test_objects_of_a_listing_come_in_pages() -> None:
    objects = PatternObjects(2_500, 10)
    pages: list[list[ObjectRef]] = []
    after: str | None = None
    while not pages or after is not None:
        listing = objects.list_page("objects", "data/", after)
        pages.append([ref for ref, _ in listing.objects])
        after = listing.after
    assert [len(page) for page in pages] == [1_000, 1_000, 500]
    assert objects.pin(ObjectRef("objects", pages[2][-1].key), 7).crc == pattern.Tile(0, 10, 10).crc
