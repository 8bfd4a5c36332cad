"""Buckets as boto3's S3 client shows them: versions, ETags, conditional reads and writes, ranges, checksums, pages.

Strong consistency, as S3 has it. What a response's body does on its way (ends early, breaks off, is another range)
is decided by `damage`, which the simulator's faults give.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from awscrt import checksums
from botocore.exceptions import IncompleteReadError, ResponseStreamingError
from tests.simulator.dynamo import Call, client_error
from tests.simulator.expressions import Unsupported

_ONCE: Final = re.compile(r"^jobs/[^/]+/(request|plan/)|^scratch/.*/(outcomes/|waves/[^/]+$)")
_PAGE_KEYS: Final = 5  # S3's are 1,000; small, so that paging is met


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object; a delete marker has no body."""

    version_id: str
    body: bytes | None
    etag: str
    modified: datetime


@dataclass(slots=True)
class Bucket:
    """Keys and their versions, the newest last. Without versioning there is one, called `null`."""

    versioned: bool
    objects: dict[str, list[Version]] = field(default_factory=dict)


class Buckets:
    """All buckets of the account, and every body that was ever written."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.written: dict[tuple[str, str, str], bytes] = {}  # (bucket, key, ETag) -> body, for whoever compares
        self._now = now
        self._versions = 0
        self.published = 0  # writes of what readers see
        self.overwritten: list[str] = []  # documents that the first writer decides, written again

    def put(self, bucket: str, key: str, body: bytes) -> Version:
        """A new version, or in place of the old one."""
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self.written[bucket, key, etag] = body
        self._versions += 1
        self.published += key.startswith("results/")
        if _ONCE.search(key) and key in self.buckets[bucket].objects:
            self.overwritten.append(key)
        own = self.buckets[bucket]
        name = f"v{self._versions:06d}" if own.versioned else "null"
        version = Version(name, body, etag, self._now())
        own.objects[key] = [*own.objects.get(key, []), version] if own.versioned else [version]
        return version

    def delete(self, bucket: str, key: str) -> None:
        """A delete marker, or gone."""
        own = self.buckets[bucket]
        if own.versioned and key in own.objects:
            self._versions += 1
            own.objects[key].append(Version(f"v{self._versions:06d}", None, "", self._now()))
        else:
            own.objects.pop(key, None)

    def newest(self, bucket: str, key: str) -> Version | None:
        """What a GET without a version id finds; None where there is nothing, or a delete marker."""
        versions = self.buckets[bucket].objects.get(key, [])
        return versions[-1] if versions and versions[-1].body is not None else None

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Keys that a listing shows, in its order."""
        found = (k for k in self.buckets[bucket].objects if k.startswith(prefix) and self.newest(bucket, k))
        return sorted(found, key=lambda key: key.encode())


@dataclass(frozen=True, slots=True)
class Damage:
    """What becomes of a response: it ends, or breaks off, after so many bytes; or the range is ignored or another."""

    kind: str = ""  # "", "short", "reset", "whole", "shifted"
    share: float = 0.0


class S3Client:
    """What `boto3.client("s3")` is to the code under test."""

    def __init__(self, buckets: Buckets, call: Call, damage: Callable[[], Damage] = Damage) -> None:
        self._all = buckets
        self._call = call
        self._damage = damage

    def get_object(self, **request: Any) -> dict[str, Any]:
        """GetObject."""
        _known(request, {"Bucket", "Key", "Range", "IfMatch", "VersionId", "ChecksumMode"})
        return self._call("s3", "get_object", request, lambda: self._get(request))

    def head_object(self, **request: Any) -> dict[str, Any]:
        """HeadObject."""
        _known(request, {"Bucket", "Key", "VersionId", "ChecksumMode", "IfMatch"})

        def head() -> dict[str, Any]:
            version = self._find(request, "HeadObject")
            return self._described(request, version, len(version.body or b""))

        return self._call("s3", "head_object", request, head)

    def put_object(self, **request: Any) -> dict[str, Any]:
        """PutObject; `IfNoneMatch="*"` is the only condition there is here."""
        _known(request, {"Bucket", "Key", "Body", "IfNoneMatch", "ContentType"})
        if request.get("IfNoneMatch", "*") != "*":
            raise Unsupported(f"IfNoneMatch={request['IfNoneMatch']}")

        def put() -> dict[str, Any]:
            self._bucket(request, "PutObject")
            if "IfNoneMatch" in request and self._all.newest(request["Bucket"], request["Key"]) is not None:
                raise client_error("PutObject", "PreconditionFailed", status=412)
            version = self._all.put(request["Bucket"], request["Key"], bytes(request["Body"]))
            return {"ETag": f'"{version.etag}"'}

        return self._call("s3", "put_object", request, put)

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        """A page of a listing."""
        _known(request, {"Bucket", "Prefix", "StartAfter", "ContinuationToken", "MaxKeys"})
        return self._call("s3", "list_objects_v2", request, lambda: self._list(request))

    def delete_objects(self, **request: Any) -> dict[str, Any]:
        """Up to 1,000 keys."""
        _known(request, {"Bucket", "Delete"})

        def delete() -> dict[str, Any]:
            self._bucket(request, "DeleteObjects")
            for entry in request["Delete"]["Objects"]:
                self._all.delete(request["Bucket"], entry["Key"])
            return {}

        return self._call("s3", "delete_objects", request, delete)

    def delete_object(self, **request: Any) -> Any:
        """One key."""
        _known(request, {"Bucket", "Key"})
        return self._call("s3", "delete_object", request, lambda: self._all.delete(request["Bucket"], request["Key"]))

    def get_paginator(self, operation: str) -> "_Pages":
        """Of `list_objects_v2`."""
        if operation != "list_objects_v2":
            raise Unsupported(operation)
        return _Pages(self.list_objects_v2)

    def _bucket(self, request: dict[str, Any], operation: str) -> Bucket:
        if request["Bucket"] not in self._all.buckets:
            raise client_error(operation, "NoSuchBucket", status=404)
        return self._all.buckets[request["Bucket"]]

    def _find(self, request: dict[str, Any], operation: str) -> Version:
        bucket, wanted = self._bucket(request, operation), request.get("VersionId")
        versions = bucket.objects.get(request["Key"], [])
        found = [v for v in versions if v.version_id == wanted] if wanted is not None else versions[-1:]
        if not found or found[0].body is None:
            code = "NoSuchKey" if wanted is None else "NoSuchVersion"
            if found and wanted is not None:
                raise client_error(operation, "MethodNotAllowed", status=405)
            raise client_error(operation, "404" if operation == "HeadObject" else code, status=404)
        if "IfMatch" in request and request["IfMatch"].strip('"') != found[0].etag:
            raise client_error(operation, "PreconditionFailed", status=412)
        return found[0]

    def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        version = self._find(request, "GetObject")
        body = version.body or b""
        damage = self._damage()
        if "Range" not in request:
            return {**self._described(request, version, len(body)), "Body": Body(body, damage)}
        first, _, last = request["Range"].removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) + 1, len(body))
        if start >= len(body):
            raise client_error("GetObject", "InvalidRange", status=416)
        if damage.kind == "whole":
            return {**self._described(request, version, len(body)), "Body": Body(body, Damage())}
        if damage.kind == "shifted" and start:
            start, end = start - 1, end - 1
        answer = self._described(request, version, end - start)
        answer["ResponseMetadata"] = {"HTTPStatusCode": 206}
        answer["ContentRange"] = f"bytes {start}-{end - 1}/{len(body)}"
        answer["Body"] = Body(body[start:end], damage)
        return answer

    def _described(self, request: dict[str, Any], version: Version, length: int) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "ETag": f'"{version.etag}"',
            "ContentLength": length,
            "LastModified": version.modified,
            "ResponseMetadata": {"HTTPStatusCode": 200},
        }
        if self._all.buckets[request["Bucket"]].versioned:
            answer["VersionId"] = version.version_id
        if request.get("ChecksumMode") == "ENABLED":
            crc = checksums.crc64nvme(version.body or b"")
            answer["ChecksumCRC64NVME"] = base64.b64encode(crc.to_bytes(8, "big")).decode()
            answer["ChecksumType"] = "FULL_OBJECT"
        return answer

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        self._bucket(request, "ListObjectsV2")
        bucket = request["Bucket"]
        after = request.get("ContinuationToken", request.get("StartAfter", ""))
        keys = [k for k in self._all.keys(bucket, request.get("Prefix", "")) if k.encode() > after.encode()]
        contents = []
        for key in keys[:_PAGE_KEYS]:
            version = self._all.newest(bucket, key)
            assert version is not None
            contents.append(
                {
                    "Key": key,
                    "ETag": f'"{version.etag}"',
                    "Size": len(version.body or b""),
                    "LastModified": version.modified,
                    "ChecksumAlgorithm": ["CRC64NVME"],
                }
            )
        more = len(keys) > _PAGE_KEYS
        page: dict[str, Any] = {"Contents": contents, "IsTruncated": more, "KeyCount": len(contents)}
        if more:
            page["NextContinuationToken"] = contents[-1]["Key"]
        return page


class Body:
    """A response's body; `StreamingBody` notices by itself what is shorter than promised only when read to its end."""

    def __init__(self, body: bytes, damage: Damage) -> None:
        cut = int(len(body) * damage.share) if damage.kind in ("short", "reset") else len(body)
        self._body = body[:cut]
        self._promised = len(body)
        self._breaks = damage.kind == "reset"

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        """Pieces; smaller than asked for, so that borders are met."""
        size = min(size, 61)
        for start in range(0, len(self._body), size):
            yield self._body[start : start + size]
        if self._breaks:
            raise ResponseStreamingError(error="connection reset by peer")

    def read(self) -> bytes:
        """All of it; here botocore holds the length against what was promised."""
        body = b"".join(self.iter_chunks(len(self._body) or 1))
        if len(body) < self._promised:
            raise IncompleteReadError(actual_bytes=len(body), expected_bytes=self._promised)
        return body

    def close(self) -> None:
        """Nothing is held."""


class _Pages:
    def __init__(self, query: Callable[..., dict[str, Any]]) -> None:
        self._list = query

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        """Page by page."""
        while True:
            page = self._list(**request)
            yield page
            if not page["IsTruncated"]:
                return
            request["ContinuationToken"] = page["NextContinuationToken"]


def _known(request: dict[str, Any], names: set[str]) -> None:
    unknown = request.keys() - names
    if unknown:
        raise Unsupported(f"an S3 request with {sorted(unknown)}")
