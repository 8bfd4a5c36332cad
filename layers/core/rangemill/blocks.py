"""What passes between a format and an engine: blocks of whole records, and the word that a range is done."""

from dataclasses import dataclass

from rangemill.ranges import ByteRange


@dataclass(frozen=True, slots=True)
class Block:
    """Contiguous bytes of whole records.

    `data` ends with the last record's delimiter unless that record is the object's last one and has none.
    `offset` is the logical offset of `data[0]`; `records` is what the format counted, never what an engine did.
    """

    data: bytes
    offset: int
    records: int


@dataclass(frozen=True, slots=True)
class RangeDone:
    """A range was read to its end: what it adds to the ledger.

    `first` is the logical offset of the first record that begins in the range and `end` that of the end of its last
    one; both None for a range that lies inside one long record. `crc` is of the stored tile.
    """

    tile: ByteRange
    crc: int
    first: int | None
    end: int | None
    records: int


@dataclass(frozen=True, slots=True)
class Remaining:
    """The stored bytes of a run that were not worked on, because the worker had to stop at a record boundary."""

    tile: ByteRange
