"""What an engine is: it takes blocks of whole records and gives one partial for all of them."""

from dataclasses import dataclass
from typing import Protocol

from rangemill.blocks import Block, Whole


@dataclass(frozen=True, slots=True)
class ObjectContext:
    """The object whose records follow, as user code may see it."""

    bucket: str
    key: str
    version_id: str | None
    member: str | None = None
    index: int = 0  # of the object that it is or lies in, in the plan

    @property
    def uri(self) -> str:
        """`s3://bucket/key`, or the path of a local file; of a member of an archive with its name after a `!`."""
        return f"s3://{self.bucket}/{self.name}" if self.bucket else self.name

    @property
    def name(self) -> str:
        """What `_object` is in SQL: the key, of a member with its name after a `!`."""
        return self.key if self.member is None else f"{self.key}!{self.member}"


class NotAsPresumed(Exception):  # no failure: the work is done again in another way
    """The lines of an object (its URI) that were taken for records are not: what was said of its ranges is wrong."""


class Engine(Protocol):
    """One slot's worth of applying. Made per slot; what can be kept warm is kept in the module that makes it.

    Where the pipeline tolerates rejects, a record that cannot be processed goes into the slot's `RejectLog` instead of
    raising, and nothing of it into the partial.
    """

    @property
    def columns(self) -> frozenset[str] | None:
        """The columns that it will read of every record; None for all."""

    @property
    def presumes(self) -> bool:
        """Whether it proves of presumed blocks of the object that follows that their lines are records."""

    def begin_object(self, context: ObjectContext) -> None:
        """The blocks that follow are of this object; ends the one before."""

    def take(self, block: Block | Whole) -> None:
        """Apply a block or a whole object, or keep a block for a larger query.

        Raises `UserCodeError`, `BadRecord`, `BadStatement` with the object and the record's logical offset,
        `CountMismatch` when the records taken are not `block.records`, `NotAsPresumed`.
        """

    def take_unread(self, block: Block) -> bool:
        """Take a block whose bytes are absent from its file, where what it is to do needs none of them.

        Else False, and nothing was done: it is to be read and handed to `take`.
        """

    def finish(self) -> tuple[bytes, int]:
        """The encoded partial of everything taken, and how many records that was."""


class Folder(Protocol):
    """Partials into partials, and the total into rows."""

    def fold(self, partials: list[bytes]) -> bytes:
        """One encoded partial of several, in order; of none: the neutral one. Raises `AggregateTooLarge`."""

    def finish(self, total: bytes) -> "FinishedRows":
        """The pipeline's finish step, once, over the folded total."""


@dataclass(frozen=True, slots=True)
class FinishedRows:
    """The published output: its bytes in `output.format`, and how many rows they hold."""

    body: bytes
    rows: int
