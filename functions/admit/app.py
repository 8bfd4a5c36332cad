"""Admit: starts waiting jobs when there is room; closes batches that are full or due."""

import os
from functools import cache
from typing import Any

from rangemill import admission, admit, catalog
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.gateways import Gateways
from rangemill.observability import LambdaContext, observed
from rangemill.settings import AdmitSettings
from rangemill.sharing import Limits


@cache
def wired() -> tuple[Gateways, Limits]:
    """Clients and limits, made once per cold start."""
    settings = AdmitSettings.from_environment(os.environ)
    world = gateways.make(
        Clients(),
        work_bucket=settings.work_bucket,
        job_table=settings.job_table,
        state_machine_arn=settings.state_machine_arn,
    )
    return world, admit.limits_of(world, settings)


@observed
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """The schedule's tick → which jobs were started or could not be, and how many batches were closed."""
    world, limits = wired()
    admission.note_active(catalog.deployed(), world)
    done = admit.run(catalog.deployed(), world, limits)
    return {"started": len(done.started), "closed_batches": len(done.closed_batches), "failed": done.failed}
