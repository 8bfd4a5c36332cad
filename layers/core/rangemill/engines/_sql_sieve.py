"""What SQL makes of records that it cannot take: they raise, or are taken out of their chunk one by one and rejected.

Nothing here costs anything where all is well: records are looked for after DuckDB refused their chunk. Of its blocks
those that it does not take alone are gone through by cheaper means first: columns as booleans that say which values do
not fit, then Python's own reading of each record, then halves.
"""

# ruff: noqa: S608 - statements are made of quoted names and literals; the user's own runs in the sandbox

import base64
from collections.abc import Sequence
from typing import Final

import duckdb
import msgspec

from rangemill import formats
from rangemill.blocks import Block
from rangemill.engines import _sql_bind, _sql_csv, _sql_find
from rangemill.engines._records import Parts, decodable, log_refused, reject
from rangemill.engines._sandbox import Session
from rangemill.engines._sql_bind import Bound
from rangemill.engines._sql_chunk import Chunk, columns_of, load, load_rows, make_records, places_of
from rangemill.engines._sql_names import PARTIAL, RAW, Columns, casts, quote
from rangemill.engines._sql_readers import LEFT_OUT, MISFITS, is_utf8, may_have_raw, shape_of
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadRecord, BadStatement, CountMismatch
from rangemill.formats.base import Settled
from rangemill.rejects import Cause, RejectLog, of_data

_TRIED: Final = "_rangemill_tried"
_MISFITS: Final = "_rangemill_misfits"
# Queries that look for the records of one chunk on which the statement fails; one record among 600,000 takes 40, each
# on half as many records as the one before.
_MAX_TRIES: Final = 4_000
_MAX_HALVED: Final = 100  # records of one block that only halving finds: what neither types nor Python's reading show


def insert(session: Session, select: str, partial: Columns) -> None:
    """The statement's rows into the table of P, cast to it (a sum that passes its type is an error)."""
    session.run(f"INSERT INTO {PARTIAL} SELECT {casts(partial)} FROM ({select}\n)")


class Sieve:
    """One slot's. What a pipeline tolerates goes into the log; otherwise the first bad record raises."""

    def __init__(self, session: Session, bound: Bound, settled: Settled, log: RejectLog) -> None:
        self._session = session
        self._bound = bound
        self._settled = settled
        self._log = log
        self._shape = shape_of(settled)
        self._columns = columns_of(bound, settled)
        self._wants_raw = RAW in bound.needed and may_have_raw(settled)
        self._tries = 0

    def readable(self, of: ObjectContext, block: Block) -> Block | None:
        """The block without what is no text; None if nothing is left. Raises `BadRecord`."""
        if block.refused and self._wants_raw and not any(each.too_large for each in block.refused):
            block = _with_raw(block)
        log_refused(self._log, of, block)
        if not block.handed:
            return None
        if block.refused:
            block = Block(block.data, block.offset, block.handed, block.places, block.file)
        if self._shape not in LEFT_OUT or self._wants_raw or is_utf8(block.data):
            return block
        parts = Parts(block, self._settled)
        good: list[int] = []
        for index in range(len(parts)):
            if is_utf8(parts[index]):
                good.append(index)
            else:
                self._refuse(of, parts, index, of_data("it is not UTF-8, which SQL text must be"))
        return parts.block(good)

    def load(self, chunk: Chunk) -> Chunk:
        """Load what can be loaded of the chunk; that part of it. Raises `BadRecord`, `CountMismatch`."""
        if not self._log.tolerates or self._shape not in LEFT_OUT:
            load(self._session, chunk, self._bound, self._settled)
            return chunk
        if self._loads(chunk, anew=False):
            return chunk
        sound = Chunk()
        for of, block in chunk.blocks:
            kept = self._sound(of, block)
            if kept is not None:
                sound.add(of, kept)
        if sound.blocks:
            load(self._session, sound, self._bound, self._settled)
        return sound

    def apply(self, chunk: Chunk) -> int:
        """The statement over the loaded chunk into P; how many records it took. Raises `duckdb.Error`."""
        try:
            insert(self._session, self._bound.apply, self._bound.partial)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            if not self._log.tolerates:
                raise
            self._tries = 0
            bad = self._culprits(chunk, 0, chunk.records, error)
        else:
            return chunk.records
        located = _Located(chunk, self._settled)
        for index, why in bad:
            reject(self._log, *located[index], _cause(why))
        if len(bad) < chunk.records:
            listed = ", ".join(str(index) for index, _ in bad)
            make_records(self._session, chunk, self._bound, self._settled, f"rowid NOT IN ({listed})")
            insert(self._session, self._bound.apply, self._bound.partial)
        return chunk.records - len(bad)

    def _culprits(self, chunk: Chunk, low: int, high: int, error: duckdb.Error) -> list[tuple[int, duckdb.Error]]:
        """The loaded records of [low, high) on each of which alone the statement fails, as it does on all of them.

        Raises `duckdb.Error` where it fails on several together only, or on too many.
        """
        if high - low == 1:
            return [(low, error)]
        middle = (low + high) // 2
        found: list[tuple[int, duckdb.Error]] = []
        for start, end in ((low, middle), (middle, high)):
            problem = self._failure(chunk, start, end)
            if problem is not None:
                found += self._culprits(chunk, start, end, problem)
        if not found or self._tries > _MAX_TRIES:
            raise error
        return found

    def _failure(self, chunk: Chunk, low: int, high: int) -> duckdb.Error | None:
        self._tries += 1
        make_records(self._session, chunk, self._bound, self._settled, f"rowid >= {low} AND rowid < {high}")
        select = f"SELECT {casts(self._bound.partial)} FROM ({self._bound.apply}\n)"
        try:
            self._session.run(f"CREATE OR REPLACE TEMP TABLE {_TRIED} AS {select}")
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            return error
        self._session.run(f"DROP TABLE {_TRIED}")
        return None

    def _loads(self, chunk: Chunk, *, anew: bool) -> bool:
        """Load a chunk, if DuckDB takes it as it is, or, of CSV, written anew (which takes Python longer)."""
        blocks = [block.content for _, block in chunk.blocks]
        settled = self._settled
        try:
            taken = load_rows(self._session, blocks, self._columns, settled)
        except (duckdb.Error, BadRecord):
            taken = -1
        if taken != chunk.records and anew and self._shape == "csv":
            try:
                written = [
                    _sql_csv.written_anew(of, block, places_of(block, settled), settled).data
                    for of, block in chunk.blocks
                ]
                taken = load_rows(self._session, written, self._columns, _sql_csv.rfc(settled))
            except (duckdb.Error, BadRecord):
                return False
        if taken != chunk.records:
            return False
        make_records(self._session, chunk, self._bound, self._settled)
        return True

    def _sound(self, of: ObjectContext, block: Block) -> Block | None:
        """The block without the records that DuckDB does not take. Raises `BadRecord` for more than can be found."""
        steps = (self._without_misfits, self._without_unreadable, self._without_misfits, self._without_refused)
        for number, step in enumerate(steps):
            alone = Chunk()
            alone.add(of, block)
            if self._loads(alone, anew=number > 0):
                break
            left = step(of, block)
            if left is None:
                return None
            block = left
        return block

    def _without_misfits(self, of: ObjectContext, block: Block) -> Block | None:
        """Without the records that have a value which does not fit its column, where the columns can be read at all."""
        if self._shape not in MISFITS or not self._columns or not self._reads_misfits(of, block):
            return block
        any_of = " OR ".join(quote(name) for name, _ in self._columns)
        rows = self._session.run(f"SELECT rowid, * FROM {_MISFITS} WHERE {any_of} ORDER BY rowid")
        bad = {int(row[0]): self._columns[list(row[1:]).index(True)] for row in rows}
        parts = Parts(block, self._settled)
        for index, column in bad.items():
            doubled = _sql_find.doubled(parts[index]) if self._shape == "jsonl" else None
            self._refuse(of, parts, index, of_data(doubled or _sql_find.misfit(*column)))
        return parts.block([index for index in range(len(parts)) if index not in bad])

    def _reads_misfits(self, of: ObjectContext, block: Block) -> bool:
        """Make the table of booleans, a row for each record; False where DuckDB does not even read the texts."""
        reader = MISFITS[self._shape]
        for is_anew in (False, True) if self._shape == "csv" else (False,):
            settled, data = self._settled, block.data
            try:
                if is_anew:
                    data = _sql_csv.written_anew(of, block, places_of(block, settled), settled).data
                    settled = _sql_csv.rfc(settled)
                files, select = reader([data], self._columns, settled)
                paths = [self._session.put(str(number), content) for number, content in enumerate(files)]
                ((taken,),) = self._session.run(f"CREATE OR REPLACE TEMP TABLE {_MISFITS} AS {select(paths)}")
            except (duckdb.Error, BadRecord):
                continue
            finally:
                self._session.drop_files()
            if taken == block.records:
                return True
        return False

    def _without_unreadable(self, of: ObjectContext, block: Block) -> Block | None:
        """Without the records that Python does not read as one of the format either, or that have no columns."""
        parts = Parts(block, self._settled)
        module = formats.load(self._shape)

        def refuse(index: int, problem: str) -> None:
            self._refuse(of, parts, index, of_data(problem))

        good = decodable(parts, lambda data: module.records(data, self._settled, None), refuse)
        if self._shape == "jsonl":
            objects = [index for index in good if _sql_find.has_columns(parts[index])]
            for index in sorted(set(good) - set(objects)):
                refuse(index, _sql_find.NO_OBJECT)
            good = objects
        return parts.block(good)

    def _without_refused(self, of: ObjectContext, block: Block) -> Block | None:
        """Without those that DuckDB does not take for other reasons, found by halves."""
        parts = Parts(block, self._settled)
        lines = [parts[index] for index in range(len(parts))]
        indexes = list(range(len(parts)))

        def loaded(part: list[bytes], columns: Columns = self._columns) -> int:
            return load_rows(self._session, part, columns, self._settled)

        for _ in range(_MAX_HALVED):
            found = _sql_find.first_failing(loaded, lines)
            if found is None:
                return parts.block(indexes)
            problem = _sql_find.problem(loaded, lines[found], self._columns, self._settled)
            self._refuse(of, parts, indexes[found], of_data(problem))
            del lines[found], indexes[found]
        place = parts.place(indexes[0]) if indexes else block.offset
        raise BadRecord(
            f"{of.uri}: more than {_MAX_HALVED} records from byte {place} on are not {self._shape} as DuckDB reads it",
            object_uri=of.uri,
            offset=place,
        )

    def _refuse(self, of: ObjectContext, parts: Parts, index: int, cause: Cause) -> None:
        if not self._log.tolerates:
            place = parts.place(index)
            raise BadRecord(f"{of.uri}: the record at byte {place}: {cause.message}", object_uri=of.uri, offset=place)
        reject(self._log, of, parts.place(index), parts.kept(index), cause)


def _cause(error: duckdb.Error) -> Cause:
    return Cause(BadStatement.__name__, _sql_bind.message_of(error), _sql_bind.message_without_values(error))


def _with_raw(block: Block) -> Block:
    """Text as JSON lines, what is no text in it by its bytes alone."""
    lines = [msgspec.json.encode({"raw": base64.b64encode(each.data).decode()}) + b"\n" for each in block.refused]
    places = [*(block.places or ()), *(each.offset for each in block.refused)]
    return Block(block.data + b"".join(lines), block.offset, block.records, places)


class _Located:
    """Where the records of a chunk lie, by their index in it."""

    def __init__(self, chunk: Chunk, settled: Settled) -> None:
        self._blocks = chunk.blocks
        self._settled = settled
        self._parts: dict[int, Parts] = {}

    def __getitem__(self, index: int) -> tuple[ObjectContext, int, bytes | None]:
        for number, (of, block) in enumerate(self._blocks):
            if index < block.records:
                return of, *self._of(number, block, index)
            index -= block.records
        raise CountMismatch(f"a chunk of {len(self._blocks)} blocks has no record {index}")

    def _of(self, number: int, block: Block, index: int) -> tuple[int, bytes | None]:
        if shape_of(self._settled) not in LEFT_OUT:
            places: Sequence[int] = block.places or ()
            return (places[index] if places else block.offset), None
        if number not in self._parts:
            self._parts[number] = Parts(block, self._settled)
        parts = self._parts[number]
        return parts.place(index), parts.kept(index)
