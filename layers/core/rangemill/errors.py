"""The three families of errors, and the one table of how AWS and the local cloud spell each failure.

The class name is the API: the state machine, the job row and `--json` show it as `type`.
"""

from typing import Any, ClassVar, Final

# An exception of user code may quote a whole record. What is kept of it must fit rows (400 KB), notices (256 KB) and,
# with the names around it, the kilobyte that passes between states; and records do not belong there.
MESSAGE_MAX_CHARS: Final = 600


def shortened(text: str, most: int = MESSAGE_MAX_CHARS) -> str:
    """The text, cut where it is longer, saying by how much."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


class RangemillError(Exception):
    """A failure with a name, a sentence, and where there is one the object and the logical offset."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, object_uri: str | None = None, offset: int | None = None) -> None:
        message = shortened(message)
        super().__init__(message)
        self.message = message
        self.object_uri = object_uri
        self.offset = offset

    def of_object(self, object_uri: str) -> None:
        """Name the object that it is of, where whoever raised it did not know it."""
        if self.object_uri is None:
            self.object_uri = object_uri
            if object_uri not in self.message:
                self.message = shortened(f"{object_uri}: {self.message}")
                self.args = (self.message,)

    def to_json(self) -> dict[str, Any]:
        """The `error` of the job row and of `--json`: type, message, object, offset."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "object": self.object_uri,
            "offset": self.offset,
        }


# --- BadRequest: the caller's; never retried -------------------------------------------------------------------------


class BadRequest(RangemillError):
    """The caller asked for something that cannot be done."""


class BadPipeline(BadRequest):
    """A pipeline document with a mistake: file, line, field and what would be right."""

    def __init__(self, file: str, line: int | None, field: str, problem: str) -> None:
        where = file if line is None else f"{file}:{line}"
        super().__init__(f"{where}: {field}: {problem}" if field else f"{where}: {problem}")
        self.file = file
        self.line = line
        self.field = field
        self.problem = problem


class UnknownPipeline(BadRequest):
    """No pipeline of that name is deployed."""


class UnknownJob(BadRequest):
    """No job of that id is in the table."""


class UserCodeError(BadRequest):
    """The pipeline's own code raised; the message carries the exception's type and text."""


class UnsupportedPartial(BadRequest):
    """A partial holds a value of a type that cannot be kept exactly; the message names its path."""


class AggregateTooLarge(BadRequest):
    """A partial or the folded total passed its bound; the message names the number of keys."""


class BadStatement(BadRequest):
    """An SQL statement that DuckDB refuses, or whose result does not fit the contract."""


class CodeChanged(BadRequest):
    """The code that runs is not the code that the plan was made with."""

    def __init__(self, part: str, planned: str, running: str) -> None:
        super().__init__(
            f"the {part} changed while the job ran: planned with {planned}, now {running}; "
            "`rangemill redrive JOB --code new` goes on with the new code, `--code restart` begins again with it"
        )
        self.part = part
        self.planned = planned
        self.running = running


class WrongStatus(BadRequest):
    """A job is not where what was asked of it can be done."""


class JobIdTaken(BadRequest):
    """A job of that id ran before: AWS keeps the names of executions for 90 days after their end."""


class AccessRefused(BadRequest):
    """AWS refused a request for want of permission; the message names the action and the resource."""


class ObjectMissing(BadRequest):
    """A pinned object is not there any more."""

    def __init__(self, object_uri: str, expected: str) -> None:
        super().__init__(
            f"there is no object {object_uri}"
            if expected == "present"  # asked for by its name only
            else f"{object_uri} is gone: it was pinned as {expected} and S3 now answers 404; "
            "upload it again and submit a new job",
            object_uri=object_uri,
        )
        self.expected = expected


class ObjectChanged(BadRequest):
    """A pinned object was overwritten while the job ran."""

    def __init__(self, object_uri: str, expected_etag: str, actual_etag: str | None) -> None:
        super().__init__(
            f"{object_uri} was overwritten while the job ran: pinned with ETag {expected_etag}, "
            f"now {actual_etag or 'another one'}; submit a new job, or turn on versioning so that a pinned version can "
            "be read to its end",
            object_uri=object_uri,
        )
        self.expected_etag = expected_etag
        self.actual_etag = actual_etag


# --- IntegrityError: the data's; never retried -----------------------------------------------------------------------


class IntegrityError(RangemillError):
    """The data, or what was made of it, does not prove right."""


class ChecksumMismatch(IntegrityError):
    """The combined CRC of an object's tiles is not the object's own."""


class BrokenChain(IntegrityError):
    """Where one range's last record ends, the next range's first one does not begin."""


class CountMismatch(IntegrityError):
    """Records found by the format are not records taken by the engine plus rejects."""


class IncompleteProof(IntegrityError):
    """A job reached Finish with bytes that no range has covered, or covered twice."""


class RecordTooLarge(IntegrityError):
    """A record passed `max_record_bytes` before its end was found."""


class BadRecord(IntegrityError):
    """A record that does not have its format or does not fit the settled schema."""


class TooManyRejects(IntegrityError):
    """More records were rejected than `rejects.max_count` or `rejects.max_fraction` allows, or than can be kept."""


class BadCompression(IntegrityError):
    """Compressed data that is truncated, damaged, a decompression bomb, or not what the pipeline says it is."""


class BadArchive(IntegrityError):
    """An archive, or a file in one, that is broken, not to be trusted, or packed in a way that cannot be read."""


# --- Transient: AWS's; retried with backoff --------------------------------------------------------------------------


class Transient(RangemillError):
    """Throttling or a service error: the same request may succeed later."""

    retryable = True


# --- the life of a job -----------------------------------------------------------------------------------------------


class Superseded(RangemillError):
    """Another generation, or an end of the job, came first: this execution ends quietly."""


class WorkerDied(RangemillError):
    """Workers died on this range again and again, or died too often in the whole job."""


class WorkerFailed(RangemillError):
    """A worker ended in an error that is none of ours: its name and cause as the state machine saw them."""


class ExecutionFailed(RangemillError):
    """The execution failed, timed out or was stopped outside any state that could say why."""


# How a failure is spelt, on AWS and locally. The state machine and `classify` read this table; so do the tests.
DIED_SPELLINGS: Final = frozenset(
    {
        "Lambda.Unknown",  # AWS: out of memory, killed, timed out
        "Runtime.ExitError",  # local cloud: killed
        "Runtime.OutOfMemory",
        "MemoryError",  # Python itself, before the kernel
        "Sandbox.Timedout",  # local cloud: the function's timeout
        "States.Timeout",
        "States.HeartbeatTimeout",
    }
)
TRANSIENT_SPELLINGS: Final = frozenset(
    {
        "Transient",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "Lambda.ClientExecutionTimeoutException",
        "S3.S3Exception",  # a child that writes a verdict
        "S3.SdkClientException",
        "StepFunctions.AWSStepFunctionsException",  # ExecuteNew
        "StepFunctions.ExecutionLimitExceededException",
        "StepFunctions.SdkClientException",
    }
)
EXECUTION_EXISTS_SPELLINGS: Final = frozenset(
    {
        "StepFunctions.ExecutionAlreadyExistsException",  # the integration `states:startExecution`
        "Sfn.ExecutionAlreadyExistsException",  # the integration `aws-sdk:sfn`, and the local cloud's spelling of both
    }
)


def is_died(name: str) -> bool:
    """Whether the error that the state machine saw means that the worker died without a word."""
    return name in DIED_SPELLINGS


def is_transient(name: str) -> bool:
    """Whether the error that the state machine saw may go away by itself."""
    return name in TRANSIENT_SPELLINGS


def error_class(name: str) -> type[RangemillError] | None:
    """The class of that name, or None."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, RangemillError) else None


def rebuild(data: dict[str, Any]) -> RangemillError:
    """The error whose `to_json` this is, as far as it goes: its class, sentence, object and offset."""
    found = error_class(str(data.get("type"))) or RangemillError
    error = found.__new__(found)
    RangemillError.__init__(
        error, str(data.get("message", "")), object_uri=data.get("object"), offset=data.get("offset")
    )
    return error
