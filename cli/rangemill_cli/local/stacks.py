"""CloudFormation's side of a deployment: the stack's state, what failed and why, what it made."""

import re
from typing import Any, Final

from rangemill_cli.local.cloud import LocalCloud

GOOD: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
MUST_GO: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS")


def describe(cloud: LocalCloud, stack: str) -> dict[str, Any] | None:
    """Return DescribeStacks' document, or None where there is no such stack."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - with boto3, on first use

    try:
        found: dict[str, Any] = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return found


def status(cloud: LocalCloud, stack: str) -> str | None:
    """Return the stack's status, or None where there is no such stack."""
    found = describe(cloud, stack)
    return None if found is None else str(found["StackStatus"])


def outputs(cloud: LocalCloud, stack: str) -> dict[str, str]:
    """Return the stack's outputs by their keys."""
    found = describe(cloud, stack) or {}
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def functions(cloud: LocalCloud, stack: str) -> dict[str, str]:
    """Return the stack's Lambda functions: logical id → physical name."""
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::Lambda::Function" and "PhysicalResourceId" in resource
    }


def delete(cloud: LocalCloud, stack: str) -> None:
    """Delete the stack and wait until it is gone."""
    cloudformation = cloud.client("cloudformation")
    cloudformation.delete_stack(StackName=stack)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def failure(cloud: LocalCloud, stack: str) -> str | None:
    """Return a sentence that names the resource that made the last operation fail, and why."""
    if describe(cloud, stack) is None:
        return None
    pages = cloud.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack)
    for event in (event for page in pages for event in page["StackEvents"]):  # newest first
        ours = event["LogicalResourceId"] == stack
        if ours and event["ResourceStatus"] in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
            return None  # where the last operation began
        if event["ResourceStatus"].endswith("_FAILED") and not ours and "ancelled" not in _reason(event):
            verb = event["ResourceStatus"].split("_")[0].lower()
            return (
                f"CloudFormation could not {verb} {event['LogicalResourceId']} ({event['ResourceType']}): "
                f"{readable(_reason(event))}"
            )
    return None


def readable(reason: str) -> str:
    """Return CloudFormation's reason without the wrappings of SAM, waiters and LocalStack."""
    reason = re.sub(r"(Resource provider operation failed: )+", "", reason)
    reason = re.sub(r"An error occurred \((\w+)\) when calling the (\w+) operation:?", r"\1 from \2:", reason)
    reason = re.sub(r"^Error: ", "", reason)
    reason = re.sub(r"^.*terminal failure state: .*?Reason: ", "", reason)
    reason = re.sub(
        r"Sorry, the (\S+) resource .*? is not supported by this version[^,.]*(, but is available in the latest \w+)?",
        r"LocalStack cannot create \1 (put it behind a Condition)",
        reason,
    )
    return reason.strip() or "no reason given"


def _reason(event: dict[str, Any]) -> str:
    return str(event.get("ResourceStatusReason") or "")
