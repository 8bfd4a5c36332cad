"""What a job asks of the services, counted by the local cloud: per slot, per wave, per job, and as the model has it."""

import json
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass

import pytest
from benchmarks.scale.gateways import kind_of

from rangemill import costs
from rangemill.messages import JobRow, ObjectRef
from rangemill_cli.local import stacks
from rangemill_cli.local.cloud import STACK

RANGES = 30
BUDGET_EVENTS = 200  # twenty slots a wave, each one range; both waves in one execution
WAVES = 2
KEY = "counted/object.txt"
STATES = ("Plan", "Fetch", "Apply", "Aggregate", "Finish")


@dataclass(frozen=True)
class Counted:
    """The requests of one job: of S3 and the table what names it or its object, of Lambda those of the states."""

    row: JobRow
    gets: Counter[str]
    puts: Counter[str]
    table: Counter[str]
    invocations: Counter[str]
    entered: Counter[str]


def requests_since(app, number):
    with urllib.request.urlopen(f"{app.cloud.endpoint_url}/_rangemill/requests?since={number}") as answer:
        return json.loads(answer.read())["requests"]


@pytest.fixture(scope="module")
def counted(app) -> Counted:
    body = b"".join(b"%07d\n" % n for n in range(RANGES * 1000))
    app.upload(KEY, body)
    before = (requests_since(app, 0) or [[0]])[-1][0]
    refs = [ObjectRef(app.bucket, KEY)]
    job_id = app.submit("test-lines", refs, range_bytes=8_000, concurrency=4, history_budget_events=BUDGET_EVENTS)
    deadline = time.monotonic() + 240
    while app.world.executions.status(job_id, 0) in (None, "RUNNING"):  # not the row: its reads are counted
        assert time.monotonic() < deadline
        time.sleep(0.2)
    asked = requests_since(app, before)
    row = app.wait(job_id)
    assert app.proved(row) == app.expected(body)
    found = Counted(row, Counter(), Counter(), Counter(), Counter(), Counter())
    functions = {name: state for state in STATES if (name := stacks.functions(app.cloud, STACK)[f"{state}Function"])}
    for _, service, operation, _, _, named in asked:
        about = json.loads(named) if named.endswith("}") else {}
        key = about.get("Key", "")
        if service == "s3" and isinstance(key, str) and (job_id in key or key == KEY or key.startswith("scratch/map-")):
            kind = "object" if key == KEY else "map run" if key.startswith("scratch/map-") else kind_of(key)
            (found.puts if operation == "PutObject" else found.gets)[kind] += 1
        elif service == "dynamodb" and job_id in named:
            found.table[operation] += 1
        elif service == "lambda" and operation == "Invoke":
            name = about.get("FunctionName", "").rpartition(":")[2]
            if name in functions:
                found.invocations[functions[name]] += 1
    (history,) = app.histories(job_id)
    found.entered.update(
        event["stateEnteredEventDetails"]["name"] for event in history if "stateEnteredEventDetails" in event
    )
    return found


def test_the_job_is_of_the_shape_that_is_counted(counted):
    totals = counted.row.totals
    assert (totals.slots, totals.waves, counted.row.generation) == (RANGES, WAVES, 0)


def test_each_document_is_read_as_often_as_the_states_need_it(counted):
    """Plan once, Fetch and Aggregate once a wave, a worker once a slot; the Map itself reads the wave document."""
    assert {kind: count for kind, count in counted.gets.items() if kind != "object"} == {
        "request": 2,
        "page of the plan": 3 + WAVES,
        "plan": 3 + 2 * WAVES + RANGES + 2,
        "checkpoint": 1 + 3 * WAVES + 1,
        "wave document": 3 * WAVES,
        "handout": WAVES,
        "slots": WAVES + RANGES,
        "outcome": RANGES,
        "folded partial": WAVES,
        "list of proved objects": 1,
    }
    # Plan's HEAD and samples; all others the workers have counted themselves.
    assert 0 < counted.gets["object"] - counted.row.totals.worker_requests <= 4


def test_each_document_is_written_once(counted):
    per_wave = ("slots", "handout", "wave document", "folded partial", "checkpoint", "map run")
    assert counted.puts == {
        **dict.fromkeys(per_wave, WAVES),
        "checkpoint": WAVES + 1,
        "outcome": RANGES,
        **dict.fromkeys(("request", "page of the plan", "plan", "list of proved objects"), 1),
        **dict.fromkeys(("result", "report", "manifest"), 1),
    }


def test_the_row_is_read_by_each_worker_and_three_times_a_wave(counted):
    seconds = counted.row.totals.worker_milliseconds / 1000
    writes = counted.table["TransactWriteItems"]
    reads = counted.table["GetItem"]
    assert writes == WAVES + 2  # each commit, the lease that it is started with, and the taking of the generation
    least = RANGES + 3 * WAVES
    assert least < reads <= least + costs.A_JOB.table_reads + 2 * seconds / 5


def test_functions_and_states_run_once_for_each_slot_and_wave(counted):
    assert counted.invocations == {"Plan": 1, "Fetch": WAVES, "Apply": RANGES, "Aggregate": WAVES, "Finish": 1}
    per_wave = ("Fetch", "Apply", "Aggregate", "Decide")
    assert counted.entered == {**dict.fromkeys(("Plan", "MorePlan?", "Finish"), 1), **dict.fromkeys(per_wave, WAVES)}


def test_the_model_counts_what_the_cloud_has_counted(counted):
    """Per slot exactly; a wave of the model folds a sixteenth of the counter, and AWS's Map writes a list more."""
    model = costs.requests_of(counted.row.totals)
    assert model.transitions == sum(counted.entered.values()) + 1 + 2 * RANGES  # the start, and those of the children
    assert abs(model.gets - counted.gets.total()) <= 10 + 2 * WAVES
    assert abs(model.puts - counted.puts.total()) <= 2 * WAVES + 1
    assert model.invocations == counted.invocations.total() + 1  # Admit
    assert abs(model.table_reads - counted.table["GetItem"]) <= costs.A_JOB.table_reads
