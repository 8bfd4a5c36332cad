"""StopSignal: a worker stops for its deadline, a pause, a cancel or a takeover, and for nothing else."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from rangemill.errors import Transient
from rangemill.limits import LOOK_EVERY_SECONDS, STOP_MARGIN_MS
from rangemill.messages import ApplyMessage, JobRow, SlotItem
from rangemill.stopping import StopSignal

MESSAGE = ApplyMessage("p-token", 3, 1, SlotItem(0, "slots", 0, 1, "verdict"))
RUNNING = JobRow("p-token", "p", "RUNNING", "2026-11-12T00:00:00.000000Z", "event", generation=3)


@dataclass
class World:
    """A job row, a clock and a deadline that the test moves."""

    row: JobRow | Exception = RUNNING
    now: float = 0.0
    left_ms: int = 900_000
    looks: int = 0
    signal: Any = field(init=False)

    def __post_init__(self) -> None:
        self.signal = StopSignal(MESSAGE, self, lambda: self.left_ms, lambda: self.now)  # type: ignore[arg-type]  # only load is used

    def load(self, job_id: str) -> JobRow:
        assert job_id == MESSAGE.job_id
        self.looks += 1
        if isinstance(self.row, Exception):
            raise self.row
        return self.row


def test_a_worker_goes_on_while_its_job_runs_and_looks_only_every_few_seconds():
    world = World()
    for second in range(100):
        world.now = second / 10
        assert not world.signal()
    assert world.looks == 1 + int(9.9 / LOOK_EVERY_SECONDS)  # once at the start


def test_a_deadline_that_comes_near_stops_without_a_look():
    world = World(left_ms=STOP_MARGIN_MS - 1)
    assert world.signal()
    assert world.looks == 0


@pytest.mark.parametrize(
    "change",
    [{"desired": "pause"}, {"desired": "cancel"}, {"status": "FAILED"}, {"generation": 4}],
)
def test_a_job_that_should_rest_or_is_another_generations_stops_the_worker(change):
    world = World(row=msgspec.structs.replace(RUNNING, **change), now=0)
    world.now = LOOK_EVERY_SECONDS
    assert world.signal()


def test_a_stop_is_remembered():
    world = World(left_ms=0)
    assert world.signal()
    world.left_ms = 900_000
    assert world.signal()


def test_a_throttled_look_is_no_reason_to_stop():
    world = World(row=Transient("slow down"))
    world.now = LOOK_EVERY_SECONDS
    assert not world.signal()


@pytest.mark.parametrize(("held", "stops"), [(None, False), (1, False), (40, False), (0, True)])
def test_a_worker_stops_when_its_jobs_lease_was_given_away(held, stops):
    world = World(row=msgspec.structs.replace(RUNNING, held=held))
    assert world.signal() is stops
