"""Text: lines, and records told apart by a delimiter, by their length or by how their first line begins.

A line is a record without its `\\n` and without one `\\r` before it; a lone `\\r`, NEL and U+2028 are data, and so is
NUL; an empty line is a record. A byte order mark at the object's start is not part of the first record. With `pattern`
or `preset` a record is a row of columns.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from rangemill.blocks import Block
from rangemill.errors import BadPipeline, BadRecord
from rangemill.formats import _cutting, _delimited, _encodings, _infer, _lines, _log_lines, _text_reading
from rangemill.formats._finders import Delimiters
from rangemill.formats._text_options import Options
from rangemill.formats._text_reading import Reading
from rangemill.formats.base import Crc, Event, Head, Sample, Settled
from rangemill.ranges import ByteRange

__all__ = [
    "Options",
    "align",
    "counts_from_start",
    "has_state",
    "known_columns",
    "locate",
    "look_behind",
    "records",
    "settle",
    "spans",
]

_SUSPICIOUS_BYTES: Final = 2**10  # of samples without a delimiter


def look_behind(settled: Settled) -> int:
    """See `FormatModule`."""
    reading = _text_reading.of(settled)
    return _delimited.LOOK_BEHIND_BYTES if reading.is_plain else reading.separation.finder().look_behind


def has_state(settled: Settled) -> bool:
    """Only a delimiter that overlaps itself has one."""
    finder = _text_reading.of(settled).separation.finder()
    return isinstance(finder, Delimiters) and finder.overlaps


def counts_from_start(options: dict[str, Any]) -> bool:
    """Whether it must be known how far from the object's first byte a record is: for lengths and code units."""
    given = msgspec.convert(options, Options)
    return given.record_bytes is not None or _encodings.unit_bytes(given.encoding) > 1


def known_columns(options: dict[str, Any]) -> list[tuple[str, str]] | None:
    """The columns that the document alone tells; None where data must be seen."""
    given = msgspec.convert(options, Options)
    layout = Reading(given).layout
    if layout is None:
        return None if _log_lines.has_header(given.preset) else [("line", "VARCHAR")]
    types = layout.types | given.columns
    if given.preset is None and set(types) < set(layout.names):
        return None
    return [(name, types.get(name, "VARCHAR")) for name in layout.names]


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:
    """See `FormatModule`: the encoding by the objects' first bytes, the names of a log, for SQL the columns' types.

    What SQL cannot read as it is stored is transcoded to JSON lines.
    """
    given = msgspec.convert(options, Options)
    notes: list[str] = []
    if given.record_bytes is None:
        told, notes = _encodings.settle(samples, given.encoding)
        options = options | told
    if _log_lines.has_header(given.preset) and not given.fields:
        options = options | {"fields": _fields(samples, msgspec.convert(options, Options))}
    given = msgspec.convert(options, Options)
    reading = Reading(given)
    columns = _columns(reading, samples, for_sql)
    plain = reading.is_plain and reading.layout is None
    notes += _delimiter_notes(given, samples)
    return Settled("text", options, columns, shape="jsonl" if for_sql and not plain else "", notes=notes)


def _delimiter_notes(options: Options, samples: list[Sample]) -> list[str]:
    """A note on a delimiter that no sample has, where there is more than a record's worth of them."""
    if options.delimiter is None or sum(len(sample.data) for sample in samples) < _SUSPICIOUS_BYTES:
        return []
    stored = _encodings.delimiter_bytes(options.delimiter, options.encoding)[0]
    if any(stored in sample.data for sample in samples):
        return []
    note = f"`format.delimiter` ({' '.join(f'{byte:02x}' for byte in stored)} in bytes) is in none of the samples"
    if len(options.delimiter) == 1 and 0x80 <= ord(options.delimiter) <= 0xFF and len(stored) > 1:
        note += f"; the byte {ord(options.delimiter):02x} is written as '\\x{ord(options.delimiter):02x}'"
    return [note]


def _fields(samples: list[Sample], options: Options) -> list[str]:
    heads = [sample for sample in samples if sample.offset == 0 and sample.data]
    if not heads:
        return []
    found = _log_lines.leading_fields(heads[0].data.decode(options.encoding, "replace"))
    if not found:
        raise BadRecord(
            f"{heads[0].object_uri} does not begin with a #Fields line that names the columns of its records; "
            "give the names under `format.fields`",
            object_uri=heads[0].object_uri,
            offset=0,
        )
    try:
        _require_different(found)
    except BadRecord as error:
        raise BadRecord(f"{heads[0].object_uri}: {error.message}", object_uri=heads[0].object_uri, offset=0) from None
    return found


def _require_different(names: list[str]) -> None:
    if len({name.lower() for name in names}) < len(names):
        raise BadRecord(f"its #Fields line names a field twice: {' '.join(names):.300}", offset=0)


def _block_maker(reading: Reading, head: Head | None) -> Callable[[bytes, int], Block | None]:
    """`reading.block`; of a log that names its fields, by those that the object itself names first."""
    options = reading.options
    if not _log_lines.has_header(options.preset):
        return reading.block
    own: list[str] | None = None

    def know(begin: bytes) -> None:
        nonlocal own
        found = _log_lines.leading_fields(begin.decode(options.encoding, "replace"))
        own = found if found != options.fields else None
        _require_different(own or [])

    def block(data: bytes, offset: int) -> Block | None:
        if head is None and offset == 0:
            know(data)
        return reading.block(data, offset, own)

    if head is not None:
        know(b"".join(head()))
    return block


def _columns(reading: Reading, samples: list[Sample], for_sql: bool) -> list[tuple[str, str]] | None:
    """Names with their types: as declared, as the log is known to have them, else the narrowest over the samples."""
    options, layout = reading.options, reading.layout
    if layout is None:
        return None if _log_lines.has_header(options.preset) else [("line", "VARCHAR")]
    unknown = next((name for name in options.columns if name not in layout.names), None)
    if unknown is not None:
        raise BadPipeline("pipeline", None, f"format.columns.{unknown}", "the log has no such field")
    types = layout.types | options.columns
    seen: dict[str, set[str]] = {name: set() for name in layout.names if name not in types}
    if for_sql and seen and options.preset is None:
        for row in _infer.readable(_sampled_rows(reading, samples)):
            for name, values in seen.items():
                value = row[name]
                if value is not None:
                    values.add(value)
        types = types | {name: _infer.text_type(values) for name, values in seen.items()}
    return [(name, types.get(name, "VARCHAR")) for name in layout.names]


def _sampled_rows(reading: Reading, samples: list[Sample]) -> Iterator[Callable[[], dict[str, str | None]]]:
    for sample in samples:
        contents = _infer.whole_lines(sample) if reading.is_plain else reading.sampled(sample)
        for content, offset in contents:
            yield partial(_sampled_row, reading, content, sample.object_uri, offset)


def _sampled_row(reading: Reading, content: bytes, object_uri: str, offset: int) -> dict[str, str | None]:
    try:
        return reading.row(content)
    except BadRecord as error:
        raise BadRecord(
            f"{object_uri}: the record at byte {offset}: {error.message}", object_uri=object_uri, offset=offset
        ) from None


def align(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    settled: Settled,
    crc: Crc,
    should_stop: Callable[[], bool],
    state: str | None = None,
    head: Head | None = None,
) -> Iterator[Event]:
    """See `FormatModule`. Only a delimiter that overlaps itself has a state, only a log with field names a head."""
    reading = _text_reading.of(settled)
    limit, make_block = reading.options.limit_bytes, _block_maker(reading, head)
    if reading.is_plain:
        return _delimited.split(run, range_bytes, object_bytes, pieces, crc, should_stop, make_block, limit)
    finder = reading.separation.finder()
    return _cutting.cut(run, range_bytes, object_bytes, pieces, crc, should_stop, make_block, finder, state, limit)


def records(data: bytes, settled: Settled, record_type: Any) -> Iterator[Any]:
    """See `FormatModule`: bytes as they are stored (in UTF-8, where that is another encoding), or dicts of texts."""
    reading = _text_reading.of(settled)
    if reading.layout is None and reading.options.preset is None:
        return reading.contents(data)
    return reading.rows(data, record_type)


def spans(data: bytes, settled: Settled) -> Iterator[tuple[int, int]]:
    """See the package."""
    return _text_reading.of(settled).spans(data)


def locate(data: bytes, index: int) -> int:
    """See `FormatModule`; where records are no plain lines, their block has places."""
    return _lines.line_at(data, index)[0]
