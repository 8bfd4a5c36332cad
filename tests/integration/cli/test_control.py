"""`rangemill pause`, `resume`, `cancel`, `redrive` and `set` over moto; the machine is played in process."""

import json
from pathlib import Path
from typing import Any

import pytest

TEXT = """name: lines
format: {type: text}
apply: {sql: "SELECT count(*) AS n FROM records"}
aggregate: {sql: "SELECT sum(n) AS n FROM partials"}
"""


@pytest.fixture
def job(deployed: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job that waits."""
    from rangemill_cli.stack import Stack

    Path("lines.yaml").write_text(TEXT)
    with monkeypatch.context() as nobody:
        nobody.setattr(Stack, "admit", lambda _: None)
        return deployed.json("submit", "--pipeline-file", "lines.yaml", deployed.put("k", b"one\ntwo\n"))["job_id"]


def test_a_job_is_paused_and_goes_on_to_its_result(deployed: Any, job: str) -> None:
    assert deployed.json("pause", job)["status"] == "PAUSED"
    assert "Rests      paused" in deployed.call("status", job).stdout
    answer = deployed.json("resume", job, "--wait")
    assert (answer["status"], answer["records"], answer["proof"]["matched"]) == ("SUCCEEDED", 2, True)


def test_a_cancelled_job_is_redriven(deployed: Any, job: str) -> None:
    result = deployed.call("cancel", job, "--wait")
    assert (result.exit_code, "CANCELLED" in result.stdout) == (0, True)
    assert deployed.call("resume", job).exit_code == 2
    answer = deployed.json("redrive", job, "--code", "restart", "--wait")
    assert (answer["status"], answer["records"]) == ("SUCCEEDED", 2)
    report = json.loads(deployed.gateways.store.get(answer["report"]))
    assert (report["redrives"], report["wave_history"][0]["wave"]) == (1, 1)


def test_a_redrive_goes_on_with_the_document_that_it_names(deployed: Any, job: str) -> None:
    deployed.call("cancel", job, "--wait")
    Path("lines.yaml").write_text(TEXT.replace("count(*) AS n", "10 * count(*) AS n"))
    assert deployed.call("redrive", job, "--pipeline-file", "lines.yaml").exit_code == 2  # of the same code
    answer = deployed.json("redrive", job, "--code", "new", "--pipeline-file", "lines.yaml", "--wait")
    assert answer["status"] == "SUCCEEDED"
    assert json.loads(deployed.gateways.store.get(answer["output"][0])) == {"n": 20}


def test_a_document_that_does_not_fit_is_refused_with_its_line(deployed: Any, job: str) -> None:
    deployed.call("cancel", job, "--wait")
    Path("lines.yaml").write_text(TEXT.replace("name: lines", "name: others"))
    refused = deployed.call("redrive", job, "--code", "new", "--pipeline-file", "lines.yaml")
    assert (refused.exit_code, "lines.yaml:1: name: the job is one of lines" in refused.stderr) == (2, True)
    assert deployed.json("status", job)["status"] == "CANCELLED"


def test_without_wait_a_sentence_says_where_the_job_stands(deployed: Any, job: str) -> None:
    assert deployed.call("pause", job).stdout == f"Job {job} is paused.\n"
    assert deployed.call("set", job, "--concurrency", "3", "--cost-usd", "1.5").stdout == (
        f"Job {job}: concurrency 3, cost cap in dollars 1.5, from its next wave on.\n"
    )
    assert deployed.gateways.jobs.load(job).concurrency == 3
    deployed.gateways.jobs.turn(deployed.gateways.jobs.load(job), {"status": "RUNNING"})
    assert deployed.call("cancel", job).stdout == f"Job {job} will be cancelled after its wave.\n"
    assert deployed.json("status", job)["desired"] == "cancel"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pause", "no-such-job"), "there is no job no-such-job"),
        (("redrive", "JOB"), "is waiting and cannot be redriven"),
        (("set", "JOB"), "Name --concurrency or --cost-usd."),
    ],
)
def test_mistakes_are_refused_in_a_sentence(deployed: Any, job: str, words: Any, says: str) -> None:
    result = deployed.call(*(job if word == "JOB" else word for word in words))
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_job_that_has_ended_is_left_alone(deployed: Any, job: str) -> None:
    deployed.call("pause", job)
    deployed.call("resume", job)
    before = deployed.gateways.jobs.load(job)
    assert before.status == "SUCCEEDED"
    for command in ("pause", "resume", "cancel", "redrive"):
        answer = deployed.json(command, job, exit_code=2)
        assert answer["error"]["type"] == "WrongStatus"
        assert "has succeeded" in answer["error"]["message"]
    assert deployed.gateways.jobs.load(job) == before
