"""JSON Lines: one JSON value per line.

A line of nothing but spaces, tabs and a return is no record: it is neither counted nor given to an engine. A byte
order mark at the object's start is not part of the first record.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BytesIO
from typing import Any, Literal

import msgspec

from rangemill.blocks import Block
from rangemill.errors import BadRecord
from rangemill.formats import _cutting, _delimited, _encodings, _infer, _lines, _transcoded
from rangemill.formats._encodings import ByteOrderMark, Encoding
from rangemill.formats.base import Crc, Event, Sample, Settled
from rangemill.ranges import ByteRange
from rangemill.units import parse_bytes


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under `format:` beside `type: jsonl`. `columns`: name → SQL type, for SQL pipelines.

    `validate: all` holds every value against its column's type, not only what the statement reads. `bom` is what Plan
    found in the data.
    """

    columns: dict[str, str] = {}
    max_record_bytes: int | str = _delimited.DEFAULT_MAX_RECORD_BYTES
    encoding: Encoding = "utf-8"
    validate: Literal["used", "all"] = "used"
    bom: ByteOrderMark = "optional"

    def __post_init__(self) -> None:
        parse_bytes(self.max_record_bytes)


def look_behind(settled: Settled) -> int:
    """See `FormatModule`."""
    encoding = msgspec.convert(settled.options, Options).encoding
    return _delimited.LOOK_BEHIND_BYTES if encoding == "utf-8" else _transcoded.finder(encoding).look_behind


def counts_from_start(options: dict[str, Any]) -> bool:
    """Whether it must be known how far from the object's first byte a line is: for code units."""
    return _encodings.unit_bytes(msgspec.convert(options, Options).encoding) > 1


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:
    """See `FormatModule`: for SQL the names seen in the samples with their widest types, declared ones as declared."""
    given = msgspec.convert(options, Options)
    told, notes = _encodings.settle(samples, given.encoding)
    options = options | told
    if not for_sql:
        return Settled("jsonl", options, notes=notes)
    encoding = told.get("encoding", given.encoding)
    lines = ((line, sample, at) for sample in samples for line, at in _transcoded.whole_lines(sample, encoding))
    objects = _infer.readable(
        partial(object_of, line, sample.object_uri, at) for line, sample, at in lines if not _lines.is_blank(line)
    )
    columns, left_out = columns_of(objects, given.columns)
    return Settled("jsonl", options, columns=columns, notes=[*notes, *left_out])


def columns_of(
    objects: Iterable[dict[str, Any]], declared: dict[str, str]
) -> tuple[list[tuple[str, str]] | None, list[str]]:
    """The declared columns, then the names seen in these objects with their widest types; and what SQL cannot have."""
    seen: dict[str, list[Any]] = {}
    for members in objects:
        for name, value in members.items():
            seen.setdefault(name, []).append(value)
    by_lower = {name.lower(): name for name in declared}
    columns = list(declared.items())
    left_out: list[str] = []
    for name, values in seen.items():
        if name.lower() in by_lower:  # the first one seen stays
            kept = by_lower[name.lower()]
            if name != kept:
                left_out.append(
                    f"{name} is no column: SQL does not tell it from {kept}, which there is as well; which of them is "
                    "read is what `format.columns` names"
                )
            continue
        by_lower[name.lower()] = name
        columns.append((name, _infer.json_type(values)))
    return columns or None, left_out


def object_of(line: bytes, object_uri: str, offset: int) -> dict[str, Any]:
    """A sampled record, which must be a JSON object. Raises `BadRecord`."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(
            f"{object_uri}: the record at byte {offset} is not JSON: {error}", object_uri=object_uri, offset=offset
        ) from None
    if not isinstance(value, dict):
        raise BadRecord(
            f"{object_uri}: the record at byte {offset} is no JSON object, which SQL needs for its columns",
            object_uri=object_uri,
            offset=offset,
        )
    return value


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
    options = msgspec.convert(settled.options, Options)
    limit, encoding = parse_bytes(options.max_record_bytes), options.encoding

    def block(data: bytes, offset: int) -> Block | None:
        return _transcoded.line_block(data, offset, encoding, options.bom, _lines.is_blank)

    if encoding == "utf-8":
        return _delimited.split(run, range_bytes, object_bytes, pieces, crc, should_stop, block, limit)
    finder = _transcoded.finder(encoding)
    return _cutting.cut(run, range_bytes, object_bytes, pieces, crc, should_stop, block, finder, max_record_bytes=limit)


def records(data: bytes, settled: Settled, record_type: Any) -> Iterator[Any]:  # noqa: ARG001 - the interface
    """See `FormatModule`: decoded values, as strictly as msgspec decodes them into `record_type`."""
    decode = msgspec.json.Decoder(Any if record_type is None else record_type).decode
    lines = BytesIO(data)
    while True:
        try:
            yield from map(decode, lines)  # its end is space to the decoder; only a blank line is no JSON
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            end = lines.tell()
            begin = data.rfind(b"\n", 0, end - 1) + 1
            line = data[begin:end]
            if _lines.is_blank(line):
                continue
            kind = "does not fit its type" if isinstance(error, msgspec.ValidationError) else "is not JSON"
            problem = "it holds half of a surrogate pair, which is no character" if _has_half(line) else error
            raise BadRecord(f"it {kind}: {problem}", offset=begin) from None
        else:
            return


def _has_half(line: bytes) -> bool:
    """Whether a line is JSON but for a lone surrogate in a string, which Python's own reader takes."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return any("\ud800" <= character <= "\udfff" for character in json.dumps(value, ensure_ascii=False))


def spans(data: bytes, settled: Settled) -> Iterator[tuple[int, int]]:  # noqa: ARG001 - the interface
    """See the package: lines that are not blank."""
    return ((at, at + len(line)) for line, at in _lines.with_starts(data) if not _lines.is_blank(line))


def locate(data: bytes, index: int) -> int:
    """See `FormatModule`."""
    return _lines.start_except(data, index, _lines.is_blank)
