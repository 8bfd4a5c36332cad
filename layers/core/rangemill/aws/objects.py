"""The input objects: pinned by HEAD, listed by page, read under `If-Match` and never taken at their word."""

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from urllib3.exceptions import HTTPError

from rangemill.aws import failures
from rangemill.aws.ahead import Ahead
from rangemill.aws.checksums import crc_value, full_crc, is_composite
from rangemill.backoff import backoff_seconds
from rangemill.errors import ChecksumMismatch, ObjectChanged, ObjectMissing, Transient
from rangemill.gateways import Head, Listing
from rangemill.ledger import CRC_FUNCTIONS, DEFAULT_CRC
from rangemill.limits import GET_BYTES, PIECE_BYTES, READ_MAX_TRIES, TAIL_FIRST_BYTES
from rangemill.messages import ObjectRef, PinnedObject
from rangemill.ranges import ByteRange

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_STREAM_ERRORS: Final = (
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
    HTTPError,
    OSError,
)
_PARTIAL_CONTENT: Final = 206


class S3Objects:
    """`gateways.Objects` on S3."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client
        self._requests = 0
        self._ahead = Ahead()
        self._counting = threading.Lock()  # spans are read by threads

    @property
    def requests(self) -> int:
        """How many requests were made so far."""
        return self._requests

    def head(self, bucket: str, key: str, version_id: str | None) -> Head | None:
        """The object as it is now; None when it is gone."""
        response = self._head(bucket, key, version_id)
        if response is None:
            return None
        ref = ObjectRef(bucket, key, _version(response), _etag(response), int(response["ContentLength"]))
        return Head(ref, response["LastModified"])

    def pin(self, ref: ObjectRef, index: int) -> PinnedObject:
        """HEAD. Raises `ObjectMissing`, `ObjectChanged`, `AccessRefused`."""
        uri = f"s3://{ref.bucket}/{ref.key}"
        response = self._head(ref.bucket, ref.key, ref.version_id)
        if response is None:
            raise ObjectMissing(uri, ref.version_id or ref.etag or "present")
        etag = _etag(response)
        if ref.etag is not None and ref.version_id is None and ref.etag.strip('"') != etag:
            raise ObjectChanged(uri, ref.etag.strip('"'), etag)
        version = _version(response)
        size = int(response["ContentLength"])
        name, crc = full_crc(response)
        if crc is None and is_composite(response):
            name, crc = self._composite_crc(ref.bucket, ref.key, version, response)
        return PinnedObject(index, ref.bucket, ref.key, etag, size, version, name, crc)

    def list_page(self, bucket: str, prefix: str, after: str | None) -> Listing:
        """One page of at most 1,000 objects."""
        start: dict[str, Any] = {"StartAfter": after} if after is not None else {}
        while True:
            self._count_request()
            try:
                response = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, **start)
            except (ClientError, BotoCoreError) as error:
                failures.raise_named(error, f"list s3://{bucket}/{prefix}")
            entries = response.get("Contents", [])
            if entries or not response.get("IsTruncated"):
                break
            # S3 may answer a page without keys though more follow; only its token leads on from there.
            start = {"ContinuationToken": response["NextContinuationToken"]}
        names: dict[str, str] = {}
        for entry in entries:
            if known := [name for name in entry.get("ChecksumAlgorithm", []) if name in CRC_FUNCTIONS]:
                names[entry["Key"]] = known[0]
        return Listing(
            [
                (ObjectRef(bucket, e["Key"], etag=e["ETag"].strip('"'), size_bytes=e["Size"]), e["LastModified"])
                for e in entries
            ],
            entries[-1]["Key"] if response.get("IsTruncated") else None,
            names,
        )

    def read(self, pin: PinnedObject, start: int, stop_hint: int) -> Iterator[bytes]:
        """Pieces from `start`, in large reads ahead up to `stop_hint`, then in small growing ones to the object's end.

        Of a member of an archive the positions are in the member, and what is asked for in the archive.
        """
        stop_hint = min(stop_hint, pin.size_bytes)
        spans = (
            ByteRange(pin.base + at, pin.base + min(at + GET_BYTES, stop_hint))
            for at in range(start, stop_hint, GET_BYTES)
        )
        yield from self._ahead.pieces(spans, lambda span: self._read_span(pin, span))
        position, tail = max(start, stop_hint), TAIL_FIRST_BYTES
        while position < pin.size_bytes:
            end = min(position + tail, pin.size_bytes)
            yield from self._read_span(pin, ByteRange(pin.base + position, pin.base + end))
            position, tail = end, min(tail * 2, GET_BYTES)

    def read_whole(self, pin: PinnedObject) -> tuple[PinnedObject, Iterator[bytes]]:
        """A small object by one GET, and its pin completed with the version and CRC that came with it."""
        self._count_request()
        try:
            response: Any = self._client.get_object(
                Bucket=pin.bucket,
                Key=pin.key,
                IfMatch=f'"{pin.etag}"',
                ChecksumMode="ENABLED",
                **_version_argument(pin.version_id),
            )
        except (ClientError, BotoCoreError) as error:
            self._raise_read(error, pin)
        name, crc = full_crc(response)
        version = _version(response)
        if crc is None and is_composite(response):
            name, crc = self._composite_crc(pin.bucket, pin.key, version, response)
        whole = msgspec.structs.replace(pin, version_id=version, crc_name=name, crc=crc, crc_later=False)
        return whole, self._pieces_of_whole(whole, response["Body"])

    def _pieces_of_whole(self, pin: PinnedObject, body: Any) -> Iterator[bytes]:
        position = 0
        try:
            for piece in body.iter_chunks(PIECE_BYTES):
                position += len(piece)
                if position > pin.size_bytes:
                    raise Transient(f"{pin.uri}: S3 sent more than its {pin.size_bytes} bytes", object_uri=pin.uri)
                yield piece
        except FlexibleChecksumError as error:
            raise ChecksumMismatch(f"{pin.uri}: {error}", object_uri=pin.uri) from error
        except _STREAM_ERRORS:
            pass
        finally:
            body.close()
        if position < pin.size_bytes:
            yield from self.read(pin, position, pin.size_bytes)

    def _read_span(self, pin: PinnedObject, span: ByteRange) -> Iterator[bytes]:
        """The bytes of a span, resumed from the byte reached whenever a response ends early."""
        position, failures_in_a_row = span.start, 0
        while position < span.end_exclusive:
            reached = position
            try:
                for piece in self._get(pin, ByteRange(position, span.end_exclusive)):
                    position += len(piece)
                    yield piece
            except (*_STREAM_ERRORS, Transient) as error:
                reason: object = error
            else:
                reason = "the response ended early"
            if position >= span.end_exclusive:
                return
            failures_in_a_row = 1 if position > reached else failures_in_a_row + 1
            if failures_in_a_row >= READ_MAX_TRIES:
                raise Transient(
                    f"cannot read {pin.uri} at byte {position}: {reason}", object_uri=pin.uri, offset=position
                )
            time.sleep(backoff_seconds(failures_in_a_row, refused=isinstance(reason, Transient)))

    def _get(self, pin: PinnedObject, span: ByteRange) -> Iterator[bytes]:
        self._count_request()
        try:
            response: Any = self._client.get_object(
                Bucket=pin.bucket,
                Key=pin.key,
                Range=span.http_header(),
                IfMatch=f'"{pin.etag}"',
                **_version_argument(pin.version_id),
            )
        except (ClientError, BotoCoreError) as error:
            self._raise_read(error, pin)
        body = response["Body"]
        try:
            # S3 answers 200 with the whole body to a range it does not understand: that is never taken as the range.
            size_bytes = pin.size_bytes if pin.container_bytes is None else pin.container_bytes
            expected = f"bytes {span.start}-{span.end_exclusive - 1}/{size_bytes}"
            status = response["ResponseMetadata"]["HTTPStatusCode"]
            if status != _PARTIAL_CONTENT or response.get("ContentRange") != expected:
                raise Transient(
                    f"{pin.uri}: asked for {expected}, S3 answered {status} with {response.get('ContentRange')}",
                    object_uri=pin.uri,
                    offset=span.start,
                )
            left = span.size_bytes
            for piece in body.iter_chunks(PIECE_BYTES):
                left -= len(piece)
                if left < 0:  # else all that follows would be taken for what lies further on
                    raise Transient(f"{pin.uri}: S3 sent more than {expected}", object_uri=pin.uri, offset=span.start)
                yield piece
        finally:
            body.close()

    def _count_request(self) -> None:
        with self._counting:
            self._requests += 1

    def _head(self, bucket: str, key: str, version_id: str | None) -> Any:
        self._count_request()
        try:
            return self._client.head_object(
                Bucket=bucket, Key=key, ChecksumMode="ENABLED", **_version_argument(version_id)
            )
        except ClientError as error:
            if failures.is_missing(error):
                return None
            failures.raise_named(self._explained(error, bucket, key, version_id), f"look at s3://{bucket}/{key}")
        except BotoCoreError as error:
            failures.raise_named(error, f"look at s3://{bucket}/{key}")

    def _explained(self, error: ClientError, bucket: str, key: str, version_id: str | None) -> ClientError:
        """A refused HEAD says 403 and nothing else: a GET of one byte says what is missing, and to whom."""
        if not failures.is_denied(error):
            return error
        self._count_request()
        try:
            self._client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0", **_version_argument(version_id))[
                "Body"
            ].close()
        except ClientError as said:
            return said if failures.is_denied(said) else error
        except BotoCoreError:
            pass
        return error

    def _composite_crc(self, bucket: str, key: str, version_id: str | None, response: Any) -> tuple[str, int | None]:
        """The full CRC of a multipart object, combined from its parts' own; (default, None) where these do not."""
        name = next((n for n in CRC_FUNCTIONS if response.get(f"Checksum{n}")), None)
        if name is None:
            return DEFAULT_CRC, None
        combine = CRC_FUNCTIONS[name][1]
        crc, marker, covered = 0, 0, 0
        while True:
            self._count_request()
            try:
                answer: Any = self._client.get_object_attributes(
                    Bucket=bucket,
                    Key=key,
                    ObjectAttributes=["ObjectParts"],
                    PartNumberMarker=marker,
                    **_version_argument(version_id),
                )
            except (ClientError, BotoCoreError) as error:
                failures.raise_named(error, f"read the parts of s3://{bucket}/{key}")
            parts = answer.get("ObjectParts", {})
            for part in parts.get("Parts", []):
                if not part.get(f"Checksum{name}"):
                    return DEFAULT_CRC, None
                crc = combine(crc, crc_value(part[f"Checksum{name}"]), part["Size"])
                covered += part["Size"]
            if not parts.get("IsTruncated"):
                break
            marker = int(parts["NextPartNumberMarker"])
        return (name, crc) if covered == int(response["ContentLength"]) else (DEFAULT_CRC, None)

    def _raise_read(self, error: ClientError | BotoCoreError, pin: PinnedObject) -> NoReturn:
        if isinstance(error, ClientError):
            if failures.is_missing(error):
                raise ObjectMissing(pin.uri, pin.version_id or pin.etag) from error
            if failures.is_precondition_failed(error):
                now = self._head(pin.bucket, pin.key, pin.version_id)
                raise ObjectChanged(pin.uri, pin.etag, _etag(now) if now else None) from error
        failures.raise_named(error, f"read {pin.uri}")


def _version_argument(version_id: str | None) -> dict[str, Any]:
    return {"VersionId": version_id} if version_id is not None else {}


def _etag(response: Any) -> str:
    return str(response["ETag"]).strip('"')


def _version(response: Any) -> str | None:
    """The version id; `null` names an object that any later write replaces, so it pins nothing."""
    version = response.get("VersionId")
    return None if version in (None, "null") else str(version)
