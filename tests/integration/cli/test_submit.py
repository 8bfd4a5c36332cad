"""`rangemill submit`, `status` and `results` over moto; the machine is played in process."""

import json
from pathlib import Path
from typing import Any

import pytest

from rangemill import catalog
from rangemill.catalog import Catalog, Entry
from rangemill.pipeline import parse_pipeline
from rangemill_cli import jobs

TEXT = """name: lines
match: {prefix: in/, suffix: .txt}
format: {type: text}
apply: {sql: "SELECT count(*) AS n FROM records"}
aggregate: {sql: "SELECT sum(n) AS n FROM partials"}
"""
BODY = b"one\ntwo\nthree"


@pytest.fixture
def document() -> str:
    Path("lines.yaml").write_text(TEXT)
    return "lines.yaml"


@pytest.fixture
def catalogued(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack has the pipeline, this folder has not."""
    entry = Entry(parse_pipeline(TEXT, "lines.yaml"), TEXT, "lines.yaml")
    monkeypatch.setattr(catalog, "deployed", lambda: Catalog({"lines": entry}, []))


def test_a_document_travels_with_the_job(deployed: Any, document: str) -> None:
    answer = deployed.json("submit", "--pipeline-file", document, deployed.put("k", BODY), "--wait")
    assert answer["status"] == "SUCCEEDED"
    assert answer["records"] == 3
    assert answer["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC32", "matched": True}
    body = deployed.gateways.store.get(answer["output"][0])
    assert json.loads(body) == {"n": 3}


@pytest.mark.usefixtures("catalogued")
def test_a_named_pipeline_is_the_deployed_one(deployed: Any) -> None:
    answer = deployed.json("submit", "lines", deployed.put("k", BODY), "--wait", "--range-bytes", "4")
    assert answer["status"] == "SUCCEEDED"
    assert answer["ranges"] == 4


@pytest.mark.usefixtures("catalogued")
def test_a_name_that_is_not_deployed_is_wrong_usage(deployed: Any) -> None:
    answer = deployed.json("submit", "words", deployed.put("k", BODY), "--wait", exit_code=2)
    assert answer["error"]["type"] == "UnknownPipeline"


def test_without_wait_the_job_id_is_all_that_standard_output_gets(deployed: Any, document: str) -> None:
    result = deployed.call("submit", "--pipeline-file", document, deployed.put("k", BODY))
    assert result.exit_code == 0
    assert result.stdout.strip() == deployed.admitted[0]


def test_each_submission_is_a_new_job_unless_a_key_says_otherwise(deployed: Any, document: str) -> None:
    uri = deployed.put("k", BODY)
    new = [deployed.json("submit", "--pipeline-file", document, uri)["job_id"] for _ in range(2)]
    same = [
        deployed.json("submit", "--pipeline-file", document, uri, "--idempotency-key", "monday")["job_id"]
        for _ in range(2)
    ]
    assert len(set(new)) == 2
    assert len(set(same)) == 1
    assert len(deployed.admitted) == 3


def test_a_mistake_is_refused_before_anything_is_submitted(deployed: Any) -> None:
    Path("bad.yaml").write_text(TEXT.replace("count(*)", "nope(*)"))
    result = deployed.call("submit", "--pipeline-file", "bad.yaml", deployed.put("k", BODY))
    assert result.exit_code == 2
    assert "bad.yaml:4: apply.sql: " in result.stderr
    assert deployed.admitted == []


def test_the_projects_own_document_is_checked_before_it_is_submitted_by_name(deployed: Any) -> None:
    Path("layers/pipelines").mkdir(parents=True)
    Path("layers/pipelines/lines.yaml").write_text(TEXT.replace("prefix:", "prefx:"))
    result = deployed.call("submit", "lines", deployed.put("k", BODY))
    assert result.exit_code == 2
    assert "lines.yaml:2: match.prefx: " in result.stderr


def test_an_object_that_is_not_there_is_wrong_usage(deployed: Any, document: str) -> None:
    answer = deployed.json("submit", "--pipeline-file", document, "s3://input-bucket/nowhere", exit_code=2)
    assert "s3://input-bucket/nowhere" in answer["error"]["message"]


@pytest.mark.parametrize("arguments", [[], ["lines"], ["s3://b/k"], ["lines", "k"], ["lines", "s3://b/p/"]])
def test_wrong_usage(deployed: Any, arguments: list[str]) -> None:
    assert deployed.call("submit", *arguments).exit_code == 2


def test_a_prefix_says_what_it_costs_and_asks(deployed: Any, document: str) -> None:
    for name in ("in/a.txt", "in/b.txt", "in/c.other", "out/d.txt"):
        deployed.put(name, BODY)
    arguments = ("submit", "--pipeline-file", document, "--prefix", "s3://input-bucket/in/")
    refused = deployed.call(*arguments)
    assert refused.exit_code == 2
    assert "2 objects, 26 bytes" in refused.stderr
    assert "$" in refused.stderr
    assert "--yes" in refused.stderr
    assert deployed.admitted == []
    answer = deployed.json(*arguments, "--yes", "--wait")
    assert (answer["objects"], answer["records"]) == (2, 6)


def test_an_empty_prefix_is_wrong_usage(deployed: Any, document: str) -> None:
    arguments = ("submit", "--pipeline-file", document, "--prefix", "s3://input-bucket/void/", "--yes")
    assert "no object below" in deployed.json(*arguments, exit_code=2)["error"]["message"]


def test_a_job_that_fails_is_exit_code_one(deployed: Any) -> None:
    Path("numbers.yaml").write_text(TEXT.replace("count(*) AS n", "sum(CAST(line AS BIGINT)) AS n"))
    answer = deployed.json("submit", "--pipeline-file", "numbers.yaml", deployed.put("k", BODY), "--wait", exit_code=1)
    assert answer["status"] == "FAILED"
    assert answer["error"]["object"] == "s3://input-bucket/k"


def test_waiting_looks_again_until_the_end(deployed: Any, document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = deployed.json("submit", "--pipeline-file", document, deployed.put("k", BODY))["job_id"]
    ended = deployed.gateways.jobs.load(job_id)
    answers = iter(["WAITING", "RUNNING", "SUCCEEDED"])

    class Slow:
        def load(self, _job_id: str) -> Any:
            import msgspec

            return msgspec.structs.replace(ended, status=next(answers))

    from dataclasses import replace

    assert jobs.wait(job_id, replace(deployed.gateways, jobs=Slow()), 0).status == "SUCCEEDED"
    assert next(answers, None) is None


def test_interrupted_while_waiting_shows_where_the_job_stands(
    deployed: Any, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "wait", interrupt)
    uri = deployed.put("k", BODY)
    answer = deployed.json("submit", "--pipeline-file", document, uri, "--wait", exit_code=130)
    assert answer["job_id"] == deployed.admitted[0]


# --- status and results ---------------------------------------------------------------------------------------------


def test_status_shows_a_job_and_all_jobs(deployed: Any, document: str) -> None:
    job_ids = [
        deployed.json("submit", "--pipeline-file", document, deployed.put("k", BODY))["job_id"] for _ in range(3)
    ]
    assert deployed.json("status", job_ids[0])["status"] == "SUCCEEDED"
    listed = deployed.json("status")["jobs"]
    assert {entry["job_id"] for entry in listed} == set(job_ids)
    assert [entry["created"] for entry in listed] == sorted((entry["created"] for entry in listed), reverse=True)
    text = deployed.call("status").stdout
    assert all(job_id in text for job_id in job_ids)
    assert "every byte was read exactly once" in deployed.call("status", job_ids[0]).stdout


def test_status_of_an_empty_stack(deployed: Any) -> None:
    assert deployed.json("status") == {"stack": "rangemill", "jobs": []}
    assert "has no jobs" in deployed.call("status").stdout


def test_status_of_a_failed_job_answers_the_question(deployed: Any) -> None:
    Path("numbers.yaml").write_text(TEXT.replace("count(*) AS n", "sum(CAST(line AS BIGINT)) AS n"))
    job_id = deployed.json("submit", "--pipeline-file", "numbers.yaml", deployed.put("k", BODY), exit_code=1)["job_id"]
    result = deployed.call("status", job_id)
    assert result.exit_code == 0
    assert "FAILED" in result.stdout


@pytest.mark.parametrize("command", ["status", "results"])
def test_an_unknown_job_is_wrong_usage(deployed: Any, command: str) -> None:
    assert "there is no job nobody-1" in deployed.json(command, "nobody-1", exit_code=2)["error"]["message"]


def test_results_shows_rows_and_downloads_everything(deployed: Any, document: str) -> None:
    job_id = deployed.json("submit", "--pipeline-file", document, deployed.put("k", BODY))["job_id"]
    shown = deployed.call("results", job_id)
    assert shown.exit_code == 0
    assert "3" in shown.stdout
    saved = deployed.json("results", job_id, "--out", "here")
    assert saved["output"] == [str(Path("here/result.jsonl"))]
    assert json.loads(Path("here/result.jsonl").read_text()) == {"n": 3}
    assert {path.name for path in Path("here").iterdir()} == {"result.jsonl", "report.json", "_manifest.json"}


def test_results_of_a_job_that_failed(deployed: Any) -> None:
    Path("numbers.yaml").write_text(TEXT.replace("count(*) AS n", "sum(CAST(line AS BIGINT)) AS n"))
    job_id = deployed.json("submit", "--pipeline-file", "numbers.yaml", deployed.put("k", BODY), exit_code=1)["job_id"]
    result = deployed.call("results", job_id)
    assert result.exit_code == 1
    assert f"Job {job_id} is FAILED and has no result" in result.stderr


# --- the environment ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["status"], ["results", "j"], ["submit", "lines", "s3://b/k"]])
def test_a_stack_that_is_not_there_is_the_environments_fault(deployed: Any, arguments: list[str]) -> None:
    result = deployed.call(*arguments, "--stack", "nowhere")
    assert result.exit_code == 3
    assert "There is no stack nowhere" in result.stderr


def test_another_stack_than_rangemills_is_refused(deployed: Any) -> None:
    result = deployed.call("status", "--stack", "other")
    assert result.exit_code == 3
    assert "has no output WorkBucket" in result.stderr
