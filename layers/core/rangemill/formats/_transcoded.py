"""Lines in encodings other than UTF-8, for the formats whose records are lines."""

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import accumulate, pairwise

from rangemill.blocks import Block
from rangemill.formats import _encodings, _infer, _lines
from rangemill.formats._finders import Delimiters
from rangemill.formats.base import Sample


def newline(encoding: str) -> bytes:
    """A newline as it is stored."""
    return "\n".encode(encoding)


def finder(encoding: str) -> Delimiters:
    """Where lines begin."""
    return Delimiters(newline(encoding), _encodings.unit_bytes(encoding))


def line_start(data: bytes, at: int, encoding: str) -> int:
    """Where the line begins that has byte `at`, in a block of stored bytes that begins with a line."""
    end, size = newline(encoding), _encodings.unit_bytes(encoding)
    found = data.rfind(end, 0, at)
    while found >= 0 and found % size:
        found = data.rfind(end, 0, found + len(end) - 1)
    return found + len(end) if found >= 0 else 0


def line_block(data: bytes, offset: int, encoding: str, bom: str, left_out: Callable[[bytes], bool]) -> Block | None:
    """The UTF-8 block of stored lines, those that `left_out` leaves out not counted. Raises `BadRecord`."""
    data, offset = _encodings.without_bom(data, offset, encoding, bom)
    if encoding == "utf-8":
        count = _lines.count_except(data, left_out)
        return Block(data, offset, count) if count else None
    body = _encodings.decode(data, offset, encoding, lambda stored, at: line_start(stored, at, encoding))
    count = _lines.count_except(body, left_out)

    def places() -> list[int]:
        lines = list(BytesIO(body))
        sizes = _encodings.lengths([_encodings.from_utf8(line) for line in lines], encoding)
        starts = accumulate(sizes, initial=offset)
        return [start for line, start in zip(lines, starts, strict=False) if not left_out(line)]

    return Block(body, offset, count, _encodings.Places(count, places)) if count else None


def whole_lines(sample: Sample, encoding: str) -> Iterator[tuple[bytes, int]]:
    """The lines that the sample holds whole, in UTF-8 and without their ends, and where each is stored.

    Raises `BadRecord`.
    """
    if encoding == "utf-8":
        yield from _infer.whole_lines(sample)
        return
    end, size = newline(encoding), _encodings.unit_bytes(encoding)
    shift = -sample.offset % size
    data, offset = sample.data[shift:], sample.offset + shift
    if offset == 0 and (mark := _encodings.sniff(data, encoding)) is not None and mark[0] == encoding:
        data, offset = data[mark[1] :], mark[1]
    starts = [0] if sample.offset == 0 else []
    found = data.find(end)
    while found >= 0:
        if found % size == 0:
            starts.append(found + len(end))
        found = data.find(end, found + 1)
    if sample.offset + len(sample.data) == sample.object_bytes and starts and starts[-1] < len(data):
        starts.append(len(data))
    for start, stop in pairwise(starts):
        line = data[start:stop].removesuffix(end)
        text = _encodings.decode(line, offset + start, encoding, lambda *_: 0)
        yield text.removesuffix(b"\r"), offset + start
