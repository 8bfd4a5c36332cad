"""A file that streams past once and whose size only its end tells, as a `Source` for those who read it forwards."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rangemill.errors import BadRequest, RangemillError

UNKNOWN_BYTES: Final = 2**62  # stands for the size while it is not known
_AHEAD_BYTES: Final = 64  # of which it is known that they are there, or that the file ends before


NAMELESS: Final = "it"  # the uri of a source whose object only the caller knows


@contextmanager
def nameless() -> Iterator[None]:
    """Leaves it to the caller to name the object in errors of a source that is `NAMELESS`."""
    try:
        yield
    except RangemillError as error:
        if error.object_uri == NAMELESS:
            error.object_uri = None
            error.message = error.message.removeprefix(f"{NAMELESS}: ")
            error.args = (error.message,)
        raise


class ForwardSource:
    """See `Source`. `read` begins at 0, and is not asked any more once there was a `stream`."""

    def __init__(self, uri: str, pieces: Iterator[bytes]) -> None:
        self.uri = uri
        self._pieces = pieces
        self._ahead: deque[bytes] = deque()
        self._ahead_bytes = 0
        self._given = 0
        self._ended = False

    @property
    def size_bytes(self) -> int:
        """The file's size, or more than any has while its last bytes have not been seen."""
        return self._given + self._ahead_bytes if self._ended else UNKNOWN_BYTES

    def read(self, start: int, end: int) -> bytes:
        """See `Source`."""
        if self._given:
            raise BadRequest("a file that streams past is not read at any place")
        self._fill(end + _AHEAD_BYTES)
        return b"".join(self._ahead)[start:end]

    def stream(self, start: int, stop_hint: int) -> Iterator[bytes]:  # noqa: ARG002 - the interface
        """See `Source`."""
        while True:
            self._fill(1)
            if not self._ahead:
                return
            piece = self._ahead.popleft()
            self._ahead_bytes -= len(piece)
            self._given += len(piece)
            self._fill(_AHEAD_BYTES)  # so that whoever has this piece knows whether it is the last one
            if self._given > start:
                yield piece[max(0, start - self._given + len(piece)) :]

    def _fill(self, least: int) -> None:
        while self._ahead_bytes < least and not self._ended:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
            elif piece:
                self._ahead.append(piece)
                self._ahead_bytes += len(piece)
