"""A whole object as a record: what it is, and its bytes as a stream over bounded memory."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rangemill.blocks import Whole
from rangemill.engines.base import ObjectContext

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ObjectRecord(io.BufferedIOBase):
    """The record of `unit: object`: a binary file that can be read forwards, once, inside `apply`.

    `for piece in record` gives its bytes in pieces of about a MiB, `record.read(n)` at most n of them, `record.read()`
    all that are left; what expects a binary file (`io.TextIOWrapper`, PIL, `tarfile` with `r|`) takes it as it is.
    """

    def __init__(self, of: ObjectContext, whole: Whole) -> None:
        super().__init__()
        self.bucket = of.bucket
        self.key = of.key
        self.member = of.member
        self.uri = of.uri
        self.version_id = of.version_id
        self.size_bytes = whole.size_bytes
        self._pieces = whole.pieces
        self._piece = b""
        self._used = 0

    def readable(self) -> bool:
        """Always: it is there to be read."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, fewer only at the end; without a size all that are left."""
        self._require_open()
        left = -1 if size is None or size < 0 else size
        found: list[bytes] = []
        while left and self._fill():
            end = len(self._piece) if left < 0 else min(len(self._piece), self._used + left)
            found.append(self._piece[self._used : end])
            left -= (end - self._used) if left > 0 else 0
            self._used = end
        return b"".join(found)

    def read1(self, size: int = -1, /) -> bytes:
        """What is there, at most `size` bytes."""
        self._require_open()
        if not size or not self._fill():
            return b""
        end = len(self._piece) if size < 0 else min(len(self._piece), self._used + size)
        begin, self._used = self._used, end
        return self._piece[begin:end]

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill a buffer; how many bytes were put into it."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def __iter__(self) -> Iterator[bytes]:  # pieces, not lines: a line may be all of it
        return self

    def __next__(self) -> bytes:
        piece = self.read1()
        if not piece:
            raise StopIteration
        return piece

    def _fill(self) -> bool:
        """Whether there is a byte to give."""
        while self._used >= len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                self._piece, self._used = b"", 0
                return False
            self._piece, self._used = piece, 0
        return True

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.uri} can be read only inside `apply`, while it is the record")
