"""What ended jobs left goes some days after their end; everything else stays."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from rangemill import control, keys, retention
from rangemill.errors import UnknownJob
from rangemill.messages import JobRow, now_text
from rangemill_cli.inprocess.memory import in_memory
from rangemill_cli.inprocess.objects import MemoryObjects

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def days_ago(days):
    return now_text(NOW - timedelta(days=days))


@pytest.fixture
def world():
    return in_memory(MemoryObjects(), clock=lambda: NOW)


def job(world, job_id, status, created, ended=None):
    row = JobRow(job_id, "p", "WAITING", days_ago(created), "submit")
    world.jobs.create(replace(row, status=status, ended=None if ended is None else days_ago(ended)))
    world.store.put(keys.request(job_id), b"x")
    world.store.put(keys.checkpoint(job_id, 0, "plan"), b"x")
    world.store.put(keys.results("p", job_id) + "result.jsonl", b"x")


def test_only_jobs_that_ended_long_ago_are_forgotten(world):
    job(world, "old", "SUCCEEDED", 120, 100)
    job(world, "old-failed", "FAILED", 120, 91)
    job(world, "ended-lately", "SUCCEEDED", 120, 3)
    job(world, "young", "SUCCEEDED", 5, 4)
    job(world, "paused", "PAUSED", 400)
    job(world, "running", "RUNNING", 400)
    assert sorted(retention.forget_old_jobs(world, 90)) == ["old", "old-failed"]
    with pytest.raises(UnknownJob):
        world.jobs.load("old")
    left = {key.split("/")[1] for key in world.store.keys("jobs/")}
    assert left == {"ended-lately", "young", "paused", "running"}
    assert world.store.get(keys.results("p", "old") + "result.jsonl") == b"x"
    assert retention.forget_old_jobs(world, 90) == []


def test_a_run_forgets_a_bounded_number_of_jobs(world):
    for n in range(5):
        job(world, f"old-{n}", "SUCCEEDED", 120, 100)
    assert len(retention.forget_old_jobs(world, 90, most=2)) == 2
    assert len(retention.forget_old_jobs(world, 90, most=10)) == 3


def test_a_job_that_was_redriven_before_the_index_knew_is_left(world, monkeypatch):
    job(world, "old", "FAILED", 120, 100)
    job(world, "gone", "FAILED", 121, 100)
    stale = [world.jobs.load(name) for name in ("gone", "old")]
    world.jobs.forget("gone")
    control.redrive("old", "same", world)
    monkeypatch.setattr(type(world.jobs), "by_status", lambda _, status: [r for r in stale if r.status == status])
    assert retention.forget_old_jobs(world, 90) == []
    assert world.jobs.load("old").status == "WAITING"
    assert "jobs/old/request.json" in world.store.keys("jobs/")
