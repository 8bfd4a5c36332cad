"""Reading small spans of pinned objects."""

from rangemill.gateways import Objects
from rangemill.messages import PinnedObject


def read_span(reader: Objects, pin: PinnedObject, start: int, end: int) -> bytes:
    """The stored bytes `[start, end)` of an object, in one piece; only for small spans."""
    pieces: list[bytes] = []
    missing = end - start
    if missing <= 0:
        return b""
    for piece in reader.read(pin, start, end):
        pieces.append(bytes(piece[:missing]))
        missing -= len(pieces[-1])
        if missing == 0:
            break
    return b"".join(pieces)
