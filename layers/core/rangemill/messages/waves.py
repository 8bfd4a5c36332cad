"""What Fetch hands out and what workers leave behind."""

from typing import Any

from msgspec import Struct, field

from rangemill.ledger import Segment
from rangemill.messages.codec import VERSION
from rangemill.messages.objects import Cursor, Indexing, PinnedObject, Redo, RetrySlot, Run


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
