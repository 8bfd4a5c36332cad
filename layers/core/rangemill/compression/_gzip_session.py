"""Inflating a run of a gzip object, whichever way its units are told."""

import zlib
from collections.abc import Iterator
from typing import Final

from rangemill.compression import BEHIND_INDEXER, STREAM, _gzip_resync, _points
from rangemill.compression import _gzip_header as headers
from rangemill.compression._inflate import OUT_BYTES, BlockInflater, DeflateError, PlainInflater, inflater, library
from rangemill.compression._known_points import KnownPoints
from rangemill.compression._points import Point, PointStore, SoFar
from rangemill.compression._recorder import Recorder
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Decoded, Unit, corrupt
from rangemill.errors import BadCompression, IntegrityError
from rangemill.ledger import CRC_FUNCTIONS

_crc32 = CRC_FUNCTIONS["CRC32"][0]
_TRAILER_BYTES: Final = 8
_HEADER_BYTES: Final = 4 * 2**10  # longer ones are rare, and looked at again
_WINDOW_LEVEL: Final = 1

INDEXER: Final = "gzip:index"  # a pass for the sake of its points, which goes on where an earlier one ended
RECORDING: Final = (STREAM, INDEXER)
BETWEEN_POINTS: Final = ("gzip:points", BEHIND_INDEXER)


class GzipSession:
    """See `Session`."""

    def __init__(self, stored: Stored, mode: str, around: Around) -> None:
        self._stored = stored
        self._mode = mode
        self._pin = around.pin
        kept = around.store is not None and library() is not None and mode in (*RECORDING, *BETWEEN_POINTS)
        self._points = PointStore(around.store, around.pin) if kept and around.store is not None else None
        self._recorder: Recorder | None = None
        self._known: KnownPoints | None = None
        self._counts = mode not in ("bgzf", "gzip:members")  # units know their logical offsets
        self._stops = False
        self._logical = 0
        self._crc = self._size = 0  # of the member so far
        self._stretch_crc = 0  # of the output since the last known point
        self._unit_stored = 0  # where the last unit begins
        self._inflater: BlockInflater | PlainInflater | None = None
        self._resume_bits = 0

    @property
    def indexed(self) -> int:
        """The stored byte before which everything is indexed, of a pass that records points."""
        return self._recorder.indexed if self._recorder is not None else 0

    def flush(self) -> None:
        """Wait until the points so far are written."""
        if self._points is not None:
            self._points.close()

    def decode(self) -> Iterator[Decoded]:
        """See `Session`."""
        if not self._begin():
            return
        if self._counts:
            yield Unit(self._stored.position, self._logical)
        in_member = self._inflater is not None
        while in_member or self._next_member():
            if not in_member:
                header = self._header()
                yield from self._unit_at_header(header)
                self._stored.advance(header.size)
            in_member = False
            yield from self._member()
            self._trailer()
        self._finish()

    def stop_soon(self) -> None:
        """See `Session`: a place to go on from at the next block's end."""
        self._stops = True

    def stopped(self, stored: int) -> None:
        """See `Session`: the point at `stored` was kept when its unit began."""
        if self._recorder is not None:
            self._recorder.stopped(stored)

    # --- where to begin ---

    def _begin(self) -> bool:
        """Go to the run's first unit; False when it has none and was passed."""
        stored = self._stored
        if self._mode in BETWEEN_POINTS:
            return self._begin_at_known_point()
        if self._mode in RECORDING and (stored.position == 0 or self._pin.whole or self._mode == INDEXER):
            self._begin_recording()
            return True
        if stored.position == 0:
            return True
        if self._mode in ("bgzf", "gzip:members"):
            return _gzip_resync.find(stored, self._mode == "bgzf")
        stored.advance_to(stored.run.end_exclusive)
        return False

    def _begin_recording(self) -> None:
        """At the object's start, where another worker stopped, or, for the indexer, where a page is the next one."""
        stored, points = self._stored, self._points
        if points is None:
            if stored.position:
                raise IntegrityError("this machine has no zlib to go on with what another worker began")
            return
        begin: SoFar | None = None
        if stored.position and self._mode == INDEXER:
            number = stored.position // _points.PAGE_BYTES
            before = points.page(number - 1)
            begin = SoFar(before.next_stored // _points.PAGE_BYTES, [], before.next_stored, before.next_logical, 0)
            stored.advance_to(begin.stored)
        elif stored.position:
            begin = points.so_far(stored.position)
        if stored.position:
            self._resume(points.point(stored.position))
        self._recorder = Recorder(points, self._pin.size_bytes, begin)

    def _begin_at_known_point(self) -> bool:
        stored, points = self._stored, self._points
        if points is None:
            raise IntegrityError("this machine has no zlib to begin at restart points with")
        self._known = KnownPoints(points, stored.run)
        if self._known.current is None:
            stored.advance_to(stored.run.end_exclusive)
            return False
        first = self._known.current.stored
        stored.advance_to(first)
        if first:
            self._resume(points.point(first))
        return True

    def _resume(self, point: Point) -> None:
        self._logical = point.logical
        self._unit_stored = point.stored
        if point.is_header:
            return
        self._crc, self._size = point.crc, point.member_bytes
        value = self._stored.peek(1)[0] >> (8 - point.bits) if point.bits else 0
        self._inflater = BlockInflater(point.plain_window(), point.bits, value)
        self._resume_bits = point.bits

    # --- members ---

    def _next_member(self) -> bool:
        """Whether another member follows; zeros between and after members are padding."""
        stored = self._stored
        while stored.position and (chunk := stored.chunk()) and not chunk[0]:
            stored.advance(len(chunk) - len(chunk.lstrip(b"\0")))
        return stored.left > 0

    def _header(self) -> headers.Header:
        """The member's header at the position, and a stream that is ready for what follows it."""
        stored = self._stored
        try:
            try:
                header = headers.parse(stored.peek(_HEADER_BYTES))
            except headers.HeaderError:
                header = headers.parse(stored.peek(headers.HEADER_MAX_BYTES))
        except headers.HeaderError as error:
            problem = "the data ends inside a header: it is truncated" if stored.left < _HEADER_BYTES else str(error)
            raise corrupt("gzip", problem, stored.position) from None
        self._crc = self._size = 0
        if self._inflater is None:
            self._inflater = inflater()
        else:
            self._inflater.reset()
        return header

    def _unit_at_header(self, header: headers.Header) -> Iterator[Decoded]:
        stored = self._stored
        if self._mode == "gzip:members" or (self._mode == "bgzf" and (header.block_bytes or not stored.position)):
            yield Unit(stored.position)
        elif self._is_unit_due(stored.position):
            yield from self._unit(Point(stored.position, self._logical, -1, 0, 0))

    def _member(self) -> Iterator[Decoded]:
        """The member's output from where the inflater stands."""
        stored, stream = self._stored, self._inflater
        if stream is None:
            raise AssertionError  # a header or a point made it
        # The last byte taken may belong to the next block as well: it is passed one step later.
        fed = stored.position
        if self._resume_bits:  # the byte in which the first block begins was given with the point's bits
            fed, self._resume_bits = fed + 1, 0
        data, at = b"", 0
        while not stream.ended:
            if at == len(data):
                ahead = fed - stored.position
                if len(stored.peek(ahead + 1)) <= ahead:
                    raise corrupt("gzip", "the data ends inside a member: it is truncated", fed)
                data, at = stored.chunk(), ahead
            try:
                taken, out = stream.inflate(data, at, *self._target())
            except DeflateError as error:
                raise corrupt("gzip", str(error), fed) from None
            at += taken
            fed += taken
            stored.advance_to(max(stored.position, fed - 1))
            if out:
                self._came(out)
                yield out
            block_at = fed - 1 if stream.unused_bits else fed
            if stream.at_boundary and self._is_unit_due(block_at):
                stored.advance_to(block_at)
                yield from self._unit(self._boundary(stream, block_at))
        stored.advance_to(fed)

    def _came(self, out: bytes) -> None:
        self._logical += len(out)
        self._size += len(out)
        self._crc = _crc32(out, self._crc)
        if self._recorder is not None:
            self._recorder.output(out)
        elif self._known is not None:
            self._stretch_crc = _crc32(out, self._stretch_crc)

    def _boundary(self, stream: BlockInflater | PlainInflater, stored: int) -> Point:
        window = zlib.compress(stream.window(), _WINDOW_LEVEL) if self._recorder is not None else b""
        return Point(stored, self._logical, stream.unused_bits, self._crc, self._size, window)

    def _trailer(self) -> None:
        stored = self._stored
        found = stored.peek(_TRAILER_BYTES)
        if len(found) < _TRAILER_BYTES:
            raise corrupt("gzip", "the data ends inside a member's trailer: it is truncated", stored.position)
        if found[:4] != self._crc.to_bytes(4, "little"):
            raise corrupt("gzip", "the CRC-32 of a member's output is not the one in its trailer", stored.position)
        if found[4:] != (self._size & 0xFFFFFFFF).to_bytes(4, "little"):
            raise corrupt("gzip", "a member's output is not as long as its trailer says", stored.position)
        stored.advance(_TRAILER_BYTES)

    # --- units ---

    def _target(self) -> tuple[int, bool]:
        """How much output to ask for, and whether to stop at the next block's end.

        Up to one byte before a unit is due: a block that ends there exactly could be passed without notice.
        """
        due: int | None = None
        if self._recorder is not None:
            due = self._logical if self._stops else self._recorder.due_at
        elif self._known is not None and self._known.following is not None and self._known.total is None:
            due = self._known.following[1]
        if due is None:
            return OUT_BYTES, False
        missing = due - 1 - self._logical
        return (min(missing, OUT_BYTES), False) if missing > 0 else (OUT_BYTES, True)

    def _is_unit_due(self, stored: int) -> bool:
        """Whether a unit begins at that stored byte, where a block or a member does."""
        if self._recorder is not None:
            return stored > self._unit_stored and (self._stops or self._is_point_due(stored))
        known = self._known
        if known is None or known.following is None or known.total is not None:
            return False
        return stored > self._unit_stored and self._logical >= known.following[1]

    def _is_point_due(self, stored: int) -> bool:
        recorder = self._recorder
        return recorder is not None and self._logical >= recorder.due_at and stored > recorder.last_point

    def _unit(self, point: Point) -> Iterator[Decoded]:
        if self._known is not None:
            following = self._known.following
            if following is not None and point.stored < following[0] and self._logical == following[1]:
                return  # a block without output
            if (point.stored, point.logical) != following:
                raise corrupt("gzip", "its restart points do not fit it", point.stored)
            self._check_stretch()
            self._known.go_on()
            self._stretch_crc = 0
        elif self._recorder is not None:
            if self._is_point_due(point.stored):
                self._recorder.point(point)
            else:
                self._recorder.place(point)
        self._unit_stored = point.stored
        yield Unit(point.stored, self._logical)

    def _check_stretch(self) -> None:
        at = self._known.current if self._known is not None else None
        if at is not None and self._stretch_crc != at.crc:
            raise corrupt("gzip", "the output from here on is not what the first pass over the object gave", at.stored)

    def _finish(self) -> None:
        """The object's end was reached."""
        if self._recorder is not None:
            self._recorder.finish(self._logical)
        elif self._known is not None and self._known.total is not None:
            self._check_stretch()
            if self._logical != self._known.total:
                raise BadCompression(
                    f"its output ends at {self._logical}, not at {self._known.total} as its index says"
                )
