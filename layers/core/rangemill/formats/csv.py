"""CSV: one record per line, with quotes but without quoted newlines in this version.

An empty line is no record: it is neither counted nor given to an engine. The first line of every object is the header
(unless `header: false`) and must be the settled one; a UTF-8 byte order mark before it is tolerated. One delimiter more
than columns at a line's end is tolerated. What would be cut wrongly or read differently by two readers is a
`BadRecord`: a quote that is not closed on its line, a lone carriage return, another number of columns.
"""

import csv
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import msgspec

from rangemill.blocks import Block
from rangemill.errors import BadRecord
from rangemill.formats import _csv_schema, _delimited, _lines
from rangemill.formats._csv_quotes import Quotes
from rangemill.formats.base import Crc, Event, Sample, Settled
from rangemill.ranges import ByteRange
from rangemill.units import parse_bytes

_MAX_FIELD_BYTES: Final = 2**31 - 1  # the csv module's own bound is 128 KiB; ours is max_record_bytes


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under `format:` beside `type: csv`.

    `columns`: name → SQL type, all or some; `null`: what is NULL in SQL; `as`: what a Python record is.
    """

    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    columns: dict[str, str] = {}
    null: str | list[str] = ""
    record_as: Literal["list", "dict", "bytes"] = msgspec.field(name="as", default="list")
    max_record_bytes: int | str = _delimited.DEFAULT_MAX_RECORD_BYTES
    encoding: Literal["utf-8"] = "utf-8"

    def __post_init__(self) -> None:
        parse_bytes(self.max_record_bytes)
        for name, value in (("delimiter", self.delimiter), ("quote", self.quote)):
            if len(value) != 1 or not value.isascii() or value in "\r\n":
                raise ValueError(f"expected {name} to be one ASCII character, not {value!r}")
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote must differ")

    @property
    def nulls(self) -> list[str]:
        """The texts that are NULL in SQL."""
        return [self.null] if isinstance(self.null, str) else self.null


def options_of(settled: Settled) -> Options:
    """The settled options, typed."""
    return msgspec.convert(settled.options, Options)


def look_behind(settled: Settled) -> int:  # noqa: ARG001 - the interface
    """See `FormatModule`."""
    return _delimited.LOOK_BEHIND_BYTES


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:
    """See `FormatModule`: names from the first object's header, types from `_csv_schema`."""
    parsed = msgspec.convert(options, Options)
    schema = _csv_schema.settle(
        samples,
        parsed.delimiter,
        parsed.quote,
        parsed.header,
        parsed.columns,
        frozenset(parsed.nulls) if for_sql else None,
    )
    return Settled("csv", options, columns=schema.columns, header=schema.header)


def align(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    settled: Settled,
    crc: Crc,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """See `FormatModule`."""
    options = options_of(settled)
    limit = parse_bytes(options.max_record_bytes)
    make_block = _block_maker(settled.header, options)
    return _delimited.split(run, range_bytes, object_bytes, pieces, crc, should_stop, make_block, limit)


def _block_maker(header: str | None, options: Options) -> Callable[[bytes, int], Block | None]:
    quotes = Quotes(options.quote.encode(), options.delimiter.encode())

    def block(data: bytes, offset: int) -> Block | None:
        begins_object = offset == 0
        data, offset = _lines.without_bom(data, offset)
        if begins_object and header is not None:
            data, offset = _without_header(data, offset, header)
        if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
            _refuse_lone_return(data, offset)
        quotes.check(data, offset)
        count = _lines.count_except(data, _lines.is_empty)
        return Block(data, offset, count) if count else None

    return block


def _without_header(data: bytes, offset: int, header: str) -> tuple[bytes, int]:
    start, end = _lines.line_at(data, 0)
    found = data[start:end].removesuffix(b"\r")
    if found != header.encode():
        raise BadRecord(
            f"its header is {found.decode('utf-8', 'backslashreplace')!r:.300}, but the job's first object has "
            f"{header!r:.300}; objects of one job must have the same header",
            offset=0,
        )
    return data[end + 1 :], offset + min(end + 1, len(data))


def _refuse_lone_return(data: bytes, offset: int) -> None:
    for line, start in _lines.with_starts(data):
        if line.count(b"\r") != line.count(b"\r\n"):
            raise BadRecord(
                f"the record at byte {offset + start} holds a carriage return that does not end its line, "
                "which CSV readers do not agree on",
                offset=offset + start,
            )


def records(data: bytes, settled: Settled, record_type: Any) -> Iterator[Any]:  # noqa: ARG001 - the interface
    """See `FormatModule`: lists of texts in settled order, or what `as` says."""
    options = options_of(settled)
    lines = _lines.lines_except(data, _lines.is_empty)
    if options.record_as == "bytes":
        return lines
    names = [name for name, _ in settled.columns or []]
    rows = _rows(data, lines, options, len(names))
    return (dict(zip(names, row, strict=True)) for row in rows) if options.record_as == "dict" else rows


def _rows(data: bytes, lines: Iterator[bytes], options: Options, columns: int) -> Iterator[list[str]]:
    texts = map(bytes.decode, lines)
    index = -1
    reader = _quoted_rows if options.quote.encode() in data else _plain_rows
    try:
        for index, row in enumerate(reader(texts, options)):
            if len(row) == columns + 1 and row[-1] == "":
                row.pop()
            if len(row) != columns:
                raise BadRecord(f"it has {len(row)} columns, not {columns}", offset=locate(data, index))
            yield row
    except UnicodeDecodeError as error:
        raise BadRecord(f"it is not UTF-8: {error.reason}", offset=locate(data, index + 1)) from None
    except csv.Error as error:
        raise BadRecord(f"its quotes are wrong: {error}", offset=locate(data, index + 1)) from None


def _plain_rows(texts: Iterator[str], options: Options) -> Iterator[list[str]]:
    delimiter = options.delimiter
    return (text.split(delimiter) for text in texts)


def _quoted_rows(texts: Iterator[str], options: Options) -> Iterator[list[str]]:
    csv.field_size_limit(_MAX_FIELD_BYTES)
    reader = csv.reader(texts, delimiter=options.delimiter, quotechar=options.quote, strict=True)
    for index, row in enumerate(reader, 1):
        if reader.line_num != index:
            raise csv.Error("a quote is closed on another line than it was opened on")
        yield row


def locate(data: bytes, index: int) -> int:
    """See `FormatModule`."""
    return _lines.start_except(data, index, _lines.is_empty)
