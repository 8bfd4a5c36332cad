"""The command as a person uses it, against the local cloud."""

import json

import pytest

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
