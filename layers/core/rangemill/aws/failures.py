"""How boto3's exceptions become ours: one table for all services."""

from typing import Final, NoReturn

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from rangemill.aws import refusals
from rangemill.errors import AccessRefused, BadRequest, Transient

TRANSIENT_CODES: Final = frozenset(
    {
        "InternalError",
        "InternalServerError",
        "InternalFailure",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "KMS.ThrottlingException",  # of a key that S3 uses for us
        "KMS.KMSInternalException",
        "KMS.DependencyTimeoutException",
        "503",
        "500",
    }
)
_DENIED_CODES: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403", "KMS.AccessDeniedException"}
)
# The key of an object or a bucket is not what it was: S3 passes on what KMS says.
_KEY_CODES: Final = frozenset(
    {
        "KMS.DisabledException",
        "KMS.InvalidKeyUsageException",
        "KMS.KMSInvalidStateException",
        "KMS.NotFoundException",
        "KMSInvalidStateException",
    }
)
# Nothing that a permission could cure: expired, unknown or wrongly signed.
_CREDENTIAL_CODES: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_REFUSED_REASONS: Final = frozenset({"ConditionalCheckFailed", "ItemCollectionSizeLimitExceeded", "ValidationError"})
_SERVER_ERROR: Final = 500


def code_of(error: ClientError) -> str:
    """The service's own error code, or the HTTP status where HEAD leaves nothing else."""
    return str(error.response.get("Error", {}).get("Code", ""))


def reasons_of(error: ClientError) -> frozenset[str]:
    """Why the parts of a DynamoDB transaction were refused."""
    return frozenset(str(reason.get("Code")) for reason in error.response.get("CancellationReasons", []))


def is_condition_failed(error: ClientError) -> bool:
    """Whether a conditional write of DynamoDB, alone or in a transaction, did not find its condition."""
    code = code_of(error)
    return code == "ConditionalCheckFailedException" or (
        code == "TransactionCanceledException" and "ConditionalCheckFailed" in reasons_of(error)
    )


def is_denied(error: ClientError) -> bool:
    """403 for want of permission, or a key that cannot be used."""
    return code_of(error) in _DENIED_CODES | _KEY_CODES


def is_missing(error: ClientError) -> bool:
    """404, whatever the service calls it."""
    return code_of(error) in (
        "NoSuchKey",
        "NoSuchVersion",
        "NoSuchBucket",
        "NotFound",
        "404",
        "MethodNotAllowed",
        "405",
    )


def is_precondition_failed(error: ClientError) -> bool:
    """412: If-Match or If-None-Match did not hold."""
    return code_of(error) in ("PreconditionFailed", "412")


def is_conflict(error: ClientError) -> bool:
    """409: two conditional writes met. Neither need have won; S3 asks for the write to be repeated."""
    return code_of(error) in ("ConditionalRequestConflict", "409")


def raise_named(error: ClientError | BotoCoreError, what: str) -> NoReturn:
    """Raise what the error is for us. `what` is the request as a person would say it: `read s3://b/k`."""
    if isinstance(error, NoCredentialsError):
        raise AccessRefused(f"cannot {what}: no AWS credentials were found") from error
    if not isinstance(error, ClientError):
        raise Transient(f"cannot {what}: {error}") from error
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = code_of(error)
    message = error.response.get("Error", {}).get("Message", "") or code
    if code == "TransactionCanceledException" and not _REFUSED_REASONS & reasons_of(error):
        # It lost to a concurrent one or was throttled; nothing was wrong with it.
        raise Transient(f"cannot {what}: {code} ({message})") from error
    if code in _CREDENTIAL_CODES:
        raise AccessRefused(f"cannot {what}: AWS does not take these credentials: {code} ({message})") from error
    if code in _DENIED_CODES:
        raise AccessRefused(refusals.told(what, message)) from error
    if code in _KEY_CODES:
        raise AccessRefused(refusals.of_key(what, code, message)) from error
    if code in TRANSIENT_CODES or status >= _SERVER_ERROR:
        raise Transient(f"cannot {what}: {code} ({message})") from error
    raise BadRequest(f"cannot {what}: {code} ({message})") from error
