"""What the options of text come to: how blocks are separated, transcoded, read into rows, and handed to SQL."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import accumulate, filterfalse
from typing import Any, Final

import msgspec

from rangemill.blocks import Block, Refused
from rangemill.errors import BadRecord
from rangemill.formats import _encodings, _lines, _log_lines
from rangemill.formats._separation import Delimited, Fixed, MultiLine, Newlines, Separation
from rangemill.formats._text_options import Options
from rangemill.formats._window import Window
from rangemill.formats.base import Sample, Settled

_encode_lines: Final = msgspec.json.Encoder().encode_lines


class Reading:
    """One pipeline's text. Make it by `reading`."""

    def __init__(self, options: Options, shape: str = "") -> None:
        self.options = options
        self.layout = _log_lines.layout(options.preset, options.pattern, options.fields, options.null_texts)
        self.separation = _separation(options)
        self._left_out = _log_lines.left_out(options.preset)
        self._shape = shape
        self.is_plain = type(self.separation) is Newlines and options.encoding == "utf-8"

    def block(self, data: bytes, offset: int, own: list[str] | None = None) -> Block | None:
        """The block of whole records, stored at `offset`, as its engine reads them. Raises `BadRecord`.

        `own` are the fields that the object's own header names, where they are not the job's.
        """
        options = self.options
        if options.record_bytes is None:
            data, offset = _encodings.without_bom(data, offset, options.encoding, options.bom)
        else:
            _require_whole(data, offset, options.length)
        if not data:
            return None
        if options.encoding != "utf-8":
            data = _encodings.decode(data, offset, options.encoding, self._start_of)
        if _log_lines.has_header(options.preset):
            self._require_same_fields(data, offset, own or options.fields)
        if own is not None:
            return self._in_settled_order(data, offset, own)
        if self._shape == "jsonl":
            return self._json_block(data, offset)
        count = self._count(data)
        if count == 0:
            return None
        if self.is_plain and self._left_out is None:
            return Block(data, offset, count)
        return Block(data, offset, count, _encodings.Places(count, lambda: self._places(data, offset)))

    def contents(self, data: bytes) -> Iterator[bytes]:
        """The records of a block without their ends.

        Raises `BadRecord`, offset within `data`, for one whose stored encoding does not hold; UTF-8 is not looked at,
        since a record is bytes.
        """
        if self.options.encoding != "utf-8" and not _is_utf8(data):
            return self._checked(data)
        return self._contents(data)

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Start and end of each record of a block, as engines read it."""
        starts = accumulate(map(len, wholes := self.separation.wholes(data)), initial=0)
        return (
            (start, start + len(whole))
            for start, whole in zip(starts, wholes, strict=False)
            if self._left_out is None or not self._left_out(whole)
        )

    def _checked(self, data: bytes) -> Iterator[bytes]:
        for index, content in enumerate(self._contents(data)):
            if not _is_utf8(content):
                at = self._starts(data, 0, "utf-8")[index]
                raise BadRecord(f"it is not {self.options.encoding}", offset=at)
            yield content

    def _contents(self, data: bytes) -> Iterator[bytes]:
        contents = self.separation.contents(data)
        return iter(contents) if self._left_out is None else filterfalse(self._left_out, contents)

    def rows(self, data: bytes, record_type: Any) -> Iterator[Any]:
        """The records of a block as dicts of texts, or as `record_type`. Raises `BadRecord`, offset within `data`."""
        for index, content in enumerate(self._contents(data)):
            try:
                yield self._row(content.decode(), record_type)
            except (BadRecord, UnicodeDecodeError) as error:
                problem = error.message if isinstance(error, BadRecord) else f"it is not UTF-8: {error.reason}"
                raise BadRecord(problem, offset=self._starts(data, 0, "utf-8")[index]) from None

    def sampled(self, sample: Sample) -> Iterator[tuple[bytes, int]]:
        """The records that a sample of an object's head holds whole, with where they are stored. Raises `BadRecord`."""
        if sample.offset > 0:
            return
        starts = list(self._stored_starts(sample.data))
        is_whole = len(sample.data) == sample.object_bytes
        data = sample.data if is_whole else sample.data[: starts[-1]]
        block = Reading(self.options).block(data, 0) if data else None
        if block is not None:
            yield from zip(self.contents(block.data), self._places(block.data, block.offset), strict=True)

    def row(self, content: bytes) -> dict[str, str | None]:
        """A record as texts by name. Raises `BadRecord`."""
        row: dict[str, str | None] = self._row(content.decode("utf-8", "replace"), None)
        return row

    def _row(self, text: str, record_type: Any) -> Any:
        if self.layout is None:
            raise BadRecord("its columns are not known: no #Fields line was seen")
        row = self.layout.parse(text)
        if row is None:
            raise BadRecord(self.layout.problem)
        if record_type is None:
            return row
        try:
            return msgspec.convert(row, record_type, strict=False)
        except msgspec.ValidationError as error:
            raise BadRecord(f"it does not fit its type: {error}") from None

    def _json_block(self, data: bytes, offset: int, places: Sequence[int] | None = None) -> Block | None:
        """The records as JSON lines, in which every text is exact: for SQL, whose readers of text are not."""
        contents = list(self._contents(data))
        if not contents:
            return None
        places = self._places(data, offset) if places is None else places
        refused: list[Refused] = []
        try:
            rows = [self._json_row(content) for content in contents]
        except BadRecord:
            kept, rows = [], []
            for content, place in zip(contents, places, strict=True):
                try:
                    rows.append(self._json_row(content))
                    kept.append(place)
                except BadRecord as error:
                    bad = content if _is_utf8(content) else _encodings.stored(content, self.options.encoding)
                    refused.append(Refused(place, bad, error.message))
            places = kept
        if self.layout is None:
            lines = _encode_lines(rows)[:-1].replace(b"\n", b'}\n{"line":')
            body = b'{"line":' + lines + b"}\n" if rows else b""
        else:
            body = _encode_lines(rows)
        return Block(body, offset, len(contents), places, refused=tuple(refused))

    def _json_row(self, content: bytes) -> Any:
        """What JSON holds of a record. Raises `BadRecord`."""
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            of = "UTF-8" if self.options.encoding == "utf-8" else self.options.encoding
            raise BadRecord(f"it is not {of}, and SQL needs text: {error.reason}") from None
        return text if self.layout is None else self._row(text, None)

    def _count(self, data: bytes) -> int:
        if self._left_out is None:
            return self.separation.count(data)
        if data.startswith(b"#") or b"\n#" in data:
            return sum(not self._left_out(line) for line in BytesIO(data))
        return _lines.count_except(data, _lines.is_empty)

    def _places(self, data: bytes, offset: int) -> "array[int]":
        return self._starts(data, offset, self.options.encoding)

    def _starts(self, data: bytes, offset: int, encoding: str) -> "array[int]":
        wholes = self.separation.wholes(data)
        if encoding == "utf-8":
            sizes: Iterable[int] = map(len, wholes)
        else:
            sizes = _encodings.lengths([_encodings.from_utf8(whole) for whole in wholes], encoding)
        starts = array("q", accumulate(sizes, initial=offset))[:-1]
        if self._left_out is None:
            return starts
        return array("q", [at for at, whole in zip(starts, wholes, strict=True) if not self._left_out(whole)])

    def _stored_starts(self, data: bytes) -> Iterator[int]:
        """Where the records of a stretch of stored bytes begin that begins with one."""
        finder, window, at = self.separation.finder(), Window(0, len(data), iter([data]), None), 0
        while at < len(data):
            yield at
            at = finder.seek(window, at + 1, None, lambda _: None) or len(data)

    def _start_of(self, data: bytes, at: int) -> int:
        begin = 0
        for start in self._stored_starts(data):
            if start > at:
                break
            begin = start
        return begin

    def _in_settled_order(self, data: bytes, offset: int, own: list[str]) -> Block | None:
        """The block with the job's fields in their order, found by name; what the object does not have is no value."""
        separator = _log_lines.separator_of(self.options.preset)
        places = [own.index(name) if name in own else None for name in self.options.fields]
        null = min(self.options.null_texts, default="-").encode()
        lines: list[bytes] = []
        kept: list[int] = []
        refused: list[Refused] = []
        for content, at in zip(self._contents(data), self._places(data, offset), strict=True):
            cells = content.split(separator)
            if len(cells) != len(own):
                problem = f"it does not have the {len(own)} fields that its object's #Fields line names"
                refused.append(Refused(at, content, problem))
                continue
            lines.append(separator.join(null if place is None else cells[place] for place in places) + b"\n")
            kept.append(at)
        if not lines and not refused:
            return None
        body = b"".join(lines)
        if self._shape != "jsonl":
            return Block(body, offset, len(kept) + len(refused), kept, refused=tuple(refused))
        block = self._json_block(body, offset, kept) or Block(b"", offset, 0, [])
        records = block.records + len(refused)
        return Block(block.data, offset, records, block.places, refused=(*block.refused, *refused))

    def _require_same_fields(self, data: bytes, offset: int, known: list[str]) -> None:
        """Raise `BadRecord` for a `#Fields` line in the middle of an object that names other fields than its first."""
        if not data.startswith(b"#") and b"\n#" not in data:
            return
        lines = list(BytesIO(data))
        for index, line in enumerate(lines):
            fields = _log_lines.fields_of(line) if line.startswith(b"#") else None
            if fields is not None and fields != known:
                before = [each.decode("utf-8", "replace") for each in lines[:index]]
                at = offset + sum(_encodings.lengths(before, self.options.encoding))
                raise BadRecord(
                    f"its #Fields line at byte {at} names {' '.join(fields)!r:.300}, but the one before it "
                    f"{' '.join(known)!r:.300}; split such an object there",
                    offset=at,
                )


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _separation(options: Options) -> Separation:
    if options.delimiter is not None:
        return Delimited(options.delimiter, options.encoding)
    if options.record_bytes is not None:
        return Fixed(options.length, options.encoding)
    if options.record_start is not None:
        return MultiLine(options.record_start, options.encoding, options.limit_bytes)
    return Newlines(options.encoding)


def _require_whole(data: bytes, offset: int, record_bytes: int) -> None:
    rest = len(data) % record_bytes
    if rest:
        at = offset + len(data) - rest
        raise BadRecord(
            f"the record at byte {at} has {rest} bytes, not {record_bytes}: the object ends within it", offset=at
        )


def of(settled: Settled) -> Reading:
    """The reading of a job; the same one for the blocks of a job that follow each other."""
    return _compiled(msgspec.json.encode((settled.options, settled.shape)))


@lru_cache(maxsize=4)
def _compiled(written: bytes) -> Reading:
    options, shape = msgspec.json.decode(written)
    return Reading(msgspec.convert(options, Options), shape)
