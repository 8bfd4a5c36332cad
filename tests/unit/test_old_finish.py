"""A Finish that was overtaken: its execution was stopped while it worked, and the job has been redriven since."""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.unit.test_renewal import JOB, World, document

from rangemill import keys
from rangemill.gateways import Store

COUNTS = document("SELECT count(*) AS records, sum(length(line)) AS total FROM records")
LONGEST = document("SELECT count(*) AS records, max(length(line)) AS total FROM records")


@dataclass
class Interrupted:
    """A store; in Finish something happens before the first call of `operation` for a key that has `part` in it."""

    store: Store
    operation: str
    part: str
    happens: Callable[[], None]
    is_finish: Callable[[], bool]
    is_over: bool = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.store, name)
        if name != self.operation:
            return call

        def watched(key: str, *arguments: Any) -> Any:
            if self.part in key and not self.is_over and self.is_finish():
                self.is_over = True
                self.happens()
            return call(key, *arguments)

        return watched


def test_what_a_redrive_published_is_not_overwritten_by_the_finish_before_it() -> None:
    """It folds the total, which may take minutes."""
    world = World(COUNTS)
    gateways = world.gateways
    published: dict[str, bytes | None] = {}

    def overtaken() -> None:
        row = gateways.jobs.load(JOB)
        stopped = {"type": "ExecutionFailed", "message": "stopped"}
        assert gateways.jobs.fail(JOB, row.generation, "2026-11-20T00:00:00Z", stopped)
        world.gateways = gateways
        row = world.redrive(LONGEST, "restart")
        assert row.status == "SUCCEEDED", row
        published.update(whole())

    def whole() -> dict[str, bytes | None]:
        root = keys.results("sums", JOB)
        manifest = gateways.store.get(f"{root}_manifest.json") or b"{}"
        named = [*json.loads(manifest)["output"], f"{root}report.json"]
        return {"manifest": manifest, **{name: gateways.store.get(name) for name in named}}

    def is_finish() -> bool:
        return any(frame.filename.endswith("rangemill/finish.py") for frame in inspect.stack())

    watched: Any = Interrupted(gateways.store, "get", "/aggregates/", overtaken, is_finish)
    world.gateways = replace(gateways, store=watched)
    world.carry()
    assert watched.is_over
    assert published
    assert whole() == published
    assert gateways.jobs.load(JOB).status == "SUCCEEDED"
