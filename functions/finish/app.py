"""Finish: proves completeness, publishes the output, marks the job and tells people."""

import os
from functools import cache, partial
from typing import Any

from rangemill import code, engines, finish
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.edge import document, parse
from rangemill.gateways import Gateways
from rangemill.messages import StateMessage
from rangemill.observability import LambdaContext, measure, observed, pipeline_of
from rangemill.settings import FinishSettings
from rangemill.states import guarded


@cache
def wired() -> Gateways:
    """Clients and settings, made once per cold start."""
    settings = FinishSettings.from_environment(os.environ)
    return gateways.make(
        Clients(),
        work_bucket=settings.work_bucket,
        job_table=settings.job_table,
        topic_arn=settings.topic_arn,
        admit_function=settings.admit_function,
    )


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`StateMessage` → `Context` with `next`: DONE."""
    message = parse(event, StateMessage)
    engines.bound_memory(int(context.memory_limit_in_mb))
    world = wired()
    step = partial(finish.run, message, world, code.identity())
    answer = document(guarded(step, message.context, world))
    measure(pipeline_of(message.context.job_id), JobsSucceeded=1)
    return answer
