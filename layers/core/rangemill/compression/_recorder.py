"""The restart points of a pass over a gzip object, from its beginning or from where another worker left off."""

from collections import deque
from typing import Final

from rangemill.compression import _points
from rangemill.compression._points import Directory, Mark, Page, Point, PointStore, SoFar
from rangemill.ledger import CRC_FUNCTIONS

_crc32 = CRC_FUNCTIONS["CRC32"][0]
_KEPT_PLACES: Final = 4096  # where a pass may yet be ended: 64 GiB of output behind, and no record is that long


class Recorder:
    """Takes the output of a pass and what lies at its places, and writes points and pages as they are complete.

    Points are due at multiples of the spacing, whoever looks and wherever he began; other places (where a worker stops)
    are kept for the one that goes on there and named in no page.
    """

    def __init__(self, points: PointStore, object_bytes: int, begin: SoFar | None = None) -> None:
        begin = begin or SoFar(0, [], 0, 0, 0)
        self._points = points
        self._pages = -(-object_bytes // _points.PAGE_BYTES)
        self._object_bytes = object_bytes
        self._page = begin.page
        self._marks = list(begin.marks)
        self._stored, self._logical = begin.stored, begin.logical  # of the last point
        self._crc = begin.crc  # of the output since then
        # By place: how many of which list's marks were there, and what `SoFar` has else. The lists only grow.
        self._places: deque[tuple[int, int, list[Mark], int, int, int, int]] = deque(maxlen=_KEPT_PLACES)
        self.due_at = self._next_due()  # the logical offset at which the next point is due

    @property
    def indexed(self) -> int:
        """The stored byte before which all pages are complete."""
        return min(self._page * _points.PAGE_BYTES, self._object_bytes)

    @property
    def last_point(self) -> int:
        """The stored offset of the last point."""
        return self._stored

    def output(self, data: bytes) -> None:
        """The next bytes of output."""
        self._crc = _crc32(data, self._crc)

    def point(self, point: Point) -> None:
        """A point that was due."""
        self._points.keep(point)
        self._end_stretch(point.stored, point.logical, self._page_of(point.stored), is_last=False)
        self._note(point.stored)

    def place(self, point: Point) -> None:
        """A place where a worker may stop although no point is due."""
        self._points.keep(point)
        self._note(point.stored)

    def stopped(self, stored: int) -> None:
        """The pass ends at that place: another worker goes on there."""
        for at, page, marks, count, last_stored, last_logical, crc in reversed(self._places):
            if at == stored:
                so_far = SoFar(page, marks[:count], last_stored, last_logical, crc)
                self._points.keep_so_far(stored, so_far)
                return
        raise KeyError(stored)

    def finish(self, total: int) -> None:
        """The object's end was reached; its output ends at `total`."""
        self._end_stretch(self._object_bytes, total, self._pages, is_last=True)
        self._points.keep_directory(Directory(total))

    def _end_stretch(self, stored: int, logical: int, page: int, *, is_last: bool) -> None:
        self._marks.append(Mark(self._stored, self._logical, self._crc))
        while self._page < page:
            self._points.keep_page(self._page, Page(self._marks, stored, logical, is_last))
            self._page += 1
            self._marks = []
        self._stored, self._logical, self._crc = stored, logical, 0
        self.due_at = self._next_due()

    def _note(self, at: int) -> None:
        known = (self._page, self._marks, len(self._marks), self._stored, self._logical, self._crc)
        self._places.append((at, *known))

    def _next_due(self) -> int:
        return (self._logical // _points.SPACING_BYTES + 1) * _points.SPACING_BYTES

    @staticmethod
    def _page_of(stored: int) -> int:
        return stored // _points.PAGE_BYTES
