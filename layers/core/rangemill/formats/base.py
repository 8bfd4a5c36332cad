"""The interface of a format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from rangemill.blocks import Block, RangeDone, Remaining, Whole
from rangemill.ranges import ByteRange

Crc = Callable[[bytes, int], int]
Head = Callable[[], Iterator[bytes]]
Event = Block | Whole | RangeDone | Remaining


@dataclass(frozen=True, slots=True)
class Sample:
    """Some bytes of an object as Plan saw them: `data` begins at `offset` of `object_bytes`."""

    object_uri: str
    data: bytes
    offset: int
    object_bytes: int


class Source(Protocol):
    """A pinned object at any place."""

    uri: str

    @property
    def size_bytes(self) -> int:
        """Its size, or more than any object has while that is not known."""

    def read(self, start: int, end: int) -> bytes:
        """The bytes `[start, end)`, all of them."""

    def stream(self, start: int, stop_hint: int) -> Iterator[bytes]:
        """Pieces from `start` on: eagerly up to `stop_hint`, then lazily to the object's end."""


class Settled(msgspec.Struct, frozen=True):
    """What Plan settles once per job and every worker obeys; it travels in the plan as JSON.

    `columns` are (name, SQL type) in order; None where the format has none or the engine needs none.
    `header` is the exact first line of every object, without its line end, when the format has one. `level` is what
    the proof of such an object says: `bytes`, `units` or `stream`. `shape` is how engines read a block's `data` where
    that is not the format itself: a format that transcodes its records to JSON lines says `jsonl`.
    """

    format: str
    options: dict[str, Any]
    columns: list[tuple[str, str]] | None = None
    header: str | None = None
    level: str = "bytes"
    shape: str = ""
    compression: str = ""
    notes: list[str] = []


class FormatModule(Protocol):
    """What a module in `rangemill.formats` has. See the package's docstring."""

    Options: type[msgspec.Struct]

    def look_behind(self, settled: Settled) -> int:
        """Stored bytes before a range's start that `align` must be given (fewer at the object's start)."""

    def settle(self, samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:
        """Names and types of this job. `samples` hold at least the head of one object. Raises `BadRecord`."""

    def align(
        self,
        run: ByteRange,
        range_bytes: int,
        object_bytes: int,
        pieces: Iterator[bytes],
        settled: Settled,
        crc: Crc,
        should_stop: Callable[[], bool],
    ) -> Iterator[Event]:
        """Blocks and rows of a run of adjacent ranges (`ranges.tile(run.start, run.end_exclusive, range_bytes)`).

        `pieces` begin `look_behind` bytes before the run (or at 0) and go on lazily to the object's end; no more of
        them is taken than the run's last record needs. For each range: its blocks, then its `RangeDone`.
        `should_stop` is asked after every block; once true, the row of what was done and one `Remaining` end it.
        Raises `RecordTooLarge`, `BadRecord`.

        A format with a state has a parameter `state: str | None = None` more: what its automaton is in at the run's
        start, or None, and then a run that does not begin the object assumes one; whatever is raised under a wrong
        assumption fails nothing. A format whose objects have heads of their own has `head: Head | None = None`: the
        object's bytes from 0 on, for runs that begin further on; None where all objects have the settled one's.
        """

    def records(self, data: bytes, settled: Settled, record_type: Any) -> Iterator[Any]:
        """The Python records of a block, in order; exactly as many as `Block.records` says.

        `record_type` is the annotation of the user's `apply`, or None. Raises `BadRecord` without an object and with
        the record's offset within `data`.
        """

    def locate(self, data: bytes, index: int) -> int:
        """Where in a block's `data` the record of that index begins."""
