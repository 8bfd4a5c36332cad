"""Quotes in CSV: what this version cannot split, and what two readers would read differently, is refused."""

import re

from rangemill.errors import BadRecord
from rangemill.formats import _lines


class Quotes:
    """The check of a block for one dialect; blocks without quotes cost one search."""

    def __init__(self, quote: bytes, delimiter: bytes) -> None:
        q, d = re.escape(quote), re.escape(delimiter)
        space = rb"[ \t]" if delimiter != b"\t" else rb" "
        self._quote = quote
        self._others = bytes(byte for byte in range(256) if byte not in quote + b"\n")
        # A space before an opening quote or after a closing one, or what looks like it; a space before a closing quote
        # is common and harmless. Begins with the quote, so that the search runs from quote to quote.
        before = rb"(?<=[\n \t" + d + rb"]" + space + q + rb")"
        after = space + rb"+(?:" + d + rb"|[\r\n]|\Z)"
        self._suspect = re.compile(q + rb"(?:" + before + rb"|" + after + rb")")
        self._suspect_start = re.compile(space + rb"+" + q)
        quoted = q + rb"(?:[^" + q + rb"]++|" + q + q + rb")*+" + q
        plain = rb"(?!" + space + rb"+" + q + rb")[^" + q + d + rb"\r\n][^" + d + rb"\r\n]*+"
        cell = rb"(?:" + quoted + rb"|" + plain + rb"|)"
        self._sound = re.compile(cell + rb"(?:" + d + cell + rb")*\r?")

    def check(self, data: bytes, offset: int) -> None:
        """Raise `BadRecord` for the first record with a quote left open, or with spaces around its quotes."""
        if self._quote not in data:
            return
        # Of quotes and newlines alone, pairs of quotes removed: a quote that is left is one too many on its line.
        if self._quote in data.translate(None, self._others).replace(self._quote * 2, b""):
            for line, start in _lines.with_starts(data):
                if line.count(self._quote) & 1:
                    raise BadRecord(
                        f"the record at byte {offset + start} opens a quote that its line does not close; "
                        "newlines inside quotes are not supported in this version",
                        offset=offset + start,
                    )
        suspects = [0] if self._suspect_start.match(data) else []
        suspects += [match.start() for match in self._suspect.finditer(data)]
        for at in suspects:
            start = data.rfind(b"\n", 0, at) + 1
            newline = data.find(b"\n", at)
            if not self._sound.fullmatch(data, start, len(data) if newline < 0 else newline):
                raise BadRecord(
                    f"the record at byte {offset + start} has spaces around quotes, which CSV readers do not agree on",
                    offset=offset + start,
                )
