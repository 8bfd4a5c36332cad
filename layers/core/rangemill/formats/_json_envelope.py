"""What stands around the array of elements: nothing but space, or the object that has it as a member.

`{"Records": [ … ], "more": …}`: member names are followed along the path, everything else is skipped by its brackets
and strings. The array must be there exactly once.
"""

import re
from typing import Final

import msgspec

from rangemill.errors import BadRecord

_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_SKIPPED: Final = re.compile(rb'[^"{}\[\]]*+')
_IN_STRING: Final = re.compile(rb'[^"\\\n\r]*+')
_BARE: Final = re.compile(rb'[^ \t\n\r,:"{}\[\]]*+')
_BYTES_PER_NAME_BYTE: Final = 6  # what `\\uXXXX` makes of one: a raw name that is longer is none of the path's


class Envelope:
    """The automaton outside the elements.

    `phase`: `p` before the array, `q` after it, `e` after the document. `level`: how many members of the path lead to
    the object that we are in. `depth`: brackets open inside a value that is skipped.
    `mode`: `v` a value is expected, `{` a name or the end, `,` a name, `k` in a name, `x` after a backslash in one, `:`
    a colon, `b` in a bare value, `>` a comma or the end; in what is skipped `n`, in a string there `s`, after a
    backslash `y`. `name` is the raw name so far, from its opening quote on.
    """

    def __init__(self, path: tuple[str, ...], state: str | None = None) -> None:
        self._path = path
        self._name_max_bytes = max([0, *(_BYTES_PER_NAME_BYTE * len(part.encode()) for part in path)])
        self.is_open = False  # the array's opening bracket was just passed
        self._phase, self._mode, self._level, self._depth, self._name = "p", "v", 0, 0, b""
        self._on_path = True  # the value that follows is the next one of the path
        if state is not None:
            self._phase, self._mode = state[0], state[1]
            level, depth, on_path, name = state[2:].split(".", 3)
            self._level, self._depth, self._on_path = int(level), int(depth), on_path == "1"
            self._name = bytes.fromhex(name)

    @classmethod
    def after_array(cls, path: tuple[str, ...]) -> "Envelope":
        """The automaton when the array was closed."""
        envelope = cls(path)
        envelope._phase, envelope._level, envelope._on_path = "q", len(path), False
        envelope._close_value()
        return envelope

    @property
    def state(self) -> str:
        """The state as a text."""
        return (
            f"{self._phase}{self._mode}{self._level}.{self._depth}.{1 if self._on_path else 0}.{self._name.hex()}"
            if self._phase != "e"
            else "e>0.0.0."
        )

    @property
    def is_after(self) -> bool:
        """Whether the array was passed."""
        return self._phase != "p"

    def finish(self, offset: int) -> None:
        """The object ends here. Raises `BadRecord` unless the document was complete."""
        if self._phase == "e":
            return
        if (self._phase, self._mode, self._level) == ("p", "v", 0):
            raise BadRecord(f"the object ends at byte {offset} without a JSON value", offset=offset)
        raise BadRecord(f"the object ends at byte {offset} inside its JSON document", offset=offset)

    def scan(self, data: bytes, at: int, end: int, offset: int) -> int:
        """Go on to `end`, or to just behind the array's opening bracket (`is_open`). Raises `BadRecord`."""
        self.is_open = False
        while at < end and not self.is_open:
            if self._mode in "kx":
                at = self._in_name(data, at, end, offset)
            elif self._mode in "nsy":
                at = self._skip(data, at, end, offset)
            elif self._mode == "b":
                at = self._match(_BARE, data, at, end)
                if at < end:
                    self._mode = ">"
            else:
                at = self._match(_SPACE, data, at, end)
                if at < end:
                    self._token(data[at], offset + at)
                    at += 1
        return at

    @staticmethod
    def _match(pattern: re.Pattern[bytes], data: bytes, at: int, end: int) -> int:
        found = pattern.match(data, at, end)
        return found.end() if found is not None else at

    def _token(self, byte: int, offset: int) -> None:
        """One structural byte outside of what is skipped."""
        character = chr(byte)
        if self._phase == "e":
            raise BadRecord(
                f"byte {offset}: something follows after the end of the JSON document; "
                "documents one after the other are read with `layout: values`",
                offset=offset,
            )
        if self._mode == "v":
            self._value(character, offset)
        elif self._mode in "{," and character == '"':
            self._mode, self._name = "k", b""
        elif self._mode == "{" and character == "}":
            self._close_object(offset)
        elif self._mode == ":" and character == ":":
            self._mode = "v"
        elif self._mode == ">" and character == ",":
            self._mode = ","
        elif self._mode == ">" and character == "}":
            self._close_object(offset)
        else:
            wanted = {"{": "a member name or }", ",": "a member name", ":": "a colon", ">": "a comma or }"}[self._mode]
            raise BadRecord(f"byte {offset}: expected {wanted}, not {character!r}", offset=offset)

    def _value(self, character: str, offset: int) -> None:
        if self._on_path:
            self._enter(character, offset)
        elif character in "{[":
            self._mode, self._depth = "n", 1
        elif character == '"':
            self._mode = "s"
        elif character in "}],:":
            raise BadRecord(f"byte {offset}: expected a JSON value, not {character!r}", offset=offset)
        else:
            self._mode = "b"

    def _enter(self, character: str, offset: int) -> None:
        """The value that the path leads to: the array itself, or an object on the way."""
        is_last = self._level == len(self._path)
        where = ".".join(self._path[: self._level]) or "the document"
        if is_last and character == "[":
            self.is_open = True
        elif not is_last and character == "{":
            self._mode, self._on_path = "{", False
        elif is_last:
            raise BadRecord(f"byte {offset}: {where} is not an array", offset=offset)
        else:
            raise BadRecord(f"byte {offset}: {where} is not an object with {self._path[self._level]!r}", offset=offset)

    def _in_name(self, data: bytes, at: int, end: int, offset: int) -> int:
        if self._mode == "x":
            _require_no_break(data[at], offset + at)
            self._keep(data[at : at + 1])
            self._mode = "k"
            return at + 1
        stop = self._match(_IN_STRING, data, at, end)
        self._keep(data[at:stop])
        if stop == end:
            return stop
        _require_no_break(data[stop], offset + stop)
        if data[stop] == 0x5C:
            self._keep(b"\\")
            self._mode = "x"
        else:
            self._named(offset + stop)
        return stop + 1

    def _keep(self, more: bytes) -> None:
        self._name = (self._name + more)[: self._name_max_bytes + 1]

    def _named(self, offset: int) -> None:
        """A member name is complete."""
        name: str | None = None
        if len(self._name) <= self._name_max_bytes:
            try:
                name = msgspec.json.decode(b'"' + self._name + b'"', type=str)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadRecord(f"byte {offset}: a member name is no JSON string: {error}", offset=offset) from None
        self._mode, self._name = ":", b""
        if name == self._path[self._level]:
            if self._phase == "q":
                raise BadRecord(
                    f"byte {offset}: {'.'.join(self._path[: self._level + 1])!r} is there twice", offset=offset
                )
            self._on_path = True
            self._level += 1

    def _skip(self, data: bytes, at: int, end: int, offset: int) -> int:
        """A value that is none of the path's."""
        if self._mode == "y":
            _require_no_break(data[at], offset + at)
            self._mode = "s"
            return at + 1
        if self._mode == "s":
            at = self._match(_IN_STRING, data, at, end)
            if at == end:
                return at
            _require_no_break(data[at], offset + at)
            if data[at] == 0x5C:
                self._mode = "y"
            else:
                self._mode = "n" if self._depth else ">"
            return at + 1
        at = self._match(_SKIPPED, data, at, end)
        if at == end:
            return at
        if data[at] == 0x22:
            self._mode = "s"
        elif data[at] in b"{[":
            self._depth += 1
        else:
            self._depth -= 1
            if self._depth == 0:
                self._mode = ">"
        return at + 1

    def _close_object(self, offset: int) -> None:
        """The object that we are in ends; one that should have led to the array must have."""
        if self._phase == "p":
            raise BadRecord(
                f"byte {offset}: the document has no member {'.'.join(self._path)!r}, which `format.path` names",
                offset=offset,
            )
        self._close_value()

    def _close_value(self) -> None:
        """A value on the path is complete: we are in the object that has it, or at the document's end."""
        self._mode = ">"
        if self._level == 0:
            self._phase = "e"
        else:
            self._level -= 1


def _require_no_break(byte: int, offset: int) -> None:
    if byte in b"\n\r":
        raise BadRecord(f"byte {offset}: a line break inside a JSON string", offset=offset)
