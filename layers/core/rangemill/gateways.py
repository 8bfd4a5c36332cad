"""What the core needs of the world: its gateways, each with an AWS and an in-process implementation.

The AWS ones are in `rangemill.aws`; the in-process ones serve `rangemill run` and the tests.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from rangemill.messages import (
    Desired,
    GenerationRow,
    JobRow,
    Member,
    ObjectRef,
    PinnedObject,
    Status,
    Totals,
    WaveRow,
)
from rangemill.pressure import Pressure

ADMIT_LOCK: Final = "admit"  # whoever has it shares out the workers


class Store(Protocol):
    """The work bucket (and, by full `s3://` URI, the places that pipelines write to)."""

    @property
    def bucket(self) -> str:
        """The work bucket's name."""

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
        """The bytes under a key, or those of `[start, end)`; None when there is nothing."""

    def put(self, key: str, body: bytes) -> None:
        """Put, over whatever was there."""

    def put_once(self, key: str, body: bytes) -> bool:
        """Put if nothing is there; False when somebody was first."""

    def delete_below(self, prefix: str) -> int:
        """Delete every key of the work bucket that begins so; how many there were."""

    def uri(self, key: str) -> str:
        """How a person is told where the key lies."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a prefix: objects in key order, and after which key to go on (None at the end)."""

    objects: list[tuple[ObjectRef, datetime]]
    after: str | None
    crc_names: dict[str, str]


@dataclass(frozen=True, slots=True)
class Head:
    """An object as it is now."""

    ref: ObjectRef
    last_modified: datetime


class Objects(Protocol):
    """The input objects."""

    def head(self, bucket: str, key: str, version_id: str | None) -> Head | None:
        """The object as it is now; None when it is gone. Raises `AccessRefused`."""

    def pin(self, ref: ObjectRef, index: int) -> PinnedObject:
        """HEAD. Raises `ObjectMissing`, `ObjectChanged` when the ref's ETag is not there any more, `AccessRefused`."""

    def list_page(self, bucket: str, prefix: str, after: str | None) -> Listing:
        """One page of at most 1,000 objects. Raises `AccessRefused`."""

    def read(self, pin: PinnedObject, start: int, stop_hint: int) -> Iterator[bytes]:
        """Pieces from `start`, eagerly up to `stop_hint`, then in small growing reads to the object's end.

        Every read is pinned. Raises `ObjectChanged`, `ObjectMissing`, `Transient`.
        """

    def read_whole(self, pin: PinnedObject) -> tuple[PinnedObject, Iterator[bytes]]:
        """A small object by one GET, and its pin completed with the version and CRC that came with it."""

    @property
    def requests(self) -> int:
        """How many requests were made so far."""


class Jobs(Protocol):
    """The job table. Every write to a row is fenced; a lost condition raises `Superseded` unless said otherwise."""

    def create(self, row: JobRow) -> bool:
        """The guard against doing it twice: False when the row is there."""

    def load(self, job_id: str) -> JobRow:
        """A consistent read. Raises `UnknownJob`."""

    def start(self, job_id: str, generation: int, started: str) -> bool:
        """WAITING to RUNNING; False when it was not waiting, or not for that generation."""

    def take_generation(self, job_id: str, generation: int, execution_arn: str, started: str) -> JobRow:
        """The execution's first act: the row is this generation's from now on (`generation` or the one before)."""

    def planned(
        self,
        job_id: str,
        generation: int,
        pointer: str,
        objects: int,
        bytes_total: int,
        *,
        own_workers: int | None = None,
        wants: int | None = None,
    ) -> JobRow:
        """Point at the first checkpoint; whoever was first wins, and the row as it stands is returned."""

    def commit(
        self,
        job_id: str,
        generation: int,
        wave: WaveRow,
        pointer: str,
        totals: Totals,
        cost_usd: float,
        *,
        leased_until: str | None = None,
        own_workers: int | None = None,
        wants: int | None = None,
    ) -> JobRow:
        """The commit of a wave: the pointer moves if generation is mine and the row's wave is the one before.

        With `leased_until` the lease is renewed in the same write: the job holds what is granted at that moment.
        """

    def lease(
        self, before: JobRow, *, owner: str, grant: int, held: int | None = None, leased_until: str | None = None
    ) -> bool:
        """Write what `admit` has decided of a row; False when the row is not as it was seen any more.

        Also when the lock `ADMIT_LOCK` is not `owner`'s any more: what it has decided is of the past then. What is None
        stays as it is; `held` 0 gives the lease away, unless it was renewed since the row was seen.
        """

    def take_grant(self, job_id: str, generation: int, workers: int, leased_until: str) -> bool:
        """Hold more workers from the next wave on: at most what is granted, or one where that is none.

        False when so many are not granted any more, or the job is not this generation's.
        """

    def rest(
        self, job_id: str, generation: int, status: Status, reason: str, ended: str | None, desired: Desired
    ) -> bool:
        """The job rests: paused, cancelled, or at its cost cap; False when `desired` is not what people want now."""

    def publish(self, job_id: str, generation: int, moment: str, result: dict[str, Any]) -> JobRow:
        """Settle the result: from now on the job can only succeed. Whoever was first wins; the row as it stands."""

    def succeed(self, job_id: str, generation: int, ended: str, cost_usd: float, result: dict[str, Any]) -> bool:
        """RUNNING to SUCCEEDED; False when somebody else has done it before, and has told people."""

    def fail(self, job_id: str, generation: int, ended: str, error: dict[str, Any]) -> bool:
        """RUNNING or WAITING to FAILED; False when the row is another generation's, or the job has end or result."""

    def note_error(self, job_id: str, generation: int, error: dict[str, Any]) -> None:
        """Keep an error's data until the job is marked; losing the condition does nothing."""

    def desire(self, job_id: str, desired: Desired) -> bool:
        """What people want of a running job; False when it does not run."""

    def adjust(self, job_id: str, changes: dict[str, Any]) -> bool:
        """Change bounds (`concurrency`, `cost_cap_usd`) of a job that waits, runs or rests; False when it has ended."""

    def turn(self, before: JobRow, changes: dict[str, Any], history: GenerationRow | None = None) -> bool:
        """Change a row that no execution carries, and its generation's history with it.

        False when the row is not in the status and generation of `before` any more.
        """

    def by_status(self, status: Status, *, newest_first: bool = False) -> Iterator[JobRow]:
        """Jobs of a status, oldest first unless said otherwise."""

    def lock(self, name: str, owner: str, now: datetime, seconds: int) -> bool:
        """Take a lock that expires; False while somebody else holds it."""

    def unlock(self, name: str, owner: str) -> None:
        """Give it back, if it is still mine."""

    def first_active(self, pipeline: str, now: str) -> str:
        """When the pipeline was first seen deployed: now, or the moment that was kept."""

    def add_member(self, pipeline: str, member: Member) -> bool:
        """Add to the pipeline's open batch; False when that object was a member of any batch before."""

    def members(self, pipeline: str, most: int) -> list[Member]:
        """The open batch's members, in order of arrival."""

    def close_batch(self, pipeline: str, job_id: str) -> str:
        """Mark the open batch as closing under that job id; the id that was marked first."""

    def closing(self, pipeline: str) -> str | None:
        """The job id under which the batch is being closed, or None."""

    def batch_closed(self, pipeline: str, job_id: str, members: list[Member]) -> None:
        """Take exactly these members out of the open batch, and the mark away."""

    def bookmark(self, name: str) -> str | None:
        """Where a listing that goes on in the next run stands."""

    def keep_bookmark(self, name: str, value: str | None) -> None:
        """Keep it, or forget it."""

    def is_taken(self, pipeline: str, token: str) -> bool:
        """Whether a job or a batch of that pipeline has the object of that identity."""

    def forget(self, job_id: str) -> None:
        """Delete the job's row and its history."""

    def waves(self, job_id: str) -> Iterator[WaveRow]:
        """A job's waves, in order."""

    def generations(self, job_id: str) -> Iterator[GenerationRow]:
        """A job's generations, in order."""


class Executions(Protocol):
    """The state machine's executions."""

    def event_count(self, execution_arn: str) -> int:
        """The exact number of events in the execution's history."""

    def start(self, job_id: str, generation: int) -> str:
        """Start (or find, started by an earlier try) the generation's execution; its ARN.

        Raises `JobIdTaken` when an execution of that name has ended.
        """

    def status(self, job_id: str, generation: int) -> str | None:
        """`RUNNING`, or how the generation's execution ended; None when there is none."""


class Lambdas(Protocol):
    """The account's functions."""

    def free_concurrency(self) -> int | None:
        """The concurrency of the account that no function has reserved; None when that cannot be learnt."""

    def wake_admit(self) -> None:
        """Let `admit` run soon: there is room. Never raises; the schedule does it within a minute otherwise."""


class NoLambdas:
    """Where there is no account: `rangemill run`, tests."""

    def free_concurrency(self) -> int | None:
        """Nobody knows."""
        return None

    def wake_admit(self) -> None:
        """Nobody waits."""


class Notices(Protocol):
    """Where people are told."""

    def publish(self, subject: str, body: dict[str, Any]) -> None:
        """Publish a notice: counts, errors and links, never record bytes."""


@dataclass(frozen=True, slots=True)
class Gateways:
    """All of them, the clock (UTC), and what AWS answered to them."""

    jobs: Jobs
    store: Store
    objects: Objects
    executions: Executions
    notices: Notices
    clock: Callable[[], datetime]
    pressure: Pressure = field(default_factory=Pressure)
    lambdas: Lambdas = field(default_factory=NoLambdas)
