"""Rejected records on the local cloud: kept in the work bucket, named by the report, bounded."""

import json

from rangemill import control
from rangemill.messages import ObjectRef
from rangemill_cli.local import stacks
from rangemill_cli.local.cloud import STACK

LINES = b"".join(b"boom\n" if number % 100 == 50 else b"line %d of the log\n" % number for number in range(1000))
BAD = [at for at in range(len(LINES)) if LINES.startswith(b"boom\n", at)]
PYTHON = """name: test-quarantine
format: {type: text}
apply: {python: probes:Raises}
rejects: {on_error: quarantine, max_count: %d}
"""
SQL = """name: test-quarantine-sql
format: {type: csv, columns: {amount: BIGINT}}
apply: {sql: "SELECT count(*) AS n, sum(amount / CAST(part AS INTEGER)) AS s FROM records"}
aggregate: {sql: "SELECT sum(n) AS n, sum(s) AS s FROM partials"}
rejects: {on_error: quarantine}
"""


def kept(app, report):
    """The rejected records that the report names, by their offsets."""
    bodies = [app.world.store.get(uri) for uri in report["reject_files"]]
    found = [json.loads(line) for body in bodies for line in body.splitlines()]
    return sorted(found, key=lambda reject: reject["offset"])


def test_records_that_raise_are_kept_and_the_others_are_right(app):
    app.upload("quarantine/log.txt", LINES)
    ref = ObjectRef(app.bucket, "quarantine/log.txt")
    job = app.submit_document(PYTHON % 100, [ref], range_bytes=2000)
    row = app.wait(job)
    good = LINES.replace(b"boom\n", b"")
    assert app.proved(row) == app.expected(good)
    assert (row.totals.records, row.totals.rejects, row.result["rejects"]) == (1000, len(BAD), len(BAD))
    report = json.loads(app.world.store.get(row.result["report"]))
    rejects = kept(app, report)
    assert [(reject["offset"], reject["bytes"]) for reject in rejects] == [(at, "boom\n") for at in BAD]
    assert {reject["object"] for reject in rejects} == {f"s3://{app.bucket}/quarantine/log.txt"}
    assert all(uri.startswith(report["rejects_in"]) for uri in report["reject_files"])
    assert [(group["type"], group["count"]) for group in report["reject_groups"]] == [("UserCodeError", len(BAD))]
    assert "not to my taste" not in json.dumps([report["reject_groups"], row.result])


def test_values_and_expressions_that_fail_are_kept(app):
    body = b"amount,part\n10,2\nten,2\n30,x\n40,4\n"
    app.upload("quarantine/parts.csv", body)
    row = app.wait(app.submit_document(SQL, [ObjectRef(app.bucket, "quarantine/parts.csv")], range_bytes=9))
    assert app.rows(row) == [{"n": 2, "s": 15.0}]
    report = json.loads(app.world.store.get(row.result["report"]))
    assert [(reject["offset"], reject["type"]) for reject in kept(app, report)] == [
        (body.index(b"ten"), "BadRecord"),
        (body.index(b"30,x"), "BadStatement"),
    ]


def test_more_rejects_than_allowed_fail_the_job_with_the_worst_errors(app):
    app.upload("quarantine/limit.txt", LINES)
    row = app.wait(app.submit_document(PYTHON % 3, [ObjectRef(app.bucket, "quarantine/limit.txt")], range_bytes=2000))
    assert (row.status, row.error["type"]) == ("FAILED", "TooManyRejects")
    assert "UserCodeError (ValueError at " in row.error["message"]
    assert "not to my taste" not in row.error["message"]
    assert row.result is None
    logs = app.cloud.client("logs")
    group = f"/aws/lambda/{stacks.functions(app.cloud, STACK)['ApplyFunction']}"
    events = logs.filter_log_events(logGroupName=group)["events"]
    assert events
    assert all("boom" not in event["message"] for event in events)


def test_a_record_that_kills_its_worker_is_rejected_and_applied_again_by_a_redrive(app):
    body = b"".join(b"poison\n" if number == 7 else b"line %d\n" % number for number in range(30))
    app.upload("quarantine/kills.txt", body)
    text = "name: test-kills\nformat: {type: text}\napply: {python: probes:Dies}\nrejects: {on_error: quarantine}\n"
    job = app.submit_document(text, [ObjectRef(app.bucket, "quarantine/kills.txt")], range_bytes=300)
    row = app.wait(job, 180)
    good = body.replace(b"poison\n", b"")
    assert app.proved(row) == app.expected(good)
    report = json.loads(app.world.store.get(row.result["report"]))
    (reject,) = kept(app, report)
    assert (reject["offset"], reject["bytes"], reject["type"]) == (body.index(b"poison"), "poison\n", "WorkerDied")
    assert report["totals"]["culprits"] == 1
    assert any(wave.get("parted") for wave in report["wave_history"])

    control.redrive(job, "same", app.world, rejects=True)
    row = app.wait(job, 180)
    assert (row.status, row.totals.rejects) == ("SUCCEEDED", 1)  # the code is the same
    assert app.proved(row) == app.expected(good)
    report = json.loads(app.world.store.get(row.result["report"]))
    assert sum(wave.get("redone", 0) for wave in report["wave_history"]) == 1
    assert [generation.get("status") for generation in report["generation_history"]] == ["SUCCEEDED", None]
