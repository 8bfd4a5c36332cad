"""The inputs of a run on this machine: files, and S3 objects read with the environment's credentials."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from rangemill.gateways import Head, Listing, Objects
from rangemill.messages import ObjectRef, PinnedObject
from rangemill_cli.inprocess.files import LocalFiles

if TYPE_CHECKING:
    from rangemill.aws.objects import S3Objects


class Inputs:
    """`gateways.Objects`: files where the bucket is empty, S3 elsewhere (boto3 is imported when it is needed)."""

    def __init__(self) -> None:
        self._files = LocalFiles()
        self.bytes_read = 0  # for the progress bar: what workers read, before anything of it counts

    @cached_property
    def _s3(self) -> "S3Objects":
        from rangemill.aws.objects import S3Objects  # noqa: PLC0415 - boto3 only where an input lies in S3
        from rangemill_cli.clients import s3_client  # noqa: PLC0415

        return S3Objects(s3_client())

    def _of(self, bucket: str) -> Objects:
        return self._s3 if bucket else self._files

    @property
    def requests(self) -> int:
        """How many requests were made so far."""
        return self._files.requests + (self._s3.requests if "_s3" in self.__dict__ else 0)

    def head(self, bucket: str, key: str, version_id: str | None) -> Head | None:
        """See `Objects`."""
        return self._of(bucket).head(bucket, key, version_id)

    def pin(self, ref: ObjectRef, index: int) -> PinnedObject:
        """See `Objects`."""
        return self._of(ref.bucket).pin(ref, index)

    def list_page(self, bucket: str, prefix: str, after: str | None) -> Listing:
        """See `Objects`."""
        return self._of(bucket).list_page(bucket, prefix, after)

    def read(self, pin: PinnedObject, start: int, stop_hint: int) -> Iterator[bytes]:
        """See `Objects`."""
        return self._counted(self._of(pin.bucket).read(pin, start, stop_hint))

    def read_whole(self, pin: PinnedObject) -> tuple[PinnedObject, Iterator[bytes]]:
        """See `Objects`."""
        whole, pieces = self._of(pin.bucket).read_whole(pin)
        return whole, self._counted(pieces)

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.bytes_read += len(piece)
            yield piece
