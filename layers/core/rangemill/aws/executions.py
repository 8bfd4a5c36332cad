"""The state machine's executions, and the notices about them."""

from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from rangemill.aws import failures

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient

_SUBJECT_MAX_CHARS: Final = 100


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
            if failures.code_of(error) in ("ExecutionAlreadyExists", "ExecutionAlreadyExistsException"):
                return f"{self._state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
            failures.raise_named(error, f"start execution {name}")
        except BotoCoreError as error:
            failures.raise_named(error, f"start execution {name}")


class SnsNotices:
    """`gateways.Notices` on SNS."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def publish(self, subject: str, body: dict[str, Any]) -> None:
        """Publish a notice; its subject is cut to what SNS takes."""
        try:
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=subject[:_SUBJECT_MAX_CHARS],
                Message=msgspec.json.format(msgspec.json.encode(body), indent=2).decode(),
            )
        except (ClientError, BotoCoreError) as error:
            failures.raise_named(error, "publish a notice")
