"""Restart points of gzip objects in the work bucket: where later jobs and other workers begin in the middle.

One object a point (a 200 GB gzip has 84,000 points, 0.4 GB), and a small directory that names them, published last.
The same object gives the same points, so that two writers write the same bytes.
"""

import hashlib
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import msgspec

from rangemill import keys
from rangemill.errors import IntegrityError
from rangemill.gateways import Store
from rangemill.messages import PinnedObject

SPACING_BYTES: Final = 16 * 2**20  # of output between points: 2 KiB a MiB of it, 0.2 % of the object
_VERSION: Final = 1
_PUT_THREADS: Final = 4


class Point(msgspec.Struct, frozen=True, array_like=True):
    """A place in a gzip object where inflating can begin.

    `bits` of the byte at `stored` belong to the deflate block that begins there (0: all of it does); -1 where a
    member's header begins. `crc` and `member_bytes` are of the member's output before it; `window` is compressed.
    """

    stored: int
    logical: int
    bits: int
    crc: int
    member_bytes: int
    window: bytes = b""

    @property
    def is_header(self) -> bool:
        """Whether a member's header begins here."""
        return self.bits < 0

    def plain_window(self) -> bytes:
        """The output before the point, as inflating needs it."""
        return zlib.decompress(self.window) if self.window else b""


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A point as the directory names it: where it lies, and the CRC-32 of the output from it to the next one."""

    stored: int
    logical: int
    crc: int


class Directory(msgspec.Struct, frozen=True, array_like=True):
    """All points of an object, the first one at 0, and where its output ends."""

    marks: list[Mark]
    total: int


def identity(pin: PinnedObject) -> str:
    """A name for the object's bytes: the same for every job that pins the same ones."""
    parts = (_VERSION, SPACING_BYTES, pin.bucket, pin.key, pin.version_id or pin.etag, pin.size_bytes, pin.member or "")
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


class PointStore:
    """One object's points in the work bucket."""

    def __init__(self, store: Store, pin: PinnedObject) -> None:
        self._store = store
        self._pin = pin
        self._identity = identity(pin)
        self._pool: ThreadPoolExecutor | None = None
        self._writes: list[Future[None]] = []

    def directory(self) -> Directory | None:
        """The whole directory, or None while no job has read the object to its end."""
        return self._read(keys.gzip_directory(self._identity), Directory)

    def point(self, stored: int) -> Point:
        """The point at that stored byte. Raises `IntegrityError` when it is gone."""
        found = self._read(keys.gzip_point(self._identity, stored), Point)
        if found is None:
            raise IntegrityError(
                f"{self._pin.uri}: its restart point at byte {stored} is gone from the work bucket; delete "
                f"{self._store.uri(keys.gzip_directory(self._identity))} and submit the job again",
                object_uri=self._pin.uri,
                offset=stored,
            )
        return found

    def so_far(self, stored: int) -> list[Mark]:
        """The points before the one at that stored byte. Raises `IntegrityError` when they are gone."""
        found = self._read(keys.gzip_so_far(self._identity, stored), list[Mark])
        if found is None:
            raise IntegrityError(
                f"{self._pin.uri}: what an earlier worker noted at byte {stored} is gone from the work bucket; "
                "submit the job again",
                object_uri=self._pin.uri,
                offset=stored,
            )
        return found

    def keep(self, point: Point) -> None:
        """Write a point, beside the work."""
        self._put(keys.gzip_point(self._identity, point.stored), point)

    def keep_so_far(self, stored: int, marks: list[Mark]) -> None:
        """Write what the worker that goes on from there needs, and wait until all is written."""
        self._put(keys.gzip_so_far(self._identity, stored), marks)
        self.close()

    def keep_directory(self, directory: Directory) -> None:
        """Publish the directory, once all points are written."""
        self.close()
        self._store.put(keys.gzip_directory(self._identity), msgspec.msgpack.encode(directory))

    def close(self) -> None:
        """Wait for what is being written. Raises what writing raised."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        writes, self._writes = self._writes, []
        for write in writes:
            write.result()

    def _put(self, key: str, document: Point | list[Mark]) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_PUT_THREADS)
        self._writes = [write for write in self._writes if not write.done() or write.result() is not None]
        if len(self._writes) >= 2 * _PUT_THREADS:
            self._writes.pop(0).result()
        self._writes.append(self._pool.submit(self._store.put, key, msgspec.msgpack.encode(document)))

    def _read[T](self, key: str, to: type[T]) -> T | None:
        body = self._store.get(key)
        if body is None:
            return None
        try:
            return msgspec.msgpack.decode(body, type=to)
        except msgspec.MsgspecError as error:
            raise IntegrityError(f"{self._store.uri(key)} cannot be read: {error}") from None
