"""What goes wrong, and what a person is told."""

import time

from rangemill.limits import CONTEXT_MAX_BYTES
from rangemill.messages import ObjectRef


def test_an_object_that_no_pipeline_matches_starts_nothing(app):
    before = {row.job_id for row in app.jobs()}
    app.upload("nobody/wants/this", b"x")
    app.upload("lines/folder/", b"")
    app.upload("scratch/jobs/x", b"x", bucket=app.outputs["WorkBucket"])
    time.sleep(4)
    assert {row.job_id for row in app.jobs()} == before


def test_a_user_function_that_raises_fails_the_job_with_object_and_offset(app):
    app.upload("raises/one.txt", b"fine\nfine\nboom\nfine\n")
    row = app.wait(app.job_of("test-raises", "raises/one.txt"))
    assert row.status == "FAILED"
    assert row.error["type"] == "UserCodeError"
    assert "ValueError" in row.error["message"]
    assert "this line is not to my taste" in row.error["message"]
    assert row.error["object"] == f"s3://{app.bucket}/raises/one.txt"
    assert row.error["offset"] == 10


def test_an_exception_that_quotes_a_long_record_stays_named_and_the_payload_small(app):
    app.upload("raises/long.txt", b"fine\n" + b"long " + b"\xc3\xa9" * 5_000_000 + b"\n")
    row = app.wait(app.job_of("test-raises", "raises/long.txt"))
    assert (row.status, row.error["type"], row.error["offset"]) == ("FAILED", "UserCodeError", 5)
    assert "ValueError" in row.error["message"]
    assert len(row.error["message"]) < 1000
    for history in app.histories(row.job_id):
        for event in history:
            for details in ("stateEnteredEventDetails", "stateExitedEventDetails"):
                text = event.get(details, {}).get("input") or event.get(details, {}).get("output") or ""
                assert len(text.encode()) <= CONTEXT_MAX_BYTES, event


def test_a_worker_that_dies_on_a_record_ends_in_a_named_failure(app):
    app.upload("dies.txt", b"a\npoison\nb\n")
    row = app.wait(app.submit("test-dies", [ObjectRef(app.bucket, "dies.txt")], concurrency=2), 180)
    assert (row.status, row.error["type"]) == ("FAILED", "WorkerDied")
    assert row.error["offset"] == 2
