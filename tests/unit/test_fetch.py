"""Handing out a wave: every byte once, in slots that fit the workers."""

import json
import random
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rangemill import fetch, messages, retries
from rangemill.formats.base import Settled
from rangemill.limits import (
    HISTORY_BUDGET_EVENTS,
    PENDING_MAX_OUTCOMES,
    SLOT_LEAST_SECONDS,
    SLOT_MAX_RUNS,
    SLOT_TARGET_SECONDS,
    WAVE_MAX_RUNS,
    WAVE_MAX_SLOTS,
    WAVE_STRETCH,
    WAVE_TARGET_SECONDS,
    WRONG_WAVES_MAX,
)
from rangemill.messages import (
    Checkpoint,
    CodeIdentity,
    Cursor,
    JobRow,
    OpenObject,
    PendingOutcome,
    PinnedObject,
    Plan,
    PlanPage,
    RetrySlot,
    Run,
    Slot,
)

MIB = 2**20


class Job:
    """A plan and its pages, of objects of these sizes."""

    def __init__(
        self,
        sizes: list[int],
        *,
        range_bytes: int = 64 * MIB,
        workers: int = 100,
        budget: int = 20_000,
        page: int = 1000,
    ) -> None:
        self.pages: list[PlanPage] = []
        before = 0
        for start in range(0, len(sizes), page) or [0]:
            objects = [
                PinnedObject(n, "b", f"k{n}", "e", sizes[n]) for n in range(start, min(start + page, len(sizes)))
            ]
            self.pages.append(PlanPage(objects, start, before, None))
            before += sum(o.size_bytes for o in objects)
        self.sizes = sizes
        settled, code = Settled("text", {}), CodeIdentity("c", "p", "d")
        self.plan = Plan(
            "j", "p", "t", "f", settled, code, range_bytes, workers, budget, len(sizes), sum(sizes), len(self.pages)
        )
        self.pages_read: list[int] = []

    def page(self, number: int) -> PlanPage:
        self.pages_read.append(number)
        return self.pages[number]

    def wave(self, checkpoint: Checkpoint) -> tuple[list[Slot], Checkpoint]:
        slots, handout = fetch.plan_wave(checkpoint, self.plan, self.page)
        assert handout.slots == len(slots)
        assert [slot.slot for slot in slots] == list(range(len(slots)))
        assert handout.wave == checkpoint.wave + 1
        return slots, replace(checkpoint, wave=handout.wave, cursor=handout.cursor, retry=handout.retry)


def size_of(slot: Slot) -> int:
    return sum(run.end - run.start for run in slot.runs)


def assert_tiled(slots: list[Slot], sizes: list[int]) -> None:
    """Every byte of every object in exactly one run; an empty object in one empty run."""
    runs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for slot in slots:
        for run in slot.runs:
            runs[run.object_index].append((run.start, run.end))
    assert sorted(runs) == list(range(len(sizes)))
    for index, size in enumerate(sizes):
        position = 0
        for start, end in sorted(runs[index]):
            assert start == position
            assert end > start or size == 0
            position = end
        assert position == size
        assert size or runs[index] == [(0, 0)]


@given(
    st.lists(st.integers(0, 3_000) | st.just(0), min_size=1, max_size=40),
    st.integers(1, 700),
    st.integers(1, 50),
    st.sampled_from([100, 300, HISTORY_BUDGET_EVENTS]),
    st.integers(1, 7),
    st.sampled_from([None, 0.5, 3.0, 1e9]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_all_waves_together_hand_out_every_byte_once(
    sizes: list[int],
    range_bytes: int,
    workers: int,
    budget: int,
    page: int,
    speed: float | None,
    rng: random.Random,
) -> None:
    """Some slots come back, in part or whole, and are handed out first."""
    job = Job(sizes, range_bytes=range_bytes, workers=workers, budget=budget, page=page)
    checkpoint = Checkpoint("j", 0, Cursor(), bytes_per_second=speed)
    done: list[Slot] = []
    for _ in range(2_000):
        if checkpoint.cursor.page >= job.plan.pages and not checkpoint.retry:
            break
        waiting = checkpoint.retry
        if checkpoint.cursor.page >= job.plan.pages:
            waiting = retries.spread(waiting, workers, checkpoint.bytes_per_second)
        slots, checkpoint = job.wave(checkpoint)
        assert 0 < len(slots) <= WAVE_MAX_SLOTS
        assert [slot.runs for slot in slots[: len(waiting)]] == [retry.runs for retry in waiting]
        returned = []
        for slot in slots:
            assert slot.runs
            assert len({run.object_index for run in slot.runs}) == len(slot.runs)  # one run of an object is enough
            assert {pin.index for pin in slot.objects} == {run.object_index for run in slot.runs}
            assert all(run.start % range_bytes == 0 for run in slot.runs if slot.slot >= len(waiting))
            if rng.random() < 0.2 and checkpoint.wave < 20:
                kept = rng.randrange(len(slot.runs))
                done.append(Slot(0, slot.objects, slot.runs[:kept]))
                returned.append(retries.remainder(slot, slot.runs[kept:]))
            else:
                done.append(slot)
        checkpoint = replace(checkpoint, retry=[*returned, *checkpoint.retry])
    assert_tiled(done, sizes)


def test_a_wave_is_the_same_whoever_plans_it() -> None:
    job = Job([random.Random(1).randrange(10**9) for _ in range(300)])
    checkpoint = Checkpoint("j", 4, Cursor(0, 5, 64 * MIB), bytes_per_second=7e7)
    assert fetch.plan_wave(checkpoint, job.plan, job.page) == fetch.plan_wave(checkpoint, job.plan, job.page)


def test_the_retry_list_comes_first_and_leaves_room_for_what_is_new() -> None:
    job = Job([10**12], workers=10)
    pin = job.pages[0].objects[0]
    retry = [RetrySlot([pin], [Run(0, n * 64 * MIB, (n + 1) * 64 * MIB, 64 * MIB)]) for n in range(5)]
    checkpoint = Checkpoint("j", 1, Cursor(0, 0, 5 * 64 * MIB), retry)
    slots, after = job.wave(checkpoint)
    assert [slot.runs for slot in slots[:5]] == [r.runs for r in retry]
    assert slots[5].runs[0].start == 5 * 64 * MIB
    assert after.retry == []


def test_a_retry_list_longer_than_a_wave_waits_for_the_next_and_the_cursor_stays() -> None:
    job = Job([10**12])
    pin = job.pages[0].objects[0]
    retry = [RetrySlot([pin], [Run(0, n, n + 1, 64 * MIB)]) for n in range(WAVE_MAX_SLOTS + 7)]
    cursor = Cursor(0, 0, 64 * MIB)
    slots, after = job.wave(Checkpoint("j", 1, cursor, retry))
    assert len(slots) == WAVE_MAX_SLOTS
    assert (after.cursor, after.retry) == (cursor, retry[-7:])


def slow_rest(job: Job, *, bytes_per_second: float = 1000.0, **of: object) -> Checkpoint:
    """A job at whose end one worker handed most of a range back."""
    pin = replace(job.pages[0].objects[0], **of)
    retry = [RetrySlot([pin], [Run(0, 1234, 64 * MIB, 64 * MIB, "r")])]
    return Checkpoint("j", 1, Cursor(1, 0, 0), retry, bytes_per_second=bytes_per_second)


def test_what_a_slow_worker_handed_back_is_spread_over_those_that_would_be_idle() -> None:
    job = Job([64 * MIB], workers=10)
    slots, _ = job.wave(slow_rest(job))
    runs = [run for slot in slots for run in slot.runs]
    assert len(slots) == 10
    assert (runs[0].start, runs[-1].end) == (1234, 64 * MIB)
    assert all(left.end == right.start for left, right in pairwise(runs))
    assert max(run.end - run.start for run in runs) < 8 * MIB
    assert [run.state for run in runs] == ["r", *[None] * 9]  # nobody has told what the others begin in


def test_no_slot_is_cut_for_less_than_it_is_worth() -> None:
    job = Job([64 * MIB], workers=100)
    third = 64 * MIB / (3.5 * SLOT_TARGET_SECONDS)
    assert len(job.wave(slow_rest(job, bytes_per_second=third))[0]) == 3
    assert len(job.wave(slow_rest(job, bytes_per_second=1e6))[0]) == 1


def test_what_came_back_stays_whole_while_all_have_something_to_do_or_it_is_compressed_or_suspected() -> None:
    alone = Job([64 * MIB], workers=1)
    assert len(alone.wave(slow_rest(alone))[0]) == 1
    job = Job([64 * MIB], workers=10)
    assert len(job.wave(slow_rest(job, compression="gzip"))[0]) == 1
    assert len(job.wave(slow_rest(job, archive="tar"))[0]) == 1
    suspected = slow_rest(job)
    suspected = replace(suspected, retry=[replace(suspected.retry[0], suspect=True)])
    assert len(job.wave(suspected)[0]) == 1
    misled = OpenObject(job.pages[0].objects[0], [], wrong_waves=WRONG_WAVES_MAX)  # its states are told one by one
    assert len(job.wave(replace(slow_rest(job), open_objects=[misled]))[0]) == 1
    more = Job([64 * MIB, 10**12], workers=10)
    unfinished = replace(slow_rest(more), cursor=Cursor(0, 1, 0))
    assert more.wave(unfinished)[0][0].runs == unfinished.retry[0].runs


@pytest.mark.parametrize("past", [{"deaths": 1}, {"tries": 1}, {"condemned": "why"}, {"redo": ["file"]}], ids=str)
def test_what_failed_before_is_not_spread_and_keeps_its_past(past: dict[str, Any]) -> None:
    job = Job([64 * MIB], workers=10)
    rest = slow_rest(job)
    again = replace(rest.retry[0], **past)
    slots, handout = fetch.plan_wave(replace(rest, retry=[again]), job.plan, job.page)
    assert len(slots) == 1
    assert handout.retried == [again]


def test_nothing_new_is_handed_out_while_too_many_outcomes_wait_for_what_came_back() -> None:
    job = Job([10**12])
    cursor = Cursor(0, 0, 64 * MIB * 1000)
    pin = job.pages[0].objects[0]
    back = [RetrySlot([pin], [Run(0, 0, 64 * MIB, 64 * MIB)])]
    waits = PendingOutcome("key", 1, Slot(1, [pin], [Run(0, 64 * MIB, 128 * MIB, 64 * MIB)]), [(0, 64 * MIB)])
    for count, new in ((PENDING_MAX_OUTCOMES, False), (PENDING_MAX_OUTCOMES - 1, True)):
        slots, after = job.wave(Checkpoint("j", 1, cursor, retry=back, pending=[waits] * count))
        assert (len(slots) > 1, after.cursor > cursor) == (new, new)
    slots, _ = job.wave(Checkpoint("j", 1, cursor, pending=[waits] * PENDING_MAX_OUTCOMES))
    assert len(slots) > 1  # else nothing would ever be handed out again


def test_waves_of_many_small_objects_do_not_grow_with_what_comes_back() -> None:
    """Each slot gives all but one of its objects back, as slow workers do."""
    job = Job([MIB] * 700_000, workers=100)
    checkpoint = Checkpoint("j", 0, Cursor())
    for _ in range(4):
        slots, checkpoint = job.wave(checkpoint)
        runs = sum(len(slot.runs) for slot in slots)
        assert runs <= WAVE_MAX_RUNS + SLOT_MAX_RUNS
        back = [RetrySlot(slot.objects[1:], slot.runs[1:]) for slot in slots]
        checkpoint = replace(checkpoint, retry=back + checkpoint.retry)


def test_all_workers_have_something_to_do_and_slots_shrink_towards_the_end() -> None:
    speed = 80 * 10**6
    job = Job([5 * 10**12], workers=200)
    slots, _ = job.wave(Checkpoint("j", 1, Cursor(), bytes_per_second=speed))
    sizes = [size_of(slot) for slot in slots]
    assert 400 <= len(slots) <= WAVE_MAX_SLOTS
    assert max(sizes) <= speed * SLOT_TARGET_SECONDS
    assert sum(sizes) / 200 / speed <= WAVE_TARGET_SECONDS + 1
    assert all(later <= earlier + 64 * MIB for earlier, later in pairwise(sizes))
    # No slot is so short that its transitions cost as much as its work; the last one has what is left.
    assert len(slots) <= 3 * 200
    assert speed * SLOT_LEAST_SECONDS - 64 * MIB <= sizes[-2] < sizes[0] * 0.6


def test_what_would_be_a_short_last_wave_is_part_of_the_one_before() -> None:
    wave_bytes = int(100 * 60e6 * WAVE_TARGET_SECONDS)
    for size, waves in ((int(wave_bytes * WAVE_STRETCH), 1), (int(wave_bytes * WAVE_STRETCH) + 1, 2)):
        job, checkpoint, slots = Job([size]), Checkpoint("j", 0, Cursor()), 0
        while checkpoint.cursor.page < job.plan.pages:
            handed, checkpoint = job.wave(checkpoint)
            slots += len(handed)
        assert (checkpoint.wave, slots <= 350 * waves) == (waves, True)


def test_a_small_object_is_spread_over_the_workers() -> None:
    slots, _ = Job([100 * 64 * MIB], workers=100).wave(Checkpoint("j", 0, Cursor()))
    assert len(slots) == 100


def test_with_many_workers_a_wave_fills_its_slots_evenly() -> None:
    slots, after = Job([50 * 10**12], workers=1000).wave(Checkpoint("j", 0, Cursor()))
    assert len(slots) == WAVE_MAX_SLOTS
    sizes = {size_of(slot) for slot in slots}
    assert max(sizes) <= 1.2 * min(sizes)
    assert sum(size_of(slot) for slot in slots) > 0.9 * 1000 * 60e6 * WAVE_TARGET_SECONDS
    assert after.cursor.offset > 0


def test_small_objects_are_packed_into_slots_and_into_waves() -> None:
    job = Job([1_000] * 250_000, workers=100)
    started = time.perf_counter()
    slots, after = job.wave(Checkpoint("j", 0, Cursor()))
    assert time.perf_counter() - started < 60
    runs = [len(slot.runs) for slot in slots]
    assert WAVE_MAX_RUNS <= sum(runs) < WAVE_MAX_RUNS + 1000
    assert len(slots) >= 200  # every worker has two
    assert max(runs) <= 1000
    assert len(set(job.pages_read)) <= 102
    rest, _ = job.wave(after)
    assert rest[0].runs[0].object_index == sum(runs)
    body = sum(len(messages.encode(slot)) for slot in slots)
    assert body < 20 * MIB


def test_a_50_tb_object_takes_a_small_document_and_little_time() -> None:
    job = Job([50 * 10**12], workers=10_000)
    checkpoint = Checkpoint("j", 0, Cursor())
    waves, slots_seen, started = 0, 0, time.perf_counter()
    while checkpoint.cursor.page == 0:
        slots, checkpoint = job.wave(checkpoint)
        waves += 1
        slots_seen += len(slots)
        assert len(slots) <= WAVE_MAX_SLOTS
        assert sum(len(messages.encode(slot)) for slot in slots) < MIB
    assert time.perf_counter() - started < 60
    assert waves < 10
    assert slots_seen < 15_000


def test_a_small_budget_makes_small_waves_whatever_the_concurrency() -> None:
    for workers in (1, 10, 5_000):
        slots, _ = Job([10**9], range_bytes=1000, workers=workers, budget=200).wave(Checkpoint("j", 0, Cursor()))
        assert len(slots) <= 50
        assert {size_of(slot) for slot in slots} == {1000}


def test_pages_without_objects_are_stepped_over() -> None:
    job = Job([5, 6])
    empty = PlanPage([], 0, 0, None)
    job.pages = [
        empty,
        empty,
        PlanPage(job.pages[0].objects[:1], 0, 0, None),
        empty,
        PlanPage(job.pages[0].objects[1:], 1, 5, None),
        empty,
    ]
    job.plan = replace(job.plan, pages=6)
    slots, after = job.wave(Checkpoint("j", 0, Cursor()))
    assert_tiled(slots, [5, 6])
    assert after.cursor.page == 6


def test_items_name_their_bytes_in_the_slots_document() -> None:
    from rangemill import keys
    from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

    gateways = in_memory(MemoryObjects())
    slots, handout = fetch.plan_wave(Checkpoint("j", 0, Cursor()), (job := Job([10**9, 0, 5])).plan, job.page)
    slots_key = keys.slots("j", 1, "a")
    row = JobRow("j", "p", "RUNNING", "c", "o")
    body = fetch._write(gateways, row, slots_key, slots, handout)
    for item, slot in zip(json.loads(body), slots, strict=True):
        span = gateways.store.get(item["slots_key"], (item["start"], item["end"])) or b""
        assert messages.decode(span, Slot, "s") == slot
        assert item["verdict_key"] == keys.verdict("j", 1, slot.slot)
    assert fetch._write(gateways, row, keys.slots("j", 1, "b"), slots[:1], handout) == body
