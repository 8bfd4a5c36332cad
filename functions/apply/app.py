"""Apply: one worker, one slot, one outcome."""

import os
from functools import cache
from typing import Any

from rangemill import apply, code, engines
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.edge import parse
from rangemill.gateways import Gateways
from rangemill.messages import ApplyMessage
from rangemill.observability import LambdaContext, measure, observed, pipeline_of
from rangemill.settings import ApplySettings
from rangemill.stopping import StopSignal


@cache
def wired() -> Gateways:
    """Clients and settings, made once per cold start."""
    settings = ApplySettings.from_environment(os.environ)
    return gateways.make(Clients(), work_bucket=settings.work_bucket, job_table=settings.job_table)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`ApplyMessage` → `{}`: what came of it lies in S3, so that no payload grows with the slots."""
    message = parse(event, ApplyMessage)
    engines.bound_memory(int(context.memory_limit_in_mb))
    world = wired()
    should_stop = StopSignal(message, world.jobs, context.get_remaining_time_in_millis)
    outcome = apply.run(message, world, code.identity(), should_stop)
    if outcome is not None:
        measure(
            pipeline_of(message.job_id),
            Records=outcome.records,
            Rejects=outcome.rejects,
            StoredBytes=outcome.bytes,
            WorkerMilliseconds=outcome.milliseconds,
        )
    return {}
