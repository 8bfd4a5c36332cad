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
from moto.moto_api._internal.models import moto_api_backend

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


@dataclass(frozen=True)
class Clients:
    """Made once: making one takes longer than most tests."""

    s3: Any
    dynamodb: Any
    stepfunctions: Any
    sns: Any
    iam: Any


@pytest.fixture(scope="session")
def clients() -> Iterator[Clients]:
    """Clients of moto, with credentials that open nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")  # moto takes any
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        with mock_aws():
            others = {name: boto3.client(name) for name in ("dynamodb", "stepfunctions", "sns", "iam")}
            yield Clients(s3=boto3.client("s3", config=Config(response_checksum_validation="when_required")), **others)


@pytest.fixture(autouse=True)
def empty_account(clients: Clients) -> None:
    """Every test begins with nothing in it."""
    moto_api_backend.reset()


@pytest.fixture
def s3(clients: Clients) -> Any:
    for bucket in (WORK, INPUT):
        clients.s3.create_bucket(Bucket=bucket)
    return clients.s3


@pytest.fixture
def dynamodb(clients: Clients) -> Any:
    clients.dynamodb.create_table(TableName=TABLE, **table_definition())
    return clients.dynamodb


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
def machine_arn(clients: Clients) -> str:
    role = clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    definition = '{"StartAt": "Rest", "States": {"Rest": {"Type": "Succeed"}}}'
    made = clients.stepfunctions.create_state_machine(name="jobs", definition=definition, roleArn=role)
    return str(made["stateMachineArn"])


@pytest.fixture
def gateways(
    clients: Clients, jobs: DynamoJobs, store: S3Store, objects: S3Objects, machine_arn: str, clock: Clock
) -> Gateways:
    topic_arn = clients.sns.create_topic(Name="notices")["TopicArn"]
    return Gateways(
        jobs=jobs,
        store=store,
        objects=objects,
        executions=SfnExecutions(clients.stepfunctions, machine_arn),
        notices=SnsNotices(clients.sns, topic_arn),
        clock=clock,
    )
