"""The project's own template, with the test pipelines in the pipelines layer, on the session's local cloud."""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from rangemill import admission
from rangemill.aws import gateways
from rangemill.errors import UnknownJob
from rangemill.gateways import Gateways
from rangemill.messages import JobRequest, JobRow, ObjectRef
from rangemill_cli.local import sam, stacks
from rangemill_cli.local.cloud import CREDENTIALS, REGION, STACK, LocalCloud
from rangemill_cli.local.paths import LocalPaths

PIPELINES = Path(__file__).parent / "pipelines"
COPIED = ("template.yaml", "samconfig.toml", "functions", "layers", "statemachines")
RESTING = ("SUCCEEDED", "FAILED", "CANCELLED", "PAUSED")


@dataclass
class App:
    """The deployed application, and what the tests do with it."""

    cloud: LocalCloud
    paths: LocalPaths
    outputs: dict[str, str]
    world: Gateways
    submitted: list[str] = field(default_factory=list)

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
        name = stacks.functions(self.cloud, STACK)
        answer = self.cloud.client("lambda").invoke(FunctionName=name[logical_id], Payload=json.dumps(event).encode())
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


@pytest.fixture(scope="session")
def app(cloud: LocalCloud, cloud_paths: LocalPaths, tmp_path_factory: pytest.TempPathFactory) -> App:
    """The application with the test pipelines, deployed once."""
    project = overlay(cloud_paths.project, tmp_path_factory.mktemp("project"))
    paths = LocalPaths(project, cloud_paths.state)
    sam.deploy(cloud, paths, force=True)
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
    return App(cloud, paths, outputs, world)
