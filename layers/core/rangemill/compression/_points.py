"""Restart points of gzip objects in the work bucket: where later jobs and other workers begin in the middle.

One document a point, and one *page* for every 8 MiB of the stored object, which names the points that begin in it and
the one that follows them. Which places are points follows from the object's bytes alone (the first end of a block, or
header, at or after each multiple of the spacing), so that two writers write the same documents. No document grows with
the object: a 200 GB gzip has 84,000 points and 24,000 pages; a worker reads its pages and one point.
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
PAGE_BYTES: Final = 8 * 2**20  # of the stored object to a page: 4 points of usual data, 512 of what packs best
_VERSION: Final = 2
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
    """A point as its page names it: where it lies, and the CRC-32 of the output from it to the next one."""

    stored: int
    logical: int
    crc: int


class Page(msgspec.Struct, frozen=True, array_like=True):
    """The points that begin in one page of the stored object, maybe none, and the first one after them.

    In the last page what follows is the object's end: `next_stored` is its size, `next_logical` where its output ends.
    """

    marks: list[Mark]
    next_stored: int
    next_logical: int
    is_last: bool


class SoFar(msgspec.Struct, frozen=True, array_like=True):
    """What the worker that goes on with a pass needs beside the point where it begins.

    `page` is the one being filled, `marks` its points but for the last one, which lies at `stored` and `logical`;
    `crc` is of the output since then.
    """

    page: int
    marks: list[Mark]
    stored: int
    logical: int
    crc: int


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far an object that no job has read to its end is indexed: all pages before that stored byte are there."""

    indexed: int


class Directory(msgspec.Struct, frozen=True, array_like=True):
    """All pages of an object are there; where its output ends."""

    total: int


def identity(pin: PinnedObject) -> str:
    """A name for the object's bytes: the same for every job that pins the same ones."""
    sizes = (_VERSION, SPACING_BYTES, PAGE_BYTES)
    parts = (*sizes, pin.bucket, pin.key, pin.version_id or pin.etag, pin.size_bytes, pin.member or "")
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
        """That the index is complete, or None while no job has read the object to its end."""
        return self._read(keys.gzip_directory(self._identity), Directory)

    def progress(self) -> int:
        """The stored byte up to which an unfinished index goes; 0 where there is none."""
        found = self._read(keys.gzip_progress(self._identity), Progress)
        return 0 if found is None else found.indexed

    def page(self, number: int) -> Page:
        """The page of that number. Raises `IntegrityError` when it is gone."""
        return self._required(keys.gzip_page(self._identity, number), Page, number * PAGE_BYTES)

    def point(self, stored: int) -> Point:
        """The point at that stored byte. Raises `IntegrityError` when it is gone."""
        return self._required(keys.gzip_point(self._identity, stored), Point, stored)

    def so_far(self, stored: int) -> SoFar:
        """What an earlier worker knew at that stored byte. Raises `IntegrityError` when it is gone."""
        return self._required(keys.gzip_so_far(self._identity, stored), SoFar, stored)

    def keep(self, point: Point) -> None:
        """Write a point, beside the work."""
        self._put(keys.gzip_point(self._identity, point.stored), point)

    def keep_page(self, number: int, page: Page) -> None:
        """Write a page, beside the work."""
        self._put(keys.gzip_page(self._identity, number), page)

    def keep_so_far(self, stored: int, so_far: SoFar) -> None:
        """Write what the worker that goes on from there needs, and wait until all is written."""
        self._put(keys.gzip_so_far(self._identity, stored), so_far)
        self.close()

    def keep_progress(self, indexed: int) -> None:
        """Publish how far the index goes, once all of it is written."""
        self.close()
        self._store.put(keys.gzip_progress(self._identity), msgspec.msgpack.encode(Progress(indexed)))

    def keep_directory(self, directory: Directory) -> None:
        """Publish that the index is complete, once all of it is written."""
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

    def _put(self, key: str, document: Point | Page | SoFar) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_PUT_THREADS)
        self._writes = [write for write in self._writes if not write.done() or write.result() is not None]
        if len(self._writes) >= 2 * _PUT_THREADS:
            self._writes.pop(0).result()
        self._writes.append(self._pool.submit(self._store.put, key, msgspec.msgpack.encode(document)))

    def _required[T](self, key: str, to: type[T], stored: int) -> T:
        found = self._read(key, to)
        if found is None:
            known = keys.gzip_directory(self._identity), keys.gzip_progress(self._identity)
            raise IntegrityError(
                f"{self._pin.uri}: its restart points at byte {stored} are gone from the work bucket; delete "
                f"{' and '.join(map(self._store.uri, known))} and submit the job again",
                object_uri=self._pin.uri,
                offset=stored,
            )
        return found

    def _read[T](self, key: str, to: type[T]) -> T | None:
        body = self._store.get(key)
        if body is None:
            return None
        try:
            return msgspec.msgpack.decode(body, type=to)
        except msgspec.MsgspecError as error:
            raise IntegrityError(f"{self._store.uri(key)} cannot be read: {error}") from None
