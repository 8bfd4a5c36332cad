"""Gateways over moto: no network, no real account. The table is the template's own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config
from moto import mock_aws
from rangemill.aws.executions import SfnExecutions, SnsNotices
from rangemill.aws.jobs import DynamoJobs
from rangemill.aws.objects import S3Objects
from rangemill.aws.store import S3Store
from rangemill.gateways import Gateways

TABLE = "jobs"
WORK = "work-bucket"
INPUT = "input-bucket"
REGION = "us-east-1"
TEMPLATE = Path(__file__).parents[2] / "template.yaml"


class _Template(yaml.SafeLoader):
    """CloudFormation's short functions read as None: the parts that the tests need have none."""


_Template.add_multi_constructor("!", lambda loader, suffix, node: None)


@cache
def table_definition() -> dict[str, Any]:
    """The job table as the template defines it."""
    resource = yaml.load(TEMPLATE.read_text(), Loader=_Template)["Resources"]["JobTable"]["Properties"]
    return {k: resource[k] for k in ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")}


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 20, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto, with credentials that open nothing."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")  # moto takes any
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


@pytest.fixture
def s3() -> Any:
    client = boto3.client("s3", config=Config(response_checksum_validation="when_required"))
    for bucket in (WORK, INPUT):
        client.create_bucket(Bucket=bucket)
    return client


@pytest.fixture
def dynamodb() -> Any:
    client = boto3.client("dynamodb")
    client.create_table(TableName=TABLE, **table_definition())
    return client


@pytest.fixture
def jobs(dynamodb: Any) -> DynamoJobs:
    return DynamoJobs(dynamodb, TABLE)


@pytest.fixture
def store(s3: Any) -> S3Store:
    return S3Store(s3, WORK)


@pytest.fixture
def objects(s3: Any) -> S3Objects:
    return S3Objects(s3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def machine_arn() -> str:
    iam = boto3.client("iam")
    role = iam.create_role(RoleName="machine", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    definition = '{"StartAt": "Rest", "States": {"Rest": {"Type": "Succeed"}}}'
    created = boto3.client("stepfunctions").create_state_machine(name="jobs", definition=definition, roleArn=role)
    return created["stateMachineArn"]


@pytest.fixture
def gateways(jobs: DynamoJobs, store: S3Store, objects: S3Objects, machine_arn: str, clock: Clock) -> Gateways:
    topic_arn = boto3.client("sns").create_topic(Name="notices")["TopicArn"]
    return Gateways(
        jobs=jobs,
        store=store,
        objects=objects,
        executions=SfnExecutions(boto3.client("stepfunctions"), machine_arn),
        notices=SnsNotices(boto3.client("sns"), topic_arn),
        clock=clock,
    )
