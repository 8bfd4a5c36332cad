"""All gateways of a Lambda function, made once per cold start from what its settings name."""

from datetime import UTC, datetime
from typing import Any, Protocol

from botocore.config import Config

from rangemill.aws import pressure
from rangemill.aws.executions import SfnExecutions, SnsNotices
from rangemill.aws.jobs import DynamoJobs
from rangemill.aws.lambdas import AccountLambdas
from rangemill.aws.objects import S3Objects
from rangemill.aws.store import S3Store
from rangemill.gateways import Gateways
from rangemill.limits import OUTCOME_THREADS
from rangemill.pressure import Pressure

# Reads are checked by us over each tile; botocore's own check of ranged reads would only cost.
_S3 = Config(
    retries={"mode": "standard", "max_attempts": 6},
    max_pool_connections=2 * OUTCOME_THREADS,
    connect_timeout=5,
    read_timeout=30,
    response_checksum_validation="when_required",
)
_OTHERS = Config(retries={"mode": "standard", "max_attempts": 8}, connect_timeout=5, read_timeout=20)


def now() -> datetime:
    """The clock: UTC."""
    return datetime.now(UTC)


class Session(Protocol):
    """What makes clients: `Clients`, or a `boto3.Session`."""

    def client(self, service: Any, /, *, config: Config, endpoint_url: str | None) -> Any:
        """A client of the service."""


def make(
    session: Session,
    *,
    work_bucket: str,
    job_table: str,
    state_machine_arn: str = "",
    topic_arn: str = "",
    admit_function: str = "",
    endpoint_url: str | None = None,
) -> Gateways:
    """Gateways with clients of a session; clients that are rarely used are made at their first use.

    `endpoint_url` stands for all services; None leaves it to the environment (`AWS_ENDPOINT_URL`) and then to AWS.
    """
    s3 = session.client("s3", config=_S3, endpoint_url=endpoint_url)
    dynamodb = session.client("dynamodb", config=_OTHERS, endpoint_url=endpoint_url)
    met = Pressure()
    for client in (s3, dynamodb):
        pressure.watch(client, met)
    return Gateways(
        jobs=DynamoJobs(dynamodb, job_table),
        store=S3Store(s3, work_bucket),
        objects=S3Objects(s3),
        executions=SfnExecutions(_Lazy(session, "stepfunctions", endpoint_url), state_machine_arn),  # type: ignore[arg-type]  # stands for the client
        notices=SnsNotices(_Lazy(session, "sns", endpoint_url), topic_arn),  # type: ignore[arg-type]  # stands for the client
        clock=now,
        pressure=met,
        lambdas=AccountLambdas(_Lazy(session, "lambda", endpoint_url), admit_function),  # type: ignore[arg-type]  # stands for the client
    )


class _Lazy:
    """A client made at its first use: most invocations need neither Step Functions nor SNS."""

    def __init__(self, session: Session, service: str, endpoint_url: str | None) -> None:
        self._session = session
        self._service = service
        self._endpoint_url = endpoint_url
        self._client: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._client is None:
            self._client = self._session.client(self._service, config=_OTHERS, endpoint_url=self._endpoint_url)
        return getattr(self._client, name)
