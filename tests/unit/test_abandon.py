"""How the end of an execution becomes the error of its job."""

import json
from typing import Any

import pytest

from rangemill import abandon
from rangemill.abandon import Failure
from rangemill.errors import UnknownJob
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

LAMBDA_CAUSE = json.dumps({"errorMessage": "s3://b/k is gone", "errorType": "ObjectMissing", "stackTrace": ["x"]})
NOTED = {"type": "ObjectMissing", "message": "s3://b/k is gone", "object": "s3://b/k", "offset": 5}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("logs-abc-g0", ("logs-abc", 0)),
        ("logs-g1-abc-g12", ("logs-g1-abc", 12)),
        ("logs-abc", None),
        ("somebody-elses", None),
        ("logs-abc-gx", None),
    ],
)
def test_an_execution_is_known_by_its_name(name: str, expected: tuple[str, int] | None) -> None:
    failure = abandon.from_execution_name(name, "E", "C")
    assert (None if failure is None else (failure.job_id, failure.generation)) == expected


@pytest.mark.parametrize(
    ("error", "cause", "noted", "expected"),
    [
        # What the state noted knows object and offset.
        ("ObjectMissing", LAMBDA_CAUSE, NOTED, NOTED),
        ("ObjectMissing", LAMBDA_CAUSE, None, {"type": "ObjectMissing", "message": "s3://b/k is gone"}),
        # What another state noted before is not this error.
        ("States.Timeout", "", NOTED, {"type": "ExecutionFailed", "message": "States.Timeout"}),
        (
            "Lambda.Unknown",
            "out of memory",
            None,
            {"type": "ExecutionFailed", "message": "Lambda.Unknown: out of memory"},
        ),
        ("KeyError", '{"errorMessage": "\'x\'"}', None, {"type": "ExecutionFailed", "message": "KeyError: 'x'"}),
        (
            "Exception",
            '{"errorType": "ChecksumMismatch", "errorMessage": "m"}',
            None,
            {"type": "ChecksumMismatch", "message": "m"},
        ),
        (
            "States.DataLimitExceeded",
            "[1]",
            None,
            {"type": "ExecutionFailed", "message": "States.DataLimitExceeded: [1]"},
        ),
        ("", "", None, {"type": "ExecutionFailed", "message": ""}),
    ],
)
def test_the_error_is_the_noted_one_or_what_the_cause_tells(
    error: str, cause: str, noted: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    described = abandon.describe(Failure("j", 0, error, cause), noted)
    assert described == {"object": None, "offset": None, **expected}


def test_a_job_that_nobody_knows_is_said_to_be_unknown() -> None:
    with pytest.raises(UnknownJob):
        abandon.run(Failure("j", 0, "E", "C"), in_memory(MemoryObjects()))
