"""Aggregate: judges a wave, commits it and decides what follows."""

import os
from functools import cache, partial
from typing import Any

from rangemill import aggregate, code, engines
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.edge import document, parse
from rangemill.gateways import Gateways
from rangemill.messages import StateMessage
from rangemill.observability import LambdaContext, observed
from rangemill.settings import AggregateSettings
from rangemill.states import guarded


@cache
def wired() -> tuple[Gateways, aggregate.Machine]:
    """Clients and settings, made once per cold start."""
    settings = AggregateSettings.from_environment(os.environ)
    world = gateways.make(
        Clients(),
        work_bucket=settings.work_bucket,
        job_table=settings.job_table,
        admit_function=settings.admit_function,
    )
    return world, aggregate.Machine(settings.apply_memory_mb, settings.apply_architecture)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`StateMessage` → `Context` with `next`: FETCH, EXECUTE_NEW (and `next_generation`), FINISH or REST."""
    message = parse(event, StateMessage)
    engines.bound_memory(int(context.memory_limit_in_mb))
    world, machine = wired()
    step = partial(aggregate.run, message, world, code.identity(), machine, attempt=context.aws_request_id)
    return document(guarded(step, message.context, world))
