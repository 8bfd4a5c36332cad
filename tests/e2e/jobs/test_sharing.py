"""Jobs share workers on the local cloud: a large one gives some up when small ones come."""

import json

import pytest

from rangemill.messages import ObjectRef
from rangemill_cli.local import stacks
from rangemill_cli.local.cloud import STACK

BIG = b"".join(b"slow line %02d\n" % n for n in range(28))
SMALL = b"a line\nanother one\n"


@pytest.fixture
def two_workers(app):
    """`admit` as if the stack's MaxWorkers were 2."""
    client = app.cloud.client("lambda")
    name = stacks.functions(app.cloud, STACK)["AdmitFunction"]
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def set_workers(workers: str) -> None:
        changed = {"Variables": {**variables, "MAX_WORKERS": workers}}
        client.update_function_configuration(FunctionName=name, Environment=changed)
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    set_workers("2")
    yield
    set_workers(variables["MAX_WORKERS"])


def test_small_jobs_take_workers_from_a_large_one(app, two_workers):
    app.upload("sharing/big.txt", BIG)
    app.upload("sharing/small.txt", SMALL)
    big = app.submit(
        "test-slow",
        [ObjectRef(app.bucket, "sharing/big.txt")],
        range_bytes=13,
        concurrency=2,
        history_budget_events=40,  # waves of four slots
    )
    app.wait_for_wave(big, 1)
    small = [
        app.submit("test-lines", [ObjectRef(app.bucket, "sharing/small.txt", size_bytes=len(SMALL))]) for _ in range(3)
    ]
    for job_id in small:
        assert app.proved(app.wait(job_id, 180)) == app.expected(SMALL)
    row = app.wait(big, 240)
    assert app.proved(row) == app.expected(BIG)
    assert row.result is not None
    history = json.loads(app.world.store.get(row.result["report"]))["wave_history"]
    assert history[0]["granted"] == 2
    assert 1 in [wave["workers"] for wave in history]  # from the commit on after the first small one came
