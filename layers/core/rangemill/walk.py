"""The cursor: going forward through the objects of a plan, page by page, and cutting slots off them."""

from collections.abc import Callable, Iterator

from rangemill.indexing import is_behind
from rangemill.messages import Cursor, PinnedObject, Plan, PlanPage, Run, Slot

type Pages = Callable[[int], PlanPage]


class Walk:
    """The cursor going forward through the plan's pages."""

    def __init__(self, cursor: Cursor, plan: Plan, plan_pages: Pages) -> None:
        self.cursor = cursor
        self._plan = plan
        self._plan_pages = plan_pages
        self._page: PlanPage | None = None
        self._settle()

    @property
    def at_end(self) -> bool:
        """Whether every byte was handed out."""
        return self.cursor.page >= self._plan.pages

    def current(self) -> PinnedObject:
        """The object that the cursor stands in; there is one unless the walk is at its end."""
        return self._current().objects[self.cursor.position]

    def pass_over(self) -> PinnedObject:
        """Step over the object that the cursor stands at."""
        pin = self.current()
        self._advance(pin, pin.size_bytes)
        return pin

    def bytes_before(self) -> int:
        """Stored bytes before the cursor, in plan order."""
        page = self._current()
        return page.bytes_before + sum(o.size_bytes for o in page.objects[: self.cursor.position]) + self.cursor.offset

    def take(self, number: int, slot_bytes: int, max_runs: int) -> Slot:
        """The next slot: about `slot_bytes`, whole ranges, at least one run and at most `max_runs`."""
        objects: list[PinnedObject] = []
        runs: list[Run] = []
        left = slot_bytes
        for pin, start in self._objects():
            if is_behind(pin):
                break
            end = self._run_end(pin, start, left)
            objects.append(pin)
            runs.append(Run(pin.index, start, end, pin.size_bytes if pin.whole else self._plan.range_bytes))
            self._advance(pin, end)
            left -= end - start
            # An object that goes on was cut at a range's end: what is left of the slot is less than a range.
            if end < pin.size_bytes or left <= 0 or len(runs) >= max_runs:
                break
        return Slot(number, objects, runs)

    def _run_end(self, pin: PinnedObject, start: int, left: int) -> int:
        """Where a run of about `left` bytes ends: at a range's end, not before the first one's."""
        if pin.whole:
            return pin.size_bytes
        range_bytes = self._plan.range_bytes
        whole_ranges = max(1, (start % range_bytes + left) // range_bytes)
        return min((start // range_bytes + whole_ranges) * range_bytes, pin.size_bytes)

    def _objects(self) -> Iterator[tuple[PinnedObject, int]]:
        while not self.at_end:
            yield self._current().objects[self.cursor.position], self.cursor.offset

    def _advance(self, pin: PinnedObject, end: int) -> None:
        cursor = self.cursor
        if end < pin.size_bytes:
            self.cursor = Cursor(cursor.page, cursor.position, end)
        else:
            self.cursor = Cursor(cursor.page, cursor.position + 1, 0)
        self._settle()

    def _settle(self) -> None:
        """Step over the ends of pages."""
        while not self.at_end and self.cursor.position >= len(self._current().objects):
            self.cursor = Cursor(self.cursor.page + 1, 0, 0)
            self._page = None

    def _current(self) -> PlanPage:
        if self._page is None:
            self._page = self._plan_pages(self.cursor.page)
        return self._page
