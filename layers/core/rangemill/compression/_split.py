"""Records of compressed objects: which tile owns which, and an inner format's `align` over logical bytes.

With `U(x)` the logical start of the first unit that begins at or after stored byte `x`, and `k` the format's
`look_behind`, the tile `[s, e)` owns the records that begin in the logical bytes `[U(s) + k, U(e) + k)`; the first tile
owns from 0, the last one to the end. The shift by `k` is what lets a worker that has nothing before its first unit see
where a record begins; both sides of a boundary use it. A tile in which no unit begins owns nothing.

The inner format works through the logical bytes in sub-runs of a few MiB, whose length is known because they were
decoded. Where the object's logical end turns up in the middle of one, that sub-run is done again, knowing the end: so
that no format ever takes the end of what was decoded so far for the end of the data.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from rangemill.blocks import Place, RangeDone, Remaining
from rangemill.compression._logical import Begun, Logical, LogicalEnd
from rangemill.compression._stored import Passed
from rangemill.compression.base import Session
from rangemill.formats.base import Event
from rangemill.ledger import THROUGH
from rangemill.ranges import ByteRange, tile

SUB_RUN_BYTES: Final = 4 * 2**20  # also how much work lies between two looks at the clock
UNKNOWN_END: Final = 2**62  # stands for the object's end while that is not known

# (sub-run, object's logical end or UNKNOWN_END, pieces, state at its start) -> events of the inner format
Align = Callable[[ByteRange, int, Iterator[bytes], str | None], Iterator[Event]]


@dataclass(frozen=True, slots=True)
class Inner:
    """The format of the logical bytes: its aligner, its look-behind, and what it says of an object without bytes."""

    align: Align
    look_behind: int
    empty: Callable[[], Iterator[Event]]


@dataclass(slots=True)
class _End:
    """Where a tile ends: at a stored offset, and in logical bytes where the first unit from there on begins."""

    stored: int
    unit: Begun | None = None  # None while it has not begun


@dataclass(slots=True)
class _Row:
    """What a tile adds up to."""

    first: Place | None = None
    end: Place | None = None
    records: int = 0
    states: list[tuple[str, str]] = field(default_factory=list)
    total: Place | None = None  # where the records end, if the format says so: JSON may go on behind them

    def done(self, each: ByteRange, crc: int, total: Place | None) -> RangeDone:
        assumed, left = (self.states[0][0], self.states[-1][1]) if self.states else (THROUGH, THROUGH)
        total = total if self.total is None else self.total
        return RangeDone(each, crc, self.first, self.end, self.records, assumed, left, total)


def split(
    session: Session,
    stored: Passed,
    range_bytes: int,
    inner: Inner,
    check: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    state: str | None = None,
) -> Iterator[Event]:
    """The events of `FormatModule.align` for the run of `stored`; tiles are stored ones, places logical.

    `check` is asked with stored and logical bytes so far and raises where that cannot be right.
    """
    work = _Split(session, stored, inner, Logical(session.decode(), stored, check), state)
    run = stored.run
    for each in tile(run.start, run.end_exclusive, range_bytes):
        yield from work.tile(each, should_stop)
        if work.stopped_at is not None:
            if work.stopped_at < run.end_exclusive:
                session.stopped(work.stopped_at)
                yield Remaining(ByteRange(work.stopped_at, run.end_exclusive), work.state)
            return


class _Split:
    """A run in progress."""

    def __init__(
        self,
        session: Session,
        stored: Passed,
        inner: Inner,
        logical: Logical,
        state: str | None,
    ) -> None:
        self.stopped_at: int | None = None
        self._session = session
        self._stored = stored
        self._inner = inner
        self._logical = logical
        self.state = state

    def tile(self, each: ByteRange, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Blocks and row of a tile, or of its part before the unit at which it was stopped."""
        logical, row = self._logical, _Row()
        begun = self._unit_from(each.start)
        if begun is None or begun.stored >= each.end_exclusive:
            yield row.done(each, self._stored.tile_crc(each.start), None)
            return
        at = 0 if each.start == 0 else begun.at + self._inner.look_behind
        stops, end = False, _End(each.end_exclusive)
        while True:
            self._look_ahead(at, end)
            if stops and (end.unit is None or end.unit.stored >= each.end_exclusive):
                end = self._earlier(at, each) or end
            upto = self._sub_run_end(at, end)
            if at < upto:
                for event in self._sub_run(at, upto):
                    if isinstance(event, RangeDone):
                        self._add(row, event)
                    else:
                        yield event
                at = upto
                logical.drop_before(at - self._inner.look_behind)
                stops = stops or self._wants_to_stop(should_stop)
            if self._is_over(at, end):
                break
        yield from self._if_nothing(each, row)
        is_cut = end.unit is not None and end.stored < each.end_exclusive
        crc = end.unit.mark if is_cut and end.unit is not None else self._stored.tile_crc(each.start)
        is_through = logical.ended and at >= logical.end
        yield row.done(ByteRange(each.start, end.stored), crc, logical.total if is_through else None)
        if stops:
            self.stopped_at = end.stored

    def _wants_to_stop(self, should_stop: Callable[[], bool]) -> bool:
        if not should_stop():
            return False
        self._session.stop_soon()
        return True

    def _unit_from(self, stored: int) -> Begun | None:
        logical = self._logical
        while (begun := logical.unit_from(stored)) is None and not logical.ended:
            logical.more()
        return begun

    def _look_ahead(self, at: int, end: "_End") -> None:
        """Decode until a sub-run from `at` has its bytes, or the unit is known that ends the tile."""
        logical = self._logical
        while end.unit is None:
            end.unit = logical.unit_from(end.stored)
            if end.unit is not None or logical.ended or logical.end >= at + SUB_RUN_BYTES:
                return
            logical.more()

    def _sub_run_end(self, at: int, end: "_End") -> int:
        upto = at + SUB_RUN_BYTES
        if end.unit is not None:
            upto = min(upto, end.unit.at + self._inner.look_behind)
        return min(upto, self._logical.end) if self._logical.ended else upto

    def _is_over(self, at: int, end: "_End") -> bool:
        if end.unit is not None and at >= end.unit.at + self._inner.look_behind:
            return True
        return self._logical.ended and at >= self._logical.end

    def _earlier(self, at: int, each: ByteRange) -> "_End | None":
        """An end for the tile at a unit in it, so that it holds what was done up to `at`; None where none is known."""
        unit = self._logical.unit_at(at - self._inner.look_behind)
        if unit is not None and unit.stored <= each.start:  # units without bytes share their place
            unit = self._logical.unit_from(each.start + 1)
        return _End(unit.stored, unit) if unit is not None and unit.stored < each.end_exclusive else None

    def _sub_run(self, start: int, end: int) -> list[Event]:
        """The inner format's events of the logical bytes `[start, end)`; kept until it is known that they stand."""
        logical = self._logical
        while True:
            known = logical.end if logical.ended else None
            end = end if known is None else min(end, known)
            if start >= end:
                return []
            pieces = logical.pieces(max(0, start - self._inner.look_behind), known)
            try:
                return list(
                    self._inner.align(
                        ByteRange(start, end), UNKNOWN_END if known is None else known, pieces, self.state
                    )
                )
            except LogicalEnd:
                continue

    def _add(self, row: _Row, done: RangeDone) -> None:
        if done.first is not None and done.end is not None:
            if row.first is None:
                row.first = self._place(done.first)
            row.end = self._place(done.end)
        if done.total is not None:
            row.total = self._place(done.total)
        row.records += done.records
        if done.left != THROUGH:  # bytes that are no whole character have no state of their own
            row.states.append((done.assumed, done.left))
            self.state = done.left

    def _place(self, place: Place) -> Place:
        if isinstance(place, tuple):
            raise TypeError(f"a format inside compressed data named a place in a unit: {place}")
        return self._logical.place(place)

    def _if_nothing(self, each: ByteRange, row: _Row) -> Iterator[Event]:
        """The row of an object without logical bytes: its chain begins and ends where it does."""
        if each.start > 0 or not self._logical.ended or self._logical.end > 0:
            return
        for event in self._inner.empty():
            if isinstance(event, RangeDone):
                row.records += event.records
            else:
                yield event
        row.first, row.end = (0 if self._logical.absolute else (0, 0)), self._logical.total
        row.states.append(("", ""))
