"""Pieces of an object put together until they are long enough for what a format looks at."""

from collections.abc import Iterator

from rangemill.errors import IncompleteProof


def gathered(have: bytes, at: int, pieces: Iterator[bytes], least: int, object_bytes: int) -> bytes:
    """`have`, which begins at byte `at`, and what follows it: so many bytes at the least, or all that there are.

    Raises `IncompleteProof` when the pieces end before the object does.
    """
    parts, size, room = [have], len(have), object_bytes - at
    while size < min(least, room):
        piece = next(pieces, None)
        if piece is None:
            end = at + size
            raise IncompleteProof(
                f"the object's bytes ended at {end}, not at {object_bytes}; the read was cut short", offset=end
            )
        parts.append(piece[: room - size])  # a local file may have grown since it was pinned
        size += len(parts[-1])
    return parts[-1] if size == len(parts[-1]) else b"".join(parts)
