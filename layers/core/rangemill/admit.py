"""Admit: close batches, share out the workers, start waiting jobs. One at a time, and never with a job forgotten.

What may be used is decided here only, and lies in the jobs' own rows (`sharing`); a lease that has run out is given
away unless its job's execution is still there.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

import msgspec

from rangemill import admission, sharing
from rangemill.catalog import Catalog
from rangemill.errors import BadRequest, UnknownJob
from rangemill.gateways import ADMIT_LOCK, Gateways
from rangemill.limits import ADMIT_MAX_ROUNDS, LEASE_SECONDS, LINE_MAX_JOBS
from rangemill.messages import JobRow, now_text
from rangemill.settings import AdmitSettings
from rangemill.sharing import Limits

_LOCK_SECONDS: Final = 120
_AGAIN: Final = "admit-again"  # whoever found the lock taken wants another round
_STARTING: Final = "admit-starting"  # job id -> when it was to start: the index may not show yet that it did


@dataclass(slots=True)
class Admitted:
    """What a run of `admit` did."""

    started: list[str] = field(default_factory=list)
    closed_batches: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    given_away: list[str] = field(default_factory=list)  # jobs whose lease ran out and whose execution is gone


def limits_of(gateways: Gateways, settings: AdmitSettings) -> Limits:
    """The limits that the stack names, within what the account has."""
    workers = sharing.within_account(settings.max_workers, gateways.lambdas.free_concurrency())
    return Limits(settings.max_running_jobs, workers, settings.concurrency, settings.range_bytes)


def run(catalog: Catalog, gateways: Gateways, limits: Limits) -> Admitted:
    """Close batches that are full or due, share out the workers anew, and start waiting jobs while there is room.

    One at a time: whoever finds the lock taken leaves word, and the one who has it goes another round.
    """
    owner, done = secrets.token_hex(8), Admitted()
    for _ in range(ADMIT_MAX_ROUNDS):
        if not _lock(gateways, owner):
            break
        try:
            for entry in catalog.entries.values():
                done.closed_batches += admission.close_due_batches(entry, gateways)
                gateways.jobs.lock(
                    ADMIT_LOCK, owner, gateways.clock(), _LOCK_SECONDS
                )  # still here: not to be overtaken
            stale = _share(gateways, limits, owner, done)
        finally:
            gateways.jobs.unlock(ADMIT_LOCK, owner)
        if gateways.jobs.bookmark(_AGAIN) is not None:
            gateways.jobs.keep_bookmark(_AGAIN, None)
        elif not stale:
            break
    return done


def _lock(gateways: Gateways, owner: str) -> bool:
    if gateways.jobs.lock(ADMIT_LOCK, owner, gateways.clock(), _LOCK_SECONDS):
        return True
    # The word first, then another try: whoever still has the lock then looks for the word after giving it back.
    gateways.jobs.keep_bookmark(_AGAIN, owner)
    return gateways.jobs.lock(ADMIT_LOCK, owner, gateways.clock(), _LOCK_SECONDS)


def _share(gateways: Gateways, limits: Limits, owner: str, done: Admitted) -> bool:
    """One round: who runs, who waits, what each gets. True when it met a job that was not what it seemed to be."""
    # The line first: a job that starts between the two looks is seen twice, and not missed.
    waiting = list(islice(gateways.jobs.by_status("WAITING"), LINE_MAX_JOBS))
    known = _known(gateways)
    running = [row for row in known.values() if row.status == "RUNNING"]
    running = [kept for row in running if (kept := _kept(row, gateways, owner, done)) is not None]
    # Granted by a run that died before its word was out: as good as running, and started once more.
    half_started = [row for row in known.values() if row.status == "WAITING" and _is_leased(row, gateways.clock())]
    waiting = [known.get(row.job_id, row) for row in waiting]
    waiting = [row for row in waiting if row.status == "WAITING" and row not in half_started]
    division = sharing.divide([*running, *half_started], waiting, limits)
    # What is lowered first: only then is it there to be given. Not done, the next round sees how it is by then.
    for row, grant in sorted(division.grants, key=lambda pair: pair[1] - (pair[0].grant or 0)):
        if row.grant is None:  # what it may be using already must be in its row, before the grant lowers it
            held = sharing.settled(row, limits)
            written = gateways.jobs.lease(row, owner=owner, grant=grant, held=held, leased_until=_until(gateways))
        else:
            written = gateways.jobs.lease(row, owner=owner, grant=grant)
        if not written:
            return True
    for row in half_started:
        _start(row, gateways, done)
    if division.starts:
        _note_starting([row.job_id for row, _ in division.starts], gateways)
    for row, grant in division.starts:
        if not gateways.jobs.lease(row, owner=owner, grant=grant, held=grant, leased_until=_until(gateways)):
            return True  # the index is behind; the job is noted now, and will be read itself
        _start(row, gateways, done)
    return False


def _until(gateways: Gateways) -> str:
    return sharing.lease_end(gateways.clock())


def _start(row: JobRow, gateways: Gateways, done: Admitted) -> None:
    try:
        # The execution first: its Plan marks the row as well, so that dying in between loses nothing.
        gateways.executions.start(row.job_id, row.generation)
    except BadRequest as error:  # of this job alone: those behind it in the line go on
        gateways.jobs.fail(row.job_id, row.generation, now_text(gateways.clock()), error.to_json())
        done.failed.append(row.job_id)
        return
    gateways.jobs.start(row.job_id, row.generation, now_text(gateways.clock()))
    done.started.append(row.job_id)


def _known(gateways: Gateways) -> dict[str, JobRow]:
    """The rows of all jobs that run or are starting, read consistently: the index may be behind in what they hold."""
    ids = [row.job_id for row in gateways.jobs.by_status("RUNNING")]
    found: dict[str, JobRow] = {}
    for job_id in dict.fromkeys([*ids, *_starting(gateways)]):
        try:
            found[job_id] = gateways.jobs.load(job_id)
        except UnknownJob:  # forgotten meanwhile
            continue
    return found


def _kept(row: JobRow, gateways: Gateways, owner: str, done: Admitted) -> JobRow | None:
    """The row of a job that counts; None where its lease has run out and no execution carries it."""
    if row.grant is None or _is_leased(row, gateways.clock()):
        return row
    if row.leased_until is None:  # given away before
        return None
    executions = (gateways.executions.status(row.job_id, row.generation + later) for later in (0, 1))
    alive = "RUNNING" in executions
    until = _until(gateways)
    if alive and gateways.jobs.lease(row, owner=owner, grant=row.grant, leased_until=until):
        return msgspec.structs.replace(row, leased_until=until)
    if not alive and gateways.jobs.lease(row, owner=owner, grant=0, held=0):
        done.given_away.append(row.job_id)
        return None
    row = gateways.jobs.load(row.job_id)  # it has moved after all, or boto3 sent a write again whose answer was lost
    return row if row.status == "RUNNING" and row.leased_until is not None else None


def _is_leased(row: JobRow, now: datetime) -> bool:
    return row.leased_until is not None and datetime.fromisoformat(row.leased_until) > now


def _starting(gateways: Gateways) -> list[str]:
    return [job_id for job_id, _ in _noted(gateways)]


def _noted(gateways: Gateways) -> Iterator[tuple[str, str]]:
    text = gateways.jobs.bookmark(_STARTING)
    oldest = gateways.clock() - timedelta(seconds=LEASE_SECONDS)
    for job_id, moment in msgspec.json.decode(text or "{}", type=dict[str, str]).items():
        if datetime.fromisoformat(moment).astimezone(UTC) > oldest:
            yield job_id, moment


def _note_starting(job_ids: list[str], gateways: Gateways) -> None:
    """Before anything of it is done: a run that dies in the midst of it is made good by the next."""
    now = now_text(gateways.clock())
    noted = {**dict(_noted(gateways)), **dict.fromkeys(job_ids, now)}
    gateways.jobs.keep_bookmark(_STARTING, msgspec.json.encode(noted).decode())
