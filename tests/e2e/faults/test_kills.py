"""Processes and executions are killed: the result is the same, or the job says what is missing and goes on from there.

Most jobs are started before the first one is waited for; each has rules of its own.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.e2e.app import App
from tests.e2e.faults.proxy import Rule

from rangemill import control, keys
from rangemill.aws.batches import lock_key
from rangemill.gateways import ADMIT_LOCK
from rangemill.messages import ObjectRef

LINES = "format: {type: text}\napply: {python: probes:Lines}\n"
SLOW = "format: {type: text}\napply: {python: probes:Slow}\n"
BODY = b"".join(b"line %06d of what is killed\n" % n for n in range(4000))
SHORT = b"".join(b"%02d\n" % n for n in range(12))
PLACES = ("jobs/states-*/plan/*", "scratch/*/states-*/waves/*", "jobs/states-*/checkpoints/00000001*")


@dataclass
class Case:
    """A job under rules that began before it."""

    app: App
    job: str = ""
    rules: list[Rule] = field(default_factory=list)
    seen: list[tuple[bool, bool, str]] = field(default_factory=list)

    def start(self, name: str, body: bytes = BODY, document: str = LINES, **options: Any) -> "Case":
        """Begin the rules and the job of the pipeline of that name."""
        for rule in self.rules:
            self.app.proxy.add(rule)
        self.app.upload(f"faults/{name}.txt", body)
        refs = [ObjectRef(self.app.bucket, f"faults/{name}.txt")]
        self.job = self.app.submit_document(f"name: {name}\n{document}", refs, **options)
        return self


@pytest.fixture(scope="module", autouse=True)
def cases(app: App) -> Iterator[dict[str, Case]]:
    """Everything that goes on beside each other."""
    app.hear()
    found = {"states": states(app), "finish": finish(app), "half": half(app), "generations": generations(app)}
    yield found
    for case in found.values():
        for rule in case.rules:
            app.proxy.remove(rule)


def half(app: App) -> Case:
    kill = app.workers.kill_client
    rules = [
        Rule("before", keys="faults/half.txt", share=0.17, act=kill, most=4),
        Rule("before", "PutObject", "*/half-*/outcomes/*", share=0.2, act=kill, most=5),
        Rule("after", "PutObject", "*/half-*/outcomes/*", share=0.25, act=kill, most=5),
    ]
    return Case(app, rules=rules).start("half", range_bytes=16_000, concurrency=3, history_budget_events=1000)


def test_1_half_of_all_workers_killed_gives_the_same_result(app, cases):
    """Before they read, before they publish, after they published."""
    case = cases["half"]
    row = app.wait(case.job, 240)
    assert app.proved(row) == app.expected(BODY)
    assert row.totals.records == 4000
    most = sum(rule.most or 0 for rule in case.rules)  # parts of a slot whose workers died are invocations as well
    assert sum(rule.count for rule in case.rules) >= min(most, row.totals.invocations // 3)
    assert row.totals.deaths > 0


def generations(app: App) -> Case:
    kill = app.workers.kill_client
    rules = [
        Rule("before", "GetObject", "faults/gens.txt", share=0.15, act=kill, most=3),
        Rule("before", "PutObject", "*/gens-*/outcomes/*", share=0.2, act=kill, most=4),
        Rule("after", "PutObject", "*/gens-*/outcomes/*", share=0.2, act=kill, most=4),
        Rule("after", "PutObject", "jobs/gens-*/checkpoints/*", share=0.5, act=kill, most=2),
    ]
    return Case(app, rules=rules).start("gens", SHORT, range_bytes=4, concurrency=3, history_budget_events=60)


def test_8_generations_of_one_wave_each_with_kills_are_exact(app, cases):
    case = cases["generations"]
    row = app.wait(case.job, 240)
    assert app.proved(row) == app.expected(SHORT)
    assert row.result["generations"] == row.result["waves"] >= 2
    assert sum(rule.count for rule in case.rules) > 0
    assert sum(wave["records"] for wave in app.report(row)["wave_history"]) == 12


def states(app: App) -> Case:
    kill = app.workers.kill_client
    rules = [Rule(when, "PutObject", place, most=1, act=kill) for place in PLACES for when in ("before", "after")]
    return Case(app, rules=rules).start("states", range_bytes=60_000, concurrency=2)


def test_a_state_that_dies_before_and_after_it_writes_is_repeated(app, cases):
    case = cases["states"]
    assert app.proved(app.wait(case.job, 120)) == app.expected(BODY)
    assert [rule.count for rule in case.rules] == [1] * 6


def finish(app: App) -> Case:
    case = Case(app)

    def look_and_kill(request) -> None:
        root = keys.results("finish", case.job)
        is_there = [app.world.store.get(f"{root}{name}") is not None for name in ("result.jsonl", "_manifest.json")]
        case.seen.append((is_there[0], is_there[1], app.world.jobs.load(case.job).status))
        app.workers.kill_client(request)

    case.rules = [
        Rule(when, "PutObject", "results/finish/*/_manifest.json", most=1, act=look_and_kill)
        for when in ("before", "after")
    ]
    return case.start("finish", range_bytes=60_000, concurrency=2)


def test_10_a_finish_that_dies_between_output_and_manifest_shows_nothing_and_is_completed(app, cases):
    case = cases["finish"]
    row = app.wait(case.job, 120)
    # Dead before the manifest: an output that nothing names. Dead after it: whole, though the row does not know yet.
    assert case.seen == [(True, False, "RUNNING"), (True, True, "RUNNING")]
    assert app.proved(row) == app.expected(BODY)
    manifest = json.loads(app.world.store.get(f"{keys.results('finish', case.job)}_manifest.json"))
    assert manifest["output"] == row.result["output"]
    assert len(app.notices(case.job)) == 1


def test_all_function_processes_killed_at_once_in_plan_apply_and_aggregate(app, cases):
    rules = [
        Rule("beside", "PutObject", f"{place}/every-*/{what}", most=1, act=lambda _: app.workers.kill_all())
        for place, what in (("jobs", "plan/plan.json"), ("*", "outcomes/*"), ("jobs", "checkpoints/00000001*"))
    ]
    case = Case(app, rules=rules).start("every", SHORT, range_bytes=12, concurrency=2)
    cases["every"] = case
    assert app.proved(app.wait(case.job, 240)) == app.expected(SHORT)
    assert [rule.count for rule in rules] == [1, 1, 1]
    # An `admit` that was killed as well keeps its lock for two minutes, which the next test need not wait for.
    app.cloud.client("dynamodb").delete_item(TableName=app.outputs["JobTable"], Key=lock_key(ADMIT_LOCK))


def test_9_an_execution_stopped_mid_wave_is_named_and_redriven_and_what_it_left_behind_has_no_effect(app, cases):
    """A worker of it was frozen, and publishes its outcome when the job is long over."""
    freeze = Rule(
        "beside", "PutObject", "*/stopped-*/outcomes/*", most=1, act=lambda r: app.workers.freeze_client(r, 15.0)
    )
    case = Case(app, rules=[freeze]).start("stopped", SHORT, SLOW, range_bytes=6, concurrency=2)
    cases["stopped"] = case
    deadline = time.monotonic() + 180
    while not freeze.count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert freeze.count == 1
    execution = app.world.jobs.load(case.job).execution_arn
    app.cloud.client("stepfunctions").stop_execution(executionArn=execution, error="Pulled", cause="the plug")
    row = app.wait(case.job, 60)
    assert row.status == "FAILED"
    assert "the plug" in row.error["message"]
    control.redrive(case.job, "same", app.world)
    app.invoke("AdmitFunction", {})
    row = app.wait(case.job, 120, until=("SUCCEEDED", "FAILED"))
    assert app.proved(row) == app.expected(SHORT)
    frozen = app.workers.frozen[-1]
    while app.workers.is_frozen(frozen) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    old = {slot: app.world.store.get(keys.outcome(case.job, 1, slot)) is not None for slot in range(4)}
    assert any(old.values()), old
    assert app.world.jobs.load(case.job) == row
    assert app.rows(row) == [app.expected(SHORT)]
    assert [notice["status"] for notice in app.notices(case.job)] == ["FAILED", "SUCCEEDED"]
