"""The state machine's executions, and the notices about them."""

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from rangemill.aws import failures
from rangemill.errors import JobIdTaken

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient

_SUBJECT_MAX_CHARS: Final = 100
_log: Final = logging.getLogger(__name__)


class SfnExecutions:
    """`gateways.Executions` on Step Functions."""

    def __init__(self, client: "SFNClient", state_machine_arn: str) -> None:
        self._client = client
        self._state_machine_arn = state_machine_arn

    def event_count(self, execution_arn: str) -> int:
        """The exact number of events: the newest event's id."""
        try:
            response = self._client.get_execution_history(
                executionArn=execution_arn, reverseOrder=True, maxResults=1, includeExecutionData=False
            )
        except (ClientError, BotoCoreError) as error:
            failures.raise_named(error, f"read the history of {execution_arn}")
        return response["events"][0]["id"] if response["events"] else 0

    def start(self, job_id: str, generation: int) -> str:
        """Start the generation's execution, or find it started by an earlier try; its ARN."""
        name = f"{job_id}-g{generation}"
        # Byte for byte what the machine itself gives to its next generation: the same name with the same input is
        # the same execution.
        body = msgspec.json.encode({"job_id": job_id, "generation": generation}).decode()
        try:
            return self._client.start_execution(stateMachineArn=self._state_machine_arn, name=name, input=body)[
                "executionArn"
            ]
        except ClientError as error:
            if failures.code_of(error) not in ("ExecutionAlreadyExists", "ExecutionAlreadyExistsException"):
                failures.raise_named(error, f"start execution {name}")
        except BotoCoreError as error:
            failures.raise_named(error, f"start execution {name}")
        # An earlier try has started it; unless it is from another life of this id, which nothing would carry on.
        status = self.status(job_id, generation)
        if status not in (None, "RUNNING"):
            raise JobIdTaken(
                f"an execution called {name} ended before ({status}), and AWS keeps its name for 90 days; "
                "submit the objects again under another id"
            )
        return self._arn(name)

    def status(self, job_id: str, generation: int) -> str | None:
        """`RUNNING`, or how the generation's execution ended; None when there is none."""
        name = f"{job_id}-g{generation}"
        try:
            return str(self._client.describe_execution(executionArn=self._arn(name))["status"])
        except ClientError as error:
            if failures.code_of(error) in ("ExecutionDoesNotExist", "ExecutionDoesNotExistException"):
                return None
            failures.raise_named(error, f"look at execution {name}")
        except BotoCoreError as error:
            failures.raise_named(error, f"look at execution {name}")

    def _arn(self, name: str) -> str:
        return f"{self._state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


class SnsNotices:
    """`gateways.Notices` on SNS."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def publish(self, subject: str, body: dict[str, Any]) -> None:
        """Publish a notice; its subject is cut to what SNS takes.

        A notice that cannot be sent is logged and no more: the job's row says what it would have said.
        """
        try:
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=subject[:_SUBJECT_MAX_CHARS],
                Message=msgspec.json.format(msgspec.json.encode(body), indent=2).decode(),
            )
        except (ClientError, BotoCoreError):
            _log.exception("a notice could not be published")
