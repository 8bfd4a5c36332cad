"""What a range in the middle of a JSON object begins in, guessed from the bytes that follow.

In a string or not is nearly always certain: read the wrong way round, the text stops being JSON within a few tokens.
How deep: the least depth within reach is taken for that of the elements. Both are only guesses; the range before tells
what is so, and a range that guessed wrong is worked on again.
"""

import re
from dataclasses import dataclass
from typing import Final

from rangemill.formats._json_structure import Path

LOOK_BEHIND_BYTES: Final = 64
WINDOW_BYTES: Final = 4 * 2**10  # at least so much is looked at
_ENOUGH_BYTES: Final = 256 * 2**10  # and no more than this
_SPACE: Final = b" \t\n\r"
_STRUCTURE: Final = b'{}[],:"' + _SPACE
_TOKEN: Final = re.compile(
    rb'[ \t\n\r]*+(?:("(?:[^"\\\x00-\x1f]++|\\[^\n\r])*+")|([{\[])|([}\]])|(,)|(:)|([^ \t\n\r,:"{}\[\]]++))'
)
_STRING, _OPEN, _CLOSE, _COMMA, _COLON, _BARE = range(1, 7)
_SCALAR: Final = re.compile(rb"-?[0-9]++(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+|true|false|null")
_SCALAR_END: Final = re.compile(rb"[-+.0-9eEtrufalsn]*+")  # what a window may begin with
_STRING_REST: Final = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\[^\n\r])*+')
# What may follow what, whatever the brackets are; nothing stands for the window's start.
_FOLLOWS: Final = {
    0: {_STRING, _OPEN, _CLOSE, _COMMA, _COLON, _BARE},
    _STRING: {_CLOSE, _COMMA, _COLON},
    _OPEN: {_STRING, _OPEN, _CLOSE, _BARE},
    _CLOSE: {_CLOSE, _COMMA},
    _COMMA: {_STRING, _OPEN, _BARE},
    _COLON: {_STRING, _OPEN, _BARE},
    _BARE: {_CLOSE, _COMMA},
}


@dataclass(slots=True)
class _Reading:
    """A window read in one way: depths are relative to its start."""

    least: int = 0
    last: int = 0
    between: int | None = None  # the depth at which two values follow each other without a comma
    first: int = 0


def guess(path: Path, data: bytes, at: int, reaches_end: bool) -> str:
    """The state at `data[at]`. `reaches_end`: whether the data ends with the object."""
    window = data[at : at + _ENOUGH_BYTES]
    reaches_end = reaches_end and len(window) == len(data) - at
    behind = data[:at]
    escapes = len(behind) - len(behind.rstrip(b"\\"))
    mode = "X" if escapes % 2 else "Q"
    outside = _read(window, path is None) if not escapes else None
    if outside is not None:
        depth = _depth(path, outside, reaches_end)
        if depth < 0:
            return "e>0.0.0."
        return f"r{depth}N" if depth else f"r0{_between(path, behind, outside.first)}"
    rest = _STRING_REST.match(window, 1 if mode == "X" else 0)
    end = rest.end() if rest is not None else len(window)
    inside = _read(window[end + 1 :], path is None, after_string=True) if window[end : end + 1] == b'"' else None
    return f"r{max(0, _depth(path, inside, reaches_end)) if inside is not None else 1}{mode}"


def _read(window: bytes, is_values: bool, *, after_string: bool = False) -> _Reading | None:
    """The window's tokens; None where they cannot be JSON."""
    reading = _Reading()
    before, at = _STRING if after_string else 0, 0
    if not after_string:
        start = _SCALAR_END.match(window)
        if start is not None and start.end() > 0:
            before, at, reading.first = _BARE, start.end(), _BARE
    found = _TOKEN.match(window, at)
    while found is not None:
        kind, end = found.lastindex or 0, found.end()
        if kind not in _FOLLOWS[before]:
            if not (is_values and before == _CLOSE and kind == _OPEN):
                return None
            reading.between = reading.last
        if kind == _BARE and end < len(window) and not _SCALAR.fullmatch(window, found.start(kind), end):
            return None
        if kind == _OPEN:
            reading.last += 1
        elif kind == _CLOSE:
            reading.last -= 1
            reading.least = min(reading.least, reading.last)
        reading.first = reading.first or kind
        before, at = kind, end
        found = _TOKEN.match(window, at)
    left = window[at:].lstrip(_SPACE)
    return reading if not left or (left[:1] == b'"' and _may_go_on(left)) else None


def _may_go_on(left: bytes) -> bool:
    """Whether a string that the window's end cuts is one so far."""
    found = _STRING_REST.match(left, 1)
    return found is None or found.end() >= len(left) - 1


def _depth(path: Path, reading: _Reading, reaches_end: bool) -> int:
    """How many brackets of the element are open at the window's start; negative after the array."""
    if path is None and reading.between is not None:
        return -reading.between
    if reaches_end:
        return -reading.last - (0 if path is None else len(path) + 1)
    return -reading.least


def _between(path: Path, behind: bytes, first: int) -> str:
    """The mode at the elements' own depth."""
    if behind and behind[-1:] not in [bytes([byte]) for byte in _STRUCTURE]:
        return "S"
    before = behind.rstrip(_SPACE)[-1:]
    if path is None:
        return "V"
    if before in (b",", b"["):
        return "C" if before == b"," else "E"
    return "V" if before or first in (_COMMA, _CLOSE) else "C"
