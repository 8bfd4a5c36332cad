"""The structure of a JSON object in S3: where its elements begin and end, from bytes that stream past once.

One automaton for three layouts: one array (`path` empty), an array inside an object (`path` of its member names), and
values one after the other (`path` None). Its state is a short text, so that a range can go on where another one ends.
Inside an element only strings and brackets matter; whether it is valid JSON is for the engine's decoder to say.
"""

import re
from enum import Enum, auto
from typing import Final

from rangemill.errors import BadRecord
from rangemill.formats._json_envelope import Envelope

_LEVELS: Final = 8  # of brackets that one search skips by itself; deeper ones cost a step each
_STRING: Final = rb'"(?:[^"\\\n\r]++|\\[^\n\r])*+"'


def _nested(levels: int) -> bytes:
    """Balanced brackets up to that depth, whatever is between them. Which bracket closes which is the decoder's."""
    inner = rb'[^"{}\[\]]++|' + _STRING
    pattern = rb"[{\[](?:" + inner + rb")*+[}\]]"
    for _ in range(levels - 1):
        pattern = rb"[{\[](?:" + inner + rb"|" + pattern + rb")*+[}\]]"
    return pattern


_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_SCALAR: Final = re.compile(rb'[^ \t\n\r,:"{}\[\]]*+')
_INSIDE: Final = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb"|" + _nested(_LEVELS) + rb")*+")
_IN_STRING: Final = re.compile(rb'(?:[^"\\\n\r]++|\\[^\n\r])*+')
_BARE: Final = rb'[^ \t\n\r,:"{}\[\]]++(?=[ \t\n\r,\]])'  # a number is over when something else follows
_ELEMENT: Final = rb"(" + _nested(_LEVELS) + rb"|" + _STRING + rb"|" + _BARE + rb")"
_FIRST: Final = re.compile(rb"[ \t\n\r]*+" + _ELEMENT)
_FOLLOWING: Final = re.compile(rb"[ \t\n\r]*+,[ \t\n\r]*+" + _ELEMENT)
_QUOTE, _COMMA, _CLOSE, _BACKSLASH = b'",]\\'
_OPENING: Final = frozenset(b"{[")
_NO_BEGIN: Final = frozenset(b"}],:")


type Path = tuple[str, ...] | None  # of the array of elements; None for values one after the other


class Seen(Enum):
    """What a scan came upon."""

    BEGIN = auto()  # an element's first byte was passed
    END = auto()  # an element's last byte was passed
    CLOSED = auto()  # the array's bracket was passed
    NOTHING = auto()  # all bytes were passed


class Structure:
    """The automaton. `element_mode`: `E` nothing yet, `C` after a comma, `V` after a value, `S` in a bare value,
    `N` inside brackets, `Q` in a string, `X` after a backslash in one."""

    def __init__(self, path: Path, state: str | None = None) -> None:
        self._path = path
        self._has_commas = path is not None
        self._depth = 0
        self._mode = "V"
        self.state_before = ""  # the state that the last element began in
        self.envelope: Envelope | None = None
        if state is not None and state.startswith("r"):
            self._depth, self._mode = int(state[1:-1]), state[-1]
        elif path is not None:
            self.envelope = Envelope(path, state)

    @property
    def state(self) -> str:
        """The state, as the neighbour must know it."""
        return self.envelope.state if self.envelope is not None else f"r{self._depth}{self._mode}"

    @property
    def is_between(self) -> bool:
        """Whether the next thing may be an element."""
        return self.envelope is None and self._depth == 0 and self._mode in "ECV"

    @property
    def is_over(self) -> bool:
        """Whether no element can follow any more."""
        return self.envelope is not None and self.envelope.is_after

    def scan(self, data: bytes, at: int, end: int, offset: int) -> tuple[int, Seen]:
        """Go on from `at` to the next event, or to `end`. `offset` is where `data[0]` lies in the object.

        Raises `BadRecord` with the offset of what cannot be.
        """
        while at < end:
            if self.envelope is not None:
                at = self.envelope.scan(data, at, end, offset)
                if self.envelope.is_open:
                    self.envelope, self._depth, self._mode = None, 0, "E"
                continue
            if self.is_between:
                at, event = self._between(data, at, end, offset)
            elif self._mode == "S":
                at, event = self._bare(data, at, end)
            else:
                at, event = self._inside(data, at, end, offset)
            if event is not None:
                return at, event
        return at, Seen.NOTHING

    def whole_elements(self, data: bytes, at: int, end: int, limit: int) -> list[tuple[int, int]]:
        """The elements that lie whole in `data[at:end]` and begin before `limit`, one after the other; passes them.

        Only between elements. What is left over is for `scan`; the last one's end is where to go on.
        """
        following = (_FOLLOWING if self._has_commas else _FIRST).match
        found = (following if self._mode == "V" else _FIRST.match)(data, at, end)
        spans: list[tuple[int, int]] = []
        while found is not None:
            start, stop = found.span(1)
            if start >= limit:
                break
            spans.append((start, stop))
            found = following(data, stop, end)
        if spans:
            self._mode = "V"
        return spans

    def finish(self, offset: int) -> Seen:
        """The object ends at `offset`: END for a bare value that ends with it. Raises `BadRecord` where it cannot."""
        if self.envelope is not None:
            self.envelope.finish(offset)
            return Seen.NOTHING
        if self._has_commas:
            raise BadRecord(f"the object ends at byte {offset} before its array is closed", offset=offset)
        if self._depth == 0 and self._mode == "S":
            self._mode = "V"
            return Seen.END
        if not self.is_between:
            raise BadRecord(f"the object ends at byte {offset} inside a JSON value", offset=offset)
        return Seen.NOTHING

    def _between(self, data: bytes, at: int, end: int, offset: int) -> tuple[int, Seen | None]:
        found = _SPACE.match(data, at, end)
        at = found.end() if found is not None else at
        if at == end:
            return at, None
        byte = data[at]
        if self._has_commas:
            if self._mode == "V":
                if byte == _COMMA:
                    self._mode = "C"
                    return at + 1, None
                if byte != _CLOSE:
                    raise BadRecord(
                        f"byte {offset + at}: expected a comma or the array's end after an element", offset=offset + at
                    )
            if byte == _CLOSE and self._mode != "C":
                self.envelope = Envelope.after_array(self._path or ())
                return at + 1, Seen.CLOSED
        if byte in _NO_BEGIN:
            raise BadRecord(f"byte {offset + at}: expected a JSON value, not {chr(byte)!r}", offset=offset + at)
        self.state_before = self.state
        if byte in _OPENING:
            self._depth, self._mode = 1, "N"
        else:
            self._mode = "Q" if byte == _QUOTE else "S"
        return at + 1, Seen.BEGIN

    def _bare(self, data: bytes, at: int, end: int) -> tuple[int, Seen | None]:
        found = _SCALAR.match(data, at, end)
        at = found.end() if found is not None else at
        if at == end:
            return at, None
        self._mode = "V"
        return at, Seen.END

    def _inside(self, data: bytes, at: int, end: int, offset: int) -> tuple[int, Seen | None]:
        """One step inside brackets or a string."""
        if self._mode == "N":
            found = _INSIDE.match(data, at, end)
            at = found.end() if found is not None else at
            if at == end:
                return at, None
            byte = data[at]
            if byte == _QUOTE:
                self._mode = "Q"
            else:
                self._depth += 1 if byte in _OPENING else -1
            return at + 1, self._ended()
        if self._mode == "X":
            _require_no_break(data[at], offset + at)
            self._mode = "Q"
            return at + 1, None
        found = _IN_STRING.match(data, at, end)
        at = found.end() if found is not None else at
        if at == end:
            return at, None
        byte = data[at]
        _require_no_break(byte, offset + at)
        if byte == _BACKSLASH:  # the last byte there is, or one before a line break, which the next step refuses
            self._mode = "X"
            return at + 1, None
        self._mode = "N"
        return at + 1, self._ended()

    def _ended(self) -> Seen | None:
        if self._depth > 0 or self._mode == "Q":
            return None
        self._mode = "V"
        return Seen.END


def _require_no_break(byte: int, offset: int) -> None:
    if byte in b"\n\r":
        raise BadRecord(f"byte {offset}: a line break inside a JSON string", offset=offset)
