"""Step Functions, SNS and Lambda as boto3's clients show them, in front of what a world keeps of them."""

import json
from typing import TYPE_CHECKING, Any

from tests.simulator.dynamo import client_error
from tests.simulator.expressions import Unsupported
from tests.simulator.machine import Execution

if TYPE_CHECKING:
    from tests.simulator.world import World


class StepFunctions:
    """What `boto3.client("stepfunctions")` is to the code under test."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def start_execution(self, **request: Any) -> dict[str, Any]:
        """StartExecution."""

        def start() -> dict[str, Any]:
            execution = self._world.start_execution(request["name"], request["input"])
            if execution is None:
                raise client_error("StartExecution", "ExecutionAlreadyExists")
            return {"executionArn": execution.arn}

        return self._world.call("stepfunctions", "start_execution", request, start)

    def describe_execution(self, **request: Any) -> dict[str, Any]:
        """DescribeExecution."""

        def describe() -> dict[str, Any]:
            return {"status": self._find(request, "DescribeExecution").status}

        return self._world.call("stepfunctions", "describe_execution", request, describe)

    def get_execution_history(self, **request: Any) -> dict[str, Any]:
        """GetExecutionHistory: the newest event."""
        if not request["reverseOrder"] or request["maxResults"] != 1:
            raise Unsupported(str(request))

        def newest() -> dict[str, Any]:
            return {"events": [{"id": self._find(request, "GetExecutionHistory").events}]}

        return self._world.call("stepfunctions", "get_execution_history", request, newest)

    def _find(self, request: dict[str, Any], operation: str) -> Execution:
        found = self._world.executions.get(request["executionArn"])
        if found is None:
            raise client_error(operation, "ExecutionDoesNotExist")
        return found


class Lambda:
    """What `boto3.client("lambda")` is to the code under test."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def get_account_settings(self) -> dict[str, Any]:
        """An account as they usually are."""
        answer = {"AccountLimit": {"ConcurrentExecutions": 1_000, "UnreservedConcurrentExecutions": 1_000}}
        return dict(self._world.call("lambda", "get_account_settings", {}, lambda: answer))

    def invoke(self, **request: Any) -> dict[str, Any]:
        """An asynchronous invocation of `admit`."""
        if (request["FunctionName"], request["InvocationType"]) != ("simulated-admit", "Event"):
            raise Unsupported(f"an invocation of {request['FunctionName']}")

        def invoke() -> dict[str, Any]:
            self._world.later(self._world.now, lambda: self._world.at_least_once("Admit", {}))
            return {"StatusCode": 202}

        return dict(self._world.call("lambda", "invoke", request, invoke))


class Topic:
    """What `boto3.client("sns")` is to the code under test."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def publish(self, **request: Any) -> dict[str, Any]:
        """Publish."""

        def publish() -> dict[str, Any]:
            self._world.notices.append(json.loads(request["Message"]))
            return {}

        return self._world.call("sns", "publish", request, publish)
