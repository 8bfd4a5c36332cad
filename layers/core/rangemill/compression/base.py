"""The interface of a codec.

A compressed object is a sequence of *units*: places in its stored bytes from which decompression can begin (frames,
blocks, members, restart points). A unit belongs to the tile in which its first byte lies; the object's first unit
begins at stored byte 0. What a tile owns of the records follows from its units alone (see `_split`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from rangemill.compression._stored import Stored
from rangemill.errors import BadCompression
from rangemill.gateways import Store
from rangemill.messages import PinnedObject

ReadSpan = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Unit:
    """Decompression can begin at this stored byte; `logical` is the offset of its first byte where that is known.

    `Stored.position` is the unit's stored offset when it is yielded. All units of an object know their logical offset,
    or none does.
    """

    stored: int
    logical: int | None = None


type Decoded = Unit | bytes  # a unit begins, or the next logical bytes: pieces of about a MiB, never more than a few


@dataclass(frozen=True, slots=True)
class Mode:
    """How an object is going to be read: the name travels in its pin as `compression`.

    `whole` objects cannot be begun in the middle: one range. `absolute` says that units know their logical offsets.
    """

    name: str
    whole: bool = False
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Around:
    """What a codec may look at beside the bytes that stream past: any span of the object, and the work bucket.

    `store` is None where nothing can be kept (a sample, an archive's member being listed).
    """

    pin: PinnedObject
    read_span: ReadSpan
    store: Store | None = None


class Codec(Protocol):
    """What a module in `rangemill.compression` has."""

    SUFFIXES: tuple[str, ...]
    RECOMPRESS: str  # the shell command that makes an object of this kind splittable; `{}` stands for its name
    # Stored bytes a second that one worker gets through when nothing can be split: assumed, for Plan's estimate.
    STREAM_BYTES_PER_SECOND: int

    def recognises(self, head: bytes) -> bool:
        """Whether an object that begins so is one of this codec."""

    def mode(self, head: bytes, around: Around | None) -> Mode:
        """How to read such an object; None for `around` says that it is small and that its head must do."""

    def session(self, stored: Stored, mode: str, around: Around) -> "Session":
        """Decompression of one run, which begins at `stored.position`."""


class Session(Protocol):
    """The decompression of one run."""

    def decode(self) -> Iterator[Decoded]:
        """Units and bytes, lazily, from the first unit at or after the run's start to the object's end.

        Where no unit begins in the run: nothing, once the run's stored bytes were passed. Raises `BadCompression`.
        """

    def stop_soon(self) -> None:
        """A unit is wanted soon, so that the run can end at it: for codecs that can make one."""

    def stopped(self, stored: int) -> None:
        """The run ends early, before the unit at that stored offset: another worker begins there."""


def corrupt(codec: str, problem: str, at: int) -> BadCompression:
    """The error of compressed data that is not as it should be, at a stored offset."""
    return BadCompression(f"its {codec} data is damaged at stored byte {at}: {problem}", offset=at)
