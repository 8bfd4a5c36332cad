"""`rangemill status` says of a job that waits where it stands and for what, and of one that runs how many workers."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from rangemill import report
from rangemill.gateways import Gateways
from rangemill.messages import JobRow, Status
from rangemill_cli import line
from rangemill_cli import stack as stacks
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory
from rangemill_cli.main import cli
from rangemill_cli.stack import Stack

PARAMETERS = {"MaxRunningJobs": "2", "MaxWorkers": "50", "WorkersPerJob": "40"}


def row(name: str, status: Status, pipeline: str = "p", **more: Any) -> JobRow:
    return JobRow(name, pipeline, status, f"2026-11-20T12:00:00.00000{name[-1]}Z", "event", **more)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Gateways:
    world = in_memory(MemoryObjects())
    stack = Stack("s", "work", "table", "arn", "admit", PARAMETERS)
    monkeypatch.setattr(stacks, "find", lambda _: stack)
    monkeypatch.setattr(Stack, "gateways", lambda _: world)
    return world


def status(*words: str) -> str:
    result = CliRunner().invoke(cli, ["status", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_job_that_waits_for_a_place_is_shown_in_its_line(world: Gateways) -> None:
    for n in range(2):
        world.jobs.create(row(f"run-{n}", "RUNNING", grant=20, held=20))
    for n in range(3, 6):
        world.jobs.create(row(f"wait-{n}", "WAITING"))
    assert "Waits      2 of 3 in line: 2 jobs run (MaxRunningJobs)" in status("wait-4")
    document = json.loads(status("wait-5", "--json"))
    assert document["waiting"] == {"position": 3, "of": 3, "for": "jobs", "limit": 2}
    listed = status()
    assert "1 of 3 in line: 2 jobs run (MaxRunningJobs)" in listed
    assert listed.count("in line") == 3


def test_a_job_that_waits_for_workers_says_so(world: Gateways) -> None:
    world.jobs.create(row("run-0", "RUNNING", grant=10, held=50))
    world.jobs.create(row("wait-3", "WAITING"))
    assert "Waits      1 of 1 in line: 50 workers are taken (MaxWorkers)" in status("wait-3")


def test_a_job_that_nothing_keeps_waits_for_the_next_run_of_admit(world: Gateways) -> None:
    world.jobs.create(row("wait-3", "WAITING", bytes_total=10))  # resumed: it has been planned
    assert "1 of 1 in line: it starts within a minute" in status("wait-3")
    assert "it starts within a minute" in status()


def test_a_job_that_runs_shows_its_share(world: Gateways) -> None:
    world.jobs.create(row("run-0", "RUNNING", grant=20, held=40, own_workers=40))
    assert "Workers    40 of the 40 that it may have, 20 from its next wave on" in status("run-0")
    assert json.loads(status("run-0", "--json"))["workers"] == {"held": 40, "granted": 20, "own": 40}
    (listed,) = json.loads(status("--json"))["jobs"]
    assert listed["workers"]["granted"] == 20


def test_other_jobs_have_neither(world: Gateways) -> None:
    world.jobs.create(row("paused-1", "PAUSED", grant=20, held=40, rest_reason="paused"))
    document = json.loads(status("paused-1", "--json"))
    assert not {"waiting", "workers"} & set(document)
    assert set(document) == {*report.outline(world.jobs.load("paused-1"), row("x1", "PAUSED").totals, None)}


def test_the_accounts_limit_counts_where_it_is_the_lower_one(world: Gateways) -> None:
    narrow = SimpleNamespace(lambdas=SimpleNamespace(free_concurrency=lambda: 120))
    assert line.limits_of(PARAMETERS, narrow).workers == 20  # type: ignore[arg-type]  # all that it looks at
    assert line.limits_of({}, world).workers == 900
