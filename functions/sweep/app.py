"""Sweep: objects that no event announced become jobs, lost jobs are taken up, and what old jobs left goes."""

import os
from functools import cache
from typing import Any

from rangemill import admission, admit, catalog, lost, retention
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.gateways import Gateways
from rangemill.limits import STOP_MARGIN_MS
from rangemill.observability import LambdaContext, measure, observed
from rangemill.settings import SweepSettings
from rangemill.sharing import Limits


@cache
def wired() -> tuple[Gateways, SweepSettings, Limits]:
    """Clients, settings and limits, made once per cold start."""
    settings = SweepSettings.from_environment(os.environ)
    world = gateways.make(
        Clients(),
        work_bucket=settings.work_bucket,
        job_table=settings.job_table,
        state_machine_arn=settings.state_machine_arn,
        topic_arn=settings.topic_arn,
    )
    return world, settings, admit.limits_of(world, settings)


@observed
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """The schedule's tick → how many objects were taken, by pipeline."""
    world, settings, limits = wired()
    bounds = admission.SweepBounds(
        settings.sweep_lookback_seconds,
        settings.sweep_max_starts,
        lambda: context.get_remaining_time_in_millis() < STOP_MARGIN_MS * 2,
    )
    lost_jobs = lost.recover(world)
    taken = admission.sweep(catalog.deployed(), world, list(settings.input_buckets), bounds)
    for pipeline, objects in taken.items():
        measure(pipeline, ObjectsTaken=objects)
    admit.run(catalog.deployed(), world, limits)
    forgotten = retention.forget_old_jobs(world, settings.retention_days)
    return {"taken": taken, "forgotten": len(forgotten), "lost": lost_jobs}
