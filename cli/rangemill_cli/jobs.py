"""What `submit`, `status` and `results` share: a job's object for `--json`, waiting for its end, its exit code."""

import time
from typing import Any, Final

from rangemill import report
from rangemill.gateways import Gateways
from rangemill.messages import ENDED, JobRow, now_text
from rangemill_cli import show
from rangemill_cli.answers import FAILED, SUCCEEDED, job_exit_code

_POLL_SECONDS: Final = 1.0


def document(row: JobRow, gateways: Gateways) -> dict[str, Any]:
    """The object that `--json` prints of any job, ended or not."""
    if row.result is not None:
        return row.result
    ended = row.ended or (now_text(gateways.clock()) if row.status == "RUNNING" else None)
    asked = {"desired": row.desired} if row.status == "RUNNING" and row.desired != "run" else {}
    return {**report.outline(row, row.totals, ended), **asked}


def wait(job_id: str, gateways: Gateways, poll_seconds: float = _POLL_SECONDS) -> JobRow:
    """Watch a job until it ends or rests, with a bar where somebody looks."""
    row = gateways.jobs.load(job_id)
    with show.progress(row.pipeline) as progress:
        while row.status not in ENDED and row.status != "PAUSED":
            progress.row(row)
            time.sleep(poll_seconds)
            row = gateways.jobs.load(job_id)
    return row


def exit_code(row: JobRow) -> int:
    """0 succeeded (or goes on), else why not."""
    if row.status in ("SUCCEEDED", "WAITING", "RUNNING"):
        return SUCCEEDED
    return job_exit_code(row.error, planned=row.pointer is not None) if row.status == "FAILED" else FAILED
