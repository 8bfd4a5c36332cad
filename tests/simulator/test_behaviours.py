"""How it must behave: the ten promises of docs/reliability.md, each in many orders of the same things."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.simulator import oracle, user_code
from tests.simulator.faults import Armed, Rate
from tests.simulator.world import World

from rangemill import control
from rangemill.gateways import Gateways
from rangemill.messages import JobRow

SEEDS = range(3)
LINES = b"".join(b"line %03d\n" % n for n in range(60))
MANY = b"".join(b"line %03d\n" % n for n in range(400))  # at a budget of 90 events waves of nine slots, six of them


@contextmanager
def a_world(seed: int, *rates: Rate, **variables: str) -> Iterator[World]:
    """A world in which readers are watched at every moment."""
    with World(seed, user_code.ALL, variables, is_local=bool(seed % 2)) as world:
        world.tick("Admit")
        world.run()
        world.watch = oracle.always
        world.faults.rates += rates
        yield world


def only_job(world: World) -> JobRow:
    (job,) = oracle.rows(world)
    return job


def succeeded(world: World) -> JobRow:
    """The one job, once nobody has anything to do any more: exact, proved, told of once."""
    world.settle()
    oracle.at_rest(world)
    job = only_job(world)
    assert job.status == "SUCCEEDED", job.error
    oracle.require_exact(world, job.job_id)
    assert [notice["status"] for notice in world.notices].count("SUCCEEDED") <= 1
    return job


def until(world: World, status: str, wave: int = 0) -> JobRow:
    """Let the world go on until the only job is there."""
    for _ in range(20_000):
        jobs = oracle.rows(world)
        if jobs and jobs[0].status == status and jobs[0].wave >= wave:
            return jobs[0]
        if jobs and jobs[0].status not in ("WAITING", "RUNNING"):
            break
        if not world.step():
            world.pass_time(60)
            world.tick("Admit")
    raise AssertionError(f"never {status}: {oracle.rows(world)}")


def until_invoked(world: World, function: str) -> None:
    """Let the world go on until that function runs."""
    for _ in range(20_000):
        if world.invoked.get(function):
            return
        if not world.step():
            world.pass_time(60)
            world.tick("Admit")


def somebody(world: World, act: str, job_id: str, **how: str) -> JobRow:
    """A person's command, while the world goes on."""

    def do(gateways: Gateways) -> JobRow:
        return getattr(control, act)(job_id, *how.values(), gateways)

    command = world.person("person", do)
    while not command.ended:
        world.step()
    if command.error is not None:
        raise command.error
    return command.answer


@pytest.mark.parametrize("seed", SEEDS)
def test_1_half_of_all_workers_are_killed(seed):
    with a_world(seed, Rate("doomed", 0.5, "Apply"), RANGE_BYTES="128") as world:
        world.upload("versioned", "lines/a", LINES)
        assert succeeded(world).totals.records == 60
        assert world.faults.befallen["doomed"] > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_2_every_event_comes_three_times_and_every_state_runs_twice(seed):
    with a_world(seed, Rate("event twice", 1.0), Rate("invoked twice", 1.0)) as world:
        world.upload("versioned", "lines/a", LINES)
        succeeded(world)
        assert [notice["status"] for notice in world.notices] == ["SUCCEEDED"]
        assert world.invoked["Ingest"] == 3
        assert world.invoked["Finish"] == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_2_an_event_that_comes_again_while_its_job_runs_and_after_its_end_changes_nothing(seed):
    with a_world(seed, HISTORY_BUDGET_EVENTS="90") as world:
        world.upload("versioned", "lines/a", MANY)
        until(world, "RUNNING", wave=1)
        world.send(world.sent[0], world.now)
        slots = succeeded(world).totals.slots
        world.send(world.sent[0], world.now)
        assert succeeded(world).totals.slots == slots == only_job(world).totals.ranges


@pytest.mark.parametrize("seed", SEEDS)
def test_3_a_record_that_raises_is_kept_and_the_others_are_right(seed):
    body = b"".join(b"boom\n" if n == 1234 else b"line %05d\n" % n for n in range(3_000))
    with a_world(seed, RANGE_BYTES="4096") as world:
        world.upload("versioned", "lines/a", body)
        job = succeeded(world)
        assert (job.totals.records, job.totals.rejects) == (3_000, 1)
        (kept,) = world.buckets.keys("work", f"jobs/{job.job_id}/rejects/")
        version = world.buckets.newest("work", kept)
        assert version is not None
        assert version.body is not None
        assert f'"offset":{body.index(b"boom")}'.encode() in version.body


@pytest.mark.parametrize("seed", SEEDS)
def test_4_a_record_that_kills_its_workers_is_found_and_rejected_and_the_others_are_right(seed):
    body = b"".join(b"die\n" if n == 123 else b"line %03d\n" % n for n in range(200))
    with a_world(seed) as world:
        world.upload("versioned", "lines/a", body)
        job = succeeded(world)
        assert (job.totals.records, job.totals.rejects) == (200, 1)
        bodies = [world.buckets.newest("work", k) for k in world.buckets.keys("work", f"jobs/{job.job_id}/rejects/")]
        assert any(f'"offset":{body.index(b"die")}'.encode() in (found.body or b"") for found in bodies if found)


@pytest.mark.parametrize("seed", SEEDS)
def test_5_responses_that_are_refused_cut_short_or_of_another_range_change_nothing(seed):
    rates = [Rate("throttled", 0.3, "Apply", "get_object")]
    rates += [Rate(kind, 0.05, operation="get_object") for kind in ("short", "reset", "whole", "shifted")]
    with a_world(seed, *rates, RANGE_BYTES="128", HISTORY_BUDGET_EVENTS="400") as world:
        world.upload("versioned", "lines/a", MANY)
        job = succeeded(world)
        assert job.totals.records == 400


@pytest.mark.parametrize("seed", SEEDS)
def test_5_while_reads_are_refused_waves_have_fewer_workers_and_more_again_when_that_stops(seed):
    storm = Rate("throttled", 0.3, "Apply", "get_object")
    variables = {"RANGE_BYTES": "128", "HISTORY_BUDGET_EVENTS": "90", "CONCURRENCY": "6", "MAX_WORKERS": "12"}
    with a_world(seed, storm, **variables) as world:
        world.upload("versioned", "lines/a", MANY * 3)
        until(world, "RUNNING", wave=4)
        world.faults.stop()
        succeeded(world)
        waves = [item for (_, sk), item in sorted(world.table.items.items()) if sk.startswith("WAVE#")]
        workers = [int(item["workers"]["N"]) for item in waves]
        fewest = workers.index(min(workers))
        assert workers[0] == 6
        assert workers[fewest] < 3
        assert max(workers[fewest:]) == 6


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["overwritten", "deleted"])
def test_6_a_versioned_object_that_changes_is_finished_as_pinned(seed, how):
    with a_world(seed, Rate("event lost", 1.0), HISTORY_BUDGET_EVENTS="90") as world:
        world.upload("versioned", "lines/a", MANY)
        world.tick("Sweep")
        job = until(world, "RUNNING", wave=1)
        if how == "overwritten":
            world.buckets.put("versioned", "lines/a", b"something else\n" * 30)
        else:
            world.buckets.delete("versioned", "lines/a")
        world.catalog = type(world.catalog)({}, [])  # nobody is to take up the new one
        assert succeeded(world).job_id == job.job_id


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["overwritten", "deleted"])
def test_6_an_unversioned_object_that_changes_fails_by_name_and_nothing_is_published(seed, how):
    with a_world(seed, HISTORY_BUDGET_EVENTS="90") as world:
        world.upload("plain", "lines/a", MANY)
        job = until(world, "RUNNING", wave=1)
        if how == "overwritten":
            world.buckets.put("plain", "lines/a", b"something else\n" * 30)
        else:
            world.buckets.delete("plain", "lines/a")
        world.catalog = type(world.catalog)({}, [])
        wave = oracle.row(world, job.job_id).wave
        world.settle()
        oracle.at_rest(world)
        after = only_job(world)
        assert (after.status, after.error and after.error["type"]) == (
            "FAILED",
            "ObjectChanged" if how == "overwritten" else "ObjectMissing",
        )
        assert after.wave <= wave + 2  # the one under way, and the one that found it
        assert not world.buckets.keys("work", "results/")


@pytest.mark.parametrize("seed", SEEDS)
def test_7_a_job_that_is_paused_for_months_goes_on(seed):
    with a_world(seed, HISTORY_BUDGET_EVENTS="90") as world:
        world.upload("versioned", "lines/a", MANY)
        job = until(world, "RUNNING", wave=1)
        somebody(world, "pause", job.job_id)
        world.settle()
        paused = only_job(world)
        if paused.status == "PAUSED":  # else the pause came in the last wave
            invoked = world.invoked["Apply"]
            world.pass_time(90 * 24 * 3600)
            world.settle()
            assert world.invoked["Apply"] == invoked  # it costs nothing
            somebody(world, "resume", job.job_id)
        assert succeeded(world).totals.records == 400


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("code", ["same", "new", "restart"])
def test_7_a_cancelled_job_is_redriven_and_only_what_is_missing_runs_again(seed, code):
    with a_world(seed, HISTORY_BUDGET_EVENTS="90") as world:
        world.upload("versioned", "lines/a", MANY)
        job = until(world, "RUNNING", wave=2)
        somebody(world, "cancel", job.job_id)
        world.settle()
        cancelled = only_job(world)
        assert cancelled.status == "CANCELLED"
        assert not world.buckets.keys("work", "results/")
        slots = cancelled.totals.slots
        if code != "same":
            world.deploy()
        somebody(world, "redrive", job.job_id, code=code)
        done = succeeded(world)
        ranges = done.totals.ranges
        again = done.totals.slots - slots
        assert again == ranges if code == "restart" else again == ranges - cancelled.totals.ranges


@pytest.mark.parametrize("seed", SEEDS)
def test_8_every_wave_is_a_generation_and_workers_and_states_are_killed(seed):
    rates = [Rate("doomed", 0.1, function) for function in ("Plan", "Fetch", "Apply", "Aggregate", "Finish")]
    with a_world(seed, *rates, HISTORY_BUDGET_EVENTS="90", RANGE_BYTES="128") as world:
        world.upload("versioned", "lines/a", MANY)
        job = succeeded(world)
        assert job.generation >= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_9_an_old_generation_that_wakes_up_has_no_effect(seed):
    with a_world(seed, HISTORY_BUDGET_EVENTS="90") as world:
        world.upload("versioned", "lines/a", MANY)
        job = until(world, "RUNNING", wave=2)
        old = next(iter(world.executions.values()))
        world.start_execution(f"{job.job_id}-g1", f'{{"job_id":"{job.job_id}","generation":1}}')
        until(world, "RUNNING", wave=3)
        for function, event in list(world.state_events):
            world.begin(function, event)  # all that was ever invoked, once more, in any order
        done = succeeded(world)
        assert done.generation >= 1
        assert old.status == "SUCCEEDED"  # it has ended quietly
        assert done.totals.slots == done.totals.ranges


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("overtaken", ["by the next generation", "by its own repeat"])
def test_9_an_aggregate_that_stands_still_until_others_have_gone_on_has_no_effect(seed, overtaken):
    with a_world(seed, HISTORY_BUDGET_EVENTS="400") as world:
        world.upload("versioned", "lines/a", MANY * 4)
        job = until(world, "RUNNING", wave=1)
        while not (slow := [i for i in world.invocations if i.name == "Aggregate" and not i.ended]):
            world.step()
        if overtaken == "by its own repeat":
            event = next(event for function, event in reversed(world.state_events) if function == "Aggregate")
            slow = [world.begin("Aggregate", event)]
        slow[0].step(12 + 2 * seed)  # it has seen the row, and found it as it should be
        world.frozen += slow
        if overtaken == "by the next generation":
            text = f'{{"job_id":"{job.job_id}","generation":1}}'
            world.start_execution(f"{job.job_id}-g1", text)
            while oracle.row(world, job.job_id).generation == 0:
                world.step()
        else:
            until(world, "RUNNING", wave=oracle.row(world, job.job_id).wave + 2)
        world.frozen.clear()
        assert succeeded(world).totals.records == 1_600


@pytest.mark.parametrize("seed", SEEDS)
def test_9_a_console_redrive_of_a_stopped_execution_is_fenced_or_carries_on(seed):
    with a_world(seed, HISTORY_BUDGET_EVENTS="90") as world:
        world.upload("versioned", "lines/a", MANY)
        job = until(world, "RUNNING", wave=2)
        execution = next(e for e in world.executions.values() if e.status == "RUNNING")
        execution.stop("ABORTED")
        if seed % 2:
            world.settle()
            assert only_job(world).status == "FAILED"
        execution.redrive()
        world.settle()
        after = only_job(world)
        if after.status == "FAILED":
            assert world.executions[execution.arn].status == "SUCCEEDED"  # quietly, as one that was superseded
            somebody(world, "redrive", job.job_id, code="same")
        assert succeeded(world).totals.records == 400


@pytest.mark.parametrize("when", ["killed before", "killed after"])
@pytest.mark.parametrize("call", range(0, 16, 2))
def test_10_a_finish_that_dies_at_any_moment_is_completed_by_its_repeat(call, when):
    with a_world(call) as world:
        world.faults.armed.append(Armed(when, call, "Finish"))
        world.upload("versioned", "lines/a", LINES)
        succeeded(world)
        assert world.invoked["Finish"] == (2 if world.faults.befallen[when] else 1)


@pytest.mark.parametrize("when", ["killed before", "killed after"])
@pytest.mark.parametrize("call", range(0, 16, 2))
def test_10_a_job_whose_finish_and_all_its_repeats_die_has_published_nothing_or_succeeds_by_itself(call, when):
    with a_world(call) as world:
        world.faults.armed.append(Armed(when, call, "Finish"))
        world.upload("versioned", "lines/a", LINES)
        until_invoked(world, "Finish")
        world.faults.rates.append(Rate("stillborn", 1.0, "Finish"))
        for _ in range(2_000):
            world.step()
        world.faults.stop()
        world.settle()
        oracle.at_rest(world)
        job = only_job(world)
        if job.status == "FAILED":
            assert not world.buckets.newest("work", f"{oracle.root(job)}_manifest.json")
            somebody(world, "redrive", job.job_id, code="same")
        succeeded(world)
