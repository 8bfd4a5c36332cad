"""Jobs whose execution is gone without a word: an event that never came, an Abandon that died. Found by the sweep.

A job is taken up again as its next generation, and what its last wave has done counts. So often without a wave in
between, it is marked as failed instead; so is one whose execution somebody has stopped. One that has its result, and
died before it was marked, can only succeed: it is taken up whatever has happened to it.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

from rangemill import abandon, control
from rangemill.gateways import Gateways
from rangemill.limits import LEASE_SECONDS, TAKE_UPS_MAX
from rangemill.messages import JobRow, now_text

Became = Literal["taken up", "ended", "failed"]
_ABORTED: Final = "ABORTED"  # by a person: nothing else stops an execution of ours


def recover(gateways: Gateways) -> dict[str, Became]:
    """What became of running jobs that no execution carries any more, by their ids. Each is found once."""
    found: dict[str, Became] = {}
    for row in gateways.jobs.by_status("RUNNING"):
        status = _end_of(row, gateways)
        if status is None or (status != _ABORTED and _may_be_on_its_way(row, gateways)):
            continue
        # Between the look at the row and those at its executions the next generation may have taken over, or ended it.
        again = gateways.jobs.load(row.job_id)
        if (again.status, again.generation, again.wave) != (row.status, row.generation, row.wave):
            continue
        became = _recovered(again, status, gateways)
        if became is not None:
            found[row.job_id] = became
    return found


def _recovered(row: JobRow, status: str, gateways: Gateways) -> Became | None:
    """What this run has made of the row; None when somebody else was first."""
    if row.ending is None and (status == _ABORTED or _tries(row) >= TAKE_UPS_MAX):
        return "failed" if _mark(row, status, gateways) else None
    if row.ending is not None or row.desired == "run":
        return "taken up" if _take_up(row, status, gateways) else None
    return "ended" if _come_to_rest(row, gateways) else None


def _end_of(row: JobRow, gateways: Gateways) -> str | None:
    """How the job's execution ended, or None while it runs or the next generation's does."""
    status = gateways.executions.status(row.job_id, row.generation)
    following = gateways.executions.status(row.job_id, row.generation + 1)
    if "RUNNING" in (status, following):
        return None
    return following or status or "never started"


def _may_be_on_its_way(row: JobRow, gateways: Gateways) -> bool:
    """Whether an execution's start, or the word of its end, may still come: for a lease from its last move on."""
    now = gateways.clock()
    if row.leased_until is not None:
        return datetime.fromisoformat(row.leased_until) > now
    started = None if row.started is None else datetime.fromisoformat(row.started)
    return started is not None and (now - started).total_seconds() < LEASE_SECONDS


def _tries(row: JobRow) -> int:
    """How often it was taken up since its last wave was committed."""
    return row.take_ups if row.take_ups_wave == row.wave else 0


def _cause(status: str) -> str:
    return f"the execution that carried it is gone ({status}) and has left no word of why"


def _mark(row: JobRow, status: str, gateways: Gateways) -> bool:
    tries = _tries(row)
    more = f"; it was taken up {tries} times since wave {row.wave}, which was its last" if tries else ""
    failure = abandon.Failure(row.job_id, row.generation, "States.ExecutionLost", _cause(status) + more)
    return abandon.run(failure, gateways)


def _take_up(row: JobRow, status: str, gateways: Gateways) -> bool:
    ended = msgspec.structs.replace(
        row,
        status="FAILED",
        ended=now_text(gateways.clock()),
        error={"type": "ExecutionFailed", "message": _cause(status), "object": None, "offset": None},
    )
    changes = {"take_ups": _tries(row) + 1, "take_ups_wave": row.wave}
    return control.take_up(row, changes, gateways, ended)


def _come_to_rest(row: JobRow, gateways: Gateways) -> bool:
    """What people wanted of it while it ran."""
    if row.desired == "cancel":
        ended = now_text(gateways.clock())
        return gateways.jobs.turn(row, {"status": "CANCELLED", "rest_reason": "cancelled", "ended": ended})
    return gateways.jobs.turn(row, {"status": "PAUSED", "rest_reason": "paused"})
