"""The SQL engine: the user's SELECT in DuckDB over chunks of blocks, partials as Parquet."""

# ruff: noqa: S608 - statements are made of quoted names and literals; the user's own runs in the sandbox

import json
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Final

import duckdb
import msgspec

from rangemill.blocks import Block, Whole
from rangemill.engines import _sql_bind
from rangemill.engines._sandbox import Session
from rangemill.engines._sql_bind import Bound
from rangemill.engines._sql_chunk import Chunk
from rangemill.engines._sql_lines import Presuming
from rangemill.engines._sql_names import PARTIAL, casts, definitions
from rangemill.engines._sql_outputs import without_hugeint, without_nan
from rangemill.engines._sql_sieve import Sieve, insert
from rangemill.engines._sql_unread import Unread
from rangemill.engines.base import FinishedRows, ObjectContext
from rangemill.errors import AggregateTooLarge, BadStatement, IntegrityError, RangemillError
from rangemill.formats.base import Settled
from rangemill.pipeline import Pipeline
from rangemill.rejects import RejectLog
from rangemill.units import parse_bytes

CHUNK_BYTES: Final = 32 * 2**20  # one query per 4 MiB costs a third more CPU; beyond 32 MiB little is gained
_CHUNKS_PER_FOLD: Final = 16
_PARQUET: Final = "FORMAT parquet, COMPRESSION zstd"
_OUTPUTS: Final = {"jsonl": "FORMAT json", "csv": "FORMAT csv, HEADER true", "parquet": _PARQUET}


def bind(pipeline: Pipeline, settled: Settled) -> Bound:
    """The pipeline's statements over the settled columns. Raises `BadStatement`."""
    if settled.columns is None:
        raise BadStatement("apply.sql: the columns are not known; declare them under `format.columns`")
    return _bind(msgspec.json.encode(pipeline), json.dumps(settled.columns), settled.format == "text")


@lru_cache(maxsize=8)
def _bind(
    pipeline: bytes, columns: str, is_text: bool
) -> Bound:  # as texts, since a warm worker sees the same pipeline slot after slot
    return _sql_bind.bind(
        msgspec.json.decode(pipeline, type=Pipeline), [(name, of) for name, of in json.loads(columns)], is_text=is_text
    )


def warm(pipeline: Pipeline) -> None:
    """Make the databases of this process, and bind the statements where the document declares all columns."""
    Session().close()
    declared = pipeline.format.options.get("columns")
    if isinstance(declared, dict) and declared:
        with suppress(RangemillError):
            bind(pipeline, Settled(pipeline.format.type, {}, list(declared.items())))


class SqlEngine:
    """Applies the statement to a slot, a chunk at a time."""

    def __init__(self, pipeline: Pipeline, settled: Settled, rejects: RejectLog) -> None:
        self._pipeline = pipeline
        self._settled = settled
        self._bound = bind(pipeline, settled)
        self._session = Session()
        self._sieve = Sieve(self._session, self._bound, settled, rejects)
        self._session.run(f"CREATE TEMP TABLE {PARTIAL} ({definitions(self._bound.partial)})")
        self._presuming = Presuming(self._session, self._bound, settled)
        self._unread = Unread(self._session, self._bound, settled)
        self._one_object = bool(self._bound.needed & {"_object", "_bucket"})
        self._object = ObjectContext("", "", None)
        self._chunk = Chunk()
        self._taken = 0
        self._chunks = 0
        self._written: list[bytes] = []  # the output of a pipeline without `aggregate`

    @property
    def columns(self) -> frozenset[str]:
        """See `Engine`."""
        return self._bound.needed

    @property
    def presumes(self) -> bool:
        """See `Engine`."""
        return self._presuming.is_worth_it(self._object)

    def begin_object(self, context: ObjectContext) -> None:
        """See `Engine`."""
        if self._one_object:
            self._apply_lines()
            self._apply()
        self._object = context

    def take(self, block: Block | Whole) -> None:
        """See `Engine`. Raises `BadStatement` for a whole object."""
        if isinstance(block, Whole):
            raise BadStatement(f"{self._object.uri}: a whole object has no columns that SQL could read")
        if not block.is_presumed:
            self._take_rows(self._object, block)
            return
        lines = self._presuming.lines_for(self._object, block)
        if lines is None:
            self._take_rows(self._object, self._presuming.as_rows(self._object, block))
            return
        if lines.must_end(block):
            self._apply_lines()
        lines.add(self._object, block)
        if lines.bytes >= CHUNK_BYTES:
            self._apply_lines()

    def take_unread(self, block: Block) -> bool:
        """See `Engine`."""
        if not self._unread.apply(self._object, block):
            return False
        self._taken += block.records
        self._applied()
        return True

    def _take_rows(self, of: ObjectContext, block: Block) -> None:
        readable = self._sieve.readable(of, block)
        if readable is not None:
            self._chunk.add(of, readable)
        if self._chunk.bytes >= CHUNK_BYTES:
            self._apply()

    def finish(self) -> tuple[bytes, int]:
        """See `Engine`. Without `aggregate` the partial is the output itself, empty if no record was taken."""
        self._apply_lines()
        self._apply()
        if self._pipeline.is_folded:
            if self._chunks == 0:
                _apply_to_nothing(self._session, self._bound)
            _fold(self._session, self._bound)
            limit = parse_bytes(self._pipeline.limits.max_partial_bytes)
            body = _encode(self._session, limit, "partial of one slot", "max_partial_bytes")
        else:
            if self._pipeline.output.format == "parquet" and self._chunks:
                self._write()
            body = b"".join(self._written)
        self._session.close()
        return body, self._taken

    def _apply(self) -> None:
        if not self._chunk.blocks:
            return
        chunk, self._chunk = self._sieve.load(self._chunk), Chunk()
        if not chunk.blocks:
            return
        try:
            self._taken += self._sieve.apply(chunk)
        except duckdb.Error as error:
            raise self._statement_error(error, chunk) from error
        self._applied()

    def _apply_lines(self) -> None:
        """The statement over the presumed blocks that wait, or, where that proves nothing, their rows to the others."""
        lines = self._presuming.lines
        if lines is None or not lines.records:
            return
        if self._presuming.insert():
            self._taken += lines.records
            self._applied()
        else:
            for of, block in self._presuming.rows():
                self._take_rows(of, block)
        lines.clear()

    def _applied(self) -> None:
        """One more chunk is in P."""
        self._chunks += 1
        if not self._pipeline.is_folded and self._pipeline.output.format != "parquet":
            self._write()
        elif self._pipeline.is_folded and self._chunks % _CHUNKS_PER_FOLD == 0:
            _fold(self._session, self._bound)

    def _write(self) -> None:
        options = _OUTPUTS[self._pipeline.output.format]
        if self._pipeline.output.format == "csv" and self._written:
            options = "FORMAT csv, HEADER false"
        select = f"SELECT * FROM {PARTIAL}"
        if self._pipeline.output.format == "jsonl":
            select = without_nan(self._session, select)
        self._written.append(self._session.copy(select, options)[0])
        self._session.run(f"TRUNCATE {PARTIAL}")

    @staticmethod
    def _statement_error(error: duckdb.Error, chunk: Chunk) -> RangemillError:
        if isinstance(error, duckdb.OutOfMemoryException):
            return _too_large(error, f"apply.sql over {chunk.place()}")
        return BadStatement(
            f"apply.sql failed on {chunk.place()}: {_sql_bind.message_without_values(error)}; "
            "where a value may not fit, TRY_CAST or TRY gives NULL instead of an error",
            object_uri=chunk.blocks[0][0].uri,
            offset=chunk.blocks[0][1].offset,
        )


class SqlFolder:
    """Folds partials with the `aggregate` statement and finishes with `finish`."""

    def __init__(self, pipeline: Pipeline, settled: Settled) -> None:
        self._pipeline = pipeline
        self._settled = settled

    @cached_property
    def _bound(self) -> Bound:
        """Bound at first use: a job of empty objects has nothing to fold, and its columns are not known."""
        return bind(self._pipeline, self._settled)

    def fold(self, partials: list[bytes]) -> bytes:
        """See `Folder`. Of none: what the statements give over no records at all."""
        session = Session()
        try:
            session.run(f"CREATE TEMP TABLE {PARTIAL} ({definitions(self._bound.partial)})")
            for partial in partials:
                _insert_partial(session, self._bound, partial)
            if not partials:
                _apply_to_nothing(session, self._bound)
            _fold(session, self._bound)
            limit = parse_bytes(self._pipeline.limits.max_aggregate_bytes)
            return _encode(session, limit, "folded total", "max_aggregate_bytes")
        finally:
            session.close()

    def finish(self, total: bytes) -> FinishedRows:
        """See `Folder`. Without `finish` the rows are the total's own."""
        session = Session()
        try:
            session.run(f"CREATE TEMP TABLE {PARTIAL} ({definitions(self._bound.partial)})")
            _insert_partial(session, self._bound, total)
            session.run(f"CREATE TEMP VIEW result AS FROM {PARTIAL}")
            select = self._bound.finish or "SELECT * FROM result"
            if self._pipeline.output.format == "parquet":
                select = without_hugeint(session, select)
            elif self._pipeline.output.format == "jsonl":
                select = without_nan(session, select)
            return FinishedRows(*session.copy(f"{select}\n", _OUTPUTS[self._pipeline.output.format]))
        except duckdb.OutOfMemoryException as error:
            raise _too_large(error, "finish.sql") from error
        except duckdb.Error as error:
            raise BadStatement(f"finish.sql: {_sql_bind.message_without_values(error)}") from error
        finally:
            session.close()


def _insert_partial(session: Session, bound: Bound, partial: bytes) -> None:
    path = session.put("partial", partial)
    try:
        insert(session, f"FROM read_parquet('{path}')", bound.partial)
    except duckdb.Error as error:
        problem = _sql_bind.message_without_values(error)
        raise IntegrityError(f"these {len(partial)} bytes are no partial of this pipeline: {problem}") from error
    finally:
        session.drop_files()


def _apply_to_nothing(session: Session, bound: Bound) -> None:
    """The neutral partial: `apply` over no records, so that a count of nothing is 0 and not missing."""
    session.run(f"CREATE OR REPLACE TEMP TABLE _rangemill_nothing ({definitions(bound.records)})")
    session.run("CREATE OR REPLACE TEMP VIEW records AS FROM _rangemill_nothing")
    try:
        insert(session, bound.apply, bound.partial)
    except duckdb.Error as error:
        raise BadStatement(f"apply.sql over no records: {_sql_bind.message_of(error)}") from error


def _fold(session: Session, bound: Bound) -> None:
    """The rows of P through `aggregate`, always at least once, so that how the work was cut cannot be seen."""
    if bound.aggregate is None:
        return
    session.run(f"CREATE OR REPLACE TEMP VIEW partials AS FROM {PARTIAL}")
    folded = f"SELECT {casts(bound.partial)} FROM ({bound.aggregate}\n)"
    try:
        session.run(f"CREATE OR REPLACE TEMP TABLE _rangemill_folded AS {folded}")
    except duckdb.OutOfMemoryException as error:
        raise _too_large(error, "aggregate.sql") from error
    except duckdb.Error as error:
        raise BadStatement(f"aggregate.sql: {_sql_bind.message_without_values(error)}") from error
    session.run(f"TRUNCATE {PARTIAL}")
    session.run(f"INSERT INTO {PARTIAL} FROM _rangemill_folded")
    session.run("DROP TABLE _rangemill_folded")


def _encode(session: Session, limit_bytes: int, what: str, limit_name: str) -> bytes:
    body, rows = session.copy(f"FROM {PARTIAL}", _PARQUET)
    if len(body) > limit_bytes:
        raise AggregateTooLarge(
            f"the {what} with {rows} rows takes {len(body)} bytes, more than limits.{limit_name} ({limit_bytes}); "
            "group more coarsely, keep only what `finish` needs, or raise the limit"
        )
    return body


def _too_large(error: duckdb.Error, what: str) -> AggregateTooLarge:
    return AggregateTooLarge(f"{what} needs more memory than the worker has: {str(error).partition(chr(10))[0]}")
