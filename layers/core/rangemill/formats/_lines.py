"""Lines of a block, as the newline-delimited formats share them."""

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import filterfalse
from operator import itemgetter
from typing import Final

BOM: Final = b"\xef\xbb\xbf"
_WITHOUT_LF: Final = itemgetter(slice(None, -1))
_WITHOUT_CRLF: Final = itemgetter(slice(None, -2))
_SPACE: Final = b" \t\r\n"
_BLANK_INSIDE: Final = re.compile(rb"\n[ \t\r]*\n")


def count_lines(data: bytes) -> int:
    """Lines of a block: its newlines, and one more if the last line has none."""
    return data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def lines(data: bytes) -> Iterator[bytes]:
    """The lines without their `\\n` and one `\\r` before it, at the speed of C where the line ends are all alike."""
    if not data:
        return iter(())
    if not data.endswith((b"\n", b"\r")):
        data += b"\n"
    if b"\r" not in data:  # ten times as fast as counting them
        return map(_WITHOUT_LF, BytesIO(data))
    if data.count(b"\r") == data.count(b"\r\n") == data.count(b"\n"):
        return map(_WITHOUT_CRLF, BytesIO(data))
    return map(_without_end, BytesIO(data))


def with_starts(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The lines with their ends, and where in the block each begins."""
    start = 0
    for line in BytesIO(data):
        yield line, start
        start += len(line)


def _without_end(line: bytes) -> bytes:
    if line.endswith(b"\r\n"):
        return line[:-2]
    return line.removesuffix(b"\n")  # the object's last line may have none, and a return before none is data


def line_at(data: bytes, index: int) -> tuple[int, int]:
    """Start and end (its newline left out) of the line of that index. Raises IndexError."""
    start = 0
    for _ in range(index):
        newline = data.find(b"\n", start)
        if newline < 0:
            raise IndexError(index)
        start = newline + 1
    newline = data.find(b"\n", start)
    return start, len(data) if newline < 0 else newline


def has_blank_line(data: bytes) -> bool:
    """Whether some line holds nothing but spaces, tabs and returns; quick where none does."""
    if not data:
        return False
    last = data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]
    first = data[: data.find(b"\n") + 1]
    return (
        (first != b"" and not first.strip(_SPACE)) or not last.strip(_SPACE) or _BLANK_INSIDE.search(data) is not None
    )


def is_blank(line: bytes) -> bool:
    """Whether a line holds nothing but spaces, tabs and returns."""
    return not line.strip(_SPACE)


def is_empty(line: bytes) -> bool:
    """Whether a line holds nothing but its end."""
    return line in (b"", b"\r", b"\n", b"\r\n")


def count_except(data: bytes, left_out: Callable[[bytes], bool]) -> int:
    """The lines of a block without those that `left_out` (`is_blank` or `is_empty`) leaves out."""
    if not has_blank_line(data):
        return count_lines(data)
    return sum(not left_out(line) for line in BytesIO(data))


def lines_except(data: bytes, left_out: Callable[[bytes], bool]) -> Iterator[bytes]:
    """`lines` without those that `left_out` leaves out."""
    if not has_blank_line(data):
        return lines(data)
    return filterfalse(left_out, lines(data))


def start_except(data: bytes, index: int, left_out: Callable[[bytes], bool]) -> int:
    """Where the line of that index begins when those that `left_out` leaves out do not count."""
    buffer = BytesIO(data)
    for line in buffer:
        if not left_out(line):
            if index == 0:
                return buffer.tell() - len(line)
            index -= 1
    raise IndexError(index)


def without_bom(data: bytes, offset: int) -> tuple[bytes, int]:
    """A block's bytes without the byte order mark that may begin the object, and where they begin then."""
    if offset == 0 and data.startswith(BOM):
        return data[len(BOM) :], len(BOM)
    return data, offset
