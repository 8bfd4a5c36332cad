"""The deployed stack, found by its name in CloudFormation, and the gateways to it with the caller's own permissions."""

from dataclasses import dataclass, field
from typing import Any

import click

from rangemill.gateways import Gateways
from rangemill_cli.clients import client, session
from rangemill_cli.errors import EnvironmentProblem


@dataclass(frozen=True, slots=True)
class Stack:
    """What a stack's outputs and parameters say."""

    name: str
    work_bucket: str
    job_table: str
    state_machine_arn: str
    admit_function: str
    parameters: dict[str, str] = field(default_factory=dict)

    def gateways(self) -> Gateways:
        """Gateways with the caller's credentials."""
        from rangemill.aws import gateways  # noqa: PLC0415 - powertools and boto3 on first use

        return gateways.make(
            session(), work_bucket=self.work_bucket, job_table=self.job_table, state_machine_arn=self.state_machine_arn
        )

    def admit(self) -> None:
        """Ask the stack to start what waits; when that cannot be, the stack's own schedule does it within a minute."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            client("lambda").invoke(FunctionName=self.admit_function, InvocationType="Event", Payload=b"{}")
        except (ClientError, BotoCoreError) as error:
            click.echo(f"The job waits for the stack's own schedule, at most a minute: {error}", err=True)


def find(name: str) -> Stack:
    """The stack of that name. Raises `EnvironmentProblem`, and what boto3 raises without credentials or network."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        found: dict[str, Any] = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        raise EnvironmentProblem(
            f"There is no stack {name} in this account and Region.",
            "Deploy it with `sam deploy`, or name yours with --stack or RANGEMILL_STACK; "
            'for the local cloud: `rangemill local deploy`, then eval "$(rangemill local env)".',
        ) from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    missing = [key for key in ("WorkBucket", "JobTable", "StateMachineArn") if key not in outputs]
    if missing:
        raise EnvironmentProblem(
            f"The stack {name} is {found['StackStatus']} and has no output {', '.join(missing)}.",
            "Is it a Rangemill stack, and did its last deployment succeed?",
        )
    return Stack(
        name,
        outputs["WorkBucket"],
        outputs["JobTable"],
        outputs["StateMachineArn"],
        outputs.get("AdmitFunction", f"{name}-admit"),
        {p["ParameterKey"]: p.get("ParameterValue", "") for p in found.get("Parameters", [])},
    )
