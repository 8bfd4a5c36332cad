"""What ended jobs left is removed N days after their end. A job that rests has no end; results are never touched."""

from datetime import datetime, timedelta

from rangemill import keys
from rangemill.errors import UnknownJob
from rangemill.gateways import Gateways
from rangemill.messages import JobRow, Status

_ENDED_STATUSES: tuple[Status, ...] = ("SUCCEEDED", "FAILED", "CANCELLED")
_JOBS_A_RUN = 200  # a sweep has other things to do; the next one goes on


def forget_old_jobs(gateways: Gateways, retention_days: int, most: int = _JOBS_A_RUN) -> list[str]:
    """Delete documents and rows of jobs that ended longer ago; the ids that are gone. Repeating it is harmless."""
    oldest = gateways.clock() - timedelta(days=retention_days)
    gone: list[str] = []
    for status in _ENDED_STATUSES:
        for row in gateways.jobs.by_status(status):
            if len(gone) >= most or datetime.fromisoformat(row.created) >= oldest:
                break  # rows come oldest first: the rest was created later and cannot have ended before
            if _is_old(row, oldest) and _is_old(_now(row, gateways), oldest):  # the index may be behind a redrive
                # The rows last: while they are there, the next run finds what is left of the documents.
                gateways.store.delete_below(keys.job_root(row.job_id))
                gateways.jobs.forget(row.job_id)
                gone.append(row.job_id)
    return gone


def _is_old(row: JobRow | None, oldest: datetime) -> bool:
    return row is not None and row.ended is not None and datetime.fromisoformat(row.ended) < oldest


def _now(row: JobRow, gateways: Gateways) -> JobRow | None:
    """The row as it is now; None when another run has forgotten it."""
    try:
        return gateways.jobs.load(row.job_id)
    except UnknownJob:
        return None
