"""Avro object container files: the unit is a block. A range owns the blocks that begin in it.

A range looks for the sync marker of the file's header and for a whole block behind it. What looks like one may stand
inside a record: so a range tells which block it took for its first, and which one it leaves as the next one's first.
Blocks pass to the engines unpacked, as a small Avro file of their own.
"""

from array import array
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.errors import BadPipeline, BadRecord, BadRequest, IncompleteProof, IntegrityError
from rangemill.formats import _avro_container, _avro_records, _avro_schema, _buffered, _forward
from rangemill.formats._avro_blocks import Blocks
from rangemill.formats._avro_container import Header
from rangemill.formats._avro_schema import Column
from rangemill.formats.base import Crc, Event, Sample, Settled, Source
from rangemill.ranges import ByteRange, tile
from rangemill.units import parse_bytes

RANDOM_ACCESS: Final = True
MAY_BE_COMPRESSED: Final = True  # it can be read forwards as well
_BLOCK_BYTES: Final = 4 * 2**20  # unpacked, per block that passes to an engine


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under `format:` beside `type: avro`.

    `columns`: the names of those that records have; `max_unit_bytes` bounds one block, packed and unpacked.
    """

    columns: list[str] = []
    max_unit_bytes: int | str = "256 MiB"

    def __post_init__(self) -> None:
        parse_bytes(self.max_unit_bytes)


def look_behind(settled: Settled) -> int:  # noqa: ARG001 - the interface
    """See `FormatModule`."""
    return 0


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:
    """`settle_sources` from the heads of objects inside compressed data."""
    heads: list[Source] = [_buffered.BytesSource(s.object_uri, s.data) for s in samples if s.offset == 0]
    return settle_sources(heads, options, for_sql)


def settle_sources(sources: list[Source], options: dict[str, Any], for_sql: bool) -> Settled:
    """The columns of the first object's schema; the others' must be the same. Raises `IntegrityError`, `BadRecord`."""
    wanted = msgspec.convert(options, Options).columns
    settled = Settled("avro", options, level="units")
    for position, source in enumerate(sources):
        columns = _columns(source, _avro_container.read_header(source))
        if position:
            _require_same(source.uri, settled, columns, None)
        elif columns is not None:
            kinds = {column.name: column.kind for column in columns}
            for name in wanted:
                if name not in kinds:
                    problem = f"no field is called {name!r}; there are {', '.join(kinds)}"
                    raise BadPipeline("pipeline", None, "format.columns", problem)
            chosen = [column for column in columns if not wanted or column.name in wanted]
            pairs = [(column.name, column.of) for column in chosen]
            header = msgspec.json.encode(kinds).decode()
            settled = msgspec.structs.replace(settled, columns=pairs, header=header)
        elif for_sql or wanted:
            raise BadRecord(
                f"{source.uri} has no records with fields, which columns need", object_uri=source.uri, offset=0
            )
    return settled


def _columns(source: Source, header: Header) -> list[Column] | None:
    try:
        return _avro_schema.columns_of(msgspec.json.decode(header.schema))
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise IntegrityError(
            f"{source.uri} has a schema that is none: {error}", object_uri=source.uri, offset=0
        ) from None


def _require_same(uri: str, settled: Settled, columns: list[Column] | None, wanted: frozenset[str] | None) -> None:
    """Raise `BadRecord` naming how an object's fields differ from the job's, as far as anybody asks for them."""
    known: dict[str, str] = msgspec.json.decode(settled.header) if settled.header is not None else {}
    here = {column.name: column.kind for column in columns or []}
    names = known.keys() if wanted is None else known.keys() & wanted
    differences = [f"{n} is {here.get(n, 'missing')}, not {known[n]}" for n in names if here.get(n) != known[n]]
    if wanted is None:
        differences += [f"{name} is one too many" for name in here if name not in known]
    if differences or (settled.header is None) != (columns is None):
        raise BadRecord(
            f"{uri} has another schema than the job's first object: {'; '.join(differences[:5]) or 'no record'}; "
            "run such objects as a job of their own, or ask only for columns that all have",
            object_uri=uri,
            offset=0,
        )


def align(
    run: ByteRange,
    range_bytes: int,  # noqa: ARG001
    object_bytes: int,
    pieces: Iterator[bytes],
    settled: Settled,
    crc: Crc,
    should_stop: Callable[[], bool],  # noqa: ARG001 - it goes on to the end
    state: str | None = None,  # noqa: ARG001 - it begins at the beginning
) -> Iterator[Event]:
    """`align_forward` for a whole file inside an archive, whose size is known."""
    if run != ByteRange(0, object_bytes):
        raise BadRequest("inside compressed data an Avro file can only be read whole; store it as it is")
    value = seen = records = 0

    def passed() -> Iterator[bytes]:
        nonlocal value, seen
        for each in pieces:
            piece = each[: object_bytes - seen]
            value, seen = crc(piece, value), seen + len(piece)
            yield piece

    for block in align_forward(passed(), settled):
        records += block.records
        yield block
    if seen < object_bytes:
        raise IncompleteProof(f"the object's bytes ended at {seen}, not at {object_bytes}", offset=seen)
    yield RangeDone(run, value, 0, object_bytes, records)


def align_forward(pieces: Iterator[bytes], settled: Settled) -> Iterator[Block]:
    """The blocks of a file that streams past once. Raises what `align_source` raises."""
    source = _forward.ForwardSource(_forward.NAMELESS, pieces)
    whole = ByteRange(0, _forward.UNKNOWN_BYTES)
    try:
        with _forward.nameless():
            for event in align_source(whole, whole.end_exclusive, source, settled, None, lambda: False):
                if isinstance(event, Block):
                    yield event
    except IncompleteProof as error:
        raise IntegrityError(
            f"the Avro file ends at byte {source.size_bytes} within a block: it was cut off", offset=source.size_bytes
        ) from error


def align_source(
    run: ByteRange,
    range_bytes: int,
    source: Source,
    settled: Settled,
    columns: frozenset[str] | None,
    should_stop: Callable[[], bool],
    state: str | None = None,
    block_bytes: int = _BLOCK_BYTES,
) -> Iterator[Event]:
    """Blocks and rows of a run, as `FormatModule.align`; `state` is where the run's first block begins.

    Raises `IntegrityError`, `BadRecord`, `RecordTooLarge`.
    """
    options = msgspec.convert(settled.options, Options)
    header = _avro_container.read_header(source)
    is_all = not options.columns and (columns is None or columns >= {name for name, _ in settled.columns or []})
    wanted = columns if columns is not None else frozenset(options.columns)
    _require_same(source.uri, settled, _columns(source, header), None if is_all else wanted)
    blocks = Blocks(source, header, run, parse_bytes(options.max_unit_bytes))
    blocks.find_first(None if state is None else int(state))
    begins = _avro_container.own_header(header.schema)
    for each in tile(run.start, run.end_exclusive, range_bytes):
        assumed, first, records = blocks.position, blocks.position, 0
        while blocks.position < min(each.end_exclusive, source.size_bytes):
            block = _take(blocks, begins, each.end_exclusive, block_bytes)
            records += block.records
            if block.records:
                yield block
            if should_stop() and blocks.position < run.end_exclusive:
                yield from _stop(blocks, run, range_bytes, each.start, first, records)
                return
        owns = each.start == 0 or first < each.end_exclusive
        first = 0 if each.start == 0 else first
        end = blocks.position if owns else None
        yield RangeDone(each, 0, first if owns else None, end, records, str(assumed), str(blocks.position))


def _take(blocks: Blocks, begins: bytes, limit: int, block_bytes: int) -> Block:
    """The blocks from here on that begin before `limit`, about `block_bytes` of them, as a file of their own."""
    offset, size = blocks.position, 0
    parts = [begins]
    places: array[int] = array("q")
    while blocks.position < limit and not blocks.at_end and size < block_bytes:
        at = blocks.position
        count, payload = blocks.take()
        parts.extend(_avro_container.own_block(count, payload))
        places.extend(array("q", [at]) * count)
        size += len(payload) + 1
    return Block(b"".join(parts), offset, len(places), places)


def _stop(blocks: Blocks, run: ByteRange, range_bytes: int, start: int, first: int, records: int) -> Iterator[Event]:
    """The rows of `[start, next block)` and what remains of the run; the records are the current tile's."""
    assumed, here = first, blocks.position
    begin: int | None = 0 if start == 0 else first
    end: int | None = here
    for each in tile(start, here, range_bytes):
        yield RangeDone(each, 0, begin, end, records, str(assumed), str(here))
        assumed, begin, end, records = here, None, None, 0  # the tiles that follow lie inside the last block
    yield Remaining(ByteRange(here, run.end_exclusive), str(here))


def records(data: bytes, settled: Settled, record_type: Any) -> Iterator[Any]:
    """See `FormatModule`: dicts with exact values, or what `record_type` makes of them."""
    columns = msgspec.convert(settled.options, Options).columns
    for row in _avro_records.rows(data):
        record = {name: row[name] for name in columns} if columns else row
        if record_type is not None:
            try:
                record = msgspec.convert(record, record_type)
            except msgspec.ValidationError as error:
                raise BadRecord(f"it does not fit its type: {error}") from None
        yield record


def lines(data: bytes, wanted: set[str]) -> tuple[list[Column], Iterator[bytes]]:
    """A block's records as JSON lines of the wanted columns, for SQL; and what these are. Raises `BadRecord`."""
    header = _avro_container.parse_header(data)
    schema = msgspec.json.decode(header.schema)
    columns = [column for column in _avro_schema.columns_of(schema) or [] if column.name in wanted]
    plain = _avro_container.own_header(msgspec.json.encode(_avro_schema.plain(schema)))
    return columns, _avro_schema.lines(_avro_records.rows(plain + data[header.end :]), columns)


def locate(data: bytes, index: int) -> int:  # noqa: ARG001 - the interface
    """See `FormatModule`: places tell."""
    return index


def empty(settled: Settled) -> Iterator[Event]:  # noqa: ARG001 - the interface
    """An object without bytes is no Avro file."""
    raise BadRecord("it has no bytes, and an Avro file without records has some; it may have been cut off", offset=0)
