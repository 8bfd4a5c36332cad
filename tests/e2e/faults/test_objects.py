"""Objects that change under a job, and answers of S3 that are not the object: named, or made good."""

import itertools
import json
import time
import uuid
from typing import Any

import pytest
from tests.e2e.faults.proxy import Rule

from rangemill import control, keys
from rangemill.messages import ObjectRef

LINES = "format: {type: text}\napply: {python: probes:Lines}\n"
SLOW = b"".join(b"slow line %02d\n" % n for n in range(16))
BODY = b"".join(b"%d is a line of what S3 will not give easily\n" % (n * n) for n in range(30_000))


@pytest.fixture(scope="module")
def changed(app) -> dict[str, Any]:
    """Three jobs whose objects are changed while they run: their rows when they have ended, and what was there."""
    bucket, s3 = f"unversioned-{uuid.uuid4().hex[:8]}", app.cloud.client("s3")
    s3.create_bucket(Bucket=bucket)
    places = {"overwritten": bucket, "deleted": bucket, "pinned": app.bucket}
    etags, jobs = {}, {}
    for name, place in places.items():
        app.upload(f"objects/{name}.txt", SLOW, place)
        etags[name] = s3.head_object(Bucket=place, Key=f"objects/{name}.txt")["ETag"].strip('"')
        ref = ObjectRef(place, f"objects/{name}.txt")
        jobs[name] = app.submit("test-slow", [ref], range_bytes=26, concurrency=2, history_budget_events=60)
    for job in jobs.values():
        while app.world.store.get(keys.wave(job, 1)) is None:
            time.sleep(0.1)
    waves = {name: app.world.jobs.load(job).wave for name, job in jobs.items()}
    for name in ("overwritten", "pinned"):
        app.upload(f"objects/{name}.txt", SLOW.replace(b"slow", b"fast"), places[name])
    for name in ("deleted", "pinned"):
        s3.delete_object(Bucket=places[name], Key=f"objects/{name}.txt")
    rows = {name: app.wait(job, 180) for name, job in jobs.items()}
    etags["after"] = s3.head_object(Bucket=bucket, Key="objects/overwritten.txt")["ETag"].strip('"')
    return {"rows": rows, "waves": waves, "etags": etags}


def nothing_is_published(app, row) -> bool:
    found = app.cloud.client("s3").list_objects_v2(Bucket=app.outputs["WorkBucket"], Prefix=f"results/{row.pipeline}/")
    return all(row.job_id not in entry["Key"] for entry in found.get("Contents", []))


def test_6_an_unversioned_object_that_is_overwritten_fails_by_name_within_a_wave(app, changed):
    row = changed["rows"]["overwritten"]
    assert (row.status, row.error["type"]) == ("FAILED", "ObjectChanged")
    assert changed["etags"]["overwritten"] in row.error["message"]
    assert changed["etags"]["after"] in row.error["message"]
    assert row.wave <= changed["waves"]["overwritten"] + 2  # the wave under way may have read all that it needed
    assert nothing_is_published(app, row)


def test_6_an_unversioned_object_that_is_deleted_fails_by_name_within_a_wave(app, changed):
    row = changed["rows"]["deleted"]
    assert (row.status, row.error["type"]) == ("FAILED", "ObjectMissing")
    assert row.wave <= changed["waves"]["deleted"] + 2
    assert nothing_is_published(app, row)


def test_6_a_versioned_object_that_is_overwritten_and_deleted_is_finished_as_pinned(app, changed):
    assert app.proved(changed["rows"]["pinned"]) == app.expected(SLOW)


def submitted(app, name: str, **options: Any) -> str:
    app.upload(f"objects/{name}.txt", BODY)
    return app.submit_document(f"name: {name}\n{LINES}", [ObjectRef(app.bucket, f"objects/{name}.txt")], **options)


def test_5_refusals_and_short_answers_change_no_byte_and_the_concurrency_falls_and_rises(app):
    rules = (
        Rule("slow_down", keys="objects/refused.txt", share=0.3, most=8),
        Rule("truncated", keys="objects/refused.txt", share=0.05),
        Rule("reset", keys="objects/refused.txt", share=0.05),
        Rule("short", keys="objects/refused.txt", share=0.05),
    )
    with app.proxy.while_adding(*rules):
        job = submitted(app, "refused", range_bytes=20_000, concurrency=4, history_budget_events=60)
        row = app.wait(job, 240)
    assert app.proved(row) == app.expected(BODY)
    assert row.result["records"] == 30_000
    assert rules[0].count == 8
    assert sum(rule.count for rule in rules[1:]) >= 2
    waves = app.report(row)["wave_history"]
    workers = [wave["workers"] for wave in waves]
    assert sum(wave["throttled"] for wave in waves) >= 4  # Plan has met the others
    fell = [after < before for before, after in itertools.pairwise(workers)]
    rose = [after > before for before, after in itertools.pairwise(workers)]
    assert any(fell), workers
    assert any(rose[fell.index(True) :]), workers


def test_answers_with_other_bytes_are_asked_for_again(app):
    """Another range, the whole object, a late one; writes that are refused, or done without saying so."""
    rules = (
        Rule("other_range", keys="objects/others.txt", share=0.2, most=3),
        Rule("whole_body", keys="objects/others.txt", share=0.2, most=3),
        Rule("slow_down", "PutObject", "*others-*", share=0.1),
        Rule("lost_answer", "PutObject", "*others-*", share=0.2),
        Rule("internal_error", "GetObject", "*others-*", share=0.1),
        Rule("dropped", "GetObject", "*others-*", share=0.05),
    )
    with app.proxy.while_adding(*rules):
        job = submitted(app, "others", range_bytes=200_000, concurrency=3)
        row = app.wait(job, 240)
    assert app.proved(row) == app.expected(BODY)
    assert all(rule.count > 0 for rule in rules[:4])


def test_the_job_table_may_refuse_and_lose_its_answers(app):
    """A commit that was done and not confirmed is found done."""
    rules = (
        Rule("lost_answer", "dynamodb:TransactWriteItems", share=0.4, most=6),
        Rule("lost_answer", "dynamodb:UpdateItem", share=0.4, most=6),
        Rule("slow_down", "dynamodb:TransactWriteItems", share=0.3, most=6),
        Rule("internal_error", "dynamodb:GetItem", share=0.3, most=6),
    )
    with app.proxy.while_adding(*rules):
        job = submitted(app, "table", range_bytes=200_000, concurrency=3, history_budget_events=60)
        row = app.wait(job, 240)
    assert app.proved(row) == app.expected(BODY)
    assert row.result["generations"] >= 2
    assert sum(wave["records"] for wave in app.report(row)["wave_history"]) == 30_000
    assert rules[0].count > 0
    assert sum(rule.count for rule in rules) >= 5


def test_a_byte_that_changed_on_its_way_never_becomes_a_result(app):
    """The tiles' CRC is not the object's: the job fails by name, and reads the objects again when it is restarted."""
    with app.proxy.while_adding(Rule("flipped", keys="objects/flipped.txt", share=1.0)) as (rule,):
        job = submitted(app, "flipped", range_bytes=500_000, concurrency=2)
        row = app.wait(job, 120)
    assert rule.count > 0
    assert (row.status, row.error["type"]) == ("FAILED", "ChecksumMismatch")
    assert row.error["object"] == f"s3://{app.bucket}/objects/flipped.txt"
    assert nothing_is_published(app, row)
    control.redrive(job, "restart", app.world)
    app.invoke("AdmitFunction", {})
    row = app.wait(job, 120, until=("SUCCEEDED", "FAILED"))
    assert app.proved(row) == app.expected(BODY)


def test_a_lambda_that_is_throttled_is_waited_for(app):
    """One worker at a time where the job would have four: Lambda refuses the others, the Map's children try again."""
    client, function = app.cloud.client("lambda"), app.functions["ApplyFunction"]
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    try:
        ref = ObjectRef(app.bucket, "objects/throttled.txt")
        app.upload(ref.key, SLOW[:52])
        row = app.wait(app.submit("test-slow", [ref], range_bytes=13, concurrency=4), 120)
    finally:
        client.delete_function_concurrency(FunctionName=function)
    assert app.proved(row) == app.expected(SLOW[:52])
    retries = [e for history in app.histories(row.job_id) for e in history if e["type"] == "LambdaFunctionFailed"]
    assert json.dumps(retries, default=str) == "[]"  # of the children alone
