"""The whole path on the local cloud: an upload becomes a proven result."""

import json

import pytest

from rangemill import keys
from rangemill.limits import CONTEXT_MAX_BYTES
from rangemill.messages import ObjectRef

BODY = b"".join(b"%d some text of line %d\n" % (n, n * n) for n in range(20_000))


def test_upload_gives_a_proven_result_with_report_and_manifest(app):
    app.upload("lines/plain.txt", BODY)
    row = app.wait(app.job_of("test-lines", "lines/plain.txt"))
    assert app.proved(row) == app.expected(BODY)
    root = f"{keys.results('test-lines', row.job_id)}"
    report = json.loads(app.world.store.get(f"{root}report.json"))
    assert report["status"] == "SUCCEEDED"
    assert report["proof"]["matched"] is True
    assert report["bytes"] == len(BODY)
    assert report["records"] == 20_000
    manifest = json.loads(app.world.store.get(f"{root}_manifest.json"))
    assert manifest["output"] == row.result["output"]


KEYS = [
    "lines/with blanks and  more.txt",
    "lines/plus+and&more=?.txt",
    "lines/percent%20%2F%.txt",
    "lines/ünïcödé-数据-🚀.txt",
    "lines/" + "k" * 1018,
    "lines/./dots/../in it.txt",
]
TINY = [b"", b"x", b"\n", b"no final newline", b"a\r\nb\r\n\r\n", b"\n\n\n"]


@pytest.fixture(scope="module")
def uploads(app) -> dict[str, bytes]:
    """Small objects, all of them uploaded before the first job is waited for."""
    bodies = dict.fromkeys(KEYS, b"one\ntwo") | {tiny_key(body): body for body in TINY}
    for key, body in bodies.items():
        app.upload(key, body)
    return bodies


def tiny_key(body: bytes) -> str:
    return f"lines/tiny-{body.hex() or 'empty'}"


@pytest.mark.parametrize("key", KEYS)
def test_any_key_that_s3_takes_works(app, uploads, key):
    row = app.wait(app.job_of("test-lines", key))
    assert app.proved(row) == app.expected(uploads[key])


@pytest.mark.parametrize("body", TINY)
def test_tiny_objects_are_exact(app, uploads, body):
    row = app.wait(app.job_of("test-lines", tiny_key(body)))
    assert app.proved(row) == app.expected(body)
    assert row.result["records"] == app.expected(body)["lines"]


def test_ranges_of_one_byte_and_generations_under_a_small_budget(app):
    body = b"".join(b"%d\n" % n for n in range(7)) + b"no newline"
    app.upload("many/generations.txt", body)
    ref = ObjectRef(app.bucket, "many/generations.txt")
    job_id = app.submit("test-lines", [ref], range_bytes=1, concurrency=4, history_budget_events=100)
    row = app.wait(job_id, 240)
    assert app.proved(row) == app.expected(body)
    assert row.result["ranges"] == len(body)
    assert row.result["generations"] >= 3
    histories = app.histories(job_id)
    assert len(histories) == row.result["generations"]
    assert all(len(history) <= 100 for history in histories)
    # What passes between states stays within a kilobyte, at every transition of every generation.
    for history in histories:
        for event in history:
            for details in ("stateEnteredEventDetails", "stateExitedEventDetails"):
                text = event.get(details, {}).get("input") or event.get(details, {}).get("output") or ""
                assert len(text.encode()) <= CONTEXT_MAX_BYTES, event


def test_a_record_longer_than_many_ranges(app):
    body = b"short\n" + b"y" * 10_000_000 + b"\nshort again\n"
    app.upload("many/long.txt", body)
    ref = ObjectRef(app.bucket, "many/long.txt")
    row = app.wait(app.submit("test-lines", [ref], range_bytes=65_536, concurrency=4))
    assert app.proved(row) == app.expected(body)


def test_many_objects_of_all_sizes_in_one_job(app):
    bodies = {f"several/{n:03d}": b"row\n" * (n * n) for n in range(25)} | {"several/large": BODY}
    for key, body in bodies.items():
        app.upload(key, body)
    refs = [ObjectRef(app.bucket, key) for key in bodies]
    row = app.wait(app.submit("test-lines", refs, range_bytes=100_000, concurrency=4))
    found = app.proved(row)
    wanted = [app.expected(body) for body in bodies.values()]
    assert found == {name: sum(w[name] for w in wanted) for name in found}
    assert row.result["objects"] == len(bodies)


def test_a_pipeline_that_does_not_fold_publishes_its_parts(app):
    body = b"id,name\n" + b"".join(b"%d,name %d\n" % (n, n) for n in range(5000))
    app.upload("rows/rows.csv", body)
    row = app.wait(app.submit("test-rows", [ObjectRef(app.bucket, "rows/rows.csv")], range_bytes=10_000, concurrency=4))
    rows = app.rows(row)
    assert sorted(r["id"] for r in rows) == list(range(0, 5000, 2))
    assert all(r["name"] == f"NAME {r['id']}" for r in rows)


def test_a_batch_closes_when_it_is_full(app):
    for n in range(3):
        app.upload(f"batch/{n}.jsonl", b'{"n": %d}\n{"n": 1}\n' % n)
    job_id = None
    for _ in range(60):
        app.invoke("AdmitFunction", {})
        found = [
            r for status in ("WAITING", "RUNNING", "SUCCEEDED", "FAILED") for r in app.world.jobs.by_status(status)
        ]
        job_id = next((r.job_id for r in found if r.pipeline == "test-batch"), None)
        if job_id is not None:
            break
    assert job_id is not None
    row = app.wait(job_id)
    assert app.rows(row) == [{"records": 6, "total": 6}]
    assert row.result["objects"] == 3
