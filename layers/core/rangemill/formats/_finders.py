"""Where records begin: after a delimiter, at every multiple of a length, or at a line that matches.

A finder serves one run, with questions in ascending order. `c(x)` below is the smallest record start at or after `x`,
the object's end counting as one.
"""

from collections.abc import Callable
from typing import Final, Protocol

from rangemill.errors import RecordTooLarge
from rangemill.formats._window import Window

_CHAIN_BYTES: Final = 4096  # how far back a delimiter that overlaps itself is looked for before its state is assumed

Grown = Callable[[int], None]


class Finder(Protocol):
    """See the module. `look_behind` is how many bytes before a run the window must begin."""

    look_behind: int

    def enter(self, window: Window, start: int, state: str | None) -> str:
        """The state at a run's start, greater than 0: `state` if it is known, else what the bytes before it tell."""

    def seek(self, window: Window, at_least: int, at_most: int | None, grown: Grown) -> int | None:
        """`c(at_least)`; None as soon as it is known to lie beyond `at_most`, and then what was passed is forgotten.

        Without `at_most` everything is kept, and `grown` is told how far the last record reaches as more is fetched.
        """

    def state_at(self, edge: int) -> str:
        """The state at a tile's end, once the records before it were sought."""

    def last_start(self, window: Window, begin: int, before: int) -> int:
        """The last record start before `before`, given one at `begin`."""

    def content_end(self, window: Window, position: int) -> int:
        """Where the content of the record ends that `position` ends."""


class Delimiters:
    """A record ends with a delimiter; delimiters are found from left to right and never overlap.

    One that cannot overlap itself is recognised wherever it stands, and has no state. Of one that can (`||`,
    a blank line) an occurrence counts only if the one before it does not reach into it. So what must be known at a
    position is how far the last delimiter lies back. That is the state: the distance in bytes, or nothing where it is
    so large that no delimiter beginning before the position could be cut off by it.
    """

    def __init__(self, delimiter: bytes, unit_bytes: int = 1, chain_bytes: int = _CHAIN_BYTES) -> None:
        size = len(delimiter)
        self._delimiter = delimiter
        self._unit_bytes = unit_bytes
        self.overlaps = any(delimiter[shift:] == delimiter[:-shift] for shift in range(unit_bytes, size, unit_bytes))
        self.look_behind = max(chain_bytes, 2 * size) if self.overlaps else size
        self._floor = 0  # no delimiter that is still sought begins before it; the end of the last one found
        self._before = 0  # what it was before that one

    def enter(self, window: Window, start: int, state: str | None) -> str:
        """See `Finder`."""
        size = len(self._delimiter)
        if not self.overlaps:
            self._floor = max(0, start - size)
            return ""
        if state is not None:
            self._floor = start - int(state) if state else max(0, start - size + 1)
            return state
        while window.end < start:
            window.more()
        seen = 0 if window.base == 0 else window.base + size - 1  # what begins before the window may reach to here
        anchor = self._anchor(window, start, seen)
        self._floor = max(anchor, seen)
        while True:
            found = window.find(self._delimiter, self._floor, self._unit_bytes)
            if found < 0 or found + size > start:
                break
            self._floor = found + size
        known = self.state_at(start)
        if anchor >= seen or known:
            return known
        self._floor = start - size + 2  # an assumption must have a name, or nobody would confirm it
        return self.state_at(start)

    def _anchor(self, window: Window, at: int, low: int) -> int:
        """A position before `at` that no delimiter reaches across: what follows it does not depend on what precedes.

        It lies at least one byte less than a delimiter before `at`, and before `low` where there is none behind that.
        """
        size = len(self._delimiter)
        anchor = at - size + 1
        while anchor >= low:
            found = window.rfind(self._delimiter, anchor - size + 1, anchor + size - 1, self._unit_bytes)
            if found < 0:
                break
            anchor = found
        return anchor

    def seek(self, window: Window, at_least: int, at_most: int | None, grown: Grown) -> int | None:
        """See `Finder`."""
        size = len(self._delimiter)
        if self.overlaps and self._floor == at_least:  # a run that begins with a record
            return at_least
        at = self._sound_start(window, at_least)
        while True:
            found = window.find(self._delimiter, at, self._unit_bytes)
            if found < 0:
                at = max(at, window.end - size + 1)
                if at_most is None:
                    grown(at)
                elif at + size > at_most:
                    return None
                else:
                    window.pass_to(at)
                    window.drop(at)
                if not window.more():
                    return window.object_bytes
                continue
            end = found + size
            if at_most is not None and end > at_most:
                return None
            self._before, self._floor = self._floor, end
            if end >= at_least:
                return end
            at = end

    def _sound_start(self, window: Window, at_least: int) -> int:
        """From where to look for delimiters that end at or after `at_least`, without looking at all before them."""
        if not self.overlaps:
            return max(self._floor, at_least - len(self._delimiter))
        while window.end < at_least and window.more():
            pass
        self._floor = max(self._floor, self._anchor(window, at_least, self._floor))
        return self._floor

    def state_at(self, edge: int) -> str:
        """See `Finder`."""
        if not self.overlaps:
            return ""
        distance = edge - (self._floor if self._floor <= edge else self._before)
        return str(distance) if distance < len(self._delimiter) - 1 else ""

    def last_start(self, window: Window, begin: int, before: int) -> int:
        """See `Finder`."""
        if self.overlaps:
            last = begin
            while (found := window.find(self._delimiter, last, self._unit_bytes)) >= 0:
                if found + len(self._delimiter) >= before:
                    break
                last = found + len(self._delimiter)
            return last
        found = window.rfind(self._delimiter, begin, before - 1, self._unit_bytes)
        return begin if found < 0 else found + len(self._delimiter)

    def content_end(self, window: Window, position: int) -> int:  # noqa: ARG002 - the interface
        """See `Finder`."""
        return position - len(self._delimiter) if self._floor == position else position


class FixedLengths:
    """A record begins at every multiple of a number of bytes."""

    look_behind = 0

    def __init__(self, record_bytes: int) -> None:
        self._record_bytes = record_bytes

    def enter(self, window: Window, start: int, state: str | None) -> str:  # noqa: ARG002 - the interface
        """See `Finder`."""
        return ""

    def seek(self, window: Window, at_least: int, at_most: int | None, grown: Grown) -> int | None:  # noqa: ARG002
        """See `Finder`. No record is too large: all are as long as was declared."""
        position = min(-(-at_least // self._record_bytes) * self._record_bytes, window.object_bytes)
        if at_most is not None and position > at_most:
            return None
        while window.end < position and window.more():
            if at_most is not None:
                window.pass_to(min(window.end, position))
                window.drop(min(window.end, position))
        return position

    def state_at(self, edge: int) -> str:  # noqa: ARG002 - the interface
        """See `Finder`."""
        return ""

    def last_start(self, window: Window, begin: int, before: int) -> int:  # noqa: ARG002 - the interface
        """See `Finder`."""
        return (before - 1) // self._record_bytes * self._record_bytes

    def content_end(self, window: Window, position: int) -> int:  # noqa: ARG002 - the interface
        """See `Finder`."""
        return position


class MatchingLines:
    """A record begins at a line that `is_start` says begins one, and at the object's start.

    `is_start` is given the line without its newline. Lines are at most `max_line_bytes` long, or no range could tell
    whether a record begins there.
    """

    def __init__(self, is_start: Callable[[bytes], bool], newline: bytes, unit_bytes: int, max_line_bytes: int) -> None:
        self._is_start = is_start
        self._newline = newline
        self._unit_bytes = unit_bytes
        self._max_line_bytes = max_line_bytes
        self.look_behind = len(newline)

    def enter(self, window: Window, start: int, state: str | None) -> str:  # noqa: ARG002 - the interface
        """See `Finder`."""
        return ""

    def seek(self, window: Window, at_least: int, at_most: int | None, grown: Grown) -> int | None:
        """See `Finder`. Raises `RecordTooLarge` for a line that is too long to be looked at."""
        newline_at = self._newline_from(window, max(window.base, at_least - len(self._newline)), at_most, grown)
        while newline_at is not None:
            line_at = newline_at + len(self._newline)
            if at_most is not None:
                if line_at >= at_most:
                    return line_at if line_at == window.object_bytes else None
                window.pass_to(line_at)
                window.drop(line_at)
            else:
                grown(line_at - len(self._newline))
            newline_at = self._line_end(window, line_at)
            line_end = window.object_bytes if newline_at is None else newline_at
            if line_at < line_end + (newline_at is not None) and self._is_start(window.cut(line_at, line_end)):
                return line_at
        return window.object_bytes if at_most in (None, window.object_bytes) else None

    def _newline_from(self, window: Window, at: int, at_most: int | None, grown: Grown) -> int | None:
        """The first newline at or after `at`; None if there is none, or none that matters before `at_most`."""
        while True:
            found = window.find(self._newline, at, self._unit_bytes)
            if found >= 0:
                return found
            at = max(at, window.end - len(self._newline) + 1)
            if at_most is None:
                grown(at)
            elif at + len(self._newline) >= at_most:
                return None
            else:
                window.pass_to(at)
                window.drop(at)
            if not window.more():
                return None

    def _line_end(self, window: Window, line_at: int) -> int | None:
        """The newline that ends the line; None for the object's last line without one."""
        at = line_at
        while True:
            found = window.find(self._newline, at, self._unit_bytes)
            if (found if found >= 0 else window.end) - line_at > self._max_line_bytes + len(self._newline):
                raise RecordTooLarge(
                    f"the line at byte {line_at} is longer than max_record_bytes ({self._max_line_bytes}), so that it "
                    "cannot be told whether a record begins there; raise `format.max_record_bytes`",
                    offset=line_at,
                )
            if found >= 0:
                return found
            at = max(at, window.end - len(self._newline) + 1)
            if not window.more():
                return None

    def state_at(self, edge: int) -> str:  # noqa: ARG002 - the interface
        """See `Finder`."""
        return ""

    def last_start(self, window: Window, begin: int, before: int) -> int:
        """See `Finder`."""
        size = len(self._newline)
        end = before - 1
        newline_at = window.rfind(self._newline, begin, end, self._unit_bytes)
        while newline_at >= 0:
            line_at = newline_at + size
            line_end = window.find(self._newline, line_at, self._unit_bytes)
            if self._is_start(window.cut(line_at, line_end if line_end >= 0 else window.end)):
                return line_at
            newline_at = window.rfind(self._newline, begin, newline_at, self._unit_bytes)
        return begin

    def content_end(self, window: Window, position: int) -> int:
        """See `Finder`."""
        size = len(self._newline)
        is_newline = window.rfind(self._newline, position - size, position, self._unit_bytes) >= 0
        return position - size if is_newline else position
