"""Outcomes that assumed a state count only when the range before them has left it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from rangemill import aggregate, keys, outcomes
from rangemill.engines.base import FinishedRows
from rangemill.errors import BrokenChain
from rangemill.formats.base import Settled
from rangemill.ledger import CRC_FUNCTIONS, Segment, merge
from rangemill.messages import (
    Checkpoint,
    CodeIdentity,
    Cursor,
    Handout,
    OutcomeHeader,
    PendingOutcome,
    PinnedObject,
    Plan,
    RetrySlot,
    Run,
    Slot,
    Verdict,
)
from rangemill.wave import Wave
from rangemill_cli.inprocess.memory import MemoryStore

BODY = b'a,"x\ny"\nb,c\nd,"\ne"\n'
CUTS = [0, 6, 13, len(BODY)]
PLAN = Plan("j", "p", "t", "f", Settled("csv", {}), CodeIdentity("c", "p", "d"), 7, 10, 20_000, 1, len(BODY), 1)
PIN = PinnedObject(0, "b", "k", "e", len(BODY), crc=CRC_FUNCTIONS["CRC64NVME"][0](BODY, 0))
DIED = Verdict(Error="Lambda.Unknown", Cause="killed")


class Names:
    """Partials are lists of names."""

    def fold(self, partials: list[bytes]) -> bytes:
        return json.dumps(sorted(name for partial in partials for name in json.loads(partial))).encode()

    def finish(self, total: bytes) -> FinishedRows:
        return FinishedRows(total, 0)


def slot(number: int, state: str | None = None) -> Slot:
    return Slot(number, [PIN], [Run(0, CUTS[number], CUTS[number + 1], 7, state)])


def outcome(number: int, assumed: str, left: str, name: str, wave: int = 1) -> bytes:
    """Slot `number` reads the range of that number."""
    start, end = CUTS[number], CUTS[number + 1]
    crc = CRC_FUNCTIONS["CRC64NVME"][0](BODY[start:end], 0)
    row = Segment(start, end, crc, start, end, 1, 1, assumed, left)
    header = OutcomeHeader("j", wave, number, [(0, [row])], [], 1, 1, 0, end - start, 10, 1)
    return outcomes.encode(header, json.dumps([name]).encode())


def wave(number: int, before: Checkpoint | None = None, retried: list[RetrySlot] | None = None, slots: int = 3) -> Wave:
    before = before or Checkpoint("j", number - 1, Cursor())
    return Wave(before, PLAN, Handout(number, slots, Cursor(1), [], retried or []), Names())


def no_verdict() -> Verdict | None:
    return None


def names(wave_: Wave) -> list[str]:
    return json.loads(wave_.partial or b"[]")


def test_right_guesses_count_at_once() -> None:
    done = wave(1)
    for number, (assumed, left) in enumerate([("out", "in"), ("in", "out"), ("out", "out")]):
        done.add(slot(number), outcome(number, assumed, left, f"s{number}"), no_verdict)
    done.settle_pending(lambda _: None)
    checkpoint, closed = done.close()
    assert [c.matched for c in closed] == [True]
    assert names(done) == ["s0", "s1", "s2"]
    assert (checkpoint.retry, checkpoint.pending) == ([], [])


def test_a_wrong_guess_is_handed_out_again_with_what_the_neighbour_told_and_nothing_of_it_counts() -> None:
    done = wave(1)
    done.add(slot(0), outcome(0, "out", "in", "right"), no_verdict)
    done.add(slot(1), outcome(1, "out", "in", "wrong"), no_verdict)
    checkpoint, _ = done.close()
    assert [retry.runs for retry in checkpoint.retry] == [[Run(0, 6, 13, 7, "in")]]
    assert checkpoint.totals.records == 1
    assert names(done) == ["right"]


def test_what_follows_a_wrong_guess_waits_and_then_counts_without_being_run_again() -> None:
    bodies = {
        0: outcome(0, "out", "in", "s0"),
        1: outcome(1, "out", "in", "wrong"),
        2: outcome(2, "out", "out", "s2"),
    }
    first = wave(1)
    for number, body in bodies.items():
        first.add(slot(number), body, no_verdict)
    store = {keys.outcome("j", 1, number): body for number, body in bodies.items()}
    first.settle_pending(store.get)
    checkpoint, closed = first.close()
    assert (len(checkpoint.retry), [p.slot.slot for p in checkpoint.pending], closed) == (1, [2], [])
    second = wave(2, replace(checkpoint, retry=[]), checkpoint.retry, slots=1)
    redone = Slot(0, checkpoint.retry[0].objects, checkpoint.retry[0].runs)
    body = outcomes.encode(
        OutcomeHeader(
            "j", 2, 0, [(0, [Segment(6, 13, crc_of(6, 13), 6, 13, 1, 1, "in", "out")])], [], 1, 1, 0, 7, 10, 1
        ),
        b'["s1"]',
    )
    second.add(redone, body, no_verdict)
    second.settle_pending(store.get)
    checkpoint, closed = second.close()
    assert names(second) == ["s1", "s2"]
    assert [c.matched for c in closed] == [True]
    assert (checkpoint.pending, checkpoint.retry, checkpoint.totals.records) == ([], [], 3)


def crc_of(start: int, end: int) -> int:
    return CRC_FUNCTIONS["CRC64NVME"][0](BODY[start:end], 0)


def test_an_outcome_whose_neighbour_died_waits() -> None:
    done = wave(1)
    body = outcome(1, "in", "out", "s1")
    done.add(slot(0), None, lambda: DIED)
    done.add(slot(1), body, no_verdict)
    done.settle_pending(lambda _: body)
    checkpoint, _ = done.close()
    assert [p.slot.slot for p in checkpoint.pending] == [1]
    assert checkpoint.totals.records == 0
    assert names(done) == []


def test_a_pending_outcome_that_expired_is_worked_on_again() -> None:
    first = wave(1)
    first.add(slot(0), None, lambda: DIED)
    first.add(slot(1), outcome(1, "in", "out", "s1"), no_verdict)
    first.settle_pending(lambda _: None)
    checkpoint, _ = first.close()
    assert [run for retry in checkpoint.retry for run in retry.runs] == [Run(0, 0, 6, 7)]
    second = wave(2, replace(checkpoint, retry=[]), checkpoint.retry, slots=1)
    second.add(slot(0), outcome(0, "out", "in", "s0", wave=2), no_verdict)
    second.settle_pending(lambda _: None)
    checkpoint, _ = second.close()
    assert checkpoint.pending == []
    assert [run for retry in checkpoint.retry for run in retry.runs] == [Run(0, 6, 13, 7)]


def test_an_outcome_that_waits_is_not_read_before_its_neighbour_has_told() -> None:
    read: list[str] = []
    first = wave(1)
    first.add(slot(0), None, lambda: DIED)
    for number in (1, 2):
        first.add(slot(number), outcome(number, ("in", "out")[number - 1], "out", f"s{number}"), no_verdict)
    first.settle_pending(read.append)
    checkpoint, _ = first.close()
    assert [(p.slot.slot, p.needs) for p in checkpoint.pending] == [(1, [(0, 6)]), (2, [(0, 13)])]
    second = wave(2, checkpoint, checkpoint.retry, slots=1)
    second.add(slot(0), None, lambda: DIED)
    second.settle_pending(read.append)
    assert (len(second.pending), read) == (2, [])


def test_outcomes_that_count_one_after_the_other_are_read_ahead_and_each_once() -> None:
    store = MemoryStore()
    names_in_order = [f"scratch/{n}" for n in range(200)]
    for name in names_in_order:
        store.put(name, name.encode())
    asked: list[str] = []
    store.get = lambda key, span=None: asked.append(key) or key.encode()  # type: ignore[method-assign, func-returns-value]
    with ThreadPoolExecutor(4) as pool:
        read = aggregate._read_ahead(store, pool, names_in_order)
        assert read("scratch/5") == b"scratch/5"
        assert asked == ["scratch/5"]  # it may be the only one
        assert [read(name) for name in names_in_order[6:]] == [name.encode() for name in names_in_order[6:]]
        assert read("another") == b"another"
    assert sorted(asked) == sorted([*names_in_order[5:], "another"])


def test_what_waits_without_a_word_of_what_for_is_read_each_time() -> None:
    """As the version before has left it."""
    read: list[str] = []
    body = outcome(1, "in", "out", "s1")
    known = Checkpoint("j", 1, Cursor(), pending=[PendingOutcome("key", 1, slot(1))])
    after = wave(2, known)
    after.settle_pending(lambda key: read.append(key) or body)  # type: ignore[func-returns-value]
    assert read == ["key"]
    assert after.pending == [PendingOutcome("key", 1, slot(1), [(0, 6)])]


def test_segments_that_disagree_never_merge() -> None:
    left = Segment(0, 6, 0, 0, 6, 1, 1, "out", "in")
    right = Segment(6, 13, 0, 6, 13, 1, 1, "out", "out")
    with pytest.raises(BrokenChain, match="state 'out'"):
        merge([left, right], "CRC64NVME", "s3://b/k")
