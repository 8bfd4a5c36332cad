"""Two attempts at the same step: neither writes over what the other has left, and other code is refused by each."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from rangemill import admission, aggregate, apply, fetch, finish, messages, pages, plan
from rangemill.errors import CodeChanged, RangemillError, Superseded
from rangemill.gateways import Gateways, Store
from rangemill.messages import ApplyMessage, CodeIdentity, Context, JobRequest, Slot, SlotItem, StateMessage, Verdict
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import MACHINE
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
OTHER = CodeIdentity("core", "another", "dependencies")
BODY = b"".join(b"line %d\n" % number for number in range(200))
ROWS = {"sql": "SELECT line FROM records"}
COUNTED = {
    "apply": {"sql": "SELECT count(*) AS n FROM records"},
    "aggregate": {"sql": "SELECT sum(n) AS n FROM partials"},
}


def document(**more: Any) -> str:
    known = {"name": "lines", "format": {"type": "text"}, "apply": ROWS, "output": {"format": "jsonl"}}
    return json.dumps(known | more)


@dataclass
class Watched:
    """A store; something happens before the first write of a document, with the store as it is by then."""

    store: Store
    happens: Callable[[], None]
    is_over: bool = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.store, name)
        if not name.startswith("put"):
            return call

        def put(key: str, body: bytes) -> Any:
            if not self.is_over:
                self.is_over = True
                self.happens()
            return call(key, body)

        return put


class Steps:
    """A job's first wave by hand."""

    def __init__(self, text: str) -> None:
        objects = MemoryObjects()
        refs = [objects.put("in", key, BODY) for key in ("a", "b")]
        self.gateways = in_memory(objects)
        request = JobRequest("j", "lines", text, "l.yaml", "run", refs, range_bytes=64)
        admission.create_job(request, self.gateways)
        self.arn = self.gateways.executions.start("j", 0)
        self.planned = plan.run(StateMessage(Context("j", 0), self.arn), self.gateways, Defaults(64, 2, 20_000), CODE)
        self.context = self.planned

    def fetch(self, attempt: str, gateways: Gateways | None = None) -> list[SlotItem]:
        self.context = fetch.run(StateMessage(self.planned, self.arn), gateways or self.gateways, attempt)
        assert self.context.map is not None
        return msgspec.json.decode(self.gateways.store.get(self.context.map.key) or b"", type=list[SlotItem])

    def work(self, item: SlotItem, *, code: CodeIdentity = CODE, stops: bool = False, via: Store | None = None) -> None:
        gateways = self.gateways if via is None else replace(self.gateways, store=via)
        apply.run(ApplyMessage("j", 0, self.context.wave, item), gateways, code, lambda: stops)

    def aggregate(self, attempt: str, via: Store | None = None, code: CodeIdentity = CODE) -> Context:
        gateways = self.gateways if via is None else replace(self.gateways, store=via)
        return aggregate.run(StateMessage(self.context, self.arn), gateways, code, MACHINE, attempt)

    def documents(self) -> dict[str, bytes | None]:
        store: Any = self.gateways.store
        return {key: store.get(key) for key in store.keys("")}


def test_an_aggregate_that_was_overtaken_leaves_what_the_other_has_committed_as_it_is() -> None:
    for more in ({}, COUNTED):
        steps = Steps(document(**more))
        *others, late = steps.fetch("f")
        for item in others:
            steps.work(item)
        committed: dict[str, bytes | None] = {}

        def overtaken(steps: Steps = steps, late: SlotItem = late, left: dict[str, Any] = committed) -> None:
            steps.work(late)  # which the one that was overtaken has not seen
            steps.aggregate("second")
            left.update(steps.documents())

        steps.aggregate("first", Watched(steps.gateways.store, overtaken))
        assert committed
        assert {key: body for key, body in steps.documents().items() if key in committed} == committed
        row = steps.gateways.jobs.load("j")
        assert pages.checkpoint(steps.gateways.store, row.pointer or "").totals == row.totals


def test_a_fetch_that_was_overtaken_leaves_the_slots_of_the_other_as_they_are() -> None:
    steps = Steps(document())
    left: dict[str, bytes | None] = {}

    def overtaken() -> None:
        steps.gateways.jobs.adjust("j", {"concurrency": 9})  # so that it hands out other slots
        steps.fetch("second")
        left.update(steps.documents())

    watched: Any = Watched(steps.gateways.store, overtaken)
    items = steps.fetch("first", replace(steps.gateways, store=watched))
    assert left
    assert {key: body for key, body in steps.documents().items() if key in left} == left
    store = steps.gateways.store
    slots = [messages.decode(store.get(i.slots_key, (i.start, i.end)) or b"", Slot, "slot") for i in items]
    assert sum(run.end - run.start for slot in slots for run in slot.runs) == 2 * len(BODY)


def test_the_part_of_a_worker_whose_outcome_came_second_is_not_in_the_place_of_the_first_ones() -> None:
    steps = Steps(document())
    item = steps.fetch("f")[0]
    left: dict[str, bytes | None] = {}

    def overtaken() -> None:
        steps.work(item)
        left.update(steps.documents())

    steps.work(item, stops=True, via=Watched(steps.gateways.store, overtaken))
    parts = [key for key in steps.documents() if "/parts/" in key]
    assert len(parts) == 2  # one of them is named by nobody
    assert {key: body for key, body in steps.documents().items() if key in left} == left


def test_other_code_than_the_plans_is_refused_by_worker_aggregate_and_finish() -> None:
    steps = Steps(document())
    first, *others = steps.fetch("f")
    steps.work(first, code=OTHER)
    verdict = messages.decode(steps.gateways.store.get(first.verdict_key) or b"", Verdict, "verdict")
    assert verdict.error is not None
    assert verdict.error["type"] == "CodeChanged"
    assert not any("/outcomes/" in key for key in steps.documents())
    for item in (first, *others):
        steps.work(item)
    with pytest.raises(CodeChanged):
        steps.aggregate("a", code=OTHER)
    assert steps.gateways.jobs.load("j").wave == 0
    context = steps.aggregate("a")
    assert context.next == "FINISH"
    with pytest.raises(CodeChanged):
        finish.run(StateMessage(context, steps.arn), steps.gateways, OTHER)
    assert not any("/_manifest" in key for key in steps.documents())
    finish.run(StateMessage(context, steps.arn), steps.gateways, CODE)
    assert steps.gateways.jobs.load("j").status == "SUCCEEDED"


def test_an_aggregate_of_a_wave_that_does_not_follow_the_rows_is_superseded() -> None:
    steps = Steps(document())
    for item in steps.fetch("f"):
        steps.work(item)
    steps.context = msgspec.structs.replace(steps.context, wave=2)
    with pytest.raises(RangemillError) as caught:
        steps.aggregate("a")
    assert isinstance(caught.value, Superseded)
