"""Inflating a run of a gzip object, whichever way its units are told."""

import zlib
from collections.abc import Iterator
from typing import Final

from rangemill.compression import _gzip_header as headers
from rangemill.compression import _gzip_resync, _points
from rangemill.compression._inflate import OUT_BYTES, BlockInflater, DeflateError, PlainInflater, inflater, library
from rangemill.compression._points import Directory, Mark, Point, PointStore
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Decoded, Unit, corrupt
from rangemill.errors import BadCompression, IntegrityError
from rangemill.ledger import CRC_FUNCTIONS

_crc32 = CRC_FUNCTIONS["CRC32"][0]
_TRAILER_BYTES: Final = 8
_HEADER_BYTES: Final = 4 * 2**10  # longer ones are rare, and looked at again
_WINDOW_LEVEL: Final = 1


class GzipSession:
    """See `Session`."""

    def __init__(self, stored: Stored, mode: str, around: Around) -> None:
        self._stored = stored
        self._mode = mode
        self._pin = around.pin
        kept = around.store is not None and library() is not None and mode in ("gzip", "gzip:points")
        self._points = PointStore(around.store, around.pin) if kept and around.store is not None else None
        self._records = self._points is not None and mode == "gzip"
        self._counts = mode not in ("bgzf", "gzip:members")  # units know their logical offsets
        self._logical = 0
        self._crc = self._size = 0  # of the member so far
        self._stretch_crc = 0  # of the output since the last unit
        self._last_unit = 0  # its logical offset
        self._marks: list[Mark] = []  # the units before the last one, with the CRCs of their stretches
        self._unit_stored = 0
        self._expected: list[Mark] = []  # what the directory says: the current unit and those that follow
        self._total: int | None = None
        self._inflater: BlockInflater | PlainInflater | None = None
        self._resume_bits = 0
        self._spacing = _points.SPACING_BYTES

    def decode(self) -> Iterator[Decoded]:
        """See `Session`."""
        if not self._begin():
            return
        if self._mode in ("gzip", "gzip:points", "gzip:small"):
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
        """See `Session`: a point at the next block's end."""
        self._spacing = 1

    def stopped(self, stored: int) -> None:
        """See `Session`: the point at `stored` was kept when its unit began."""
        if self._points is None or not self._records:
            return
        before = [mark for mark in self._all_marks() if mark.stored < stored]
        self._points.keep_so_far(stored, before)

    # --- where to begin ---

    def _begin(self) -> bool:
        """Go to the run's first unit; False when it has none and was passed."""
        stored = self._stored
        if self._mode == "gzip:points":
            return self._begin_at_known_point()
        if stored.position == 0:
            return True
        if self._mode in ("bgzf", "gzip:members"):
            return _gzip_resync.find(stored, self._mode == "bgzf")
        if self._mode == "gzip" and self._pin.whole:
            if self._points is None:
                raise IntegrityError("this machine has no zlib to go on with what another worker began")
            self._marks = self._points.so_far(stored.position)
            self._resume(self._points.point(stored.position))
            return True
        stored.advance_to(stored.run.end_exclusive)
        return False

    def _begin_at_known_point(self) -> bool:
        stored, points = self._stored, self._points
        directory = points.directory() if points is not None else None
        if points is None or directory is None:
            raise IntegrityError(
                f"{self._pin.uri}: its restart points are gone from the work bucket; submit the job again",
                object_uri=self._pin.uri,
            )
        run = stored.run
        self._expected = [mark for mark in directory.marks if mark.stored >= run.start]
        self._total = directory.total
        if not self._expected or self._expected[0].stored >= run.end_exclusive:
            stored.advance_to(run.end_exclusive)
            return False
        first = self._expected[0].stored
        stored.advance_to(first)
        if first:
            self._resume(points.point(first))
        return True

    def _resume(self, point: Point) -> None:
        self._logical = self._last_unit = point.logical
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
        elif self._is_unit_due() and stored.position > self._unit_stored:
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
                self._logical += len(out)
                self._size += len(out)
                self._crc = _crc32(out, self._crc)
                if self._counts:
                    self._stretch_crc = _crc32(out, self._stretch_crc)
                yield out
            block_at = fed - 1 if stream.unused_bits else fed
            if stream.at_boundary and self._is_unit_due() and block_at > self._unit_stored:
                stored.advance_to(block_at)
                yield from self._unit(self._boundary(stream, block_at))
        stored.advance_to(fed)

    def _boundary(self, stream: BlockInflater | PlainInflater, stored: int) -> Point:
        window = zlib.compress(stream.window(), _WINDOW_LEVEL) if self._records else b""
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
        """How much output to ask for, and whether to stop at the next block's end."""
        if self._mode == "gzip:points" and len(self._expected) > 1:
            missing = self._expected[1].logical - 1 - self._logical
            return (min(missing, OUT_BYTES), False) if missing > 0 else (OUT_BYTES, True)
        if self._records:
            missing = self._last_unit + self._spacing - self._logical
            return (min(missing, OUT_BYTES), False) if missing > 0 else (OUT_BYTES, True)
        return OUT_BYTES, False

    def _is_unit_due(self) -> bool:
        if self._mode == "gzip:points":
            return len(self._expected) > 1 and self._logical >= self._expected[1].logical
        return self._records and self._logical >= self._last_unit + self._spacing

    def _unit(self, point: Point) -> Iterator[Decoded]:
        if self._mode == "gzip:points":
            following = self._expected[1]
            if point.stored < following.stored and self._logical == following.logical:
                return  # a block without output
            if (point.stored, point.logical) != (following.stored, following.logical):
                raise corrupt("gzip", "its restart points do not fit it", point.stored)
            self._check_stretch()
            self._expected.pop(0)
        elif self._records and self._points is not None:
            self._marks.append(Mark(self._unit_stored, self._last_unit, self._stretch_crc))
            self._points.keep(point)
        self._unit_stored, self._last_unit, self._stretch_crc = point.stored, self._logical, 0
        yield Unit(point.stored, self._logical)

    def _check_stretch(self) -> None:
        if self._stretch_crc != self._expected[0].crc:
            raise corrupt(
                "gzip",
                "the output from here on is not what the first pass over the object gave",
                self._expected[0].stored,
            )

    def _all_marks(self) -> list[Mark]:
        return [*self._marks, Mark(self._unit_stored, self._last_unit, self._stretch_crc)]

    def _finish(self) -> None:
        """The object's end was reached."""
        if self._mode == "gzip:points":
            self._check_stretch()
            if self._logical != self._total:
                raise BadCompression(f"its output ends at {self._logical}, not at {self._total} as its index says")
        elif self._records and self._points is not None:
            self._points.keep_directory(Directory(self._all_marks(), self._logical))
