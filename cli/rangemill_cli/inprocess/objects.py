"""Input objects in memory: versioned or not, replaced under a reader's eyes when a test wants it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from msgspec.structs import replace

from rangemill.errors import ObjectChanged, ObjectMissing
from rangemill.gateways import Head, Listing
from rangemill.ledger import CRC_FUNCTIONS, DEFAULT_CRC
from rangemill.limits import GET_BYTES, PIECE_BYTES, S3_LIST_PAGE_OBJECTS, TAIL_FIRST_BYTES
from rangemill.messages import ObjectRef, PinnedObject


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of an object. `crc_name` None: an object for which S3 keeps no checksum."""

    body: bytes
    etag: str
    version_id: str | None
    last_modified: datetime
    crc_name: str | None = DEFAULT_CRC

    def pin(self, bucket: str, key: str, index: int) -> PinnedObject:
        """The object as a job would read it."""
        name = self.crc_name or DEFAULT_CRC
        crc = CRC_FUNCTIONS[name][0](self.body, 0) if self.crc_name is not None else None
        return PinnedObject(index, bucket, key, self.etag, len(self.body), self.version_id, name, crc)


@dataclass
class MemoryObjects:
    """`gateways.Objects` in memory; every read is one GET under `If-Match`.

    `get_bytes` bounds one GET, so that a small object takes many.
    """

    get_bytes: int = GET_BYTES
    piece_bytes: int = PIECE_BYTES
    list_page_objects: int = S3_LIST_PAGE_OBJECTS
    _versions: dict[tuple[str, str], list[StoredObject]] = field(default_factory=dict)
    _requests: int = 0

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        versioned: bool = False,
        crc_name: str | None = DEFAULT_CRC,
        last_modified: datetime | None = None,
    ) -> ObjectRef:
        """Upload: a new version, or in place of what was there."""
        versions = self._versions.setdefault((bucket, key), [])
        version_id = f"v{len(versions) + 1}" if versioned else None
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        stored = StoredObject(body, etag, version_id, last_modified or datetime.now(UTC), crc_name)
        if not versioned:
            versions.clear()
        versions.append(stored)
        return ObjectRef(bucket, key, version_id, etag, len(body))

    def delete(self, bucket: str, key: str) -> None:
        """Remove it with all its versions."""
        self._versions.pop((bucket, key), None)

    @property
    def requests(self) -> int:
        """How many requests were made so far."""
        return self._requests

    def head(self, bucket: str, key: str, version_id: str | None) -> Head | None:
        """The object as it is now; None when it is gone."""
        self._requests += 1
        stored = self._find(bucket, key, version_id)
        if stored is None:
            return None
        ref = ObjectRef(bucket, key, stored.version_id, stored.etag, len(stored.body))
        return Head(ref, stored.last_modified)

    def pin(self, ref: ObjectRef, index: int) -> PinnedObject:
        """HEAD. Raises `ObjectMissing`, `ObjectChanged`."""
        self._requests += 1
        uri = f"s3://{ref.bucket}/{ref.key}"
        stored = self._find(ref.bucket, ref.key, ref.version_id)
        if stored is None:
            raise ObjectMissing(uri, ref.version_id or ref.etag or "present")
        if ref.etag is not None and ref.version_id is None and ref.etag.strip('"') != stored.etag:
            raise ObjectChanged(uri, ref.etag.strip('"'), stored.etag)
        return stored.pin(ref.bucket, ref.key, index)

    def list_page(self, bucket: str, prefix: str, after: str | None) -> Listing:
        """One page, in key order."""
        self._requests += 1
        keys = sorted(k for b, k in self._versions if b == bucket and k.startswith(prefix) and k > (after or ""))
        page = keys[: self.list_page_objects]
        newest = {key: self._versions[bucket, key][-1] for key in page}
        return Listing(
            [
                (ObjectRef(bucket, key, etag=stored.etag, size_bytes=len(stored.body)), stored.last_modified)
                for key, stored in newest.items()
            ],
            page[-1] if len(keys) > len(page) else None,
            {key: stored.crc_name for key, stored in newest.items() if stored.crc_name is not None},
        )

    def read(self, pin: PinnedObject, start: int, stop_hint: int) -> Iterator[bytes]:
        """Pieces from `start`, in large reads up to `stop_hint`, then in small growing ones to the object's end."""
        position, tail = start, TAIL_FIRST_BYTES
        while position < pin.size_bytes:
            if position < stop_hint:
                end = min(position + self.get_bytes, stop_hint)
            else:
                end = min(position + tail, pin.size_bytes)
                tail *= 2
            yield from self._pieces(self._matching(pin).body[pin.base + position : pin.base + end])
            position = end

    def read_whole(self, pin: PinnedObject) -> tuple[PinnedObject, Iterator[bytes]]:
        """A small object by one GET, and its pin completed."""
        stored = self._matching(pin)
        now = stored.pin(pin.bucket, pin.key, pin.index)
        whole = replace(pin, version_id=now.version_id, crc_name=now.crc_name, crc=now.crc, crc_later=False)
        return whole, self._pieces(stored.body)

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        for start in range(0, len(body), self.piece_bytes):
            yield body[start : start + self.piece_bytes]

    def _matching(self, pin: PinnedObject) -> StoredObject:
        self._requests += 1
        stored = self._find(pin.bucket, pin.key, pin.version_id)
        if stored is None:
            raise ObjectMissing(pin.uri, pin.version_id or pin.etag)
        if stored.etag != pin.etag:
            raise ObjectChanged(pin.uri, pin.etag, stored.etag)
        return stored

    def _find(self, bucket: str, key: str, version_id: str | None) -> StoredObject | None:
        versions = self._versions.get((bucket, key), [])
        if version_id is None:
            return versions[-1] if versions else None
        return next((stored for stored in versions if stored.version_id == version_id), None)
