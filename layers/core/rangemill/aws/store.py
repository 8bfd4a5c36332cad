"""The work bucket, and by full `s3://` URI the places that pipelines write to."""

import time
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from rangemill.aws import failures
from rangemill.backoff import backoff_seconds
from rangemill.errors import Transient
from rangemill.limits import READ_MAX_TRIES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONFLICT_TRIES: Final = 6


class S3Store:
    """`gateways.Store` on S3."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @property
    def bucket(self) -> str:
        """The work bucket's name."""
        return self._bucket

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
        """The bytes under a key, or those of `[start, end)`; None when there is nothing.

        A response that breaks off, holds another range or more than it, or has not the checksum that S3 keeps of the
        document is asked for again. Raises `Transient` when that goes on.
        """
        if span is not None and span[0] >= span[1]:
            raise ValueError(f"not a span: {span}")  # HTTP has no header for no bytes
        bucket, key = self._place(key)
        # S3 keeps a checksum of the whole alone; the client compares it.
        header = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span is not None else {"ChecksumMode": "ENABLED"}
        problem: object = None
        for attempt in range(READ_MAX_TRIES):
            if attempt:
                time.sleep(backoff_seconds(attempt, refused=False))
            try:
                response: Any = self._client.get_object(Bucket=bucket, Key=key, **header)  # type: ignore[arg-type]  # Range is a str
            except ClientError as error:
                if failures.is_missing(error):
                    return None
                failures.raise_named(error, f"read s3://{bucket}/{key}")
            except BotoCoreError as error:
                failures.raise_named(error, f"read s3://{bucket}/{key}")
            told = _told(response, span) if span is not None else None
            if span is not None and told is None:
                problem = f"asked for {header['Range']}, S3 answered with {response.get('ContentRange')}"
                response["Body"].close()
                continue
            try:
                body = bytes(response["Body"].read())
            except (BotoCoreError, HTTPError, OSError) as error:
                problem = error
                continue
            if told is None or len(body) == told:
                return body
            problem = f"{response['ContentRange']} came with {len(body)} bytes"
        raise Transient(f"cannot read s3://{bucket}/{key}: {problem}")

    def put(self, key: str, body: bytes) -> None:
        """Put, over whatever was there."""
        bucket, key = self._place(key)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=body)
        except (ClientError, BotoCoreError) as error:
            failures.raise_named(error, f"write s3://{bucket}/{key}")

    def put_once(self, key: str, body: bytes) -> bool:
        """Put if nothing is there; False when somebody was first."""
        bucket, key = self._place(key)
        for attempt in range(_CONFLICT_TRIES):
            try:
                self._client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as error:
                if failures.is_precondition_failed(error):
                    return False
                if not failures.is_conflict(error):
                    failures.raise_named(error, f"write s3://{bucket}/{key}")
            except BotoCoreError as error:
                failures.raise_named(error, f"write s3://{bucket}/{key}")
            else:
                return True
            time.sleep(backoff_seconds(attempt, refused=False))
        raise Transient(f"cannot write s3://{bucket}/{key}: another write of it was under way each time")

    def delete_below(self, prefix: str) -> int:
        """Delete every key of the work bucket that begins so; how many there were."""
        deleted = 0
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                found = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
                if found:
                    self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": found, "Quiet": True})  # type: ignore[typeddict-item]  # dicts of Key
                    deleted += len(found)
        except (ClientError, BotoCoreError) as error:
            failures.raise_named(error, f"delete s3://{self._bucket}/{prefix}")
        return deleted

    def uri(self, key: str) -> str:
        """`s3://bucket/key`."""
        bucket, key = self._place(key)
        return f"s3://{bucket}/{key}"

    def _place(self, key: str) -> tuple[str, str]:
        if key.startswith("s3://"):
            bucket, _, rest = key.removeprefix("s3://").partition("/")
            return bucket, rest
        return self._bucket, key


def _told(response: Any, span: tuple[int, int]) -> int | None:
    """How many bytes the response says it has of that span; None when it is of another, or of the whole."""
    told, _, size = str(response.get("ContentRange", "")).removeprefix("bytes ").partition("/")
    end = min(span[1], int(size)) if size.isdigit() else 0
    return end - span[0] if told == f"{span[0]}-{end - 1}" else None
