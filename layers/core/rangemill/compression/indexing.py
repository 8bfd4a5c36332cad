"""The indexer: a worker that inflates a gzip object for the sake of its restart points and applies nothing.

Members' headers and trailers are checked as in any pass. What it makes lies in the work bucket; another turn, of this
job or of a later one, goes on where it ended.
"""

import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, Final

from rangemill.compression import _points
from rangemill.compression._gzip_session import INDEXER, GzipSession
from rangemill.compression._points import PointStore
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Unit
from rangemill.compression.reading import refuse_bomb
from rangemill.errors import RangemillError
from rangemill.gateways import Objects, Store
from rangemill.messages import IndexTurn, PinnedObject
from rangemill.nesting import Nesting
from rangemill.ranges import ByteRange
from rangemill.spans import read_span

_NOTE_PAGES: Final = 64  # half a GiB of the stored object, some seconds: what is lost when a worker dies


def index(
    pin: PinnedObject,
    turn: IndexTurn,
    objects: Objects,
    store: Store,
    nesting: Nesting,
    should_stop: Callable[[], bool],
    seconds: Callable[[], float] = time.monotonic,
) -> int:
    """Go on from the turn's start; the stored byte before which all points are there, the object's size at its end.

    It ends with a page: the first one at which the turn's time is over or `should_stop` says so, and never before one
    was made, so that every turn gets further. Raises `BadCompression`, and what reading raises.
    """
    points = PointStore(store, pin)
    if points.directory() is not None:
        return pin.size_bytes
    until = seconds() + turn.seconds
    begin = max(turn.start, points.progress()) // _points.PAGE_BYTES * _points.PAGE_BYTES
    pieces: Any = objects.read(pin, begin, pin.size_bytes)
    with closing(pieces):
        stored = Stored(pieces, ByteRange(begin, pin.size_bytes), pin.size_bytes, pin.size_bytes, _no_crc)
        session = GzipSession(stored, INDEXER, Around(pin, partial(read_span, objects, pin), store))
        try:
            _go_on(session, stored, nesting, points, lambda: seconds() >= until or should_stop())
        except RangemillError as error:
            error.of_object(pin.uri)
            raise
    if session.indexed < pin.size_bytes:
        session.flush()
        points.keep_progress(session.indexed)
    return session.indexed


def _go_on(
    session: GzipSession, stored: Stored, nesting: Nesting, points: PointStore, is_over: Callable[[], bool]
) -> None:
    noted = seen = stored.position
    logical = 0
    for event in session.decode():
        if not isinstance(event, Unit):
            logical += len(event)
            refuse_bomb(nesting, "gzip", max(1, stored.position), logical)
            continue
        logical = event.logical or 0
        if session.indexed <= seen:
            continue
        seen = session.indexed
        if is_over():
            return
        if seen - noted >= _NOTE_PAGES * _points.PAGE_BYTES:
            noted = seen
            session.flush()
            points.keep_progress(noted)


def _no_crc(_: bytes, value: int) -> int:
    return value  # the workers that apply what is indexed prove its bytes
