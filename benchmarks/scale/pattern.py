"""Objects of any size that need no storage: one line over and over, so that the CRC of any tile can be computed."""

from dataclasses import dataclass
from functools import lru_cache

from rangemill.crcs import CRC_FUNCTIONS, DEFAULT_CRC

# A prime number of bytes: no range of a round number of bytes begins where a record does.
RECORD: bytes = b"the quick brown fox jumps over the lazy dog and counts how often it has done so until now, 0000.\n"
_CRC, _COMBINE = CRC_FUNCTIONS[DEFAULT_CRC]


def first_record(at: int) -> int:
    """The offset of the first record that begins at `at` or later."""
    return -(-at // len(RECORD)) * len(RECORD)


def data(start: int, end: int) -> bytes:
    """The bytes `[start, end)`."""
    phase = start % len(RECORD)
    copies = (phase + end - start) // len(RECORD) + 1
    return (RECORD * copies)[phase : phase + end - start]


@lru_cache(maxsize=100_000)
def _crc_at(phase: int, size_bytes: int) -> int:
    """The CRC of so many bytes from a place in the record on."""
    head = min(size_bytes, -phase % len(RECORD))
    crc = _CRC(data(phase, phase + head), 0)
    copies, tail = divmod(size_bytes - head, len(RECORD))
    crc = _COMBINE(crc, _crc_of_copies(copies), copies * len(RECORD))
    return _COMBINE(crc, _CRC(RECORD[:tail], 0), tail)


@lru_cache(maxsize=100_000)
def _crc_of_copies(copies: int) -> int:
    if copies <= 1:
        return _CRC(RECORD * copies, 0)
    half = _crc_of_copies(copies // 2)
    crc = _COMBINE(half, half, copies // 2 * len(RECORD))
    return _COMBINE(crc, _CRC(RECORD, 0), len(RECORD)) if copies % 2 else crc


@dataclass(frozen=True, slots=True)
class Tile:
    """What a worker finds in `[start, end)` of an object of `object_bytes`."""

    start: int
    end: int
    object_bytes: int

    @property
    def crc(self) -> int:
        """Of the stored bytes."""
        return _crc_at(self.start % len(RECORD), self.end - self.start)

    @property
    def first(self) -> int | None:
        """Where the first record that begins here does so."""
        first = first_record(self.start)
        return first if first < self.end else None

    @property
    def last_end(self) -> int | None:
        """Where the last record that begins here ends."""
        return None if self.first is None else min(first_record(self.end), self.object_bytes)

    @property
    def records(self) -> int:
        """How many records begin here."""
        return (first_record(self.end) - first_record(self.start)) // len(RECORD)

    @property
    def record_bytes(self) -> int:
        """Bytes of the records that begin here, without their line ends."""
        if self.first is None or self.last_end is None:
            return 0
        ends = self.records - (self.last_end % len(RECORD) != 0)  # the last record may have none
        return self.last_end - self.first - ends
