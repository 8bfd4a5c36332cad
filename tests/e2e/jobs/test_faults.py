"""What goes wrong, and what a person is told."""

import json
import time
import uuid

from rangemill import control
from rangemill.limits import CONTEXT_MAX_BYTES
from rangemill.messages import ObjectRef
from rangemill_cli.local import sam

SLOW = b"".join(b"slow line %02d\n" % n for n in range(24))


def event_of(app, key):
    """The event that S3 sends for the object, as EventBridge puts it into the intake queue."""
    head = app.cloud.client("s3").head_object(Bucket=app.bucket, Key=key)
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "000000000000",
        "time": "2026-01-01T00:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{app.bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": app.bucket},
            "object": {
                "key": key,
                "size": head["ContentLength"],
                "etag": head["ETag"].strip('"'),
                "version-id": head.get("VersionId", "null"),
            },
            "request-id": "x",
            "requester": "000000000000",
            "reason": "PutObject",
        },
    }


def test_an_event_that_comes_five_times_out_of_order_makes_one_job(app):
    for name in ("first", "second"):
        app.upload(f"lines/{name}.txt", name.encode())
    events = [event_of(app, f"lines/{name}.txt") for name in ("second", "first", "first", "second", "first") * 2]
    for event in events:
        app.cloud.client("sqs").send_message(QueueUrl=app.outputs["IntakeQueueUrl"], MessageBody=json.dumps(event))
    rows = [app.wait(app.job_of("test-lines", f"lines/{name}.txt")) for name in ("first", "second")]
    time.sleep(3)
    jobs = [r for s in ("WAITING", "RUNNING", "SUCCEEDED", "FAILED") for r in app.world.jobs.by_status(s)]
    for row in rows:
        assert [j.job_id for j in jobs].count(row.job_id) == 1
        assert len(app.histories(row.job_id)) == 1
        assert app.proved(row)["lines"] == 1


def test_an_object_that_no_pipeline_matches_starts_nothing(app):
    before = {r.job_id for s in ("WAITING", "RUNNING", "SUCCEEDED", "FAILED") for r in app.world.jobs.by_status(s)}
    app.upload("nobody/wants/this", b"x")
    app.upload("lines/folder/", b"")
    app.upload("scratch/jobs/x", b"x", bucket=app.outputs["WorkBucket"])
    time.sleep(4)
    after = {r.job_id for s in ("WAITING", "RUNNING", "SUCCEEDED", "FAILED") for r in app.world.jobs.by_status(s)}
    assert after == before


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


def unversioned(app):
    """A bucket without versioning that the functions may read (nothing enforces permissions here)."""
    name = f"unversioned-{uuid.uuid4().hex[:8]}"
    app.cloud.client("s3").create_bucket(Bucket=name)
    return name


def slow_job(app, ref):
    return app.submit("test-slow", [ref], range_bytes=26, concurrency=2, history_budget_events=100)


def test_an_unversioned_object_that_is_overwritten_fails_by_name_with_both_etags(app):
    bucket = unversioned(app)
    app.upload("slow.txt", SLOW, bucket)
    before = app.cloud.client("s3").head_object(Bucket=bucket, Key="slow.txt")["ETag"].strip('"')
    job_id = slow_job(app, ObjectRef(bucket, "slow.txt"))
    app.wait(job_id, until=("RUNNING",))
    time.sleep(1.5)
    app.upload("slow.txt", SLOW.replace(b"slow", b"fast"), bucket)
    after = app.cloud.client("s3").head_object(Bucket=bucket, Key="slow.txt")["ETag"].strip('"')
    row = app.wait(job_id)
    assert (row.status, row.error["type"]) == ("FAILED", "ObjectChanged")
    assert before in row.error["message"]
    assert after in row.error["message"]


def test_an_unversioned_object_that_is_deleted_fails_by_name(app):
    bucket = unversioned(app)
    app.upload("slow.txt", SLOW, bucket)
    job_id = slow_job(app, ObjectRef(bucket, "slow.txt"))
    app.wait(job_id, until=("RUNNING",))
    time.sleep(1.5)
    app.cloud.client("s3").delete_object(Bucket=bucket, Key="slow.txt")
    row = app.wait(job_id)
    assert (row.status, row.error["type"]) == ("FAILED", "ObjectMissing")


def test_a_versioned_object_is_finished_as_pinned(app):
    app.upload("versioned/slow.txt", SLOW)
    job_id = slow_job(app, ObjectRef(app.bucket, "versioned/slow.txt"))
    app.wait(job_id, until=("RUNNING",))
    time.sleep(1.5)
    app.upload("versioned/slow.txt", b"something else\n")
    app.cloud.client("s3").delete_object(Bucket=app.bucket, Key="versioned/slow.txt")
    row = app.wait(job_id)
    assert app.proved(row) == app.expected(SLOW)


def test_a_worker_that_dies_on_a_record_ends_in_a_named_failure(app):
    app.upload("dies.txt", b"a\npoison\nb\n")
    row = app.wait(app.submit("test-dies", [ObjectRef(app.bucket, "dies.txt")], concurrency=2), 180)
    assert (row.status, row.error["type"]) == ("FAILED", "WorkerDied")
    assert row.error["offset"] == 2


def test_zz_a_deployment_with_changed_code_stops_a_running_job(app):
    """Last: it changes the deployed pipelines."""
    app.upload("code/slow.txt", SLOW * 8)
    job_id = app.submit(
        "test-slow", [ObjectRef(app.bucket, "code/slow.txt")], range_bytes=26, concurrency=2, history_budget_events=100
    )
    app.wait_for_wave(job_id, 1)
    probes = app.paths.project / "layers/pipelines/probes.py"
    probes.write_text(probes.read_text().replace("time.sleep(0.5)", "time.sleep(0.005)"))
    sam.deploy(app.cloud, app.paths, force=True)
    row = app.wait(job_id)
    assert (row.status, row.error["type"]) == ("FAILED", "CodeChanged")
    assert "pipelines layer" in row.error["message"]
    assert 0 < row.totals.records < 8 * 24
    control.redrive(job_id, "new", app.world)
    app.invoke("AdmitFunction", {})
    row = app.wait(job_id, until=("SUCCEEDED", "FAILED"))
    assert app.proved(row) == app.expected(SLOW * 8)
    report = json.loads(app.world.store.get(row.result["report"]))
    assert len({entry["code"]["pipelines"] for entry in report["generation_history"]}) == 2
