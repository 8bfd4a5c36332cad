"""What passes between a format and an engine: blocks of whole records, and the word that a range is done."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rangemill.ranges import ByteRange

# A logical offset; where only the whole object would tell it (frames of unknown size), the stored offset of a unit and
# the logical offset inside it.
type Place = int | tuple[int, int]


@dataclass(frozen=True, slots=True)
class SparseFile:
    """A file of which only some parts are here, each with its offset; what is not here reads as zeros.

    But for what is `absent`, as `[start, end)`: who reads of that gets an error.
    """

    size_bytes: int
    parts: tuple[tuple[int, bytes], ...]
    absent: tuple[tuple[int, int], ...] = ()

    @property
    def held_bytes(self) -> int:
        """How many bytes are here."""
        return sum(len(content) for _, content in self.parts)


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that a format found but could not hand on: where it lies, its bytes, and what is wrong with it.

    Of one that is `too_large` no bytes are held.
    """

    offset: int
    data: bytes
    problem: str
    too_large: bool = False


class Canonical(NamedTuple):
    """The bytes of a block that is canonical, on their way through an engine."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """Contiguous bytes of whole records.

    `data` ends with the last record's delimiter unless that record is the object's last one and has none.
    `offset` is the logical offset of `data[0]`; `records` is what the format counted, never what an engine did.
    `places` are the logical offsets of the records, where `data` was transcoded and they do not follow from it. `file`
    is there instead of `data` where a format's records are no contiguous bytes; `offset` is the first one's place then.
    `refused` are records that had to be written anew for the engine and could not be: they count in `records`, but are
    neither in `data` nor in `places`. `is_canonical`: an engine need not look whether `data` is written as it likes
    best, the format has (as RFC 4180 has it, for CSV). `is_presumed`: it was not looked whether its lines are its
    records, as `records` says; only an engine that says that it `presumes` gets such blocks, and it must prove them.
    """

    data: bytes
    offset: int
    records: int
    places: Sequence[int] | None = None
    file: SparseFile | None = None
    refused: tuple[Refused, ...] = ()
    is_canonical: bool = False
    is_presumed: bool = False

    @property
    def content(self) -> bytes | Canonical | SparseFile:
        """What an engine reads."""
        if self.file is not None:
            return self.file
        return Canonical(self.data) if self.is_canonical else self.data

    @property
    def handed(self) -> int:
        """How many records an engine is given."""
        return self.records - len(self.refused)

    @property
    def held_bytes(self) -> int:
        """How much memory it takes."""
        return len(self.data) if self.file is None else self.file.held_bytes


@dataclass(frozen=True, slots=True)
class Whole:
    """An object that is one record: its bytes in `pieces`, to be taken before the next event is asked for.

    What is not taken the format reads itself, so that the CRC is of every byte. `size_bytes` is None where only the
    end of a decompressed stream would tell.
    """

    pieces: Iterator[bytes]
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class RangeDone:
    """A range was read to its end: what it adds to the ledger.

    `first` is the logical offset of the first record that begins in the range and `end` that of the end of its last
    one; both None for a range that lies inside one long record. `crc` is of the stored tile.

    A format with a state (CSV's quotes) says which one it `assumed` at the tile's start and which one it `left` at its
    end; the neighbours must agree. `total` is where the object's data ends in logical coordinates, from the range that
    reached it; None where that is the object's size.
    """

    tile: ByteRange
    crc: int
    first: Place | None
    end: Place | None
    records: int
    assumed: str = ""
    left: str = ""
    total: Place | None = None


@dataclass(frozen=True, slots=True)
class Remaining:
    """The stored bytes of a run that were not worked on, because the worker had to stop at a record boundary.

    `state` is what a format with a state is in at its start; None where it cannot tell.
    """

    tile: ByteRange
    state: str | None = None
