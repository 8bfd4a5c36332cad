"""People pause, cancel and redrive: what is committed is not done again, and the result is exact."""

import json

from tests.e2e.faults.proxy import Rule

from rangemill import control
from rangemill.messages import ObjectRef

SLOW = b"".join(b"slow line %02d\n" % n for n in range(16))
LINES = b"".join(b"boom\n" if n == 700 else b"%03d\n" % n for n in range(1000))
RAISES = "name: redriven\nformat: {type: text}\napply: {python: probes:Raises}\n"


def test_7_a_job_is_paused_resumed_cancelled_and_redriven_to_the_exact_result(app, rangemill):
    app.upload("control/slow.txt", SLOW)
    uri = f"s3://{app.bucket}/control/slow.txt"
    words = ("submit", "test-slow", uri, "--range-bytes", 13, "--concurrency", 2, "--history-budget", 20, "--json")
    job = json.loads(rangemill(*words).stdout)["job_id"]
    app.wait_for_wave(job, 1)
    paused = json.loads(rangemill("pause", job, "--wait", "--json").stdout)
    assert (paused["status"], paused["rest_reason"]) == ("PAUSED", "paused")
    rangemill("set", job, "--concurrency", 3)
    rangemill("resume", job)
    app.wait_for_wave(job, paused["waves"] + 1)
    cancelled = json.loads(rangemill("cancel", job, "--wait", "--json").stdout)
    assert cancelled["status"] == "CANCELLED"
    assert 0 < cancelled["records"] < 16
    redriven = json.loads(rangemill("redrive", job, "--wait", "--json").stdout)
    row = app.world.jobs.load(job)
    assert app.proved(row) == app.expected(SLOW)
    assert redriven["records"] == 16
    report = json.loads(app.world.store.get(redriven["report"]))
    assert sum(wave["records"] for wave in report["wave_history"]) == 16  # none was committed twice
    assert {"PAUSED", "CANCELLED"} <= {entry.get("status") for entry in report["generation_history"]}
    assert report["concurrency"] == 3


def test_7_changed_code_stops_a_running_job_and_a_redrive_with_it_does_only_what_is_missing(app):
    app.upload("control/boom.txt", LINES)
    app.upload("control/running.txt", SLOW * 8)
    options = {"range_bytes": 400, "concurrency": 2, "history_budget_events": 1000}
    failed = app.submit_document(RAISES, [ObjectRef(app.bucket, "control/boom.txt")], **options)
    row = app.wait(failed)
    assert (row.status, row.error["type"], row.error["offset"]) == ("FAILED", "UserCodeError", LINES.index(b"boom"))
    assert 0 < row.totals.records < 1000
    running = app.submit(
        "test-slow",
        [ObjectRef(app.bucket, "control/running.txt")],
        range_bytes=26,
        concurrency=2,
        history_budget_events=100,
    )
    app.wait_for_wave(running, 1)
    changes = [('record == b"boom"', 'record == b"never"'), ("time.sleep(0.5)", "time.sleep(0.005)")]
    app.change_pipelines("probes.py", *changes)
    try:
        stopped = app.wait(running)
        assert (stopped.status, stopped.error["type"]) == ("FAILED", "CodeChanged")
        assert "pipelines layer" in stopped.error["message"]
        assert 0 < stopped.totals.records < 8 * 16
        with app.proxy.while_adding(Rule("beside", keys="control/boom.txt")) as (reads,):
            for job in (failed, running):
                control.redrive(job, "new", app.world)
            app.invoke("AdmitFunction", {})
            rows = [app.wait(job, until=("SUCCEEDED", "FAILED")) for job in (failed, running)]
    finally:
        app.change_pipelines("probes.py", *[(new, old) for old, new in changes])
    assert app.proved(rows[0]) == app.expected(LINES)
    assert app.proved(rows[1]) == app.expected(SLOW * 8)
    waves = app.report(rows[0])["wave_history"]
    missing = 1000 - row.totals.records
    assert [wave["records"] for wave in waves if wave["wave"] > row.wave] == [missing]
    assert reads.seen <= 4  # the missing range and its neighbours' ends, and what Plan looks at again
    assert len({entry["code"]["pipelines"] for entry in app.report(rows[1])["generation_history"]}) == 2
