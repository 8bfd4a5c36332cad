"""The one table of how AWS spells failures."""

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.stub import Stubber

from rangemill.aws import failures
from rangemill.aws.objects import S3Objects
from rangemill.errors import MESSAGE_MAX_CHARS, AccessRefused, BadRequest, Transient


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


ROLE = "arn:aws:sts::123456789012:assumed-role/stack-PlanRole-1X/stack-PlanFunction"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234"

OF_ANOTHER_ACCOUNT = (
    f"User: {ROLE} is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext because "
    "the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy "
    "explicitly denies access"
)


def said(action: str, resource: str, why: str) -> str:
    return f"User: {ROLE} is not authorized to perform: {action} on resource: {resource} because {why}"


@pytest.mark.parametrize(
    ("what", "message", "words"),
    [
        (
            "read s3://b/k",
            said("s3:GetObject", '"arn:aws:s3:::b/k"', "no identity-based policy allows the s3:GetObject action"),
            ["role stack-PlanRole-1X needs s3:GetObject on arn:aws:s3:::b/k", "`read-input`", "ExistingInputBuckets"],
        ),
        (
            "read s3://b/k",
            said("s3:ListBucket", '"arn:aws:s3:::b"', "no identity-based policy allows the s3:ListBucket action"),
            ["there may be no such object", "403 where it would answer 404", "needs s3:ListBucket", "read-input"],
        ),
        (
            "read the parts of s3://b/k",
            said("s3:GetObjectAttributes", '"arn:aws:s3:::b/k"', "no identity-based policy allows it"),
            ["`read-input-attributes`", "ExistingInputBuckets"],
        ),
        (
            "list s3://b/in/",
            said("s3:ListBucket", '"arn:aws:s3:::b"', "no identity-based policy allows it"),
            ["needs s3:ListBucket on arn:aws:s3:::b", "ExistingInputBuckets"],
        ),
        (
            "read s3://b/k",
            said("kms:Decrypt", KEY, "no identity-based policy allows the kms:Decrypt action"),
            ["needs kms:Decrypt on " + KEY, "InputKeyArns", "key's own policy"],
        ),
        (
            "read s3://b/k",
            OF_ANOTHER_ACCOUNT,
            ["let the policy of that resource allow kms:Decrypt", "stack-PlanRole-1X"],
        ),
        (
            "write s3://out/k",
            said("s3:PutObject", '"arn:aws:s3:::out/k"', "no identity-based policy allows the s3:PutObject action"),
            ["needs s3:PutObject", "`write-output` or `write-parts`", "OutputBuckets"],
        ),
        (
            "write s3://out/k",
            said("kms:GenerateDataKey", KEY, "no identity-based policy allows the kms:GenerateDataKey action"),
            ["needs kms:GenerateDataKey", "`use-output-keys`", "OutputKeyArns"],
        ),
        (
            "read s3://b/k",
            said("s3:GetObject", '"arn:aws:s3:::b/k"', "of an explicit deny in a resource-based policy"),
            ["a resource-based policy denies s3:GetObject on arn:aws:s3:::b/k to the role stack-PlanRole-1X"],
        ),
        (
            "read s3://b/k",
            "Access Denied",
            ["there is no such object", "needs s3:GetObject", "ExistingInputBuckets"],
        ),
        ("write s3://out/k", "Access Denied", ["needs s3:PutObject", "OutputBuckets"]),
        (
            "start execution x",
            said("states:StartExecution", "arn:aws:states:x", "no identity-based policy allows it"),
            ["role stack-PlanRole-1X needs states:StartExecution on arn:aws:states:x"],
        ),
        ("query table t", "m", ["the role needs that permission"]),
    ],
)
def test_a_refusal_names_what_grants_it(what: str, message: str, words: list[str]) -> None:
    response = {"Error": {"Code": "AccessDenied", "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    with pytest.raises(AccessRefused) as caught:
        failures.raise_named(ClientError(response, "Op"), what)  # type: ignore[arg-type]
    for each in words:
        assert each in caught.value.message, caught.value.message
    assert len(caught.value.message) <= MESSAGE_MAX_CHARS


@pytest.mark.parametrize("code", ["KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException"])
def test_a_key_that_cannot_be_used_is_named_as_that(code: str) -> None:
    with pytest.raises(AccessRefused, match=rf"KMS key cannot be used: {code} \(m\); enable"):
        failures.raise_named(answer(code), "read s3://b/k")
    with pytest.raises(Transient):
        failures.raise_named(answer("KMS.ThrottlingException"), "read s3://b/k")


def test_a_refused_look_asks_for_one_byte_to_learn_why() -> None:
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        stub.add_client_error("head_object", "403", "Forbidden", 403)
        stub.add_client_error(
            "get_object",
            "AccessDenied",
            said("kms:Decrypt", KEY, "no identity-based policy allows the kms:Decrypt action"),
            403,
            expected_params={"Bucket": "b", "Key": "k", "Range": "bytes=0-0"},
        )
        with pytest.raises(AccessRefused, match="InputKeyArns"):
            S3Objects(client).head("b", "k", None)
        stub.assert_no_pending_responses()
        stub.add_client_error("head_object", "403", "Forbidden", 403)
        stub.add_client_error("get_object", "NoSuchKey", "", 404)
        with pytest.raises(AccessRefused, match="no such object"):
            S3Objects(client).head("b", "k", None)
