"""What a wave leaves: cursor, retry list, ledger and the aggregate's levels."""

from typing import Any

from msgspec import Struct, field

from rangemill.ledger import Segment
from rangemill.messages.codec import VERSION
from rangemill.messages.objects import Cursor, Indexing, PinnedObject, Redo, RetrySlot, Slot
from rangemill.messages.waves import RejectGroup


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
