"""`rangemill bucket enable` over moto."""

from typing import Any

import boto3
import pytest

from rangemill_cli import bucket, clients


@pytest.fixture
def queue_arn() -> str:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="theirs")["QueueUrl"]
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])


def configuration(s3: Any) -> dict[str, Any]:
    found = s3.get_bucket_notification_configuration(Bucket="input-bucket")
    found.pop("ResponseMetadata")
    return found


@pytest.fixture
def written() -> list[dict[str, Any]]:
    """What the command puts; moto itself forgets EventBridge."""
    seen: list[dict[str, Any]] = []
    events = clients.s3_client().meta.events
    events.register(
        "provide-client-params.s3.PutBucketNotificationConfiguration", lambda params, **_: seen.append(dict(params))
    )
    return seen


def test_what_is_there_stays_and_the_difference_is_shown(
    deployed: Any, queue_arn: str, written: list[dict[str, Any]]
) -> None:
    theirs = {"QueueConfigurations": [{"Id": "x", "QueueArn": queue_arn, "Events": ["s3:ObjectCreated:*"]}]}
    deployed.s3.put_bucket_notification_configuration(Bucket="input-bucket", NotificationConfiguration=theirs)
    before = configuration(deployed.s3)
    result = deployed.call("bucket", "enable", "input-bucket", "--yes")
    assert result.exit_code == 0, result.output
    assert '+  "EventBridgeConfiguration": {}' in result.stdout
    assert not [line for line in result.stdout.splitlines() if line.startswith("- ")]
    (put,) = written
    assert put["NotificationConfiguration"] == {**before, "EventBridgeConfiguration": {}}


def test_a_bucket_that_is_enabled_is_left_alone(
    deployed: Any, written: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "read", lambda _client, _name: {"EventBridgeConfiguration": {}})
    assert "already; nothing was changed" in deployed.call("bucket", "enable", "input-bucket").stdout
    assert written == []


def test_no_means_no(deployed: Any, written: list[dict[str, Any]]) -> None:
    result = deployed.call("bucket", "enable", "input-bucket", input="n\n")
    assert result.exit_code == 2
    assert written == []


def test_a_bucket_that_is_not_there(deployed: Any) -> None:
    result = deployed.call("bucket", "enable", "nowhere-bucket")
    assert result.exit_code == 2
    assert "There is no bucket nowhere-bucket" in result.stderr
