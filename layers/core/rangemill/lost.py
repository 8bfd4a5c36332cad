"""Jobs whose execution is gone without a word: an event that never came, an Abandon that died. Found by the sweep."""

from rangemill import abandon
from rangemill.gateways import Gateways
from rangemill.messages import JobRow


def mark_lost_jobs(gateways: Gateways) -> list[str]:
    """Mark running jobs that no execution carries any more, and tell people; their ids. Each is marked once."""
    lost: list[str] = []
    for row in gateways.jobs.by_status("RUNNING"):
        status = _end_of(row, gateways)
        if status is None:
            continue
        # Between the look at the row and those at its executions the next generation may have taken over, or ended it.
        again = gateways.jobs.load(row.job_id)
        if (again.status, again.generation, again.wave) != (row.status, row.generation, row.wave):
            continue
        cause = f"the execution that carried it is gone ({status}) and has left no word of why"
        if abandon.run(abandon.Failure(row.job_id, row.generation, "States.ExecutionLost", cause), gateways):
            lost.append(row.job_id)
    return lost


def _end_of(row: JobRow, gateways: Gateways) -> str | None:
    """How the job's execution ended, or None while it runs or the next generation's does."""
    status = gateways.executions.status(row.job_id, row.generation)
    following = gateways.executions.status(row.job_id, row.generation + 1)
    if "RUNNING" in (status, following):
        return None
    return following or status or "never started"
