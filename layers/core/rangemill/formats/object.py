"""Whole objects: an object is one record, handed over as a stream; nothing in it is looked at. For Python only.

An empty object is a record as well.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from rangemill.blocks import RangeDone, Whole
from rangemill.errors import IncompleteProof
from rangemill.formats.base import Crc, Event, Sample, Settled
from rangemill.ranges import ByteRange

MAY_BE_COMPRESSED: Final = False  # an object is handed over as it lies


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under `format:` beside `type: object`: nothing of its own."""


def look_behind(settled: Settled) -> int:  # noqa: ARG001 - the interface
    """See `FormatModule`."""
    return 0


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:  # noqa: ARG001 - the interface
    """See `FormatModule`. That it is for Python only is seen where the pipeline is parsed."""
    return Settled("object", options)


def align(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    settled: Settled,  # noqa: ARG001 - the interface
    crc: Crc,
    should_stop: Callable[[], bool],  # noqa: ARG001 - there is nothing in it where one could stop
) -> Iterator[Event]:
    """See `FormatModule`: one record, whatever the engine reads of it. Raises `IncompleteProof`."""
    if (run.start, run.end_exclusive) != (0, object_bytes) or range_bytes < object_bytes:
        raise IncompleteProof(f"a whole object cannot be read from {run.start} to {run.end_exclusive}")
    stream = _Stream(pieces, object_bytes, crc)
    yield Whole(stream.pieces(), object_bytes)
    stream.drain()
    yield RangeDone(run, stream.crc, 0, object_bytes, 1)


def empty(settled: Settled) -> Iterator[Event]:  # noqa: ARG001 - the interface
    """The one record of an object without bytes."""
    yield Whole(iter(()), 0)


def records(data: bytes, settled: Settled, record_type: Any) -> Iterator[Any]:
    """There are no blocks of whole objects."""
    raise NotImplementedError


def locate(data: bytes, index: int) -> int:  # noqa: ARG001 - the interface
    """There are no blocks of whole objects."""
    return 0


class _Stream:
    """The object's bytes as they pass: their CRC, and a failure that user code must not be able to swallow."""

    def __init__(self, pieces: Iterator[bytes], object_bytes: int, crc: Crc) -> None:
        self.crc = 0
        self._crc_of = crc
        self._pieces = pieces
        self._left = object_bytes
        self._failure: Exception | None = None

    def pieces(self) -> Iterator[bytes]:
        while (piece := self._next()) is not None:
            yield piece

    def drain(self) -> None:
        """Read what is left. Raises what reading raised, now or before."""
        while self._next() is not None:
            pass

    def _next(self) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        if not self._left:
            return None
        try:
            piece = next(self._pieces, None)
            if piece is None:
                raise IncompleteProof(f"the object ended {self._left} bytes before its end")  # noqa: TRY301
        except Exception as error:
            self._failure = error
            raise
        piece = piece[: self._left]
        self._left -= len(piece)
        self.crc = self._crc_of(piece, self.crc)
        return piece
