"""The command as a person uses it, against the local cloud."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RANGEMILL = Path(sys.executable).with_name("rangemill")

SQL_PIPELINE = """\
name: by-hand
format: {type: csv}
apply:
  sql: SELECT kind, count(*) AS n, sum(price) AS total FROM records GROUP BY kind
aggregate:
  sql: SELECT kind, sum(n) AS n, sum(total) AS total FROM partials GROUP BY kind
finish:
  sql: SELECT kind, n, total FROM result ORDER BY kind
"""
ROWS = b"kind,price\n" + b"".join(b"%s,%d.%02d\n" % (b"abc"[n % 3 : n % 3 + 1], n, n % 100) for n in range(3000))


@pytest.fixture
def rangemill(app, tmp_path):
    """Run the command with an environment that points at the session's cloud and at nothing else."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **app.cloud.environment()}

    def run(*words, expect=0):
        done = subprocess.run(
            [RANGEMILL, *map(str, words)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=180,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


def test_submit_with_a_pipeline_file_waits_and_gives_exact_decimals(app, rangemill, tmp_path):
    app.upload("by hand/rows.csv", ROWS)
    (tmp_path / "by-hand.yaml").write_text(SQL_PIPELINE)
    uri = f"s3://{app.bucket}/by hand/rows.csv"
    done = rangemill("submit", "--pipeline-file", "by-hand.yaml", uri, "--range-bytes", 5000, "--wait", "--json")
    answer = json.loads(done.stdout)
    assert answer["status"] == "SUCCEEDED"
    assert answer["records"] == 3000
    assert answer["proof"]["matched"] is True
    rangemill("results", answer["job_id"], "--out", tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out/result.jsonl").read_text().splitlines()]
    cents = {kind: sum(n * 100 + n % 100 for n in range(i, 3000, 3)) for i, kind in enumerate("abc")}
    assert [(r["kind"], r["n"], round(float(r["total"]) * 100)) for r in rows] == [
        (k, 1000, c) for k, c in cents.items()
    ]
    status = json.loads(rangemill("status", answer["job_id"], "--json").stdout)
    assert status["report"] == answer["report"]
    assert answer["job_id"] in rangemill("status").stdout


def test_a_small_history_budget_alone_makes_generations(app, rangemill):
    app.upload("generations/rows.csv", ROWS)
    uri = f"s3://{app.bucket}/generations/rows.csv"
    done = rangemill("submit", "test-lines", uri, "--range-bytes", 2000, "--history-budget", 60, "--wait", "--json")
    answer = json.loads(done.stdout)
    assert answer["generations"] >= 3
    assert answer["records"] == 3001


def test_a_job_that_fails_gives_one_and_says_where(app, rangemill):
    app.upload("cli/raises.txt", b"fine\nboom\n")
    done = rangemill("submit", "test-raises", f"s3://{app.bucket}/cli/raises.txt", "--wait", "--json", expect=1)
    error = json.loads(done.stdout)["error"]
    assert (error["type"], error["offset"]) == ("UserCodeError", 5)


def test_an_idempotency_key_makes_one_job_of_two_submits(app, rangemill):
    app.upload("cli/once.txt", b"once\n")
    words = ("submit", "test-lines", f"s3://{app.bucket}/cli/once.txt", "--idempotency-key", "k1", "--wait", "--json")
    first, second = (json.loads(rangemill(*words).stdout) for _ in range(2))
    assert first["job_id"] == second["job_id"]


SLOW = b"".join(b"slow line %02d\n" % n for n in range(24))


def test_a_job_is_paused_cancelled_and_redriven_to_the_exact_result(app, rangemill):
    app.upload("cli/slow.txt", SLOW)
    uri = f"s3://{app.bucket}/cli/slow.txt"
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
    assert 0 < cancelled["records"] < 24
    redriven = json.loads(rangemill("redrive", job, "--wait", "--json").stdout)
    row = app.world.jobs.load(job)
    assert app.proved(row) == app.expected(SLOW)
    assert redriven["records"] == 24
    report = json.loads(app.world.store.get(redriven["report"]))
    assert sum(wave["records"] for wave in report["wave_history"]) == 24  # none was committed twice
    assert {"PAUSED", "CANCELLED"} <= {entry.get("status") for entry in report["generation_history"]}
    assert report["concurrency"] == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("submit", "test-lines", "s3://no-such-bucket-at-all/x", "--wait"), 2),
        (("submit", "no-such-pipeline", "s3://b/k", "--wait"), 2),
        (("status", "no-such-job"), 2),
        (("submit", "test-lines", "s3://b/k", "--stack", "no-such-stack"), 3),
    ],
)
def test_mistakes_are_refused_in_a_sentence(app, rangemill, words, code):
    done = rangemill(*words, expect=code)
    assert done.stderr.startswith("rangemill: ")
