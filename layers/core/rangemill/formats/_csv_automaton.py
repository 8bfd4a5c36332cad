"""The automaton of CSV, byte by byte: the one definition of what a row is. Everything faster is tested against it.

It reads as Python's `csv` does (`strict=False`, `doublequote=True`, lines as `newline=""` gives them), with comments
beside it: a quote opens a field only at the field's start; after a closing quote anything but a quote, a delimiter or
a line end goes on unquoted; `\\n`, `\\r\\n` and a lone `\\r` outside quotes end a row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

START: Final = "start"  # of the object, before a byte order mark
MARK_1: Final = "mark 1"  # inside the byte order mark
MARK_2: Final = "mark 2"
MARK: Final = "mark"  # after it: as at a record's start, but the record has begun
RECORD: Final = "record"  # a record begins here
RETURN: Final = "return"  # after `\\r`: a record begins here, unless a `\\n` follows
FIELD: Final = "field"  # a field begins here
UNQUOTED: Final = "unquoted"
QUOTED: Final = "quoted"
QUOTE: Final = "quote"  # after a quote inside quotes: it closed them, or it is the first of two
ESCAPE: Final = "escape"  # after an escape character outside quotes
QUOTED_ESCAPE: Final = "quoted escape"
COMMENT: Final = "comment"
STATES: Final = (
    START,
    MARK_1,
    MARK_2,
    MARK,
    RECORD,
    RETURN,
    FIELD,
    UNQUOTED,
    QUOTED,
    QUOTE,
    ESCAPE,
    QUOTED_ESCAPE,
    COMMENT,
)
BEGINS_RECORD: Final = frozenset({START, RECORD})
UNFINISHED: Final = frozenset({QUOTED, ESCAPE, QUOTED_ESCAPE})  # an object does not end in these
DELIMITER: Final = "delimiter "  # and a number: so many bytes of the delimiter, of more than one, stand before
_NEWLINE, _RETURN = 0x0A, 0x0D


@dataclass(frozen=True)
class Dialect:
    """What tells cells and rows apart, each one byte, empty where there is none; delimiters may have several.

    Such a delimiter is found as `str.split` finds it: the leftmost one first, and none that overlaps it.
    """

    delimiter: bytes = b","
    quote: bytes = b'"'
    escape: bytes = b""
    comment: bytes = b""

    def step(self, state: str, byte: int) -> str:  # noqa: C901, PLR0911 - a transition is a line
        """The state after that byte."""
        if state in (START, MARK_1, MARK_2):
            return self._step_in_mark(state, byte)
        if state == RETURN and byte == _NEWLINE:
            return RECORD
        if state in (RECORD, RETURN, MARK) and byte in self.comment:
            return COMMENT
        if state in (ESCAPE, QUOTED_ESCAPE):
            return UNQUOTED if state == ESCAPE else QUOTED
        if state == QUOTED:
            return QUOTED_ESCAPE if byte in self.escape else QUOTE if byte in self.quote else QUOTED
        if byte in (_NEWLINE, _RETURN):
            return RECORD if byte == _NEWLINE else RETURN
        if state == COMMENT:
            return COMMENT
        if byte in self.quote and state != UNQUOTED and not state.startswith(DELIMITER):
            return QUOTED
        matched = self._matched(state, byte)
        if matched == len(self.delimiter):
            return FIELD
        if matched:
            return f"{DELIMITER}{matched}"
        return ESCAPE if byte in self.escape and state != QUOTE else UNQUOTED

    def _matched(self, state: str, byte: int) -> int:
        """How many of the delimiter's first bytes end with that byte, in that state outside quotes."""
        before = int(state.removeprefix(DELIMITER)) if state.startswith(DELIMITER) else 0
        seen = self.delimiter[:before] + bytes([byte])
        return next((size for size in range(len(seen), 0, -1) if seen.endswith(self.delimiter[:size])), 0)

    def _step_in_mark(self, state: str, byte: int) -> str:
        if state == START:
            return MARK_1 if byte == 0xEF else self.step(RECORD, byte)
        first = self.step(RECORD, 0xEF)  # what it was if there is no mark after all
        if state == MARK_1:
            return MARK_2 if byte == 0xBB else self.step(first, byte)
        return MARK if byte == 0xBF else self.step(self.step(first, 0xBB), byte)

    @cached_property
    def is_wide(self) -> bool:
        """Whether the delimiter is not one ASCII character that every reader of CSV takes."""
        return len(self.delimiter) != 1 or not 0 < self.delimiter[0] < 0x80

    @cached_property
    def partial(self) -> frozenset[str]:
        """The states inside a delimiter."""
        return frozenset(f"{DELIMITER}{size}" for size in range(1, len(self.delimiter)))

    @cached_property
    def table(self) -> dict[str, list[str]]:
        """state -> byte -> state: `step`, looked up."""
        return {state: [self.step(state, byte) for byte in range(256)] for state in (*STATES, *self.partial)}


@lru_cache(maxsize=16)
def dialect(delimiter: str | bytes, quote: str, escape: str, comment: str) -> Dialect:
    """The dialect of these characters; an escape that is the quote itself is the doubled quote, which always is."""
    wide = delimiter.encode() if isinstance(delimiter, str) else delimiter
    return Dialect(wide, quote.encode(), b"" if escape == quote else escape.encode(), comment.encode())


def spans(data: bytes, of: Dialect, state: str = START) -> Iterator[tuple[int, int]]:
    """Start and end of every row that begins in the data, line end included: the reference.

    Empty lines and comments are no rows. The last row ends with the data, whatever the state then is.
    """
    begin, is_row = 0, False
    for position, byte in enumerate(data):
        if state in (RECORD, RETURN) and not (state == RETURN and byte == _NEWLINE):
            if is_row:
                yield begin, position
            begin, is_row = position, False
        before, state = state, of.step(state, byte)
        ends = state in (RECORD, RETURN)
        if not ends and state not in (COMMENT, START, MARK_1, MARK_2, MARK):
            is_row = True
        if before in (MARK_1, MARK_2) and state not in (MARK, MARK_2):
            is_row = True  # no byte order mark after all
    if is_row or state in (MARK_1, MARK_2):
        yield begin, len(data)
