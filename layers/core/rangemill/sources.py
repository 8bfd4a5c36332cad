"""A pinned object at any place: for formats whose beginnings are told by a footer or a header."""

from collections.abc import Iterator
from typing import Final

from rangemill.errors import IncompleteProof
from rangemill.gateways import Objects
from rangemill.messages import PinnedObject

_KEPT_BYTES: Final = 2**20  # an object up to this is read once and kept: one GET instead of several


class PinnedSource:
    """`formats.base.Source` over a pinned object."""

    def __init__(self, reader: Objects, pin: PinnedObject) -> None:
        self.uri = pin.uri
        self.size_bytes = pin.size_bytes
        self._reader = reader
        self._pin = pin
        self._kept: bytes | None = None

    def read(self, start: int, end: int) -> bytes:
        """The bytes `[start, end)`. Raises `IncompleteProof` when the read was cut short, and what the gateway does."""
        if self.size_bytes <= _KEPT_BYTES:
            if self._kept is None:
                self._kept = self._fetch(0, self.size_bytes)
            return self._kept[start:end]
        return self._fetch(start, end)

    def stream(self, start: int, stop_hint: int) -> Iterator[bytes]:
        """Pieces from `start` on, as `gateways.Objects.read`."""
        if self._kept is not None:
            return iter([self._kept[start:]])
        return self._reader.read(self._pin, start, stop_hint)

    def _fetch(self, start: int, end: int) -> bytes:
        parts: list[bytes] = []
        missing = end - start
        pieces = self._reader.read(self._pin, start, end) if missing > 0 else iter(())
        while missing > 0:
            piece = next(pieces, None)
            if piece is None:
                raise IncompleteProof(
                    f"{self.uri}: its bytes ended at {end - missing}, not at {end}; the read was cut short",
                    object_uri=self.uri,
                    offset=end - missing,
                )
            parts.append(bytes(piece[:missing]))
            missing -= len(parts[-1])
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
        return parts[0] if len(parts) == 1 else b"".join(parts)
