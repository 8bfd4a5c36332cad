"""What a job waits for, and how many workers one that runs may have, in fields of `--json` and in a sentence."""

from itertools import islice
from typing import Any, Final

from rangemill import sharing
from rangemill.gateways import Gateways
from rangemill.limits import CONCURRENCY, LINE_MAX_JOBS, MAX_RUNNING_JOBS, MAX_WORKERS, RANGE_BYTES
from rangemill.messages import JobRow
from rangemill.sharing import Limits, Place

_NAMES: Final = {"jobs": "MaxRunningJobs", "workers": "MaxWorkers"}


def limits_of(parameters: dict[str, str], gateways: Gateways) -> Limits:
    """The limits that the stack's parameters and the account set."""
    workers = int(parameters.get("MaxWorkers") or MAX_WORKERS)
    return Limits(
        int(parameters.get("MaxRunningJobs") or MAX_RUNNING_JOBS),
        sharing.within_account(workers, gateways.lambdas.free_concurrency()),
        int(parameters.get("WorkersPerJob") or CONCURRENCY),
        int(parameters.get("RangeBytes") or RANGE_BYTES),
    )


def fields(rows: list[JobRow], parameters: dict[str, str], gateways: Gateways) -> dict[str, dict[str, Any]]:
    """Job id -> `waiting` of a job that waits, `workers` of one that runs; nothing of others."""
    found = {
        row.job_id: {"workers": _workers(row)} for row in rows if row.status == "RUNNING" and row.grant is not None
    }
    if any(row.status == "WAITING" for row in rows):
        limits = limits_of(parameters, gateways)
        waiting = list(islice(gateways.jobs.by_status("WAITING"), LINE_MAX_JOBS))
        places = sharing.line(list(gateways.jobs.by_status("RUNNING")), waiting, limits)
        for row in rows:
            if row.status == "WAITING" and row.job_id in places:
                found[row.job_id] = {"waiting": _waiting(places[row.job_id], limits)}
    return found


def _workers(row: JobRow) -> dict[str, Any]:
    return {"held": row.held, "granted": row.grant, "own": row.concurrency or row.own_workers}


def _waiting(place: Place, limits: Limits) -> dict[str, Any]:
    limit = {"jobs": limits.jobs, "workers": limits.workers}.get(place.waits_for)
    return {"position": place.position, "of": place.of, "for": place.waits_for, "limit": limit}


def sentence(document: dict[str, Any]) -> str | None:
    """What `status` says of it below the counts; None where there is nothing to say."""
    if "waiting" in document:
        return f"Waits      {reason(document)}"
    if "workers" in document:
        workers = document["workers"]
        own = f" of the {workers['own']:,} that it may have" if workers["own"] else ""
        soon = f", {workers['granted']:,} from its next wave on" if workers["granted"] != workers["held"] else ""
        return f"Workers    {workers['held']:,}{own}{soon}"
    return None


def reason(document: dict[str, Any]) -> str:
    """Place and reason of a job that waits, in a few words; of any other nothing."""
    waiting = document.get("waiting")
    if waiting is None:
        return ""
    where = f"{waiting['position']:,} of {waiting['of']:,} in line"
    if waiting["for"] == "admit":
        return f"{where}: it starts within a minute"
    what = {"jobs": "jobs run", "workers": "workers are taken"}[waiting["for"]]
    return f"{where}: {waiting['limit']:,} {what} ({_NAMES[waiting['for']]})"
