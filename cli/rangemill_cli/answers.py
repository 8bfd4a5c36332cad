"""What every command answers: one JSON object or sentences, and an exit code (design section 11)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from rangemill.errors import (
    AccessRefused,
    BadPipeline,
    BadRequest,
    BadStatement,
    CodeChanged,
    ObjectMissing,
    RangemillError,
    Transient,
    UnknownPipeline,
    UserCodeError,
    error_class,
)
from rangemill_cli.errors import CliError, EnvironmentProblem, UsageProblem, show_error

SUCCEEDED: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
ENVIRONMENT: Final = 3
INTERRUPTED: Final = 130

# A job that ended in one of these before it handed anything out was asked for wrongly, or from the wrong place.
_WRONG_FROM_THE_START: Final = (BadPipeline, BadStatement, UnknownPipeline, ObjectMissing)
# The failure of a job's work, not of what was asked for, although each is a `BadRequest`.
_OF_THE_WORK: Final = (UserCodeError, CodeChanged)


def blank(error: dict[str, Any], status: str = "FAILED") -> dict[str, Any]:
    """The one object of `--json` where there is no job."""
    return {
        "job_id": None,
        "pipeline": None,
        "status": status,
        "objects": 0,
        "ranges": 0,
        "slots": 0,
        "waves": 0,
        "generations": 0,
        "records": 0,
        "rejects": 0,
        "bytes": 0,
        "seconds": 0.0,
        "cost_usd": 0.0,
        "proof": {"complete": False, "level": "bytes", "checksum": None, "matched": None},
        "output": [],
        "report": None,
        "error": {"object": None, "offset": None, **error},
    }


def print_json(document: Any) -> None:
    """The one object on standard output."""
    import msgspec  # noqa: PLC0415 - not for `--help`

    click.echo(msgspec.json.encode(document).decode())


def job_exit_code(error: dict[str, Any] | None, *, planned: bool) -> int:
    """The exit code of a job that failed with that error, before or after it was planned."""
    kind = error_class(str((error or {}).get("type")))
    if planned or kind is None:
        return FAILED
    if issubclass(kind, _WRONG_FROM_THE_START):
        return WRONG_USAGE
    return ENVIRONMENT if issubclass(kind, (AccessRefused, Transient)) else FAILED


def problem_of(error: RangemillError) -> CliError:
    """A failure outside any job, as the command's own."""
    if isinstance(error, (AccessRefused, Transient)):
        return EnvironmentProblem(_sentence(error.message))
    if isinstance(error, BadRequest) and not isinstance(error, _OF_THE_WORK):
        return UsageProblem(_sentence(error.message))
    return CliError(_sentence(error.message))


@contextmanager
def answering(*, as_json: bool, interrupted: str = "interrupted") -> Iterator[None]:
    """Turn every failure into a sentence on standard error, with `as_json` an object as well, and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        if as_json:
            print_json(blank({"type": "Interrupted", "message": interrupted}, status="CANCELLED"))
        click.secho(f"rangemill: {interrupted}", fg="yellow", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except RangemillError as error:
        _give_up(problem_of(error), error.to_json(), as_json=as_json)
    except CliError as error:
        _give_up(error, {"type": type(error).__name__, "message": error.message}, as_json=as_json)
    except Exception as error:
        problem = _of_botocore(error)
        if problem is None:
            raise
        _give_up(problem, {"type": type(error).__name__, "message": problem.message}, as_json=as_json)


def _give_up(problem: CliError, error: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(blank(error))
    show_error(problem)
    raise click.exceptions.Exit(problem.exit_code)


def _sentence(message: str) -> str:
    return message if message.endswith((".", "!", "?")) else f"{message}."


_CREDENTIALS: Final = "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login`."


def _of_botocore(error: Exception) -> CliError | None:
    """What boto3 raised outside the gateways; None for anything else. boto3 is not imported for the question."""
    exceptions: Any = sys.modules.get("botocore.exceptions")
    if exceptions is None:
        return None
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return EnvironmentProblem("No AWS credentials were found.", _CREDENTIALS)
    if isinstance(error, exceptions.NoRegionError):
        return EnvironmentProblem("No AWS Region is set.", "Set AWS_REGION, or a region in the profile.")
    if isinstance(error, exceptions.ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        message = error.response.get("Error", {}).get("Message", "") or code
        return EnvironmentProblem(f"AWS refused {error.operation_name}: {code}: {message}.")
    if isinstance(error, exceptions.BotoCoreError):
        return EnvironmentProblem(_sentence(f"AWS cannot be reached: {error}"))
    return None
