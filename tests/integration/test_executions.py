"""The state machine's executions, and notices."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rangemill.aws.executions import SfnExecutions, SnsNotices
from rangemill.errors import AccessRefused, Transient
from rangemill.gateways import Gateways


@pytest.fixture
def executions(clients: Any, machine_arn: str) -> SfnExecutions:
    return SfnExecutions(clients.stepfunctions, machine_arn)


def test_a_generation_is_started_once_under_its_own_name(
    clients: Any, executions: SfnExecutions, machine_arn: str
) -> None:
    first = executions.start("p-1", 0)
    assert executions.start("p-1", 0) == first
    assert first == f"{machine_arn.replace(':stateMachine:', ':execution:')}:p-1-g0"
    assert executions.start("p-1", 1) != first
    assert len(clients.stepfunctions.list_executions(stateMachineArn=machine_arn)["executions"]) == 2


def test_the_input_of_a_generation_is_always_the_same_bytes(clients: Any, executions: SfnExecutions) -> None:
    described = clients.stepfunctions.describe_execution(executionArn=executions.start("p-1", 3))
    assert described["input"] == '{"job_id":"p-1","generation":3}'


def test_an_execution_that_exists_is_found_by_its_name(
    executions: SfnExecutions, machine_arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exists(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ExecutionAlreadyExists"}}, "StartExecution")

    monkeypatch.setattr(executions._client, "start_execution", exists)
    assert executions.start("p-1", 2) == f"{machine_arn.replace(':stateMachine:', ':execution:')}:p-1-g2"


@pytest.mark.parametrize(
    ("code", "raised"), [("ThrottlingException", Transient), ("AccessDeniedException", AccessRefused)]
)
def test_a_start_that_was_refused_is_named(
    executions: SfnExecutions, monkeypatch: pytest.MonkeyPatch, code: str, raised: type[Exception]
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code}}, "StartExecution")

    monkeypatch.setattr(executions._client, "start_execution", refuse)
    monkeypatch.setattr(executions._client, "get_execution_history", refuse)
    with pytest.raises(raised, match="p-1-g2"):
        executions.start("p-1", 2)
    with pytest.raises(raised):
        executions.event_count("arn")


def test_the_history_is_counted_by_its_newest_event(executions: SfnExecutions, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def history(**arguments: Any) -> Any:
        asked.update(arguments)
        return {"events": [{"id": 1234}]}

    monkeypatch.setattr(executions._client, "get_execution_history", history)
    assert executions.event_count("arn") == 1234
    assert (asked["reverseOrder"], asked["maxResults"]) == (True, 1)
    monkeypatch.setattr(executions._client, "get_execution_history", lambda **_: {"events": []})
    assert executions.event_count("arn") == 0


def test_the_longest_names_fit_an_execution_name() -> None:
    from rangemill.limits import JOB_TOKEN_CHARS, PIPELINE_NAME_MAX_CHARS, SFN_EXECUTION_NAME_MAX_CHARS

    job_id = f"{'p' * PIPELINE_NAME_MAX_CHARS}-{'t' * JOB_TOKEN_CHARS}"
    assert len(f"{job_id}-g{999_999_999}") <= SFN_EXECUTION_NAME_MAX_CHARS


def test_a_notice_is_published_as_json_with_a_subject_that_fits(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices = gateways.notices
    assert isinstance(notices, SnsNotices)
    sent: dict[str, Any] = {}
    monkeypatch.setattr(notices._client, "publish", lambda **arguments: sent.update(arguments))
    notices.publish("s" * 300, {"job_id": "p-1", "records": 3})
    assert len(sent["Subject"]) == 100
    assert json.loads(sent["Message"]) == {"job_id": "p-1", "records": 3}
