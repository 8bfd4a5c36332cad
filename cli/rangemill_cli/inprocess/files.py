"""Input objects that are files of this machine, pinned by size, time of change and inode as S3's are by ETag."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from rangemill.errors import AccessRefused, BadRequest, ObjectChanged, ObjectMissing
from rangemill.gateways import Head, Listing
from rangemill.ledger import CRC_FUNCTIONS, DEFAULT_CRC
from rangemill.limits import PIECE_BYTES
from rangemill.messages import ObjectRef, PinnedObject


class LocalFiles:
    """`gateways.Objects` over files: the bucket is empty and the key is the path.

    A file's own CRC is taken when it is pinned, by reading it once from front to end: the proof then holds what the
    workers read in ranges against it, as it does with the CRC that S3 keeps.
    """

    def __init__(self) -> None:
        self._requests = 0

    @property
    def requests(self) -> int:
        """How many times a file was opened or looked at so far."""
        return self._requests

    def head(self, bucket: str, key: str, version_id: str | None) -> Head | None:  # noqa: ARG002 - the interface
        """The file as it is now; None when it is gone."""
        status = self._stat(key)
        if status is None:
            return None
        ref = ObjectRef("", key, etag=etag_of(status), size_bytes=status.st_size)
        return Head(ref, datetime.fromtimestamp(status.st_mtime, UTC))

    def pin(self, ref: ObjectRef, index: int) -> PinnedObject:
        """See `Objects`; reads the file for its CRC. Raises `BadRequest` for what is no regular file."""
        status = self._stat(ref.key)
        if status is None:
            raise ObjectMissing(ref.key, ref.etag or "present")
        if not S_ISREG(status.st_mode):
            raise BadRequest(f"{ref.key} is not a regular file", object_uri=ref.key)
        if ref.etag is not None and ref.etag != etag_of(status):
            raise _changed(ref.key, ref.etag, etag_of(status))
        pin = PinnedObject(index, "", ref.key, etag_of(status), status.st_size)
        crc = 0
        for piece in self.read(pin, 0, pin.size_bytes):
            crc = CRC_FUNCTIONS[DEFAULT_CRC][0](piece, crc)
        return PinnedObject(index, "", ref.key, pin.etag, pin.size_bytes, None, DEFAULT_CRC, crc)

    def list_page(self, bucket: str, prefix: str, after: str | None) -> Listing:
        """Not needed: the command walks folders itself."""
        raise NotImplementedError

    def read(self, pin: PinnedObject, start: int, stop_hint: int) -> Iterator[bytes]:  # noqa: ARG002 - no eager reads
        """Pieces from `start` to the object's end, each checked against the pin after it was read.

        Of a member of an archive the positions are in the member.
        """
        self._requests += 1
        left = pin.size_bytes - start
        try:
            with Path(pin.key).open("rb", buffering=0) as file:
                _require_same(file.fileno(), pin)
                file.seek(pin.base + start)
                while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
                    _require_same(file.fileno(), pin)
                    left -= len(piece)
                    yield piece
        except FileNotFoundError:
            raise ObjectMissing(pin.key, pin.etag) from None
        except OSError as error:
            raise AccessRefused(f"cannot read {pin.key}: {error.strerror}", object_uri=pin.key) from error

    def read_whole(self, pin: PinnedObject) -> tuple[PinnedObject, Iterator[bytes]]:
        """The same as `read` from the start: files are pinned whole from the beginning."""
        return pin, self.read(pin, 0, pin.size_bytes)

    def _stat(self, path: str) -> os.stat_result | None:
        self._requests += 1
        try:
            return Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise AccessRefused(f"cannot look at {path}: {error.strerror}", object_uri=path) from error


def etag_of(status: os.stat_result) -> str:
    """What stands for an ETag: another one whenever the file was written to or replaced."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"


def _require_same(descriptor: int, pin: PinnedObject) -> None:
    now = etag_of(os.fstat(descriptor))
    if now != pin.etag:
        raise _changed(pin.key, pin.etag, now)


def _changed(path: str, expected: str, actual: str) -> ObjectChanged:
    error = ObjectChanged(path, expected, actual)
    error.message = f"{path} was changed while the job ran; run it again once nothing writes to the file"
    return error
