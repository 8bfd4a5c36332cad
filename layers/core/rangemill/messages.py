"""The typed documents that pass between states and lie in the work bucket: parsed at the edge, frozen inside.

Each carries `v`; a reader takes the version before its own as well, so that a running job survives a deploy.
"""

from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field

from rangemill.errors import BadRequest
from rangemill.formats.base import Settled
from rangemill.ledger import Segment

VERSION: Final = 1
READABLE_VERSIONS: Final = frozenset({VERSION - 1, VERSION})

Next = Literal["", "MORE_PLAN", "FETCH", "EXECUTE_NEW", "FINISH", "REST", "DONE"]


def encode(message: Any) -> bytes:
    """The JSON bytes of a document; the same document gives the same bytes."""
    return msgspec.json.encode(message)


def decode[T](body: bytes, to: type[T], what: str) -> T:
    """A document of the work bucket. Raises `BadRequest` when it is none, or of a version this code does not know."""
    try:
        message = msgspec.json.decode(body, type=to)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"{what} cannot be read: {error}") from None
    version = getattr(message, "v", VERSION)
    if version not in READABLE_VERSIONS:
        raise BadRequest(f"{what} has version {version}; this code reads {sorted(READABLE_VERSIONS)}")
    return message


# --- between states --------------------------------------------------------------------------------------------------


class MapInput(Struct, frozen=True):
    """Where the distributed Map finds the wave document."""

    bucket: str
    key: str


class Context(Struct, frozen=True, omit_defaults=True):
    """What passes between states: at most 1 KiB, at one range and at one million."""

    job_id: str
    generation: int
    next: Next = ""
    wave: int = 0
    plan_page: int = 0
    slots: int = 0
    concurrency: int = 0
    next_generation: int = 0
    map: MapInput | None = None


class StateMessage(Struct, frozen=True):
    """What Plan, Fetch, Aggregate and Finish get: the context and the execution that asks."""

    context: Context
    execution_arn: str = ""


class SlotItem(Struct, frozen=True, omit_defaults=True):
    """One item of the wave document: a slot's number, where its document lies, and under which redrive and plan."""

    slot: int
    slots_key: str
    start: int
    end: int
    verdict_key: str
    redrives: int = 0
    plan_number: int = 0


class ApplyMessage(Struct, frozen=True):
    """What a worker gets."""

    job_id: str
    generation: int
    wave: int
    item: SlotItem


# --- objects and ranges ----------------------------------------------------------------------------------------------


class ObjectRef(Struct, frozen=True, omit_defaults=True):
    """An object as an event, a listing or a person named it."""

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size_bytes: int | None = None


class PinnedObject(Struct, frozen=True, omit_defaults=True):
    """An object as the job will read it and nothing else.

    `crc` is the object's own full CRC under `crc_name`; None where S3 keeps none, or, while `crc_later` is true, where
    the worker that reads the object whole will bring it.

    `whole` objects are one range: nothing in them can be begun in the middle. A `member` is a file inside an archive
    object: its bytes are `[base, base + size_bytes)` of an object of `container_bytes`. `compression` is the object's
    own, where it was looked at one by one; `logical_bytes` and `logical_crc` (a CRC-32) are those of what it unpacks
    to, where an archive keeps them. `archive` is `tar` for a compressed tar, whose members only a stream shows.
    """

    index: int
    bucket: str
    key: str
    etag: str
    size_bytes: int
    version_id: str | None = None
    crc_name: str = "CRC64NVME"
    crc: int | None = None
    crc_later: bool = False
    whole: bool = False
    compression: str = ""
    member: str | None = None
    base: int = 0
    container_bytes: int | None = None
    logical_bytes: int | None = None
    logical_crc: int | None = None
    archive: str = ""

    @property
    def uri(self) -> str:
        """`s3://bucket/key`, or a local file's path; of a member with its name after a `!`."""
        place = f"s3://{self.bucket}/{self.key}" if self.bucket else self.key
        return place if self.member is None else f"{place}!{self.member}"


class Run(Struct, frozen=True, array_like=True):
    """Adjacent ranges `[start, end)` of one object, cut at multiples of `range_bytes`.

    `state` is what the format's automaton is in at the start, where a neighbour has told; None lets the worker assume.
    """

    object_index: int
    start: int
    end: int
    range_bytes: int
    state: str | None = None


class IndexTurn(Struct, frozen=True, array_like=True):
    """An indexer's turn: from which stored byte on, and after how many seconds it ends."""

    start: int
    seconds: float


class Slot(Struct, frozen=True, omit_defaults=True):
    """What one worker gets: runs, and the pins of their objects.

    With `index` it has one object and no runs: nothing is applied, the object's restart points are made. A `suspect` is
    a part of a slot whose worker died. `condemned` says why its record is rejected without being applied. With
    `redo` its runs are of lines in these files of rejects, and it has no objects.
    """

    slot: int
    objects: list[PinnedObject]
    runs: list[Run]
    index: IndexTurn | None = None
    suspect: bool = False
    condemned: str = ""
    redo: list[str] = []


class RetrySlot(Struct, frozen=True, omit_defaults=True):
    """Tiles that came back, kept together as one slot. `deaths` are in a row, of workers that had exactly these."""

    objects: list[PinnedObject]
    runs: list[Run]
    deaths: int = 0
    tries: int = 0
    suspect: bool = False  # as in `Slot`
    condemned: str = ""  # as in `Slot`
    redo: list[str] = []  # as in `Slot`


class Indexing(Struct, frozen=True, omit_defaults=True):
    """An object that is handed out behind its indexer: the cursor has passed it, and it stays until it is handed out.

    The stored bytes before `indexed` have their restart points, those before `handed` were handed out. `turns` were
    given to indexers; `tries` and `deaths` are of the turns without an outcome since the last one that had one.
    """

    pin: PinnedObject
    indexed: int = 0
    handed: int = 0
    turns: int = 0
    tries: int = 0
    deaths: int = 0


class RejectFile(Struct, frozen=True, array_like=True):
    """A file of rejects that counts, and how many are in it; None where an earlier version wrote the list."""

    key: str
    records: int | None


class Redo(Struct, frozen=True, array_like=True):
    """Where the rejects stand that are to be applied again: of the redrive of that number, which left so many pages.

    A page names lists, a list files: the file at `file` of the list at `position` of the page at `page` is the next.
    """

    number: int
    pages: int
    page: int = 0
    position: int = 0
    file: int = 0


class Cursor(Struct, frozen=True, order=True):
    """The first stored byte, in plan order, that has never been handed out."""

    page: int = 0  # of the plan
    position: int = 0  # of the object in its page
    offset: int = 0  # in the object


# --- request and plan ------------------------------------------------------------------------------------------------


class Prefix(Struct, frozen=True):
    """All objects under a prefix, as listed when Plan runs."""

    bucket: str
    prefix: str
    suffix: str = ""


class JobRequest(Struct, frozen=True):  # defaults are written: a reader must see `v`
    """`request.json`: what was asked, before anything was looked at."""

    job_id: str
    pipeline_name: str
    pipeline_text: str
    pipeline_file: str
    origin: Literal["event", "batch", "sweep", "submit", "run"]
    objects: list[ObjectRef] = field(default_factory=list)
    prefixes: list[Prefix] = field(default_factory=list)
    range_bytes: int | None = None
    concurrency: int | None = None
    history_budget_events: int | None = None
    v: int = VERSION


class PipelineDocument(Struct, frozen=True):
    """A pipeline's text, and the file it was read from."""

    text: str
    file: str
    v: int = VERSION


class CodeIdentity(Struct, frozen=True):
    """Hashes of the code that a job runs with: the library, the pipelines' own code, and the packages both use."""

    core: str
    pipelines: str
    dependencies: str


class PlanPage(Struct, frozen=True):
    """One page of pinned objects, in plan order, and where the next page goes on.

    `level` is the weakest proof level that archives allow so far, `passed_over` what was left out of them, by kind.
    """

    objects: list[PinnedObject]
    objects_before: int
    bytes_before: int
    resume: "PlanResume | None"
    level: str = "bytes"
    passed_over: dict[str, int] = field(default_factory=dict)
    gzip: "GzipWay | None" = None
    v: int = VERSION


class GzipWay(Struct, frozen=True):
    """How plain gzip objects without restart points are read for the first time, and why.

    `stream`: one worker reads an object to its end and makes its points as it goes. `index`: waves follow behind an
    indexer, whose first turn takes `first_seconds`. The speeds are those of a sample of `object`, in decompressed bytes
    a second of one worker; None where nothing was timed.
    """

    way: Literal["stream", "index"]
    why: str
    first_seconds: float
    object: str = ""
    inflate_bytes_per_second: float | None = None
    apply_bytes_per_second: float | None = None


class PlanResume(Struct, frozen=True):
    """Where the next page of the plan goes on: at which of the named objects, or in which prefix, after which key.

    Before that comes what is left of an `archive`, of that `kind`, from byte `at` of its directory or of itself on.
    """

    objects_done: int = 0
    prefixes_done: int = 0
    after: str | None = None
    archive: PinnedObject | None = None
    kind: str = ""
    at: int = 0


class Plan(Struct, frozen=True):
    """`plan/plan.json`: everything that a worker must know of the job, settled once."""

    job_id: str
    pipeline_name: str
    pipeline_text: str
    pipeline_file: str
    settled: Settled
    code: CodeIdentity
    range_bytes: int
    concurrency: int
    history_budget_events: int
    objects: int
    bytes: int
    pages: int
    warnings: list[str] = field(default_factory=list)
    level: str = ""  # of the proof, where archives allow less than the format; else the format's own
    gzip: GzipWay | None = None  # None where no object is a large plain gzip without restart points
    v: int = VERSION


# --- waves -----------------------------------------------------------------------------------------------------------


class Handout(Struct, frozen=True):
    """What Fetch decided for a wave, beside its slots: where the checkpoint stands once they were handed out."""

    wave: int
    slots: int
    cursor: Cursor
    retry: list[RetrySlot]
    retried: list[RetrySlot]  # the retry slots that this wave hands out again: slot i is retried[i]
    indexing: list[Indexing] = field(default_factory=list)  # as it stands once the wave is handed out
    redo: Redo | None = None  # likewise
    v: int = VERSION


class Verdict(Struct, frozen=True, omit_defaults=True):
    """How a slot ended without an outcome.

    Written by the worker (`error`, as `RangemillError.to_json`), or by the state machine (`Error`, `Cause`). `guessed`
    are the runs, by object and start, whose state the worker had to assume: the error may come from that.
    """

    error: dict[str, Any] | None = None
    Error: str | None = None
    Cause: str | None = None
    guessed: list[tuple[int, int]] = []
    answers: int = 0  # as in `OutcomeHeader`
    throttled: int = 0


class RejectGroup(Struct, frozen=True):
    """Rejects of one kind: how many, and where one of them lies. `problem` holds no bytes of any record."""

    type: str
    problem: str
    count: int
    object: str
    offset: int | None


class OutcomeHeader(Struct, frozen=True):  # defaults are written: a reader must see `v`
    """The head of an outcome; the partial's bytes follow it."""

    job_id: str
    wave: int
    slot: int
    rows: list[tuple[int, list[Segment]]]  # object index -> merged segments
    remaining: list[Run]
    records: int
    taken: int
    rejects: int
    bytes: int
    milliseconds: int
    requests: int
    pins: list[PinnedObject] = field(default_factory=list)  # objects whose CRC came with the read
    part: str | None = None  # key of the published output part, for pipelines that do not fold
    indexed: int | None = None  # of an indexer's turn: the stored bytes before it have their restart points
    rejects_key: str | None = None  # where the rejected records are kept; they count as the outcome counts
    reject_groups: list[RejectGroup] = field(default_factory=list)
    answers: int = 0  # that the worker got from S3 and DynamoDB
    throttled: int = 0  # those of them that were throttling or a server's error
    v: int = VERSION


# --- checkpoint ------------------------------------------------------------------------------------------------------


class OpenObject(Struct, frozen=True):
    """An object that is partly done: its pin, its merged segments, and in how many waves a guess in it was wrong."""

    pin: PinnedObject
    segments: list[Segment]
    wrong_waves: int = 0


class ClosedObject(Struct, frozen=True, omit_defaults=True):
    """An object that is proved, as the report shows it."""

    index: int
    uri: str
    size_bytes: int
    etag: str
    version_id: str | None
    records: int
    ranges: int
    crc_name: str
    crc: int
    matched: bool | None
    rejects: int = 0


class Totals(Struct, frozen=True):
    """Exact counts of what the checkpoint holds."""

    objects: int = 0
    bytes: int = 0
    records: int = 0
    rejects: int = 0
    ranges: int = 0
    slots: int = 0
    waves: int = 0
    unmatched_objects: int = 0  # objects for which S3 keeps no CRC
    worker_milliseconds: int = 0
    worker_requests: int = 0
    invocations: int = 0
    deaths: int = 0
    parts: int = 0
    culprits: int = 0  # records that killed their workers until they were rejected


class PendingOutcome(Struct, frozen=True):
    """An outcome that waits for the range before one of its runs to tell whether it assumed the right state.

    Without a key: a slot that failed while it assumed, and is worked on again once the states are told. Until the state
    at each of `needs` (object, offset) is known there is no use in reading the outcome.
    """

    key: str
    wave: int
    slot: Slot
    needs: list[tuple[int, int]] = []


class Checkpoint(Struct, frozen=True):
    """What a wave leaves: cursor, retry list, ledger and the aggregate's levels. Bounded, however long the job."""

    job_id: str
    wave: int
    cursor: Cursor
    retry: list[RetrySlot] = field(default_factory=list)
    open_objects: list[OpenObject] = field(default_factory=list)
    closed: list[tuple[int, int]] = field(default_factory=list)  # intervals [first, end) of proved objects
    levels: list[list[str]] = field(default_factory=list)  # keys of folded partials, by level of the counter
    totals: Totals = Totals()
    crc_names: list[str] = field(default_factory=list)  # the checksums that the proved objects were held against
    bytes_per_second: float | None = None  # of one worker, as seen in the last wave
    pending: list[PendingOutcome] = field(default_factory=list)
    indexing: list[Indexing] = field(default_factory=list)
    reject_groups: list[RejectGroup] = field(default_factory=list)  # the commonest kinds; their counts add up
    failure: dict[str, Any] | None = None  # why the job fails after this wave, whose other slots count
    worker_bound: int | None = None  # workers of the next wave at most, since AWS throttles; None: the job's own
    first_slots: int = 0  # handed out to their first worker lately
    first_deaths: int = 0  # of these workers
    redo: Redo | None = None  # rejects that are still to be handed out again
    v: int = VERSION


# --- the job row -----------------------------------------------------------------------------------------------------

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


def now_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds: sorts as text."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
