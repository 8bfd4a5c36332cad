"""Events that come thrice, states that are executed twice, executions that wake up when the job is another's."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rangemill import control, keys
from rangemill.messages import ObjectRef

BODY = b"".join(b"line %d\n" % n for n in range(300))
SLOW = b"".join(b"%02d\n" % n for n in range(8))


def histories(app, job_id: str) -> Iterator[list[dict[str, Any]]]:
    """The events of all executions of a job, those too that another one of the same generation has displaced."""
    client = app.cloud.client("stepfunctions")
    listed = client.get_paginator("list_executions").paginate(stateMachineArn=app.outputs["StateMachineArn"])
    for execution in (e for page in listed for e in page["executions"] if e["name"].startswith(job_id)):
        pages = client.get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
        yield [event for page in pages for event in page["events"]]


def payloads(app, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the executions of a job have invoked so far: function and payload; of its workers too."""
    for history in histories(app, job_id):
        for event in history:
            details = event.get("taskScheduledEventDetails")
            if details and details["resourceType"] == "lambda":
                parameters = json.loads(details["parameters"])
                yield parameters["FunctionName"], parameters["Payload"]
    generations = {wave.wave: wave.generation for wave in app.world.jobs.waves(job_id)}
    for wave in range(1, app.world.jobs.load(job_id).wave + 2):
        for item in json.loads(app.world.store.get(keys.wave(job_id, wave)) or b"[]"):
            generation = generations.get(wave, app.world.jobs.load(job_id).generation)
            message = {"job_id": job_id, "generation": generation, "wave": wave, "item": item}
            yield app.functions["ApplyFunction"], message


def repeat(app, job_id: str, *, done: set[str], wait: bool) -> int:
    """Invoke once more what is not in `done`; how many that were."""
    repeated = 0
    for function, payload in payloads(app, job_id):
        text = json.dumps([function, payload], sort_keys=True)
        if text not in done:
            done.add(text)
            kind = "RequestResponse" if wait else "Event"
            app.cloud.client("lambda").invoke(
                FunctionName=function, Payload=json.dumps(payload).encode(), InvocationType=kind
            )
            repeated += 1
    return repeated


def published(app, row) -> list[tuple[str, Any]]:
    """What lies in the output's folder, and since when."""
    root = keys.results(row.pipeline, row.job_id)
    found = app.cloud.client("s3").list_objects_v2(Bucket=app.outputs["WorkBucket"], Prefix=root)
    return [(entry["Key"], entry["LastModified"]) for entry in found["Contents"]]


def test_2_events_thrice_out_of_order_and_every_state_twice_make_one_job_one_result_one_notice(app):
    app.hear()
    for name in ("first", "second"):
        app.upload(f"lines/{name}.txt", BODY)
    events = [app.event_of(f"lines/{name}.txt") for name in ("second", "first", "first", "second", "second", "first")]
    for event in events:
        app.cloud.client("sqs").send_message(QueueUrl=app.outputs["IntakeQueueUrl"], MessageBody=json.dumps(event))
    jobs = [app.job_of("test-lines", f"lines/{name}.txt") for name in ("first", "second")]
    app.wait(jobs[0], until=("RUNNING", "SUCCEEDED"))
    machine, name = app.outputs["StateMachineArn"], f"{jobs[0]}-again"
    first_input = json.dumps({"job_id": jobs[0], "generation": 0})
    app.cloud.client("stepfunctions").start_execution(stateMachineArn=machine, name=name, input=first_input)
    done: set[str] = set()
    deadline = time.monotonic() + 120
    while app.world.jobs.load(jobs[0]).status == "RUNNING" and time.monotonic() < deadline:
        repeat(app, jobs[0], done=done, wait=False)  # beside the states themselves
    rows = [app.wait(job) for job in jobs]
    time.sleep(2)
    before = [published(app, row) for row in rows]
    assert {function.rpartition(":")[2] for function, _ in payloads(app, jobs[0])} == {
        app.functions[f"{state}Function"] for state in ("Plan", "Fetch", "Apply", "Aggregate", "Finish")
    }
    for job in jobs:
        repeat(app, job, done=set(), wait=True)  # and after them, all
    for row in rows:
        assert app.proved(row) == app.expected(BODY)
        assert app.world.jobs.load(row.job_id) == row
        assert [found.job_id for found in app.jobs()].count(row.job_id) == 1
        assert len(app.notices(row.job_id)) == 1
    assert [published(app, row) for row in rows] == before


def test_9_an_old_generation_that_wakes_up_after_a_takeover_has_no_effect(app):
    """Paused and resumed: generation 1 works. Then everything of generation 0 is done again, and its execution too."""
    app.upload("repeats/slow.txt", SLOW)
    ref = ObjectRef(app.bucket, "repeats/slow.txt")
    job = app.submit("test-slow", [ref], range_bytes=3, concurrency=2, history_budget_events=20)
    app.wait_for_wave(job, 1)
    control.pause(job, app.world)
    paused = app.wait(job)
    old = list(payloads(app, job))
    control.resume(job, app.world)
    app.invoke("AdmitFunction", {})
    app.wait(job, until=("RUNNING",))
    client = app.cloud.client("stepfunctions")
    woken = client.start_execution(
        stateMachineArn=app.outputs["StateMachineArn"],
        name=f"{job}-woken",
        input=json.dumps({"job_id": job, "generation": paused.generation}),
    )
    for function, payload in old:
        app.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload).encode())
    row = app.wait(job, 120)
    assert app.proved(row) == app.expected(SLOW)
    report = app.report(row)
    assert sum(wave["records"] for wave in report["wave_history"]) == 8
    assert {wave["generation"] for wave in report["wave_history"] if wave["wave"] > paused.wave} <= set(
        range(paused.generation + 1, row.generation + 1)
    )
    ended = client.describe_execution(executionArn=woken["executionArn"])
    assert (ended["status"], app.world.jobs.load(job)) == ("SUCCEEDED", row)  # its end is the state Superseded
    states = client.get_execution_history(executionArn=woken["executionArn"])["events"]
    assert "Superseded" in [event.get("stateEnteredEventDetails", {}).get("name") for event in states]


@pytest.mark.parametrize("lost", ["the event of an upload", "the end of an execution"])
def test_what_no_event_tells_the_sweep_finds(app, lost):
    events = app.cloud.client("events")
    wanted = "IntakeRule" if lost == "the event of an upload" else "AbandonRule"
    (rule,) = [entry["Name"] for entry in events.list_rules()["Rules"] if wanted in entry["Name"]]
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
    try:
        if wanted == "IntakeRule":
            app.upload("lines/unheard.txt", BODY)
            time.sleep(3)
            job = app.job_of("test-lines", "lines/unheard.txt")
            assert job not in [row.job_id for row in app.jobs()]
        else:
            app.upload("repeats/unheard.txt", SLOW)
            ref = ObjectRef(app.bucket, "repeats/unheard.txt")
            job = app.submit("test-slow", [ref], range_bytes=3, concurrency=2)
            row = app.wait_for_start(job)
            app.cloud.client("stepfunctions").stop_execution(executionArn=row.execution_arn, error="E", cause="lost")
            time.sleep(3)
            assert app.world.jobs.load(job).status == "RUNNING"
        for _ in range(2):
            app.invoke("SweepFunction", {})
        app.invoke("AdmitFunction", {})
    finally:
        events.put_targets(Rule=rule, Targets=targets)
    row = app.wait(job)
    if row.status == "FAILED":
        assert "left no word" in row.error["message"]
        control.redrive(job, "same", app.world)
        app.invoke("AdmitFunction", {})
        row = app.wait(job, until=("SUCCEEDED", "FAILED"))
    assert app.proved(row) == app.expected(BODY if wanted == "IntakeRule" else SLOW)
