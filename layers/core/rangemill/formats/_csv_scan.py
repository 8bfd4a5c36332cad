"""The automaton at speed: over many bytes at once, exactly.

Between quotes nothing counts but the next quote. So a stretch of data is split at its quotes; if every quote that opens
by that count stands at a field's start, and what follows every one that closes is a delimiter or a line end, then by
induction from the left the automaton reads it the same way. Where that does not hold (`5,a"b,c`) the stretch is read
row by row; stretches are short, so that one odd quote does not slow down its whole block.
"""

import re
from functools import lru_cache
from operator import itemgetter
from typing import Final

from rangemill.formats import _csv_automaton as automaton
from rangemill.formats._csv_automaton import Dialect

_STRETCH_BYTES: Final = 64 * 2**10
_FEW_BYTES: Final = 24  # below this a table is quicker than splitting
_FIRST_BYTE: Final = itemgetter(slice(None, 1))
_LAST_BYTE: Final = itemgetter(slice(-1, None))
_LETTERS: Final = bytes(range(ord("0"), ord("z")))
_ENDS: Final = (automaton.RECORD, automaton.RETURN)
_IN_MARK: Final = (automaton.MARK_1, automaton.MARK_2)
_NOTHING: Final = (automaton.COMMENT, automaton.MARK, *_IN_MARK)
_OUTSIDE: Final = (automaton.RECORD, automaton.RETURN, automaton.MARK, automaton.FIELD, automaton.UNQUOTED)
_WIDE: Final = (automaton.QUOTED, automaton.UNQUOTED, automaton.COMMENT)  # most bytes lead to the same state again


class Scanner:
    """One dialect's fast reading. Make it by `scanner`."""

    def __init__(self, of: Dialect) -> None:
        self.dialect = of
        q, d, e, c = of.quote, of.delimiter, of.escape, of.comment
        self._ordinary = bytes([next(byte for byte in _LETTERS if byte not in q + d + e + c)])
        # What to put before a stretch so that reading it from a row's start leads to the state that it begins in.
        self._leads = {
            automaton.RECORD: b"",
            automaton.RETURN: b"",
            automaton.UNQUOTED: self._ordinary,
            automaton.MARK: b"",
            automaton.FIELD: d,
            automaton.QUOTED: q,
            automaton.QUOTE: q * 2,
            automaton.COMMENT: c,
            **{f"{automaton.DELIMITER}{size}": self._ordinary + d[:size] for size in range(1, len(d))},
        }
        self._outside_states = {*_OUTSIDE, *of.partial}
        self._beside_quotes = {b"", d, b"\r", b"\n"}
        kinds = bytearray(b"x") * 256
        for byte in b"\r\n":
            kinds[byte] = ord("n")
        for byte in q:
            kinds[byte] = ord("q")
        self._kinds = bytes(kinds)
        self._escaped = re.compile(re.escape(e) + rb".", re.DOTALL) if e else None
        self._comment = re.compile(rb"(?:\A|(?<=[\r\n]))" + re.escape(c) + rb"[^\r\n]*") if c else None
        outside = rb"[\r\n]" + (rb"|" + re.escape(e) if e else b"")
        if q:  # where several bytes may be a delimiter, the first of them: they are not one wherever they look like it
            outside += rb"|" + re.escape(d[:1] if len(d) > 1 else d + q)
        self._outside = re.compile(outside)
        inside = b"|".join(re.escape(byte) for byte in (q, e) if byte)
        self._inside = re.compile(inside or rb"(?!)")
        self.row = _row(of)
        self._marks = [mark for mark in (q, e, c) if mark]

    def outline(self, state: str, data: bytes, low: int, high: int) -> tuple[bytes, str, bool]:
        """The outline of `data[low:high]`, the state after it, and whether it is sure to be clean.

        Clean: quotes stand at cells' ends only, and nothing is a comment or escaped. An outline has the line ends that
        end rows, and some other byte in between for every row that is not empty; what stands inside quotes, and
        comments, are not in it. Outlines of adjacent data, joined, are an outline.
        """
        if (
            state in self._outside_states
            and high - low > _FEW_BYTES
            and all(data.find(m, low, high) < 0 for m in self._marks)
        ):
            outline = data[low:high]
            return outline, self._after(outline, state), True
        parts: list[bytes] = []
        is_clean = True
        while low < high:
            if state in self._leads:
                end = min(high, low + _STRETCH_BYTES)
                part, state, clean = self._split(state, data[low:end]) or self._match(state, data[low:end])
            else:
                end = min(high, low + _FEW_BYTES)
                part, state = self._step(state, data[low:end])
                clean = False
            parts.append(part)
            is_clean = is_clean and clean
            low = end
        return b"".join(parts), state, is_clean

    def next_start(self, state: str, data: bytes, low: int, high: int) -> int:
        """Where the next row begins at or after `low`, where the automaton is in that state; -1 if not before `high`.

        It is `high` itself, when that is sure without the byte there.
        """
        table = self.dialect.table
        while True:
            if state in automaton.BEGINS_RECORD:
                return low
            if low == high:
                return -1
            if state == automaton.RETURN:
                return low + (data[low] == 0x0A)
            if state in _WIDE:
                low = self._skip(state, data, low, high)
                if low == high:
                    return -1
            state = table[state][data[low]]
            low += 1

    def _skip(self, state: str, data: bytes, low: int, high: int) -> int:
        """The first byte that may lead to another state, or `high`."""
        found = (self._inside if state == automaton.QUOTED else self._outside).search(data, low, high)
        return high if found is None else found.start()

    def _step(self, state: str, data: bytes) -> tuple[bytes, str]:
        table = self.dialect.table
        out = bytearray()
        for byte in data:
            before, state = state, table[state][byte]
            if before in _IN_MARK and state not in (automaton.MARK, automaton.MARK_2):
                out += self._ordinary  # no byte order mark after all
            if state in _ENDS:
                out.append(byte)
            elif state not in _NOTHING:
                out += self._ordinary
        return bytes(out), state

    def _split(self, state: str, data: bytes) -> tuple[bytes, str, bool] | None:
        """`outline` by counting quotes; None where that may not be what the automaton reads."""
        of, escaping = self.dialect, False
        is_clean = not any(mark and mark in data for mark in (of.escape, of.comment))
        if self._escaped is not None and of.escape in data:
            data = self._escaped.sub(self._ordinary * 2, data)
            escaping = data.endswith(of.escape)  # what it escapes is not in this stretch
            data = data[:-1] if escaping else data
        data = self._leads[state] + data
        quotes = 0
        if of.quote and of.quote in data:
            parts = data.split(of.quote)
            quotes = len(parts) - 1
            outside = parts[::2]
            if not self.is_clean(outside, followed=bool(quotes & 1)):
                return None
            data = of.quote.join(outside) + of.quote * (quotes & 1)
        ends_in_comment = False
        if self._comment is not None and of.comment in data:
            found = list(self._comment.finditer(data))
            if found and (self._escaped is not None or any(of.quote in match[0] for match in found if of.quote)):
                return None
            ends_in_comment = bool(found) and found[-1].end() == len(data)
            data = self._comment.sub(b"", data)
        if quotes & 1:
            after = automaton.QUOTED
        elif ends_in_comment:
            after = automaton.COMMENT
        else:
            after = self._after(data, state)
        if escaping:
            if after in (automaton.QUOTE, automaton.COMMENT):
                return None
            after = automaton.QUOTED_ESCAPE if after == automaton.QUOTED else automaton.ESCAPE
            data += self._ordinary
        return data, after, is_clean

    def _match(self, state: str, data: bytes) -> tuple[bytes, str, bool]:
        """The same row by row; what is left of the last one byte by byte."""
        parts: list[bytes] = []
        data = self._leads[state] + data
        begin = 0
        for found in self.row.finditer(data):
            ended = found[1]
            if not ended:
                break
            end = found.start(1)
            if end > begin and not (self.dialect.comment and data.startswith(self.dialect.comment, begin)):
                parts.append(self._ordinary)
            parts.append(ended)
            begin = found.end()
        if begin == len(data):
            return b"".join(parts), automaton.RETURN if data.endswith(b"\r") else automaton.RECORD, False
        part, after = self._step(automaton.RECORD, data[begin:])
        parts.append(part)
        return b"".join(parts), after, False

    def is_clean(self, outside: list[bytes], *, followed: bool = False) -> bool:
        """Whether quotes stand at cells' ends only, given what is outside of them; `followed`: by an open quote.

        What is empty stands between the two quotes that mean one, or where the data begins or ends.
        """
        if len(self.dialect.delimiter) > 1:
            return self._is_clean_wide(outside, followed=followed)
        beside = set(map(_FIRST_BYTE, outside[1:])).union(map(_LAST_BYTE, outside if followed else outside[:-1]))
        return beside <= self._beside_quotes

    def _is_clean_wide(self, outside: list[bytes], *, followed: bool) -> bool:
        joined = self.dialect.quote.join(outside) + (self.dialect.quote if followed else b"")
        # A delimiter may stand before a quote and after it, too.
        kinds = joined.replace(self.dialect.delimiter, b"\n").translate(self._kinds)
        return b"xq" not in kinds and b"qx" not in kinds

    def _after(self, outline: bytes, state: str) -> str:
        """The state that an outline outside quotes and comments ends in, which began in that state."""
        if len(self.dialect.delimiter) > 1:
            return self._after_wide(outline, state)
        last = outline[-1:]
        if not last:
            return state
        if last == b"\n":
            return automaton.RECORD
        if last == b"\r":
            return automaton.RETURN
        if last == self.dialect.quote:
            return automaton.QUOTE
        return automaton.FIELD if last == self.dialect.delimiter else automaton.UNQUOTED

    def _after_wide(self, outline: bytes, state: str) -> str:
        """The same: how much of a delimiter stands at the end is known from where a byte is none of its bytes."""
        known = outline.rstrip(self.dialect.delimiter)
        if known:
            ends = {b"\n": automaton.RECORD, b"\r": automaton.RETURN, self.dialect.quote: automaton.QUOTE}
            state = ends.get(known[-1:], automaton.UNQUOTED)
        for byte in outline[len(known) :]:
            state = self.dialect.table[state][byte]
        return state


def cell_expression(of: Dialect) -> bytes:
    """One cell, or as much of it as there is: the automaton as an expression."""
    q, d, e = (re.escape(byte) for byte in (of.quote, of.delimiter, of.escape))
    escaped = rb"|" + e + rb"(?:.|\Z)" if e else b""
    begin, none = d, b""  # what a cell is read up to, and what of that is no delimiter
    if len(of.delimiter) > 1:
        begin = re.escape(of.delimiter[:1])
        none = rb"|(?!" + d + rb")" + begin
    rest = rb"(?:[^" + begin + rb"\r\n" + e + rb"]++" + none + escaped + rb")*+"
    first = rb"(?:[^" + begin + q + rb"\r\n" + e + rb"]" + none + escaped + rb")"
    cell = rb"(?:" + first + rest + rb")?+"
    if not q:
        return cell
    inside = rb"(?:[^" + q + e + rb"]++|" + q + q + escaped + rb")*+"
    return rb"(?:" + q + inside + rb"(?:" + q + rb"(?:(?!" + d + rb")[^\r\n]" + rest + rb")?+)?+|" + cell + rb")"


def _row(of: Dialect) -> "re.Pattern[bytes]":
    """One row with its line end, or as much of it as there is."""
    cell = cell_expression(of)
    cells = cell + rb"(?:" + re.escape(of.delimiter) + cell + rb")*+"
    comment = re.escape(of.comment) + rb"[^\r\n]*+|" if of.comment else b""
    return re.compile(rb"(?:" + comment + cells + rb")(\r\n|\r|\n|\Z)", re.DOTALL)


@lru_cache(maxsize=16)
def scanner(of: Dialect) -> Scanner:
    """The dialect's scanner."""
    return Scanner(of)
