"""The blocks of an Avro file, one after the other, from bytes that stream past once."""

from collections.abc import Iterator
from typing import Final

from rangemill.errors import IncompleteProof, IntegrityError, RecordTooLarge
from rangemill.formats import _avro_container
from rangemill.formats._avro_container import LONG_MAX_BYTES, SYNC_BYTES, Cut, Header
from rangemill.formats.base import Source
from rangemill.ranges import ByteRange

_EMPTY_RECORDS_MAX: Final = 10**6  # of a block whose records take no bytes: more of them are no data


class Blocks:
    """`position` is where the next block begins, or the object's size."""

    def __init__(self, source: Source, header: Header, run: ByteRange, max_bytes: int) -> None:
        self.position = header.end
        self._source = source
        self._header = header
        self._run = run
        self._max_bytes = max_bytes
        self._unpack = _avro_container.unpacker(header.codec, source, max_bytes)
        self._data = bytearray()
        self._base = 0
        self._pieces: Iterator[bytes] = iter(())

    @property
    def at_end(self) -> bool:
        """Whether no block follows."""
        return self.position >= self._source.size_bytes

    def find_first(self, known: int | None) -> None:
        """Go to the first block that begins in the run or after it: where is known, or looked for."""
        if known is not None or self._run.start <= self._header.end:
            self._open(self._header.end if known is None else known)
            return
        self._open(self._run.start - SYNC_BYTES)
        at = self._base
        while True:
            found = self._data.find(self._header.sync, at - self._base)
            if found >= 0:
                at = self._base + found
                if at + SYNC_BYTES >= self._header.end and self._is_block(at + SYNC_BYTES):
                    self.position = at + SYNC_BYTES
                    self._drop()
                    return
                at += 1
                continue
            at = max(at, self._base + len(self._data) - SYNC_BYTES + 1)
            if at - self._run.start > self._max_bytes + SYNC_BYTES:
                raise self._too_large(self._run.start)
            self.position = at
            self._drop()
            if not self._more():
                raise self._broken(self._run.start, "no sync marker follows it, and the file does not end with one")

    def take(self) -> tuple[int, bytes]:
        """The next block: how many records it has, and its bytes, unpacked."""
        at = self.position
        count, size, start = self._head(at)
        if count < 0 or size < 0:
            raise self._broken(at, f"it has {count} records in {size} bytes")
        if size > self._max_bytes:
            raise self._too_large(at)
        end = start + size + SYNC_BYTES
        if end > self._source.size_bytes:
            raise self._broken(at, f"it ends at byte {end}, but the file at {self._source.size_bytes}")
        self._need(end)
        low = start - self._base
        with memoryview(self._data) as view:
            packed, sync = bytes(view[low : low + size]), bytes(view[low + size : low + size + SYNC_BYTES])
        if sync != self._header.sync:
            raise self._broken(at, "it is not followed by the file's sync marker")
        payload = self._unpack(packed, at)
        if count > max(len(payload), _EMPTY_RECORDS_MAX):
            raise self._broken(at, f"it has {count} records in {len(payload)} bytes")
        self.position = end
        self._drop()
        return count, payload

    def _is_block(self, at: int) -> bool:
        """Whether a whole block stands here, as far as its count, its size and the marker behind it tell."""
        if at == self._source.size_bytes:
            return True
        try:
            count, size, start = self._head(at)
        except IntegrityError:
            return False
        end = start + size + SYNC_BYTES
        if count < 0 or not 0 <= size <= self._max_bytes or end > self._source.size_bytes:
            return False
        self._need(end)
        return self._data[end - SYNC_BYTES - self._base : end - self._base] == self._header.sync

    def _head(self, at: int) -> tuple[int, int, int]:
        """Count and size of the block here, and where its bytes begin. Raises `IntegrityError`."""
        self._need(min(at + 2 * LONG_MAX_BYTES, self._source.size_bytes))
        begin = at - self._base
        data = bytes(self._data[begin : begin + 2 * LONG_MAX_BYTES])
        try:
            count, here = _avro_container.long_at(data, 0)
            size, here = _avro_container.long_at(data, here)
        except (Cut, ValueError):
            raise self._broken(at, "its beginning cannot be read") from None
        return count, size, at + here

    def _open(self, at: int) -> None:
        self.position = self._base = at
        self._data = bytearray()
        self._pieces = iter(self._source.stream(at, max(at, self._run.end_exclusive)))

    def _need(self, end: int) -> None:
        """Have the bytes up to `end`."""
        while self._base + len(self._data) < end:
            if not self._more():
                reached = self._base + len(self._data)
                raise IncompleteProof(
                    f"{self._source.uri}: its bytes ended at {reached}, not at {self._source.size_bytes}",
                    object_uri=self._source.uri,
                    offset=reached,
                )

    def _more(self) -> bool:
        room = self._source.size_bytes - self._base - len(self._data)
        piece = next(self._pieces, None) if room > 0 else None
        if piece is None:
            return False
        self._data += piece[:room]
        return True

    def _drop(self) -> None:
        """Forget what was passed, when it is worth moving the rest."""
        passed = self.position - self._base
        if passed >= len(self._data) or passed > 2**20:
            passed = min(passed, len(self._data))
            del self._data[:passed]
            self._base += passed

    def _broken(self, at: int, problem: str) -> IntegrityError:
        return IntegrityError(
            f"{self._source.uri}: the Avro block at byte {at} is damaged: {problem}",
            object_uri=self._source.uri,
            offset=at,
        )

    def _too_large(self, at: int) -> RecordTooLarge:
        return RecordTooLarge(
            f"{self._source.uri}: the Avro block at byte {at} is larger than format.max_unit_bytes "
            f"({self._max_bytes}); raise it, and the function's memory, if the data is as it should be",
            object_uri=self._source.uri,
            offset=at,
        )
