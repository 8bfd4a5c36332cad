"""What boto3 retries by itself is counted, answer by answer; what persists is tried again where reading had got to."""

import io
from typing import Any

import boto3
import botocore.endpoint
import pytest
from botocore.awsrequest import AWSResponse

from rangemill.aws import gateways as gateways_module
from rangemill.aws import objects as objects_module
from rangemill.aws.pressure import is_throttling
from rangemill.errors import Transient
from rangemill.gateways import Gateways
from rangemill.limits import READ_MAX_TRIES
from rangemill.messages import PinnedObject

BODY = bytes(range(256)) * 8
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        yield self.read()


def _response(request: Any, status: int, headers: dict[str, str], raw: Any) -> AWSResponse:
    return AWSResponse(request.url, status, headers, raw)  # type: ignore[arg-type]  # any mapping will do


class Service:
    """S3 and DynamoDB below boto3: `refusals` throttled answers, then right ones."""

    def __init__(self) -> None:
        self.refusals = 0
        self.asked: list[str] = []

    def answer(self, request: Any, **_: Any) -> AWSResponse:
        self.asked.append(str(request.headers.get("Range", b""), "ascii"))
        refuses = self.refusals > 0
        self.refusals -= refuses
        if b"DynamoDB" in request.headers.get("X-Amz-Target", b""):
            kind = b'{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}'
            return _response(request, 400 if refuses else 200, {}, _Raw(kind if refuses else b"{}"))
        if refuses:
            return _response(request, 503, {}, _Raw(SLOW_DOWN))
        first, last = map(int, self.asked[-1].removeprefix("bytes=").split("-"))
        headers = {"Content-Range": f"bytes {first}-{last}/{len(BODY)}", "Content-Length": str(last + 1 - first)}
        return _response(request, 206, headers, _Raw(BODY[first : last + 1]))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def world(service: Service, monkeypatch: pytest.MonkeyPatch) -> Gateways:
    for module in (botocore.endpoint, objects_module):
        monkeypatch.setattr(module.time, "sleep", lambda _: None)
    session = boto3.Session("none", "none", region_name="us-east-1")
    really: Any = session.client

    def client(name: str, **how: Any) -> Any:
        made = really(name, **how)
        made.meta.events.register_first(f"before-send.{name}", service.answer)
        return made

    monkeypatch.setattr(session, "client", client)
    return gateways_module.make(session, work_bucket="work", job_table="jobs")


def pin() -> PinnedObject:
    return PinnedObject(0, "in", "a", "etag", len(BODY))


def read(world: Gateways) -> bytes:
    return b"".join(world.objects.read(pin(), 0, len(BODY)))


def test_answers_that_boto3_asks_again_for_are_counted(world: Gateways, service: Service) -> None:
    service.refusals = 3
    assert read(world) == BODY
    assert world.pressure.read() == (4, 3)
    assert world.objects.requests == 1  # boto3 says nothing of the other three


def test_throttling_of_the_table_counts_as_well(world: Gateways, service: Service) -> None:
    service.refusals = 2
    with pytest.raises(Exception, match="no job"):
        world.jobs.load("gone")
    assert world.pressure.read() == (3, 2)


def test_throttling_that_outlasts_boto3s_retries_is_waited_for_and_given_up_in_the_end(
    world: Gateways, service: Service
) -> None:
    service.refusals = 8  # six are one request's
    assert read(world) == BODY
    service.refusals = 10_000
    with pytest.raises(Transient, match="SlowDown"):
        read(world)
    assert world.objects.requests == 2 + READ_MAX_TRIES


def test_what_is_not_the_range_is_asked_for_again(
    world: Gateways, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = service.answer
    wrong = iter([200, 206])

    def answer(request: Any, **how: Any) -> AWSResponse:
        right = really(request, **how)
        status = next(wrong, None)
        if status == 200:
            return _response(request, 200, {}, _Raw(b"?" * len(BODY)))
        if status == 206:
            return _response(request, 206, {"Content-Range": "bytes 1-2/3"}, _Raw(b"??"))
        return right

    world.objects._client.meta.events.register_first("before-send.s3", answer)  # type: ignore[attr-defined]
    assert read(world) == BODY


@pytest.mark.parametrize(
    ("status", "code", "throttles"),
    [
        (503, "SlowDown", True),
        (500, "InternalError", True),
        (429, "", True),
        (400, "ThrottlingException", True),
        (400, "RequestLimitExceeded", True),
        (400, "ProvisionedThroughputExceededException", True),
        (206, "", False),
        (404, "NoSuchKey", False),
        (412, "PreconditionFailed", False),
        (400, "ConditionalCheckFailedException", False),
        (403, "AccessDenied", False),
    ],
)
def test_which_answers_are_pressure(status: int, code: str, throttles: bool) -> None:
    assert is_throttling(status, code) is throttles
