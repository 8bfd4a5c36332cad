"""A wave's outcomes and what they make of the checkpoint; levels that count like a number."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rangemill import aggregate, folding, outcomes
from rangemill import wave as wave_module
from rangemill.closing import merge_intervals
from rangemill.engines.base import FinishedRows
from rangemill.errors import ChecksumMismatch, CountMismatch, IncompleteProof
from rangemill.formats.base import Settled
from rangemill.ledger import CRC_FUNCTIONS, Segment
from rangemill.limits import FOLD_BATCH_BYTES, FOLD_BATCH_PARTIALS, FOLD_FAN_IN
from rangemill.messages import (
    Checkpoint,
    CodeIdentity,
    Cursor,
    Handout,
    OutcomeHeader,
    PinnedObject,
    Plan,
    RetrySlot,
    Run,
    Slot,
    Totals,
    Verdict,
)
from rangemill.wave import Wave
from rangemill_cli.inprocess.memory import MemoryStore

BODY = b"a\nbb\nccc\ndd\ne\n"
PLAN = Plan("j", "p", "t", "f", Settled("text", {}), CodeIdentity("c", "p", "d"), 4, 10, 20_000, 2, 28, 1)


class ListFolder:
    """Partials are JSON lists; folding appends. It remembers how often it was asked, and with how many."""

    def __init__(self) -> None:
        self.folds: list[int] = []

    def fold(self, partials: list[bytes]) -> bytes:
        self.folds.append(len(partials))
        return json.dumps(list(itertools.chain.from_iterable(map(json.loads, partials)))).encode()

    def finish(self, total: bytes) -> FinishedRows:
        return FinishedRows(total, 0)


def crc(data: bytes) -> int:
    return CRC_FUNCTIONS["CRC64NVME"][0](data, 0)


def pin(index: int, **changes: object) -> PinnedObject:
    return replace(PinnedObject(index, "b", f"k{index}", "e", len(BODY), crc=crc(BODY)), **changes)


def segment(start: int, end: int, first: int | None, last: int | None, records: int) -> Segment:
    return Segment(start, end, crc(BODY[start:end]), first, last, records, 1)


LEFT, RIGHT = segment(0, 5, 0, 5, 2), segment(5, 14, 5, 14, 3)


def wave_of(slots: int, before: Checkpoint | None = None, retried: list[RetrySlot] | None = None) -> Wave:
    before = before or Checkpoint("j", 0, Cursor())
    handout = Handout(before.wave + 1, slots, Cursor(1), [], retried or [])
    return Wave(before, PLAN, handout, ListFolder())


def slot(number: int, *runs: tuple[int, int, int], **pins: object) -> Slot:
    return Slot(number, [pin(i, **pins) for i in sorted({r[0] for r in runs})], [Run(*r, 4) for r in runs])


def outcome(number: int, rows: list[tuple[int, list[Segment]]], partial: bytes = b"[1]", **changes: object) -> bytes:
    records = sum(s.records for _, segments in rows for s in segments)
    done = sum(s.end - s.start for _, segments in rows for s in segments)
    header = OutcomeHeader("j", 1, number, rows, [], records, records, 0, done, 2_000, 3)
    return outcomes.encode(replace(header, **changes), partial)


def nothing() -> None:
    return None


def test_objects_are_closed_when_their_last_tile_comes_in_whatever_wave() -> None:
    first = wave_of(2)
    first.add(slot(0, (0, 5, 14)), outcome(0, [(0, [RIGHT])]), nothing)
    first.add(slot(1, (1, 0, 14)), outcome(1, [(1, [LEFT, RIGHT])]), nothing)
    checkpoint, closed = first.close()
    assert [(c.index, c.records, c.matched) for c in closed] == [(1, 5, True)]
    assert [(o.pin.index, o.segments) for o in checkpoint.open_objects] == [(0, [RIGHT])]
    assert checkpoint.closed == [(1, 2)]
    assert (checkpoint.totals.bytes, checkpoint.totals.records, checkpoint.totals.objects) == (23, 8, 1)
    second = wave_of(1, checkpoint)
    second.add(slot(0, (0, 0, 5)), outcome(0, [(0, [LEFT])], wave=2), nothing)
    checkpoint, closed = second.close()
    assert [(c.index, c.records, c.ranges) for c in closed] == [(0, 5, 2)]
    assert (checkpoint.open_objects, checkpoint.closed) == ([], [(0, 2)])
    assert checkpoint.totals == Totals(
        objects=2,
        bytes=28,
        records=10,
        ranges=4,
        slots=3,
        waves=2,
        worker_milliseconds=6_000,
        worker_requests=9,
        invocations=3,
    )


def test_a_tile_that_an_earlier_wave_has_is_refused() -> None:
    before = wave_of(1)
    before.add(slot(0, (0, 5, 14)), outcome(0, [(0, [RIGHT])]), nothing)
    again = wave_of(1, before.close()[0])
    with pytest.raises(IncompleteProof, match="covered twice"):
        again.add(slot(0, (0, 5, 14)), outcome(0, [(0, [RIGHT])], wave=2), nothing)


def test_an_object_that_was_closed_is_not_closed_again() -> None:
    before = wave_of(1)
    before.add(slot(0, (0, 0, 14)), outcome(0, [(0, [LEFT, RIGHT])]), nothing)
    again = wave_of(1, before.close()[0])
    again.add(slot(0, (0, 0, 14)), outcome(0, [(0, [LEFT, RIGHT])], wave=2), nothing)
    with pytest.raises(CountMismatch, match="proved twice"):
        again.close()


def test_bytes_that_are_not_the_objects_are_refused_when_it_closes() -> None:
    wave = wave_of(1)
    wave.add(slot(0, (0, 0, 14), crc=5), outcome(0, [(0, [LEFT, RIGHT])]), nothing)
    with pytest.raises(ChecksumMismatch, match=r"s3://b/k0"):
        wave.close()


def test_a_crc_that_came_with_the_read_is_held_against_the_bytes() -> None:
    for brought, matches in ((crc(BODY), True), (5, False), (None, None)):
        wave = wave_of(1)
        learnt = pin(0, crc=brought, version_id="v7")
        body = outcome(0, [(0, [LEFT, RIGHT])], pins=[learnt])
        wave.add(slot(0, (0, 0, 14), crc=None, crc_later=True), body, nothing)
        if matches is False:
            with pytest.raises(ChecksumMismatch):
                wave.close()
        else:
            checkpoint, (closed,) = wave.close()
            assert (closed.matched, closed.version_id) == (matches, "v7")
            assert checkpoint.totals.unmatched_objects == (matches is None)


def test_what_remains_comes_back_with_what_was_learnt_of_its_object() -> None:
    wave = wave_of(1)
    learnt = pin(0, version_id="v7")
    body = outcome(0, [(0, [LEFT])], remaining=[Run(0, 5, 14, 4)], pins=[learnt])
    wave.add(slot(0, (0, 0, 14), crc=None, crc_later=True), body, nothing)
    checkpoint, _ = wave.close()
    assert checkpoint.retry == [RetrySlot([learnt], [Run(0, 5, 14, 4)])]


def test_slots_without_an_outcome_come_back_before_what_waits_and_their_verdict_is_asked_for_only_then() -> None:
    waiting = RetrySlot([pin(9)], [Run(9, 0, 4, 4)])
    wave = wave_of(3)
    wave.handout = replace(wave.handout, retry=[waiting])
    asked: list[int] = []

    def verdict(number: int) -> Verdict | None:
        asked.append(number)
        return Verdict(error={"type": "Transient", "message": "m", "retryable": True}) if number == 1 else None

    wave.add(slot(0, (0, 0, 14)), outcome(0, [(0, [LEFT, RIGHT])]), lambda: verdict(0))
    wave.add(slot(1, (1, 0, 5)), None, lambda: verdict(1))
    wave.add(slot(2, (1, 5, 14)), None, lambda: verdict(2))
    checkpoint, _ = wave.close()
    assert asked == [1, 2]
    assert [(r.deaths, r.tries) for r in checkpoint.retry] == [(0, 1), (1, 0), (0, 0)]
    assert (checkpoint.first_slots, checkpoint.first_deaths) == (3, 1)
    assert checkpoint.retry[-1] == waiting
    assert checkpoint.totals.deaths == 1


def test_a_slot_that_was_handed_out_again_is_judged_by_its_past() -> None:
    past = RetrySlot([pin(0)], [Run(0, 0, 14, 4)], deaths=1, tries=2)
    wave = wave_of(2, retried=[past])
    wave.add(Slot(0, past.objects, past.runs), None, nothing)
    wave.add(slot(1, (1, 0, 14)), None, nothing)
    checkpoint, _ = wave.close()
    assert [(r.deaths, r.tries, r.runs[0].start) for r in checkpoint.retry] == [
        *((0, 2, start) for start in (0, 4, 8, 12)),
        (1, 0, 0),
    ]


def test_a_wave_in_which_workers_die_everywhere_fails() -> None:
    wave = wave_of(200)
    for number in range(200):
        wave.add(slot(number, (number, 0, 14)), None, nothing)
    checkpoint, _ = wave.close()
    assert checkpoint.failure is not None
    assert checkpoint.failure["type"] == "WorkerDied"
    assert "200 workers died" in checkpoint.failure["message"]
    assert len(checkpoint.retry) == 200  # for a redrive


def test_throughput_is_that_of_one_worker_and_kept_over_a_wave_that_shows_none() -> None:
    wave = wave_of(1)
    wave.add(slot(0, (0, 0, 14)), outcome(0, [(0, [LEFT, RIGHT])]), nothing)
    checkpoint, _ = wave.close()
    assert checkpoint.bytes_per_second == 7.0
    idle = wave_of(1, replace(checkpoint, closed=[]))
    idle.add(slot(0, (1, 0, 14)), outcome(0, [(1, [LEFT, RIGHT])], wave=2, milliseconds=10), nothing)
    assert idle.close()[0].bytes_per_second == 7.0


def test_partials_are_folded_in_order_and_a_bounded_number_at_a_time() -> None:
    wave = wave_of(200)
    for number in range(200):
        own = slot(number, (number, 0, 14))
        wave.add(own, outcome(number, [(number, [LEFT, RIGHT])], f"[{number}]".encode()), nothing)
    wave.close()
    assert json.loads(wave.partial or b"") == list(range(200))
    assert isinstance(wave.folder, ListFolder)
    assert max(wave.folder.folds) <= FOLD_BATCH_PARTIALS + 1


def test_large_partials_are_folded_before_they_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wave_module, "FOLD_BATCH_BYTES", 100)
    assert FOLD_BATCH_BYTES > 100
    wave = wave_of(9)
    for number in range(9):
        body = outcome(number, [(number, [LEFT, RIGHT])], json.dumps(["x" * 50]).encode())
        wave.add(slot(number, (number, 0, 14)), body, nothing)
    wave.close()
    assert isinstance(wave.folder, ListFolder)
    assert max(wave.folder.folds) <= 3


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9))))
@settings(max_examples=200)
def test_intervals_merge_or_say_what_came_twice(lengths: list[tuple[int, int]]) -> None:
    intervals = [(start, start + length) for start, length in lengths]
    numbers = [n for first, end in intervals for n in range(first, end)]
    if len(numbers) != len(set(numbers)):
        with pytest.raises(CountMismatch, match="proved twice"):
            merge_intervals(intervals, "j")
        return
    merged = merge_intervals(intervals, "j")
    assert [n for first, end in merged for n in range(first, end)] == sorted(numbers)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(merged))


def test_levels_count_like_a_number_and_no_wave_costs_more_for_the_job_being_long() -> None:
    """1,000 waves: at most 15 keys a level, log16 levels, and 1/15 fold of 16 a wave on average."""
    store, folder, waves = MemoryStore(), ListFolder(), 1_000
    checkpoint = Checkpoint("j", 0, Cursor())
    fold_sizes: list[int] = []
    for number in range(1, waves + 1):
        checkpoint = replace(checkpoint, wave=number)
        wave = Wave(checkpoint, PLAN, Handout(number, 1, Cursor(), [], []), folder)
        wave.partial = f"[{number}]".encode()
        folder.folds = []
        checkpoint = folding.with_wave(checkpoint, wave.partial, wave.folder, store, "a")
        fold_sizes.append(sum(folder.folds))
        assert all(len(level) < FOLD_FAN_IN for level in checkpoint.levels)
        assert len(checkpoint.levels) <= 3
        assert sum(len(level) * FOLD_FAN_IN**depth for depth, level in enumerate(checkpoint.levels)) == number
    assert max(fold_sizes) <= 2 * FOLD_FAN_IN
    assert sum(fold_sizes) / waves <= FOLD_FAN_IN / (FOLD_FAN_IN - 1) + 0.01
    keys = [key for level in reversed(checkpoint.levels) for key in level]
    assert json.loads(folding.fold_keys(keys, folder, store)) == list(range(1, waves + 1))


def test_a_fold_of_large_partials_is_read_a_bounded_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "FOLD_BATCH_BYTES", 20)
    store, folder = MemoryStore(), ListFolder()
    for number in range(9):
        store.put(f"k{number}", b'["%d xxxxxxx"]' % number)
    total = folding.fold_keys([f"k{number}" for number in range(9)], folder, store)
    assert json.loads(total) == [f"{number} xxxxxxx" for number in range(9)]
    assert max(folder.folds) <= 3
    assert json.loads(folding.fold_keys([], folder, store)) == []


@pytest.mark.parametrize("tries", [1, 2])
def test_outcomes_are_read_ahead_by_a_bounded_number_and_come_in_order(tries: int) -> None:
    from rangemill import keys
    from rangemill.limits import OUTCOME_THREADS
    from rangemill.messages import SlotItem

    asked: list[str] = []

    class Counting(MemoryStore):
        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
            asked.append(key)
            return super().get(key, span)

    store = Counting()
    items = [SlotItem(number, "s", 0, 1, "v") for number in range(100)]
    for number in range(0, 100, 2):
        store.put(keys.outcome("j", 1, number), b"%d" % number)
    bodies = aggregate._outcomes(store, "j", 1, items)
    assert next(bodies) == b"0"
    assert len(asked) <= 2 * OUTCOME_THREADS + 1
    assert list(bodies) == [None if n % 2 else b"%d" % n for n in range(1, 100)]
