"""Lines of text: a record is a line without its `\\n` and without one `\\r` before it.

A lone `\\r`, NEL and U+2028 are data; an empty line is a record. A UTF-8 byte order mark at the object's start is not
part of the first record.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from rangemill.blocks import Block
from rangemill.formats import _delimited, _lines
from rangemill.formats.base import Crc, Event, Sample, Settled
from rangemill.ranges import ByteRange
from rangemill.units import parse_bytes


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under `format:` beside `type: text`."""

    max_record_bytes: int | str = _delimited.DEFAULT_MAX_RECORD_BYTES
    encoding: Literal["utf-8"] = "utf-8"

    def __post_init__(self) -> None:
        parse_bytes(self.max_record_bytes)


def look_behind(settled: Settled) -> int:  # noqa: ARG001 - the interface
    """See `FormatModule`."""
    return _delimited.LOOK_BEHIND_BYTES


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:  # noqa: ARG001 - the interface
    """See `FormatModule`: text has one column."""
    return Settled("text", options, columns=[("line", "VARCHAR")])


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
    limit = parse_bytes(msgspec.convert(settled.options, Options).max_record_bytes)
    return _delimited.split(run, range_bytes, object_bytes, pieces, crc, should_stop, _block, limit)


def _block(data: bytes, offset: int) -> Block | None:
    data, offset = _lines.without_bom(data, offset)
    return Block(data, offset, _lines.count_lines(data)) if data else None


def records(data: bytes, settled: Settled, record_type: object) -> Iterator[bytes]:  # noqa: ARG001 - the interface
    """See `FormatModule`: bytes, whatever their encoding."""
    return _lines.lines(data)


def locate(data: bytes, index: int) -> int:
    """See `FormatModule`."""
    return _lines.line_at(data, index)[0]
