"""Plan: one step of planning. The state machine calls it until its answer is not MORE_PLAN."""

import os
from functools import cache, partial
from typing import Any

from rangemill import code, plan
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.edge import document, parse
from rangemill.gateways import Gateways
from rangemill.messages import StateMessage
from rangemill.observability import LambdaContext, observed
from rangemill.settings import PlanSettings
from rangemill.states import guarded


@cache
def wired() -> tuple[Gateways, plan.Defaults]:
    """Clients and settings, made once per cold start."""
    settings = PlanSettings.from_environment(os.environ)
    world = gateways.make(Clients(), work_bucket=settings.work_bucket, job_table=settings.job_table)
    return world, plan.Defaults(
        settings.range_bytes,
        settings.concurrency,
        settings.history_budget_events,
        writable_buckets=settings.writable_buckets,
    )


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """`StateMessage` → `Context` with `next`: MORE_PLAN, FETCH or FINISH."""
    message = parse(event, StateMessage)
    world, defaults = wired()
    step = partial(plan.run, message, world, defaults, code.identity())
    return document(guarded(step, message.context, world))
