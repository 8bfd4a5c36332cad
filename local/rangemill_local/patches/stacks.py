"""CloudFormation."""

import functools
from typing import Any

from botocore.waiter import SingleWaiterConfig
from localstack.aws.api.cloudformation import ChangeSetType
from localstack.services.cloudformation.engine.v2.change_set_model import ChangeAction
from localstack.services.cloudformation.engine.v2.change_set_model_executor import (
    ChangeSetModelExecutor,
    ChangeSetModelExecutorResult,
)
from localstack.services.cloudformation.engine.v2.change_set_model_transform import ChangeSetModelTransform
from localstack.services.cloudformation.resource_provider import (
    OperationStatus,
    ProgressEvent,
    ResourceProviderExecutor,
)


def names_that_sam_makes() -> None:
    """A template may name a resource that SAM makes, such as a rule of `Events`; LocalStack looks it up too early.

    The look-up happens on the way to Fn::Transform inside resources, so it is left out where there is none.
    """
    original = ChangeSetModelTransform._execute_local_transforms

    def _execute_local_transforms(self: ChangeSetModelTransform) -> None:
        if "Fn::Transform" in str(self._after_template) or "Fn::Transform" in str(self._before_template):
            original(self)

    ChangeSetModelTransform._execute_local_transforms = _execute_local_transforms


def delete_only_what_was_made() -> None:
    """Deleting a stack whose creation failed skips what never came into being; LocalStack fails on it for ever."""
    original = ChangeSetModelExecutor._execute_resource_action

    def _execute_resource_action(
        self: ChangeSetModelExecutor, action: ChangeAction, logical_resource_id: str, *rest: Any, **named: Any
    ) -> ProgressEvent:
        known = self._before_resolved_resources.get(logical_resource_id, {})
        if action == ChangeAction.Remove and not known.get("PhysicalResourceId"):
            return ProgressEvent(OperationStatus.SUCCESS, resource_model={})
        return original(self, action, logical_resource_id, *rest, **named)

    ChangeSetModelExecutor._execute_resource_action = _execute_resource_action


def failed_update_keeps_the_stack() -> None:
    """After a failed update the stack is compared with what it was, and still knows all its resources.

    LocalStack takes the failed template for the state of the stack and forgets what it had not come to: a corrected
    template would then be "unchanged" in places where nothing was ever done. What was changed before the failure stays
    changed, unlike on AWS, until the next deployment sets it right.
    """
    original = ChangeSetModelExecutor.execute

    def execute(self: ChangeSetModelExecutor) -> ChangeSetModelExecutorResult:
        change_set = self._change_set
        before = dict(change_set.stack.resolved_resources or {})
        result = original(self)
        if result.failure_message and change_set.change_set_type == ChangeSetType.UPDATE:
            for name, resource in before.items():
                if not result.resources.get(name, {}).get("PhysicalResourceId"):
                    result.resources[name] = resource
            for attribute in ("template", "processed_template", "template_body", "resolved_parameters"):
                setattr(change_set, attribute, getattr(change_set.stack, attribute))
        return result

    ChangeSetModelExecutor.execute = execute


def reason_of_failed_update() -> None:
    """The event of a failed resource says what the service said, not "Failed to delete resource" for every action."""
    original = ResourceProviderExecutor.execute_action

    def execute_action(self: ResourceProviderExecutor, *arguments: Any, **named: Any) -> ProgressEvent:
        event = original(self, *arguments, **named)
        cause = (event.custom_context or {}).get("exception")
        if event.status == OperationStatus.FAILED and cause is not None and str(cause):
            event.message = str(cause)
        return event

    ResourceProviderExecutor.execute_action = execute_action


def look_more_often() -> None:
    """Look ten times a second whether a resource is there, not once: nine functions one after the other add up."""
    ResourceProviderExecutor.deploy_loop = functools.partialmethod(ResourceProviderExecutor.deploy_loop, sleep_time=0.1)
    init = SingleWaiterConfig.__init__

    def wait_less(self: SingleWaiterConfig, single_waiter_config: dict[str, Any]) -> None:
        init(self, single_waiter_config)
        self.delay /= 10
        self.max_attempts *= 10

    SingleWaiterConfig.__init__ = wait_less


PATCHES = (
    look_more_often,
    names_that_sam_makes,
    delete_only_what_was_made,
    failed_update_keeps_the_stack,
    reason_of_failed_update,
)
