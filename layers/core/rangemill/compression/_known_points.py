"""The restart points that a run needs, read page by page from the work bucket."""

from rangemill.compression import _points
from rangemill.compression._points import Mark, Page, PointStore
from rangemill.ranges import ByteRange


class KnownPoints:
    """The point that the run stands at and the one that follows; beyond the run's end no page is read.

    `following` is (stored, logical), of the object's end too; None beyond the first point at or after the run's end,
    where `current` is None as well.
    """

    def __init__(self, points: PointStore, run: ByteRange) -> None:
        self._points = points
        self._run = run
        self._page = points.page(self._number_of(run.start))
        self._next = 0  # of the page's marks
        while self._next < len(self._page.marks) and self._page.marks[self._next].stored < run.start:
            self._next += 1
        self.current: Mark | None = None
        self.following: tuple[int, int] | None = self._peek()
        self.total: int | None = None  # where the object's output ends, once that is what follows
        self.go_on()

    def go_on(self) -> None:
        """Step to the point that follows: a point of the run, or the first one after it."""
        at = self.following
        if at is None:
            return
        if self.total is not None or at[0] >= self._run.end_exclusive:  # others know what follows there
            self.current = self.following = None
            return
        if self._next == len(self._page.marks):
            self._page, self._next = self._page_from(at[0]), 0
        self.current = self._page.marks[self._next]
        self._next += 1
        self.following = self._peek()

    def _peek(self) -> tuple[int, int]:
        page = self._page
        if self._next < len(page.marks):
            mark = page.marks[self._next]
            return mark.stored, mark.logical
        if page.is_last:
            self.total = page.next_logical
        return page.next_stored, page.next_logical

    def _page_from(self, stored: int) -> Page:
        return self._points.page(self._number_of(stored))

    @staticmethod
    def _number_of(stored: int) -> int:
        return stored // _points.PAGE_BYTES
