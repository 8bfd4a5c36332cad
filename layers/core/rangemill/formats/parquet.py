"""Parquet: the unit is a row group. A range owns the row groups whose first byte lies in it.

The footer is read with small GETs, and of the row groups only the columns that are asked for. What the proof tiles is
the footer's own list of row groups; the rows that it tells of are compared with those that the engine took.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from rangemill.blocks import Block, RangeDone, Remaining, SparseFile
from rangemill.errors import BadPipeline, BadRecord, RecordTooLarge
from rangemill.formats import _buffered, _parquet_footer, _parquet_pages
from rangemill.formats._parquet_footer import MAGIC, Footer, RowGroup
from rangemill.formats.base import Crc, Event, Sample, Settled, Source
from rangemill.ranges import ByteRange, tile
from rangemill.units import parse_bytes

RANDOM_ACCESS: Final = True
PLACES_ARE: Final = "row"
# Columns this near to each other are fetched by one GET: at 80 MB/s they cost less than a request's 15 to 30 ms.
_GAP_BYTES: Final = 512 * 2**10


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under `format:` beside `type: parquet`.

    `columns`: the names of those to read; without it Python records have all, and SQL reads what the statement needs.
    `max_unit_bytes` bounds what one row group may bring into memory.
    """

    columns: list[str] = []
    max_unit_bytes: int | str = "1 GiB"

    def __post_init__(self) -> None:
        parse_bytes(self.max_unit_bytes)


def look_behind(settled: Settled) -> int:  # noqa: ARG001 - the interface
    """See `FormatModule`."""
    return 0


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:
    """`settle_sources` for small objects inside compressed data."""
    heads = [sample for sample in samples if sample.offset == 0]
    return settle_sources([_buffered.whole(sample, "Parquet") for sample in heads], options, for_sql)


def align(
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    settled: Settled,
    crc: Crc,
    should_stop: Callable[[], bool],  # noqa: ARG001 - it goes on to the end
) -> Iterator[Event]:
    """`align_source` for an object inside compressed data, which must fit into memory."""
    limit = parse_bytes(msgspec.convert(settled.options, Options).max_unit_bytes)

    def blocks(whole: ByteRange, source: Source) -> Iterator[Event]:
        return align_source(whole, range_bytes, source, settled, None, lambda: False)

    return _buffered.align(run, object_bytes, pieces, crc, limit, blocks)


def settle_sources(sources: list[Source], options: dict[str, Any], for_sql: bool) -> Settled:  # noqa: ARG001
    """Names and types from the first object's footer; the others' must be the same. Raises `IntegrityError`."""
    parsed = msgspec.convert(options, Options)
    columns: list[tuple[str, str]] | None = None
    notes: list[str] = []
    for source in sources:
        footer = _parquet_footer.read(source)
        found = _types(footer)
        if columns is None:
            columns = _chosen(found, parsed.columns)
            notes = _inexact(footer)
        _require_same(source.uri, columns, found, wanted=None if not parsed.columns else frozenset(parsed.columns))
    return Settled("parquet", options, columns=columns, level="units", notes=notes)


def _chosen(found: list[tuple[str, str]], wanted: list[str]) -> list[tuple[str, str]]:
    if not wanted:
        return found
    known = dict(found)
    for name in wanted:
        if name not in known:
            raise BadPipeline(
                "pipeline", None, "format.columns", f"no column is called {name!r}; there are {', '.join(known)}"
            )
    return [(name, known[name]) for name in dict.fromkeys(wanted)]


def _schema(footer: Footer) -> SparseFile:
    """A file of the same schema and without rows."""
    end = footer.of(())
    return SparseFile(len(MAGIC) + len(end), ((0, MAGIC), (len(MAGIC), end)))


def _types(footer: Footer) -> list[tuple[str, str]]:
    # Imported here: DuckDB reads the schema, as it will read the data.
    from rangemill.engines import _parquet_files  # noqa: PLC0415

    with _of(footer):
        return _parquet_files.types(_schema(footer))


def _inexact(footer: Footer) -> list[str]:
    from rangemill.engines import _parquet_files  # noqa: PLC0415 - as above

    with _of(footer):
        names = _parquet_files.inexact(_schema(footer))
    return [
        f"{footer.object_uri}: {name} is a decimal of more than 38 digits; it is read as DOUBLE, which is not exact"
        for name in names
    ]


@contextmanager
def _of(footer: Footer) -> Iterator[None]:
    """Names the object in what is wrong with its schema."""
    try:
        yield
    except BadRecord as error:
        raise BadRecord(
            f"{footer.object_uri}: {error.message}", object_uri=footer.object_uri, offset=footer.start
        ) from error


def _require_same(
    uri: str, settled: list[tuple[str, str]], found: list[tuple[str, str]], wanted: frozenset[str] | None
) -> None:
    """Raise `BadRecord` naming how an object's columns differ from the job's, as far as anybody asks for them."""
    known, here = dict(settled), dict(found)
    names = known.keys() if wanted is None else known.keys() & wanted
    differences = [
        f"{name} is {here.get(name, 'missing')}, not {known[name]}" for name in names if here.get(name) != known[name]
    ]
    if wanted is None:
        differences += [f"{name} is one too many" for name in here if name not in known]
    if differences:
        raise BadRecord(
            f"{uri} has other columns than the job's first object: {'; '.join(differences[:5])}; "
            "run such objects as a job of their own, or ask only for columns that all have",
            object_uri=uri,
            offset=0,
        )


def align_source(
    run: ByteRange,
    range_bytes: int,
    source: Source,
    settled: Settled,
    columns: frozenset[str] | None,
    should_stop: Callable[[], bool],
    take_unread: Callable[[Block], bool] = lambda _: False,
) -> Iterator[Event]:
    """Blocks and rows of a run, as `FormatModule.align`; offsets are ordinals of row groups. `columns` None: all.

    A row group that `take_unread` takes is neither fetched nor handed out: what its footer tells was enough.

    Raises `IntegrityError`, `BadRecord`, `RecordTooLarge`.
    """
    options = msgspec.convert(settled.options, Options)
    footer = _parquet_footer.read(source)
    found = _types(footer)
    known = {name for name, _ in settled.columns or []}
    is_all = not options.columns and (columns is None or columns >= known)
    wanted = known if columns is None else known & columns
    _require_same(source.uri, settled.columns or [], found, None if is_all else frozenset(wanted))
    leaves = [leaf for leaf, column in enumerate(footer.leaves) if found[column][0] in wanted]
    total, places = len(footer.groups), footer.places
    for each in tile(run.start, run.end_exclusive, range_bytes):
        first, end = bisect_left(places, each.start), bisect_left(places, each.end_exclusive)
        records = 0
        for index in range(first, end):
            group = footer.groups[index]
            if group.rows:
                records += group.rows
                if not take_unread(_unread(footer, group, leaves)):
                    yield _block(source, footer, group, leaves, parse_bytes(options.max_unit_bytes))
            following = places[index + 1] if index + 1 < total else run.end_exclusive
            if should_stop() and group.place < following < run.end_exclusive:
                yield from _stop(ByteRange(each.start, following), run, range_bytes, first, index + 1, records, total)
                return
        owns = end > first or each.start == 0
        yield RangeDone(each, 0, first if owns else None, end if owns else None, records, total=total)


def _stop(
    done: ByteRange, run: ByteRange, range_bytes: int, first: int, end: int, records: int, total: int
) -> Iterator[Event]:
    for position, each in enumerate(tile(done.start, done.end_exclusive, range_bytes)):
        mine = position == 0
        yield RangeDone(each, 0, first if mine else None, end if mine else None, records if mine else 0, total=total)
    yield Remaining(ByteRange(done.end_exclusive, run.end_exclusive))


def _unread(footer: Footer, group: RowGroup, leaves: list[int]) -> Block:
    """The row group with nothing but its footer."""
    absent = tuple(sorted(group.chunks[leaf] for leaf in leaves))
    return _of_group(group, _file(footer, (group,), (), absent))


def _of_group(group: RowGroup, file: SparseFile) -> Block:
    return Block(b"", group.first_row, group.rows, range(group.first_row, group.first_row + group.rows), file)


def _block(source: Source, footer: Footer, group: RowGroup, leaves: list[int], max_bytes: int) -> Block:
    spans = _merged(sorted(group.chunks[leaf] for leaf in leaves))
    size = sum(end - start for start, end in spans)
    if size > max_bytes:
        raise RecordTooLarge(
            f"{source.uri}: row group {group.ordinal} has {size} bytes in the columns that are asked for, more than "
            f"format.max_unit_bytes ({max_bytes}); ask for fewer columns, write smaller row groups, or raise the bound "
            "and the function's memory",
            object_uri=source.uri,
            offset=group.first_row,
        )
    parts = tuple((start, source.read(start, end)) for start, end in spans)
    for start, end in sorted({group.chunks[leaf] for leaf in leaves}):
        for at, data in parts:
            if at <= start < end <= at + len(data):
                _parquet_pages.check(data, at, start, end, source.uri)
    return _of_group(group, _file(footer, (group,), parts))


def _file(
    footer: Footer,
    groups: tuple[RowGroup, ...],
    parts: tuple[tuple[int, bytes], ...],
    absent: tuple[tuple[int, int], ...] = (),
) -> SparseFile:
    """A file as DuckDB will see it: these row groups, of which these bytes are here, and a footer of them alone."""
    end = footer.of(groups)
    size = footer.object_bytes - len(footer.data) - 8 + len(end)
    return SparseFile(size, ((0, MAGIC), *parts, (size - len(end), end)), absent)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if end <= start:
            continue
        if merged and start - merged[-1][1] <= _GAP_BYTES:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def records(data: SparseFile, settled: Settled, record_type: Any) -> Iterator[Any]:
    """See `FormatModule`: dicts of the settled columns with exact values, or what `record_type` makes of them."""
    from rangemill.engines import _parquet_files  # noqa: PLC0415 - as above

    rows = _parquet_files.rows(data, settled.columns or [])
    return rows if record_type is None else _typed(rows, record_type)


def _typed(rows: Iterator[dict[str, Any]], record_type: Any) -> Iterator[Any]:
    for row in rows:
        try:
            yield msgspec.convert(row, record_type)
        except msgspec.ValidationError as error:
            raise BadRecord(f"it does not fit its type: {error}") from None


def locate(data: SparseFile, index: int) -> int:  # noqa: ARG001 - the interface
    """See `FormatModule`: places tell."""
    return index


def empty(settled: Settled) -> Iterator[Event]:  # noqa: ARG001 - the interface
    """An object without bytes is no Parquet file."""
    raise BadRecord("it has no bytes, and a Parquet file without rows has some; it may have been cut off", offset=0)
