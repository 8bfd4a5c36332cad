"""A job's whole life over the gateways to AWS: as in memory, but on rows and objects that AWS keeps."""

import dataclasses
import json
import sys
import types
from typing import Any

import boto3
import pytest
from msgspec.structs import replace

from rangemill import keys
from rangemill.aws import gateways as aws_gateways
from rangemill.gateways import Gateways
from rangemill.messages import CodeIdentity, JobRequest, ObjectRef, Prefix
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryExecutions

BUCKET = "input-bucket"
CODE = CodeIdentity("core", "pipelines", "dependencies")
PIPELINE = "name: count\nformat: {type: text}\napply: {python: integration_count:Count}\n"
BODY = b"".join(b"line %d\n" % (n * n % 97) for n in range(400))


class Count:
    """Counts records and adds up their lengths."""

    def start(self, context: Any) -> list[int]:
        return [0, 0]

    def apply(self, partial: list[int], record: bytes) -> list[int]:
        return [partial[0] + 1, partial[1] + len(record)]

    def merge(self, left: list[int], right: list[int]) -> list[int]:
        return [left[0] + right[0], left[1] + right[1]]

    def finish(self, total: list[int]) -> Any:
        yield {"records": total[0], "bytes": total[1]}


@pytest.fixture(autouse=True)
def user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("integration_count")
    module.Count = Count  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "integration_count", module)


@pytest.fixture
def life(gateways: Gateways) -> Gateways:
    """moto runs no Lambda: the machine is played, everything else is AWS's."""
    return dataclasses.replace(gateways, executions=MemoryExecutions())


def request(**what: Any) -> JobRequest:
    return JobRequest("count-1", "count", PIPELINE, "count.yaml", "submit", **what)


def run(life: Gateways, asked: JobRequest) -> dict[str, Any]:
    row = run_job(asked, life, in_this_process(life, CODE), CODE)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert row.result is not None
    (uri,) = row.result["output"]
    (line,) = (life.store.get(uri) or b"").splitlines()
    return {**row.result, "row": json.loads(line)}


def expected(*bodies: bytes) -> dict[str, int]:
    lines = [line for body in bodies for line in body.splitlines()]
    return {"records": len(lines), "bytes": sum(map(len, lines))}


def test_an_object_is_proved_against_the_checksum_that_s3_keeps(s3: Any, life: Gateways) -> None:
    s3.put_object(Bucket=BUCKET, Key="a b+é.log", Body=BODY, ChecksumAlgorithm="CRC64NVME")
    asked = request(objects=[ObjectRef(BUCKET, "a b+é.log")], range_bytes=20, history_budget_events=200)
    result = run(life, asked)
    assert result["row"] == expected(BODY)
    assert result["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC64NVME", "matched": True}
    assert result["generations"] > 1
    assert len(list(life.jobs.generations("count-1"))) == result["generations"]
    assert sum(wave.records for wave in life.jobs.waves("count-1")) == 400
    report = json.loads(life.store.get(keys.results("count", "count-1") + "report.json") or b"")
    assert report["proved_objects"][0]["uri"] == "s3://input-bucket/a b+é.log"


def test_a_prefix_of_small_and_large_objects_is_read_and_proved(s3: Any, life: Gateways) -> None:
    bodies = [BODY[: 50 * number] for number in range(12)]
    for number, body in enumerate(bodies):
        name = ("CRC32", "CRC32C", "CRC64NVME")[number % 3]
        s3.put_object(Bucket=BUCKET, Key=f"in/{number}.log", Body=body, ChecksumAlgorithm=name)
    result = run(life, request(prefixes=[Prefix(BUCKET, "in/", ".log")], range_bytes=200))
    assert result["row"] == expected(*bodies)
    assert result["objects"] == 12
    assert result["proof"]["matched"] is True
    assert result["proof"]["checksum"] == "CRC32+CRC32C+CRC64NVME"


def test_a_pinned_version_is_read_though_it_was_deleted_before_the_job_ran(s3: Any, life: Gateways) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"newer\n")
    s3.delete_object(Bucket=BUCKET, Key="k")
    assert run(life, request(objects=[ObjectRef(BUCKET, "k", version)]))["row"] == expected(BODY)


def test_an_object_overwritten_between_waves_fails_the_job_and_the_row_says_which(s3: Any, life: Gateways) -> None:
    etag = s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)["ETag"].strip('"')
    asked = request(objects=[ObjectRef(BUCKET, "k", etag=etag)], range_bytes=64, history_budget_events=200)

    def overwrite(row: Any) -> None:
        if row.wave == 1:
            s3.put_object(Bucket=BUCKET, Key="k", Body=BODY[::-1])

    row = run_job(asked, life, in_this_process(life, CODE), CODE, watch=overwrite)
    assert row.status == "FAILED"
    assert row.error is not None
    assert (row.error["type"], row.error["object"]) == ("ObjectChanged", "s3://input-bucket/k")
    assert etag in row.error["message"]


def test_the_same_request_again_finds_the_job_done(s3: Any, life: Gateways) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)
    asked = request(objects=[ObjectRef(BUCKET, "k")])
    first = run(life, asked)
    again = run_job(replace(asked, range_bytes=1), life, in_this_process(life, CODE), CODE)
    assert again.result == {key: value for key, value in first.items() if key != "row"}


def test_gateways_are_made_of_one_session_and_reach_what_the_settings_name(
    s3: Any, dynamodb: Any, machine_arn: str
) -> None:
    made = aws_gateways.make(
        boto3.Session(), work_bucket="work-bucket", job_table="jobs", state_machine_arn=machine_arn, topic_arn="t"
    )
    assert made.store.put_once("k", b"x")
    assert made.jobs.first_active("p", "now") == "now"
    assert made.executions.start("p-1", 0).endswith(":p-1-g0")
    assert made.objects.head("work-bucket", "k", None) is not None
    assert made.clock().tzinfo is not None
