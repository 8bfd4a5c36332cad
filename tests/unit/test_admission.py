"""Closing a batch on the in-memory gateways: every step dies, and every step meets another run."""

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rangemill import admission, pages
from rangemill.catalog import Catalog, Entry
from rangemill.errors import Transient
from rangemill.gateways import Gateways
from rangemill.messages import Member, ObjectRef
from rangemill.pipeline import parse_pipeline
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

TEXT = """
name: logs
match: {prefix: in/}
format: {type: text}
apply: {python: m:C}
trigger: {batch: {max_objects: 3, max_bytes: 100, max_wait: 5m}}
"""
ENTRY = Entry(parse_pipeline(TEXT, "p.yaml"), TEXT, "p.yaml")
CATALOG = Catalog({"logs": ENTRY}, [])
STEPS = {
    "jobs": ["closing", "members", "close_batch", "create", "batch_closed"],
    "store": ["get", "put_once"],
}
METHODS = [(gateway, name) for gateway, names in STEPS.items() for name in names]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def gateways(objects: MemoryObjects, clock: Clock) -> Gateways:
    return in_memory(objects, clock)


def arrive(gateways: Gateways, clock: Clock, names: str) -> None:
    for name in names:
        clock.forward(1)
        ref = ObjectRef("in-bucket", f"in/{name}", None, f"e-{name}", 2)
        gateways.jobs.add_member("logs", Member(f"t-{name}", clock().isoformat(), ref))


def close(gateways: Gateways) -> list[str]:
    return admission.close_due_batches(ENTRY, gateways)


def batches(gateways: Gateways) -> list[str]:
    rows = gateways.jobs.by_status("WAITING")
    found = (pages.request(gateways.store, row.job_id).objects for row in rows)
    return sorted("".join(ref.key.removeprefix("in/") for ref in refs) for refs in found)


def assert_each_once(gateways: Gateways, names: str) -> None:
    counted = Counter("".join(batches(gateways)))
    assert counted == Counter(names)
    assert all(0 < len(batch) <= 3 for batch in batches(gateways))
    assert gateways.jobs.members("logs", 100) == []
    assert gateways.jobs.closing("logs") is None


def at_call(
    really: Callable[..., Any], call: int, before: Callable[[], None], after: Callable[[], None]
) -> Callable[..., Any]:
    """A gateway's method around whose n-th call something happens."""
    count = itertools.count(1)

    def method(*arguments: Any) -> Any:
        turn = next(count)
        if turn == call:
            before()
        answer = really(*arguments)
        if turn == call:
            after()
        return answer

    return method


def die() -> None:
    raise Transient("killed")


def live() -> None:
    pass


@pytest.mark.parametrize("when", [(die, live), (live, die)], ids=["before", "after"])
@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize(("gateway", "method"), METHODS)
def test_dying_at_any_step_of_closing_leaves_every_object_in_exactly_one_batch(
    gateways: Gateways, clock: Clock, monkeypatch: pytest.MonkeyPatch, gateway: str, method: str, call: int, when: Any
) -> None:
    arrive(gateways, clock, "abcdefg")
    target = getattr(gateways, gateway)
    names = "abcdefg"
    with monkeypatch.context() as broken:
        broken.setattr(target, method, at_call(getattr(target, method), call, *when))
        try:
            close(gateways)
        except Transient:
            arrive(gateways, clock, "z")
            names += "z"
    clock.forward(400)
    close(gateways)
    assert_each_once(gateways, names)


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize(("gateway", "method"), METHODS)
def test_another_run_at_any_step_of_closing_leaves_every_object_in_exactly_one_batch(
    gateways: Gateways, clock: Clock, monkeypatch: pytest.MonkeyPatch, gateway: str, method: str, call: int, at: str
) -> None:
    """The lock expired under a slow run: the other one closes all that is due, and new objects have arrived."""
    arrive(gateways, clock, "abcdefg")
    target = getattr(gateways, gateway)
    really = getattr(target, method)
    names = "abcdefg"

    def other() -> None:
        nonlocal names
        monkeypatch.setattr(target, method, really)
        close(gateways)
        arrive(gateways, clock, "yz")
        names += "yz"

    monkeypatch.setattr(target, method, at_call(really, call, *((other, live) if at == "before" else (live, other))))
    for _ in range(5):  # a late call may meet the other run only in the second
        close(gateways)
        clock.forward(400)
    assert_each_once(gateways, names)


@pytest.mark.parametrize(
    "sizes", [[], [40], [40, 59], [40, 60], [40, 61], [200], [1, 200], [1, 1, 1], [1] * 9, [0] * 5]
)
def test_members_due_are_the_first_that_fill_a_batch(sizes: list[int]) -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    members = [Member(f"t{n}", now.isoformat(), ObjectRef("b", f"k{n}", size_bytes=s)) for n, s in enumerate(sizes)]
    due = admission.members_due(members, 4, 100, 300, now)
    assert due == members[: len(due)]
    total = sum(sizes[: len(due)])
    assert total <= 100 or len(due) == 1
    if due:
        full = len(due) == 4 or total >= 100 or total + sizes[len(due)] > 100
        assert full
    else:
        assert len(sizes) < 4
        assert sum(sizes) < 100
    late = admission.members_due(members, 4, 100, 300, now + timedelta(seconds=300))
    assert bool(late) == bool(members)


def test_job_ids_are_unique_and_sort_by_time_and_fit() -> None:
    from rangemill.limits import JOB_TOKEN_CHARS

    ids = [admission.new_job_id("logs") for _ in range(500)]
    assert len(set(ids)) == 500
    assert {len(one) for one in ids} == {len("logs-") + JOB_TOKEN_CHARS}
    assert [one[:16] for one in ids] == sorted(one[:16] for one in ids)


def test_identities_do_not_run_into_each_other() -> None:
    assert admission.token_of("a", "bc") != admission.token_of("ab", "c")
    assert admission.token_of("logs", "b", "\ud800") != admission.token_of("logs", "b", "\ud801")
