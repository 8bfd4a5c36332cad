"""Step Functions."""

import json

import yaml
from localstack.services.stepfunctions.asl.eval.program_state import ProgramStopped
from localstack.services.stepfunctions.backend.execution import BaseExecutionWorkerCommunication
from localstack.services.stepfunctions.resource_providers.aws_stepfunctions_statemachine import (
    StepFunctionsStateMachineProvider,
)


def yaml_definitions() -> None:
    """A definition in S3 may be YAML on AWS, and that is what `sam deploy` uploads; LocalStack reads JSON only."""
    original = StepFunctionsStateMachineProvider._get_definition

    def _get_definition(self: StepFunctionsStateMachineProvider, model: dict, s3_client: object) -> str:
        definition = original(self, model, s3_client)
        if definition and not definition.lstrip().startswith("{"):
            return json.dumps(yaml.safe_load(definition))
        return definition

    StepFunctionsStateMachineProvider._get_definition = _get_definition


def cause_of_stop() -> None:
    """DescribeExecution and the status event of a stopped execution say the error and cause that StopExecution gave."""
    original = BaseExecutionWorkerCommunication._reflect_execution_status

    def _reflect_execution_status(self: BaseExecutionWorkerCommunication) -> None:
        original(self)
        state = self.execution.exec_worker.env.program_state()
        if isinstance(state, ProgramStopped):
            self.execution.error = state.error
            self.execution.cause = state.cause

    BaseExecutionWorkerCommunication._reflect_execution_status = _reflect_execution_status


PATCHES = (yaml_definitions, cause_of_stop)
