"""The project's own template, with the test pipelines in the pipelines layer, on the session's local cloud."""

import hashlib
import io
import json
import shutil
import time
import urllib.request
import uuid
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.e2e.faults.processes import Workers
from tests.e2e.faults.proxy import FaultProxy

from rangemill import admission, keys
from rangemill.aws import gateways
from rangemill.errors import UnknownJob
from rangemill.gateways import Gateways
from rangemill.messages import JobRequest, JobRow, ObjectRef, Status
from rangemill_cli.local import sam, stacks
from rangemill_cli.local.cloud import CREDENTIALS, REGION, STACK, LocalCloud
from rangemill_cli.local.paths import LocalPaths

PIPELINES = Path(__file__).parent / "pipelines"
COPIED = ("template.yaml", "samconfig.toml", "functions", "layers", "statemachines")
RESTING = ("SUCCEEDED", "FAILED", "CANCELLED", "PAUSED")
EVERY_STATUS: tuple[Status, ...] = ("WAITING", "RUNNING", "PAUSED", "SUCCEEDED", "FAILED", "CANCELLED")


@dataclass
class App:
    """The deployed application, and what the tests do with it.

    `world` is not led through the fault proxy: what the tests see is so.
    """

    cloud: LocalCloud
    paths: LocalPaths
    outputs: dict[str, str]
    functions: dict[str, str]  # logical id -> physical name
    world: Gateways
    proxy: FaultProxy
    workers: Workers
    _notices: list[dict[str, Any]] = field(default_factory=list)
    _notice_queue: str = ""

    @property
    def bucket(self) -> str:
        """The stack's own input bucket."""
        return self.outputs["InputBucket"]

    def upload(self, key: str, body: bytes, bucket: str | None = None) -> None:
        """Put an object, as a user would."""
        self.cloud.client("s3").put_object(Bucket=bucket or self.bucket, Key=key, Body=body)

    def job_of(self, pipeline: str, key: str) -> str:
        """The id of the job that the uploaded object starts."""
        head = self.world.objects.head(self.bucket, key, None)
        assert head is not None
        return f"{pipeline}-{admission.identity_token(pipeline, head)}"

    def submit(self, pipeline: str, refs: list[ObjectRef], **options: Any) -> str:
        """Make a job and ask `admit` to start it, as `rangemill submit` does."""
        file = next(
            f for f in self.paths.project.glob("layers/pipelines/*.yaml") if f"name: {pipeline}\n" in f.read_text()
        )
        return self.submit_document(file.read_text(), refs, file.name, **options)

    def submit_document(self, text: str, refs: list[ObjectRef], file: str = "by-hand.yaml", **options: Any) -> str:
        """The same with a document that is not deployed; its first line names the pipeline."""
        pipeline = text.splitlines()[0].removeprefix("name: ")
        job_id = admission.new_job_id(pipeline)
        request = JobRequest(job_id, pipeline, text, file, "submit", refs, **options)
        assert admission.create_job(request, self.world)
        self.invoke("AdmitFunction", {})
        return job_id

    def invoke(self, logical_id: str, event: dict[str, Any]) -> dict[str, Any]:
        """Call a function of the stack and return its answer."""
        name = self.functions[logical_id]
        answer = self.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        return json.loads(answer["Payload"].read() or b"{}")

    def wait(self, job_id: str, seconds: float = 90, until: tuple[str, ...] = RESTING) -> JobRow:
        """The job's row once it has ended or rests."""
        deadline = time.monotonic() + seconds
        row = None
        while time.monotonic() < deadline:
            try:
                row = self.world.jobs.load(job_id)
            except UnknownJob:
                row = None
            if row is not None and row.status in until:
                return row
            time.sleep(0.2)
        pytest.fail(f"after {seconds} s job {job_id} stands at {row}")

    def wait_for_start(self, job_id: str, seconds: float = 60) -> JobRow:
        """The job's row once its first wave was handed out."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.world.store.get(keys.wave(job_id, 1)) is not None:
                return self.world.jobs.load(job_id)
            time.sleep(0.1)
        pytest.fail(f"after {seconds} s job {job_id} has not begun its first wave")

    def wait_for_wave(self, job_id: str, wave: int, seconds: float = 60) -> JobRow:
        """The job's row once that wave is committed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            row = self.world.jobs.load(job_id)
            if row.wave >= wave:
                return row
            assert row.status in ("WAITING", "RUNNING"), row
            time.sleep(0.1)
        pytest.fail(f"after {seconds} s job {job_id} has not committed wave {wave}")

    def rows(self, row: JobRow) -> list[dict[str, Any]]:
        """The published rows of a job that succeeded."""
        assert row.status == "SUCCEEDED", row.error
        assert row.result is not None
        body = b"".join(self.world.store.get(uri) or b"" for uri in row.result["output"])
        return [json.loads(line) for line in body.splitlines()]

    def proved(self, row: JobRow) -> dict[str, Any]:
        """The one row of a job whose proof must be complete."""
        (only,) = self.rows(row)
        assert row.result is not None
        assert row.result["proof"] == {
            "complete": True,
            "level": "bytes",
            "checksum": "CRC64NVME",
            "matched": True,
        } or (row.result["proof"]["complete"] and row.result["proof"]["matched"])
        return only

    @staticmethod
    def expected(body: bytes) -> dict[str, Any]:
        """What the probe `Lines` must find, computed over the whole object at once."""
        records = body.split(b"\n")
        if records[-1] == b"":
            records.pop()
        records = [record.removesuffix(b"\r") for record in records]
        digest = sum(int.from_bytes(hashlib.blake2b(r, digest_size=6).digest()) for r in records)
        return {"lines": len(records), "bytes": sum(map(len, records)), "hash": digest}

    def report(self, row: JobRow) -> dict[str, Any]:
        """The report of a job that succeeded."""
        assert row.result is not None, row.error
        report: dict[str, Any] = json.loads(self.world.store.get(row.result["report"]) or b"")
        return report

    def jobs(self) -> list[JobRow]:
        """The rows of all jobs."""
        return [row for status in EVERY_STATUS for row in self.world.jobs.by_status(status)]

    def notices(self, job_id: str) -> list[dict[str, Any]]:
        """The notices of a job that people have got so far. Call `hear` before what should be heard of."""
        queues = self.cloud.client("sqs")
        while found := queues.receive_message(QueueUrl=self._notice_queue, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                self._notices.append(json.loads(json.loads(message["Body"])["Message"]))
                queues.delete_message(QueueUrl=self._notice_queue, ReceiptHandle=message["ReceiptHandle"])
        return [notice for notice in self._notices if notice.get("job_id") == job_id]

    def hear(self) -> None:
        """Subscribe to the stack's notices, once."""
        if self._notice_queue:
            return
        queues = self.cloud.client("sqs")
        self._notice_queue = queues.create_queue(QueueName="notices-of-tests")["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=self._notice_queue, AttributeNames=["QueueArn"])
        self.cloud.client("sns").subscribe(
            TopicArn=self.outputs["TopicArn"], Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"]
        )

    def event_of(self, key: str) -> dict[str, Any]:
        """The event that S3 sends for an object of the input bucket, as EventBridge puts it into the intake queue."""
        head = self.cloud.client("s3").head_object(Bucket=self.bucket, Key=key)
        named = {"key": key, "size": head["ContentLength"], "etag": head["ETag"].strip('"')}
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": "000000000000",
            "time": "2026-01-01T00:00:00Z",
            "region": REGION,
            "resources": [f"arn:aws:s3:::{self.bucket}"],
            "detail": {
                "version": "0",
                "bucket": {"name": self.bucket},
                "object": {**named, "version-id": head.get("VersionId", "null")},
                "request-id": "x",
                "requester": "000000000000",
                "reason": "PutObject",
            },
        }

    def change_pipelines(self, file: str, *changes: tuple[str, str]) -> None:
        """Deploy the pipelines layer with texts (old, new) changed in one of its files, to all functions.

        By Lambda's own calls: `sam deploy` builds everything, which takes most of a minute here.
        """
        client = self.cloud.client("lambda")
        layers = client.get_function_configuration(FunctionName=self.functions["ApplyFunction"])["Layers"]
        arns = [layer["Arn"] for layer in layers]
        at = next(number for number, arn in enumerate(arns) if "PipelinesLayer" in arn)
        location = client.get_layer_version_by_arn(Arn=arns[at])["Content"]["Location"]
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(location) as response:
            before = zipfile.ZipFile(io.BytesIO(response.read()))
        after = io.BytesIO()
        with zipfile.ZipFile(after, "w") as archive:
            for name in before.namelist():
                body = before.read(name)
                for old, new in changes if name.endswith(f"/{file}") else ():
                    assert old.encode() in body
                    body = body.replace(old.encode(), new.encode())
                if "__pycache__" not in name:
                    archive.writestr(name, body)
        name = arns[at].split(":")[-2]
        arns[at] = client.publish_layer_version(LayerName=name, Content={"ZipFile": after.getvalue()})[
            "LayerVersionArn"
        ]
        for function in self.functions.values():
            client.update_function_configuration(FunctionName=function, Layers=arns)
        for function in self.functions.values():
            client.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})

    def histories(self, job_id: str) -> list[list[dict[str, Any]]]:
        """The events of each generation's execution."""
        client = self.cloud.client("stepfunctions")
        return [
            [
                e
                for page in client.get_paginator("get_execution_history").paginate(executionArn=g.execution_arn)
                for e in page["events"]
            ]
            for g in self.world.jobs.generations(job_id)
        ]


def overlay(project: Path, target: Path) -> Path:
    """A copy of what is deployed, with the test pipelines; tools and environments are the project's own."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in COPIED:
        source = project / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, target / name)
    for name in ("local", "tools", ".venv"):
        (target / name).symlink_to(project / name)
    for file in PIPELINES.iterdir():
        if file.is_file():
            shutil.copy2(file, target / "layers/pipelines" / file.name)
    return target


def deploy(cloud: LocalCloud, cloud_paths: LocalPaths, proxy: FaultProxy) -> App:
    """The application with the test pipelines, deployed from a copy of the project.

    The copy is at the same place each time: what has not changed since is not built again.
    """
    paths = LocalPaths(overlay(cloud_paths.project, cloud_paths.state / "project"), cloud_paths.state)
    sam.deploy(cloud, paths)
    outputs = stacks.outputs(cloud, STACK)
    session = boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
    world = gateways.make(
        session,
        work_bucket=outputs["WorkBucket"],
        job_table=outputs["JobTable"],
        state_machine_arn=outputs["StateMachineArn"],
        topic_arn=outputs["TopicArn"],
        endpoint_url=cloud.endpoint_url,
    )
    return App(cloud, paths, outputs, stacks.functions(cloud, STACK), world, proxy, Workers(cloud))
