"""Records that raise or kill are set aside with their places, and all the others are right."""

import json
from typing import Any

import pytest

from rangemill.messages import ObjectRef

MILLION = [b"%d" % n for n in range(1_000_000)]
BAD = 765_432
HUNGRY = b"".join(b"%03d\n" % n for n in range(30)) + b"hungry\n" + b"".join(b"%03d\n" % n for n in range(30))
DOCUMENT = "name: {0}\nformat: {{type: text}}\napply: {{python: probes:{1}}}\nrejects: {{on_error: quarantine}}\n"


@pytest.fixture(scope="module")
def jobs(app) -> dict[str, str]:
    """The jobs, started beside each other."""
    bodies = {"raises": b"\n".join([*MILLION[:BAD], b"boom", *MILLION[BAD + 1 :]]), "eats": HUNGRY}
    options: dict[str, dict[str, Any]] = {"raises": {"range_bytes": 2**20}, "eats": {"range_bytes": 2**10}}
    jobs = {}
    for name, body in bodies.items():
        app.upload(f"records/{name}.txt", body)
        text = DOCUMENT.format(f"records-{name}", name.capitalize())
        refs = [ObjectRef(app.bucket, f"records/{name}.txt")]
        jobs[name] = app.submit_document(text, refs, concurrency=2, **options[name])
    return jobs


def kept(app, row) -> list[dict[str, Any]]:
    """The rejected records that the report names."""
    return [
        json.loads(line)
        for uri in app.report(row)["reject_files"]
        for line in (app.world.store.get(uri) or b"").splitlines()
    ]


def test_3_one_record_in_a_million_that_raises_is_kept_and_the_others_are_right(app, jobs):
    row = app.wait(jobs["raises"], 180)
    assert app.proved(row) == app.expected(b"\n".join([*MILLION[:BAD], *MILLION[BAD + 1 :]]))
    assert (row.totals.records, row.totals.rejects) == (1_000_000, 1)
    (reject,) = kept(app, row)
    assert reject["object"] == f"s3://{app.bucket}/records/raises.txt"
    assert (reject["offset"], reject["bytes"]) == (len(b"\n".join(MILLION[:BAD])) + 1, "boom\n")
    assert reject["type"] == "UserCodeError"
    assert "ValueError" in reject["message"]


def test_4_a_record_that_takes_more_memory_than_a_worker_has_is_found_and_rejected(app, jobs):
    row = app.wait(jobs["eats"], 240)
    assert app.proved(row) == app.expected(HUNGRY.replace(b"hungry\n", b""))
    assert (row.totals.records, row.totals.rejects, row.totals.culprits) == (61, 1, 1)
    (reject,) = kept(app, row)
    assert (reject["offset"], reject["bytes"], reject["type"]) == (HUNGRY.index(b"hungry"), "hungry\n", "WorkerDied")
    waves = app.report(row)["wave_history"]
    assert sum(wave.get("deaths", 0) for wave in waves) == row.totals.deaths >= 4
    assert sum(wave.get("parted", 0) for wave in waves) >= 1
    assert row.totals.deaths <= 12
