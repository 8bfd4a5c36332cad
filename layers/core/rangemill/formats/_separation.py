"""How a block of text is told apart into records: at newlines, at a delimiter, at a length, or at lines that match.

`wholes` are the records with their ends, so that they make up the block; `contents` are the same without them. What is
stored in another encoding has been made UTF-8 by then; a finder looks at the stored bytes.
"""

import re
from collections.abc import Iterable
from io import BytesIO
from typing import Protocol

from rangemill.formats import _encodings, _lines
from rangemill.formats._finders import Delimiters, Finder, FixedLengths, MatchingLines


class Separation(Protocol):
    """See the module. Each makes up its mind from a block alone, since a block begins with a record."""

    def finder(self) -> Finder:
        """A new finder, for one run."""

    def count(self, data: bytes) -> int:
        """How many records a block has."""

    def wholes(self, data: bytes) -> list[bytes]:
        """The records with their ends."""

    def contents(self, data: bytes) -> Iterable[bytes]:
        """The records without them."""


class Newlines:
    """A record is a line; one return before its newline is no part of it."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def finder(self) -> Finder:
        """See `Separation`."""
        return Delimiters("\n".encode(self._encoding), _encodings.unit_bytes(self._encoding))

    def count(self, data: bytes) -> int:
        """See `Separation`."""
        return _lines.count_lines(data)

    def wholes(self, data: bytes) -> list[bytes]:
        """See `Separation`."""
        return list(BytesIO(data))

    def contents(self, data: bytes) -> Iterable[bytes]:
        """See `Separation`."""
        return _lines.lines(data)


class Delimited:
    """A record is what stands between two delimiters, or after the last one if that is not empty."""

    def __init__(self, delimiter: str, encoding: str) -> None:
        self._stored, self._delimiter = _encodings.delimiter_bytes(delimiter, encoding)
        self._unit_bytes = _encodings.unit_bytes(encoding)

    def finder(self) -> Finder:
        """See `Separation`."""
        return Delimiters(self._stored, self._unit_bytes)

    def count(self, data: bytes) -> int:
        """See `Separation`."""
        return data.count(self._delimiter) + self._has_rest(data)

    def _has_rest(self, data: bytes) -> bool:
        """Whether a record without a delimiter ends the block: `a|||` ends with `||` by its looks, but with `|`."""
        return not data.endswith(self._delimiter) or data.split(self._delimiter)[-1] != b""

    def wholes(self, data: bytes) -> list[bytes]:
        """See `Separation`."""
        *ended, rest = data.split(self._delimiter)
        wholes = [content + self._delimiter for content in ended]
        return [*wholes, rest] if rest else wholes

    def contents(self, data: bytes) -> Iterable[bytes]:
        """See `Separation`."""
        contents = data.split(self._delimiter)
        if not contents[-1]:
            contents.pop()
        return contents


class Fixed:
    """A record is as many stored bytes as was declared."""

    def __init__(self, record_bytes: int, encoding: str) -> None:
        self._record_bytes = record_bytes
        self._is_transcoded = encoding != "utf-8"

    def finder(self) -> Finder:
        """See `Separation`."""
        return FixedLengths(self._record_bytes)

    def count(self, data: bytes) -> int:
        """See `Separation`."""
        return (len(_encodings.from_utf8(data)) if self._is_transcoded else len(data)) // self._record_bytes

    def wholes(self, data: bytes) -> list[bytes]:
        """See `Separation`."""
        size = self._record_bytes
        if self._is_transcoded:  # from an encoding whose characters are bytes
            text = _encodings.from_utf8(data)
            return [text[at : at + size].encode("utf-8", "surrogatepass") for at in range(0, len(text), size)]
        return [data[at : at + size] for at in range(0, len(data), size)]

    def contents(self, data: bytes) -> Iterable[bytes]:
        """See `Separation`."""
        return self.wholes(data)


class MultiLine:
    """A record begins at a line that the pattern matches from its start, and goes on to the next such line.

    What precedes the first one is a record of its own. The pattern is given a line without its end; bytes that are not
    of the encoding match nothing but `.` and the like.
    """

    def __init__(self, pattern: str, encoding: str, max_record_bytes: int) -> None:
        self._match = re.compile(pattern).match
        self._encoding = encoding
        self._max_record_bytes = max_record_bytes
        self._last: tuple[bytes, list[bytes]] = b"", []

    def finder(self) -> Finder:
        """See `Separation`."""

        def is_start(line: bytes) -> bool:
            return self._match(self._text(line).removesuffix("\r")) is not None

        unit_bytes = _encodings.unit_bytes(self._encoding)
        return MatchingLines(is_start, "\n".encode(self._encoding), unit_bytes, self._max_record_bytes)

    def _text(self, line: bytes) -> str:
        if self._encoding == "utf-8":
            return line.decode("utf-8", "surrogateescape")
        try:
            return _encodings.from_utf8(_encodings.to_utf8(line, self._encoding))
        except UnicodeDecodeError:  # its block fails of it
            return line.decode(self._encoding, "replace")

    def count(self, data: bytes) -> int:
        """See `Separation`."""
        return len(self.wholes(data))

    def wholes(self, data: bytes) -> list[bytes]:
        """See `Separation`. The same block is asked for twice, to be counted and to be read."""
        if self._last[0] is not data:
            self._last = data, self._split(data)
        return self._last[1]

    def _split(self, data: bytes) -> list[bytes]:
        match, starts, at = self._match, [0], 0
        errors = "surrogateescape" if self._encoding == "utf-8" else "surrogatepass"
        for line in BytesIO(data):
            text = line.decode("utf-8", errors).removesuffix("\n").removesuffix("\r")
            if at and match(text):
                starts.append(at)
            at += len(line)
        return [data[start:end] for start, end in zip(starts, [*starts[1:], at], strict=True)]

    def contents(self, data: bytes) -> Iterable[bytes]:
        """See `Separation`."""
        return [
            whole.removesuffix(b"\r\n") if whole.endswith(b"\r\n") else whole.removesuffix(b"\n")
            for whole in self.wholes(data)
        ]
