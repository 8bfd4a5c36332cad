"""Abandon: an execution failed, timed out or was stopped; its job is marked with the cause, and people are told."""

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from rangemill.errors import error_class
from rangemill.gateways import Gateways
from rangemill.messages import now_text

_EXECUTION_NAME: Final = re.compile(r"(?P<job_id>.+)-g(?P<generation>\d+)")


class Failure(Struct, frozen=True):
    """How an execution ended: the error's name and cause as the state machine saw them."""

    job_id: str
    generation: int
    error: str
    cause: str


def from_execution_name(name: str, error: str, cause: str) -> Failure | None:
    """The failure of an execution by its name; None when the name is none of ours."""
    match = _EXECUTION_NAME.fullmatch(name)
    return Failure(match["job_id"], int(match["generation"]), error, cause) if match else None


def run(failure: Failure, gateways: Gateways) -> bool:
    """Mark the job; False when the row is another generation's or ended already, and then nobody is told."""
    row = gateways.jobs.load(failure.job_id)
    error = describe(failure, row.error)
    ended = now_text(gateways.clock())
    marked = gateways.jobs.fail(failure.job_id, failure.generation, ended, error)
    if not marked:  # by this call all the same, where its answer was lost and boto3 has sent it again
        now = gateways.jobs.load(failure.job_id)
        marked = (now.status, now.ended) == ("FAILED", ended)
    if marked:
        gateways.lambdas.wake_admit()
        gateways.notices.publish(
            f"Rangemill: {row.pipeline} failed",
            {"job_id": row.job_id, "pipeline": row.pipeline, "status": "FAILED", "error": error},
        )
    return marked


def describe(failure: Failure, noted: dict[str, Any] | None) -> dict[str, Any]:
    """The error as people see it: what the state noted if it is the same one, else what the cause tells."""
    if noted is not None and noted.get("type") == failure.error:
        return noted
    kind, message = failure.error, failure.cause.strip()
    try:
        cause = msgspec.json.decode(failure.cause.encode())
        if isinstance(cause, dict) and isinstance(cause.get("errorMessage"), str):
            message = cause["errorMessage"]
            kind = str(cause.get("errorType") or kind)
    except msgspec.DecodeError:
        pass
    if error_class(kind) is None:
        message = f"{kind}: {message}" if message else kind
        kind = "ExecutionFailed"
    return {"type": kind, "message": message, "object": None, "offset": None}
