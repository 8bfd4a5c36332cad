"""JSON: one array of elements, an array that is a member of an object (`path`), or values one after the other.

Every element is handed on as one line, so that engines read it as JSON Lines; where it lies in the object is kept. The
layout is settled once: by `path`, by `layout`, or by what the first object begins with.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import msgspec

from rangemill.blocks import Block
from rangemill.errors import BadRecord, IncompleteProof, RecordTooLarge
from rangemill.formats import _delimited, _encodings, _infer, _json_guess, _json_split, _lines, _recoded, jsonl
from rangemill.formats._encodings import ByteOrderMark, Encoding
from rangemill.formats._json_structure import Path
from rangemill.formats.base import Crc, Event, Sample, Settled
from rangemill.ranges import ByteRange
from rangemill.units import parse_bytes

_SPACE = b" \t\r\n"


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under `format:` beside `type: json`.

    `path`: the names, joined by dots, of the members that lead to the array; `layout`: `array`, or `values` for one
    value after the other; `columns`: name → SQL type, for SQL pipelines; `validate: all` holds every value against its
    column's type, not only what the statement reads.
    """

    path: str = ""
    layout: Literal["auto", "array", "values"] = "auto"
    columns: dict[str, str] = {}
    max_record_bytes: int | str = _delimited.DEFAULT_MAX_RECORD_BYTES
    encoding: Encoding = "utf-8"
    validate: Literal["used", "all"] = "used"
    bom: ByteOrderMark = "optional"  # what Plan found in the data

    def __post_init__(self) -> None:
        parse_bytes(self.max_record_bytes)
        if self.path and self.layout == "values":
            raise ValueError("`path` leads to an array; leave `layout: values` out")
        if self.path and not all(self.path.split(".")):
            raise ValueError(f"expected `path` to be names joined by dots, not {self.path!r}")


def look_behind(settled: Settled) -> int:
    """See `FormatModule`."""
    encoding, behind = msgspec.convert(settled.options, Options).encoding, _json_guess.LOOK_BEHIND_BYTES
    return behind if encoding == "utf-8" else _recoded.look_behind(behind, encoding)


def counts_from_start(options: dict[str, Any]) -> bool:
    """Whether it must be known how far from the object's first byte an element is: for code units."""
    return _encodings.unit_bytes(msgspec.convert(options, Options).encoding) > 1


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:
    """See `FormatModule`: what the first object begins with (`header`), and for SQL the columns of the elements."""
    parsed = msgspec.convert(options, Options)
    told, notes = _encodings.settle(samples, parsed.encoding)
    encoding = told.get("encoding", parsed.encoding)
    if encoding == "utf-8":
        _require_closed(samples, samples, parsed)
        settled = _settle(samples, options, parsed.columns, for_sql)
        return msgspec.structs.replace(settled, notes=[*notes, *settled.notes])
    stored, samples = samples, [_encodings.utf8_sample(sample, encoding) for sample in samples]
    _require_closed(stored, samples, parsed)
    settled = _settle(samples, options | {"encoding": "utf-8"}, parsed.columns, for_sql)
    return msgspec.structs.replace(settled, options=options | told, notes=[*notes, *settled.notes])


def _require_closed(stored: list[Sample], samples: list[Sample], options: Options) -> None:
    """Raise `BadRecord` for an array that the object's last byte does not close: before any work is done."""
    is_array = options.path or options.layout == "array" or (options.layout == "auto" and _begins(samples) == b"[")
    for at, sample in zip(stored, samples, strict=True):
        last = sample.data.rstrip(_SPACE)[-1:]
        is_end = at.offset + len(at.data) == at.object_bytes
        if is_array and is_end and last and last != (b"}" if options.path else b"]"):
            what = "inside its JSON document" if options.path else "before its array is closed"
            raise BadRecord(
                f"{at.object_uri}: the object ends at byte {at.object_bytes} {what}; perhaps it was cut off, "
                "or something else follows",
                object_uri=at.object_uri,
                offset=at.object_bytes,
            )


def _begins(samples: list[Sample]) -> bytes:
    """What the first object that holds anything begins with."""
    heads = (_lines.without_bom(each.data, 0)[0].lstrip(_SPACE)[:1] for each in samples if each.offset == 0)
    return next(filter(None, heads), b"")


def _settle(samples: list[Sample], options: dict[str, Any], declared: dict[str, str], for_sql: bool) -> Settled:
    """The same for samples in UTF-8."""
    settled = Settled("json", options, header="[" if _begins(samples) == b"[" else "", shape="jsonl")
    if not for_sql:
        return settled
    objects: list[dict[str, Any]] = []
    for sample in sorted(samples, key=lambda sample: sample.offset > 0):
        objects += _objects(sample, settled, objects)
    columns, left_out = jsonl.columns_of(objects, declared)
    return msgspec.structs.replace(settled, columns=columns, notes=[*settled.notes, *left_out])


def _objects(sample: Sample, settled: Settled, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The elements that the sample holds whole; of the middle of an object only such as look like the known ones."""
    begins = min(sample.offset, _json_guess.LOOK_BEHIND_BYTES)
    run = ByteRange(sample.offset + begins, sample.offset + len(sample.data))
    events = align(
        run,
        run.end_exclusive,
        sample.object_bytes,
        iter([sample.data]),
        settled,
        lambda _, crc: crc,
        lambda: False,
        blocks=1,
    )
    objects: list[dict[str, Any]] = []
    names = {name for one in known for name in one}
    elements = (
        partial(jsonl.object_of, event.data, sample.object_uri, event.offset)
        for event in events
        if isinstance(event, Block)
    )
    try:
        for found in _infer.readable(elements):
            if sample.offset and 2 * len(names & found.keys()) < len(found):
                return []  # guessed wrong: these are parts of elements
            objects.append(found)
    except IncompleteProof:  # the sample ends
        return objects
    except (BadRecord, RecordTooLarge) as error:
        error.of_object(sample.object_uri)
        if sample.offset == 0:
            raise
        return []
    return objects


def _path(settled: Settled, options: Options) -> Path:
    if options.path:
        return tuple(options.path.split("."))
    is_array = options.layout == "array" or (options.layout == "auto" and settled.header == "[")
    return () if is_array else None


def align(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    settled: Settled,
    crc: Crc,
    should_stop: Callable[[], bool],
    state: str | None = None,
    blocks: int = _json_split.BLOCK_BYTES,
) -> Iterator[Event]:
    """See `FormatModule`."""
    options = msgspec.convert(settled.options, Options)
    limit = parse_bytes(options.max_record_bytes)
    path = _path(settled, options)
    is_sure = path is not None or options.layout == "values"
    if options.encoding == "utf-8":
        return _json_split.split(
            run, range_bytes, object_bytes, pieces, crc, should_stop, path, state, limit, blocks, is_sure=is_sure
        )

    def inner(part: ByteRange, end: int, given: Iterator[bytes], known: str | None) -> Iterator[Event]:
        return _json_split.split(
            part, _recoded.ONE_RANGE, end, given, _recoded.no_crc, _recoded.never, path, known, limit, blocks,
            is_sure=is_sure,
        )  # fmt: skip

    return _recoded.align(
        inner, _json_guess.LOOK_BEHIND_BYTES, options.encoding, options.bom, run, range_bytes, object_bytes, pieces,
        crc, should_stop, state,
    )  # fmt: skip


records = jsonl.records
locate = jsonl.locate
spans = jsonl.spans
