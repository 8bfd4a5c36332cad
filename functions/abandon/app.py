"""Abandon: an execution failed, timed out or was stopped; its job is marked with the cause, and people are told."""

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent

from rangemill import abandon
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.errors import UnknownJob
from rangemill.gateways import Gateways
from rangemill.observability import LambdaContext, logger, measure, observed, pipeline_of
from rangemill.settings import AbandonSettings


@cache
def wired() -> Gateways:
    """Clients and settings, made once per cold start."""
    settings = AbandonSettings.from_environment(os.environ)
    return gateways.make(
        Clients(),
        work_bucket=settings.work_bucket,
        job_table=settings.job_table,
        topic_arn=settings.topic_arn,
        admit_function=settings.admit_function,
    )


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """The state machine's call, or EventBridge's word of an execution that could not make it → `{"marked": …}`."""
    failure = _failure(event)
    if failure is None:
        logger.warning("an execution with a name that is none of ours ended badly")
        return {"marked": False}
    try:
        marked = abandon.run(failure, wired())
    except UnknownJob as unknown:  # somebody started an execution by hand: nobody waits for it
        logger.warning(unknown.message)
        return {"marked": False}
    if marked:
        measure(pipeline_of(failure.job_id), JobsFailed=1)
    return {"marked": marked}


def _failure(event: dict[str, Any]) -> abandon.Failure | None:
    if "execution_arn" in event:
        error, name = event["error"], str(event["execution_arn"]).rsplit(":", 1)[-1]
        return abandon.from_execution_name(name, error.get("Error", ""), error.get("Cause", ""))
    detail = EventBridgeEvent(event).detail
    # The machine's Fail state puts `Abandoned.` before the name, since a machine may not fail with one of `States.`.
    error = (detail.get("error") or f"States.{detail['status']}").removeprefix("Abandoned.")
    return abandon.from_execution_name(detail["name"], error, detail.get("cause") or "")
