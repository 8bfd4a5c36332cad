"""The one table of how AWS spells failures."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from rangemill.aws import failures
from rangemill.errors import AccessRefused, BadRequest, Transient


def answer(code: str, status: int = 400, **more: object) -> ClientError:
    response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return ClientError(response, "Op")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (answer("ThrottlingException"), Transient),
        (answer("ProvisionedThroughputExceededException"), Transient),
        (answer("SlowDown", 503), Transient),
        (answer("503", 503), Transient),  # HEAD has no body to say more
        (answer("Weird", 502), Transient),
        (answer("RequestTimeout"), Transient),
        (answer("TransactionConflictException"), Transient),
        (answer("AccessDenied", 403), AccessRefused),
        (answer("403", 403), AccessRefused),
        (answer("AccessDeniedException"), AccessRefused),
        (answer("ValidationException"), BadRequest),
        (answer("NoSuchBucket", 404), BadRequest),
        (EndpointConnectionError(endpoint_url="x"), Transient),
        (ReadTimeoutError(endpoint_url="x"), Transient),
        (NoCredentialsError(), AccessRefused),
    ],
)
def test_each_failure_has_one_family(error: Exception, raised: type[Exception]) -> None:
    with pytest.raises(raised) as caught:
        failures.raise_named(error, "read s3://b/k")  # type: ignore[arg-type]
    assert type(caught.value) is raised
    assert "read s3://b/k" in str(caught.value)


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchVersion", "404", "NotFound", "MethodNotAllowed", "405"])
def test_a_delete_marker_is_as_missing_as_nothing(code: str) -> None:
    assert failures.is_missing(answer(code))


def test_a_conflict_is_not_a_lost_condition() -> None:
    assert failures.is_precondition_failed(answer("PreconditionFailed", 412))
    assert not failures.is_precondition_failed(answer("ConditionalRequestConflict", 409))
    assert failures.is_conflict(answer("ConditionalRequestConflict", 409))


def test_a_lost_condition_is_seen_through_a_transaction() -> None:
    lost = answer(
        "TransactionCanceledException", CancellationReasons=[{"Code": "None"}, {"Code": "ConditionalCheckFailed"}]
    )
    conflict = answer("TransactionCanceledException", CancellationReasons=[{"Code": "TransactionConflict"}])
    assert failures.is_condition_failed(lost)
    assert not failures.is_condition_failed(conflict)
    assert failures.is_condition_failed(answer("ConditionalCheckFailedException"))
