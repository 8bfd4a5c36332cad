"""Fetch: hands out a wave."""

import os
from functools import cache, partial
from typing import Any

from rangemill import fetch
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.edge import document, parse
from rangemill.gateways import Gateways
from rangemill.messages import StateMessage
from rangemill.observability import LambdaContext, observed
from rangemill.settings import FetchSettings
from rangemill.states import guarded


@cache
def wired() -> Gateways:
    """Clients and settings, made once per cold start."""
    settings = FetchSettings.from_environment(os.environ)
    return gateways.make(Clients(), work_bucket=settings.work_bucket, job_table=settings.job_table)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`StateMessage` → `Context` with `map`, `slots` and `concurrency`."""
    message = parse(event, StateMessage)
    world = wired()
    step = partial(fetch.run, message, world, attempt=context.aws_request_id)
    return document(guarded(step, message.context, world))
