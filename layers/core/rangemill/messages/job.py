"""The rows of the job table."""

from typing import Any, Final, Literal

from msgspec import Struct

from rangemill.messages.checkpoints import Totals
from rangemill.messages.objects import ObjectRef

Status = Literal["WAITING", "RUNNING", "PAUSED", "CANCELLED", "SUCCEEDED", "FAILED"]
Desired = Literal["run", "pause", "cancel"]
ENDED: Final = frozenset({"CANCELLED", "SUCCEEDED", "FAILED"})


class JobRow(Struct, frozen=True, omit_defaults=True):
    """The job's row: one per job, of constant size. What the pointer names is what counts."""

    job_id: str
    pipeline: str
    status: Status
    created: str  # ISO 8601, UTC
    origin: str
    generation: int = 0
    wave: int = 0
    pointer: str | None = None  # key of the committed checkpoint
    desired: Desired = "run"
    generation_first_wave: int = 0
    execution_arn: str | None = None
    started: str | None = None
    ended: str | None = None
    objects: int = 0
    bytes_total: int = 0
    totals: Totals = Totals()
    cost_usd: float = 0.0
    rest_reason: str | None = None
    error: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    concurrency: int | None = None  # as people changed it while the job ran; else the plan's
    cost_cap_usd: float | None = None  # likewise; else the pipeline's
    redrives: int = 0  # no redrive shares a wave document or an outcome with what was before it
    plan_number: int = 0  # of the plan that counts: the redrive that renewed it, or 0
    document: str | None = None  # key of the pipeline document that this redrive named
    restarted_after_wave: int = 0  # waves up to it belong to a run that was given up
    # How jobs share workers (`sharing`). `grant` is `admit`'s word, `held` what a wave may have until the next commit,
    # which makes it the grant. None: no `admit` has seen the job yet (one of an earlier release, a run in process).
    grant: int | None = None
    held: int | None = None
    leased_until: str | None = None
    own_workers: int | None = None  # that the job may have at most, as planned or asked for
    wants: int | None = None  # that its next wave has slots for at most; before the plan, by the sizes that are known
    take_ups: int = 0  # by the sweep, of executions that were gone without a word, since `take_ups_wave` was committed
    take_ups_wave: int = 0
    rejects_after_wave: int = 0  # what waves up to it rejected was handed out again
    published: int = 0  # how often it had succeeded before it was taken up again
    ending: str | None = None  # since when its output is whole and `result` settled: it can only succeed now


class Member(Struct, frozen=True, omit_defaults=True):
    """An object that waits in an open batch."""

    token: str  # of its identity
    arrived: str
    ref: ObjectRef


class WaveRow(Struct, frozen=True, omit_defaults=True):
    """A wave's history: what it did and which documents it left for the report."""

    wave: int
    generation: int
    committed: str
    slots: int
    bytes: int
    records: int
    ranges: int
    returned_slots: int
    milliseconds: int
    closed_key: str | None = None
    parts_key: str | None = None
    rejects: int = 0
    rejects_key: str | None = None
    workers: int = 0  # that it had at the same time, at most
    granted: int | None = None  # that it might have had: its job's share
    answers: int = 0  # that its workers got from S3 and DynamoDB
    throttled: int = 0  # those of them that were throttling or a server's error
    throttled_slots: int = 0  # that came back for that
    deaths: int = 0  # workers that died
    parted: int = 0  # slots that were parted to find the record of which they died
    culprits: int = 0  # records that were found so, and rejected
    redone: int = 0  # records that had been rejected before, applied again or rejected again


class GenerationRow(Struct, frozen=True, omit_defaults=True):
    """A generation's history. How it ended is known of one after which people took the job up again."""

    generation: int
    execution_arn: str
    started: str
    plan_number: int = 0
    status: Status | None = None
    ended: str | None = None
    error: dict[str, Any] | None = None
