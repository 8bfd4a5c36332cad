"""A stack on moto whose machine is the in-process driver, and the command as a person would call it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from rangemill import code, pages
from rangemill.gateways import Gateways
from rangemill_cli import clients, stack
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryExecutions, NoNotices
from rangemill_cli.main import cli
from rangemill_cli.stack import Stack

WORK = "work-bucket"
INPUT = "input-bucket"
OUTPUTS = {
    "WorkBucket": WORK,
    "JobTable": "jobs",
    "StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:jobs",
}


class FakeCloudFormation:
    """DescribeStacks; moto's own needs half of moto installed."""

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        outputs = {"rangemill": OUTPUTS, "other": {}}.get(StackName)
        if outputs is None:
            message = f"Stack with id {StackName} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        return {
            "Stacks": [
                {
                    "StackStatus": "CREATE_COMPLETE",
                    "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
                    "Parameters": [{"ParameterKey": "ApplyMemoryMb", "ParameterValue": "1769"}],
                }
            ]
        }


@dataclass
class Deployed:
    """The stack and its input bucket."""

    s3: Any
    gateways: Gateways
    admitted: list[str]

    def put(self, key: str, body: bytes) -> str:
        """Upload; the URI."""
        self.s3.put_object(Bucket=INPUT, Key=key, Body=body, ChecksumAlgorithm="CRC32")
        return f"s3://{INPUT}/{key}"

    def call(self, *arguments: str, **options: Any) -> Result:
        """`rangemill ARGUMENTS`."""
        return CliRunner().invoke(cli, arguments, **options)

    def json(self, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
        """The one object of `rangemill ARGUMENTS --json`."""
        result = self.call(*arguments, "--json")
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout)


def forget_clients() -> None:
    clients.session.cache_clear()
    clients.s3_client.cache_clear()


@pytest.fixture
def deployed(s3: Any, gateways: Gateways, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    monkeypatch.setattr(stack, "client", lambda _service: FakeCloudFormation())
    forget_clients()
    monkeypatch.delenv("RANGEMILL_STACK", raising=False)
    monkeypatch.chdir(tmp_path)
    world = Deployed(s3, replace(gateways, executions=MemoryExecutions(), notices=NoNotices()), [])

    def admit(self: Stack) -> None:
        for row in list(world.gateways.jobs.by_status("WAITING")):
            world.admitted.append(row.job_id)
            request = pages.request(world.gateways.store, row.job_id)
            identity = code.identity()
            run_job(request, world.gateways, in_this_process(world.gateways, identity), identity)

    monkeypatch.setattr(Stack, "admit", admit)
    yield world
    forget_clients()
