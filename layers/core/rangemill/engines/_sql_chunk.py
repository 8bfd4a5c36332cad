"""A chunk: the blocks that one query takes, loaded into `records` and counted."""

# ruff: noqa: S608 - statements are made of quoted names and literals; the user's own runs in the sandbox

from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

import duckdb

from rangemill.blocks import Block, Canonical, SparseFile
from rangemill.engines import _sql_bind, _sql_csv, _sql_find
from rangemill.engines._sandbox import Session
from rangemill.engines._sql_bind import Bound
from rangemill.engines._sql_names import LOADED, PLACES, RAW, Columns, literal, quote
from rangemill.engines._sql_readers import LEFT_OUT, READERS, may_have_raw, records_of, shape_of
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadRecord, CountMismatch
from rangemill.formats import _lines
from rangemill.formats.base import Settled


@dataclass(slots=True)
class Chunk:
    """Blocks, each with the object that it is of."""

    blocks: list[tuple[ObjectContext, Block]] = field(default_factory=list)
    bytes: int = 0
    records: int = 0

    def add(self, of: ObjectContext, block: Block) -> None:
        """One more block, of which the engine is given every record."""
        self.blocks.append((of, block))
        self.bytes += block.held_bytes
        self.records += block.records

    def place(self) -> str:
        """Object and bytes, for a sentence."""
        (first, begin), (last, end) = self.blocks[0], self.blocks[-1]
        until = end.offset + len(end.data)
        if first.uri == last.uri:
            return f"{first.uri}: bytes {begin.offset} to {until}"
        return f"{first.uri} from byte {begin.offset} to {last.uri} byte {until}"


def load(session: Session, chunk: Chunk, bound: Bound, settled: Settled) -> None:
    """Make the chunk's records the relation `records`, with the columns that the statement needs.

    The other columns are there as NULL, so that names bind; nothing reads them (`validate: all` reads all). Raises
    `BadRecord` for a record that does not have its format or does not fit its column, `CountMismatch` when DuckDB took
    another number of records.
    """
    blocks = [block.content for _, block in chunk.blocks]
    columns = columns_of(bound, settled)
    try:
        taken = load_rows(session, blocks, columns, settled)
    except (duckdb.Error, BadRecord) as error:
        taken = _load_again(session, chunk, columns, settled, error)
    if taken != chunk.records:
        raise _count_mismatch(session, chunk, columns, settled, taken)
    make_records(session, chunk, bound, settled)


def columns_of(bound: Bound, settled: Settled) -> Columns:
    """The columns that are loaded: those of the data that the statement needs, or all where all are validated."""
    wants_all = settled.options.get("validate") == "all"
    return [(name, of) for name, of in bound.records if (wants_all or name in bound.needed) and _is_data(name, settled)]


def _load_again(session: Session, chunk: Chunk, columns: Columns, settled: Settled, error: Exception) -> int:
    """What DuckDB refused, as it takes it: only CSV has another way of writing. Raises `BadRecord`, `CountMismatch`."""
    if shape_of(settled) != "csv":
        raise _bad_record(session, chunk, columns, settled, error) from error
    anew = Chunk()
    for of, block in chunk.blocks:
        anew.add(of, _sql_csv.written_anew(of, block, places_of(block, settled), settled))
    plain = _sql_csv.rfc(settled)
    try:
        return load_rows(session, [block.data for _, block in anew.blocks], columns, plain)
    except (duckdb.Error, BadRecord) as again:
        raise _bad_record(session, anew, columns, plain, again) from again


def load_rows(
    session: Session, blocks: Sequence[bytes | Canonical | SparseFile], columns: Columns, settled: Settled
) -> int:
    """The rows of these blocks as a table; returns how many DuckDB took. Raises `duckdb.Error`."""
    files, select = READERS[shape_of(settled)](list(blocks), columns, settled)
    paths = [session.put(str(index), content) for index, content in enumerate(files)]
    try:
        ((taken,),) = session.run(f"CREATE OR REPLACE TEMP TABLE {LOADED} AS {select(paths)}")
    finally:
        session.drop_files()
    return int(taken)


def _is_data(name: str, settled: Settled) -> bool:
    if settled.columns is None or any(name == column for column, _ in settled.columns):
        return True
    return name == RAW and may_have_raw(settled)


def make_records(session: Session, chunk: Chunk, bound: Bound, settled: Settled, where: str = "true") -> None:
    """Make `records` of those loaded rows for which the condition on `rowid`, the record's index, holds."""
    loaded = {name for name, _ in columns_of(bound, settled)}
    source = LOADED if where == "true" else f"(FROM {LOADED} WHERE {where})"
    on_demand: dict[str, str] = {}
    if "_offset" in bound.needed and not _is_data("_offset", settled):
        if where == "true":
            _load_places(session, chunk, settled)
            source = f"{LOADED} POSITIONAL JOIN {PLACES}"
        else:
            source += f" AS {LOADED} POSITIONAL JOIN (FROM {PLACES} WHERE {where}) AS {PLACES}"
        on_demand["_offset"] = f"{PLACES}._offset"
    chosen = choose(bound, settled, chunk.blocks[0][0], loaded, on_demand)
    session.run(f"CREATE OR REPLACE TEMP VIEW records AS SELECT {chosen} FROM {source}")


def choose(bound: Bound, settled: Settled, of: ObjectContext, loaded: Container[str], on_demand: dict[str, str]) -> str:
    """The columns of `records`: those that are loaded, the object's own, those on demand, and NULL for the others."""
    for name, value in (("_object", of.name), ("_bucket", of.bucket)):
        if not _is_data(name, settled):
            on_demand = {**on_demand, name: literal(value)}
    return ", ".join(
        f"{quote(name) if name in loaded else on_demand.get(name, f'CAST(NULL AS {type_})')} AS {quote(name)}"
        for name, type_ in bound.records
    )


def _load_places(session: Session, chunk: Chunk, settled: Settled) -> None:
    places = [place for _, block in chunk.blocks for place in places_of(block, settled)]
    path = session.put("places", "\n".join(map(str, places)).encode())
    session.run(
        f"CREATE OR REPLACE TEMP TABLE {PLACES} AS SELECT CAST(place AS BIGINT) AS _offset "
        f"FROM (SELECT unnest(string_split(content, chr(10))) AS place FROM read_text('{path}'))"
    )
    session.drop_files()


def places_of(block: Block, settled: Settled) -> Iterable[int]:
    """The logical offsets of the block's records."""
    if block.places is not None:
        return block.places
    left_out = LEFT_OUT[shape_of(settled)]
    return (block.offset + start for line, start in _lines.with_starts(block.data) if not left_out(line))


def _bad_record(
    session: Session, chunk: Chunk, columns: Columns, settled: Settled, error: Exception
) -> BadRecord | CountMismatch:
    if shape_of(settled) not in LEFT_OUT:
        return _bad_unit(session, chunk, columns, settled, error)
    lines = _Lines(chunk, settled)
    index = _sql_find.first_failing(lambda part: load_rows(session, part, columns, settled), lines.lines)
    if index is None:
        return BadRecord(
            f"{chunk.place()}: DuckDB cannot read these records: {error}", object_uri=chunk.blocks[0][0].uri
        )
    of, offset = lines.place(index)
    problem = _sql_find.problem(
        lambda part, some: load_rows(session, part, some, settled), lines.lines[index], columns, settled
    )
    return BadRecord(f"{of.uri}: the record at byte {offset}: {problem}", object_uri=of.uri, offset=offset)


def _bad_unit(
    session: Session, chunk: Chunk, columns: Columns, settled: Settled, error: Exception
) -> BadRecord | CountMismatch:
    """The same for records that are no lines: the first block that DuckDB does not take by itself."""
    for of, block in chunk.blocks:
        try:
            taken = load_rows(session, [block.data if block.file is None else block.file], columns, settled)
        except (duckdb.Error, BadRecord) as found:
            problem = found.message if isinstance(found, BadRecord) else _sql_bind.message_without_values(found)
            return BadRecord(
                f"{of.uri}: the records from {block.offset} on cannot be read: {problem}",
                object_uri=of.uri,
                offset=block.offset,
            )
        if taken != block.records:
            return CountMismatch(
                f"{of.uri}: the format found {block.records} records from {block.offset} on, DuckDB took {taken}",
                object_uri=of.uri,
                offset=block.offset,
            )
    return BadRecord(f"{chunk.place()}: DuckDB cannot read these records: {error}", object_uri=chunk.blocks[0][0].uri)


def _count_mismatch(
    session: Session, chunk: Chunk, columns: Columns, settled: Settled, taken: int
) -> BadRecord | CountMismatch:
    if shape_of(settled) not in LEFT_OUT:
        return _bad_unit(session, chunk, columns, settled, RuntimeError(f"it took {taken} of {chunk.records}"))
    lines = _Lines(chunk, settled)
    index = _sql_find.first_failing(lambda part: load_rows(session, part, columns, settled), lines.lines)
    where, of, offset = "", chunk.blocks[0][0], None
    if index is not None:
        of, offset = lines.place(index)
        where = f"; the first difference is at byte {offset} of {of.uri}"
    return CountMismatch(
        f"{chunk.place()}: the format found {chunk.records} records, DuckDB took {taken}{where}",
        object_uri=of.uri,
        offset=offset,
    )


class _Lines:
    """The chunk's records one by one, with where each is from; made only to find a bad one."""

    def __init__(self, chunk: Chunk, settled: Settled) -> None:
        self._blocks = chunk.blocks
        self._firsts: list[int] = []
        self._starts: list[int] = []
        self.lines: list[bytes] = []
        for _, block in chunk.blocks:
            self._firsts.append(len(self.lines))
            self.lines.extend(records_of(block.data, settled))
            self._starts.extend(places_of(block, settled))

    def place(self, index: int) -> tuple[ObjectContext, int]:
        """Object and offset of the record of that index."""
        return self._blocks[bisect_right(self._firsts, index) - 1][0], self._starts[index]
