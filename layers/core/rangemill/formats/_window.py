"""The part of an object that a run has fetched and not yet handed on."""

from collections.abc import Iterator

from rangemill.errors import IncompleteProof
from rangemill.formats._tile_crcs import TileCrcs


class Window:
    """Bytes from `base` to `end`, all positions being the object's own.

    It grows piece by piece at its end. What passes at its front enters the tiles' CRCs and is forgotten, so that its
    size is that of what somebody still looks for.
    """

    def __init__(self, base: int, object_bytes: int, pieces: Iterator[bytes], crcs: TileCrcs | None) -> None:
        self.data = bytearray()
        self.base = base
        self.object_bytes = object_bytes
        self._pieces = pieces
        self._crcs = crcs
        self._passed = base

    @property
    def end(self) -> int:
        """Where the bytes fetched so far end."""
        return self.base + len(self.data)

    def more(self) -> bool:
        """Fetch a piece; False at the object's end. Raises `IncompleteProof` when the pieces end before it."""
        room = self.object_bytes - self.end
        if room <= 0:
            return False
        piece = next(self._pieces, None)
        while piece is not None and not piece:
            piece = next(self._pieces, None)
        if piece is None:
            raise IncompleteProof(
                f"the object's bytes ended at {self.end}, not at {self.object_bytes}; the read was cut short",
                offset=self.end,
            )
        self.data += piece if len(piece) <= room else piece[:room]  # a local file may have grown since it was pinned
        return True

    def find(self, needle: bytes, start: int, unit_bytes: int) -> int:
        """Where the needle stands first at or after `start`, at a multiple of `unit_bytes`; -1 when not fetched."""
        found = self.data.find(needle, max(0, start - self.base))
        while found >= 0 and (self.base + found) % unit_bytes:
            found = self.data.find(needle, found + 1)
        return found if found < 0 else self.base + found

    def rfind(self, needle: bytes, start: int, end: int, unit_bytes: int) -> int:
        """Where the needle stands last within `[start, end)`, at a multiple of `unit_bytes`; -1 when nowhere."""
        low, high = max(0, start - self.base), max(0, end - self.base)
        found = self.data.rfind(needle, low, high)
        while found >= 0 and (self.base + found) % unit_bytes:
            found = self.data.rfind(needle, low, found + len(needle) - 1)
        return found if found < 0 else self.base + found

    def cut(self, start: int, end: int) -> bytes:
        """A copy of the bytes `[start, end)`, which must be here."""
        with memoryview(self.data) as view:
            return bytes(view[start - self.base : end - self.base])

    def pass_to(self, position: int) -> None:
        """The bytes before `position`, as far as they were fetched, are done with."""
        position = min(position, self.end)
        if position > self._passed and self._crcs is not None:
            self._crcs.feed(self.data, self._passed - self.base, position - self.base, self.base)
            self._passed = position

    def drop(self, position: int) -> None:
        """Forget the bytes before `position`, as far as they were fetched; they have passed."""
        position = min(position, self.end)
        if position > self.base:
            del self.data[: position - self.base]
            self.base = position
