"""Blocks of CSV whose lines were taken for rows: DuckDB reads them strictly and counts, which proves that they are.

DuckDB's own automaton goes over every byte anyway. Where it differs from ours it raises, but for one thing: it drops
spaces between a quote and a delimiter. So blocks with quotes are written with another character for every space, and it
sees none. Then it reads cells as we do or raises, and if it gives as many rows as there are lines, no line's end stands
inside quotes. Values are cast as exactly as of rows, with a cheaper test where a column's first ones are all written
alike, and the plan as it ran tells that all were cast and reached the statement. Otherwise nothing is kept, and the
blocks are read as rows.
"""

# ruff: noqa: S608 - statements are made of quoted names and literals; the user's own runs in the sandbox

import json
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import duckdb

from rangemill.blocks import Block
from rangemill.engines._block_file import BlockFile
from rangemill.engines._exact_casts import exact_cast, usual_cast, usual_forms
from rangemill.engines._sandbox import Session
from rangemill.engines._sql_bind import Bound
from rangemill.engines._sql_chunk import columns_of
from rangemill.engines._sql_names import PARTIAL, casts, literal, quote
from rangemill.engines._sql_readers import csv_arguments, is_utf8, shape_of
from rangemill.engines.base import NotAsPresumed, ObjectContext
from rangemill.formats import _csv_options
from rangemill.formats import csv as csv_format
from rangemill.formats._csv_window import LONGEST_LINE_BYTES
from rangemill.formats.base import Settled

_STAND_IN: Final = "\x1f"  # for a space
_BARRIER: Final = 2**62  # a LIMIT that nothing reaches: the statement's filters stay above it, so every row is cast
_LOOKED_AT: Final = 2_048  # rows
_BUFFER_BYTES: Final = 8 * 2**20  # of DuckDB's reader; its default of 32 MiB is no faster
_TAKEN: Final = frozenset({b" ", _STAND_IN.encode()})  # characters that may not mean anything
_MOST_SEEN: Final = 1_000
_FREE_FAILURES: Final = 2
_TRIES_A_FAILURE: Final = 8
_HOPELESS: Final = 2**40
_WITHOUT_SPACES: Final = ("DECIMAL(", "FLOAT", "DOUBLE", "DATE")  # and integers: the cast raises for a stand-in


class Lines:
    """One slot's presumed blocks, a chunk of them in the file at a time."""

    def __init__(self, session: Session, file: BlockFile, bound: Bound, settled: Settled) -> None:
        self._session = session
        self._file = file
        self._bound = bound
        self._settled = settled
        self._columns = columns_of(bound, settled)
        self._quote = _csv_options.of(settled).dialect.quote
        self.blocks: list[tuple[ObjectContext, int, int, int]] = []  # offset, records, the data's end in the file
        self._has_stand_ins = False  # from the first quote of a slot on
        self._usual: dict[str, str] | None = None  # column -> how its first values are written
        self.records = 0
        file.clear()

    @property
    def bytes(self) -> int:
        """How much waits."""
        return self._file.size_bytes

    def takes(self, block: Block) -> bool:
        """Whether the block's bytes are such that DuckDB's reading of them proves anything."""
        return _STAND_IN.encode() not in block.data and b"\0" not in block.data and is_utf8(block.data)

    def must_end(self, block: Block) -> bool:
        """Whether the chunk must be inserted before the block is added: it is the first one with quotes."""
        return bool(self.blocks) and not self._has_stand_ins and self._quote in block.data

    def add(self, of: ObjectContext, block: Block) -> None:
        """One more block, which `takes` says can be."""
        data = block.data
        self._has_stand_ins = self._has_stand_ins or self._quote in data
        self._file.append(data.replace(b" ", _STAND_IN.encode()) if self._has_stand_ins else data)
        self.blocks.append((of, block.offset, block.records, self._file.size_bytes))
        if not data.endswith(b"\n"):
            self._file.append(b"\n")
        self.records += block.records

    def insert(self) -> bool:
        """Put the statement's rows over the chunk into P; False, and nothing is there, where it proves no rows.

        What is in the file stays, for `unproved`.
        """
        self._file.end()
        if self._usual is None:
            self._usual = self._look()
        if self._usual and not self._inserts():
            self._usual = {}  # some value is written in another way, and exactly all the same, or it is not
        return bool(self._usual) or self._inserts()

    def _inserts(self) -> bool:
        self._session.run("BEGIN TRANSACTION")
        is_sound = False
        try:
            self._session.run(f"CREATE OR REPLACE TEMP VIEW records AS {self._records()}")
            insert = f"INSERT INTO {PARTIAL} SELECT {casts(self._bound.partial)} FROM ({self._bound.apply}\n)"
            ((_, profile),) = self._session.run(f"EXPLAIN (ANALYZE, FORMAT json) {insert}")
            is_sound = self._is_sound(json.loads(profile)["operator"])
        except duckdb.Error:
            is_sound = False
        finally:
            self._session.run("COMMIT" if is_sound else "ROLLBACK")
        return is_sound

    def unproved(self) -> Iterator[tuple[ObjectContext, Block]]:
        """The chunk's blocks as they were added."""
        start = 0
        for of, offset, records, end in self.blocks:
            data = self._file.read(start, end)
            if self._has_stand_ins:
                data = data.replace(_STAND_IN.encode(), b" ")
            yield of, Block(data, offset, records, is_presumed=True)
            start = end if data.endswith(b"\n") else end + 1

    def clear(self) -> None:
        """The chunk is done with."""
        self._file.clear()
        self.blocks = []
        self.records = 0

    def _records(self) -> str:
        of = self.blocks[0][0]
        cast = [f"{self._cast(name, type_)} AS {_inner(index)}" for index, (name, type_) in enumerate(self._columns)]
        source = f"SELECT {', '.join(cast) or '0 AS none'} FROM {self._texts()} LIMIT {_BARRIER}"
        loaded = {name: _inner(index) for index, (name, _) in enumerate(self._columns)}
        loaded = {"_object": literal(of.name), "_bucket": literal(of.bucket)} | loaded
        chosen = ", ".join(
            f"{loaded.get(name, f'CAST(NULL AS {type_})')} AS {quote(name)}" for name, type_ in self._bound.records
        )
        return f"SELECT {chosen} FROM ({source})"

    def _texts(self) -> str:
        arguments = csv_arguments(self._settled, 2 * LONGEST_LINE_BYTES + 1) | {
            "parallel": "false",  # from front to back, in one state after the other
            "buffer_size": str(_BUFFER_BYTES),
        }
        if self._has_stand_ins:
            arguments["nullstr"] = arguments["nullstr"].replace(" ", _STAND_IN)
        reading = ", ".join(f"{name} = {value}" for name, value in arguments.items())
        return f"read_csv({literal(self._file.path)}, {reading})"

    def _look(self) -> dict[str, str]:
        """Of each column whose first values are all written alike, the condition that they meet."""
        forms = [(name, form) for name, of in self._columns for form in usual_forms(quote(name), of)]
        if not forms:
            return {}
        met = ", ".join(f"bool_and(coalesce({form}, false))" for _, form in forms)
        try:
            (found,) = self._session.run(f"SELECT {met} FROM (FROM {self._texts()} LIMIT {_LOOKED_AT})")
        except duckdb.Error:
            return {}
        likely: dict[str, str] = {}
        for (name, form), is_met in zip(forms, found, strict=True):
            if is_met:
                likely.setdefault(name, form)
        return likely

    def _cast(self, name: str, of: str) -> str:
        """The column as its type."""
        value = quote(name)
        if self._has_stand_ins and not (of.startswith(_WITHOUT_SPACES) or of.endswith("INT") or of == "INTEGER"):
            value = f"replace({value}, chr({ord(_STAND_IN)}), ' ')"
        form = (self._usual or {}).get(name)
        return exact_cast(value, of) if form is None else usual_cast(value, of, form)

    def _is_sound(self, plan: Any) -> bool:
        """Whether all lines passed the barrier as rows, every column cast."""
        barriers = [node for node in _nodes(plan) if _told(node, "Limit") == [str(_BARRIER)]]
        if len(barriers) != 1 or barriers[0].get("intermediate_rows") != self.records:
            return False
        cast = {_inner(index) for index, (_, of) in enumerate(self._columns) if of != "VARCHAR"}
        return cast <= set(_told(barriers[0]["children"][0], "Projections"))


class Presuming:
    """Whether lines are taken for rows in a slot, and those that are.

    An object whose lines turned out not to be rows, or whose values are mostly written in unusual ways, is read as rows
    from then on: by this process, which has seen it.
    """

    _seen: ClassVar[dict[str, tuple[int, int]]] = {}  # object -> chunks that were tried, and that proved nothing

    def __init__(self, session: Session, bound: Bound, settled: Settled) -> None:
        self._session = session
        self._bound = bound
        self._settled = settled
        self._can = (
            shape_of(settled) == "csv"
            and len(settled.columns or ()) > 1  # of one column an empty line is a row to DuckDB
            and not _TAKEN & {_csv_options.of(settled).dialect.delimiter, _csv_options.of(settled).dialect.quote}
            and settled.options.get("validate") != "all"  # checks what no statement reads
            and "_offset" not in bound.needed
        )
        self.lines: Lines | None = None

    @classmethod
    def forget(cls) -> None:
        """Forget what was seen of objects."""
        cls._seen.clear()

    def is_worth_it(self, of: ObjectContext) -> bool:
        """Whether blocks of that object may be presumed."""
        tried, failed = self._seen.get(of.uri, (0, 0))
        return self._can and failed <= _FREE_FAILURES + tried // _TRIES_A_FAILURE

    def lines_for(self, of: ObjectContext, block: Block) -> Lines | None:
        """Where the block goes; None where it must be read as rows."""
        if self._can and self.lines is None:
            file = self._session.take_block_file()
            self._can = file is not None
            self.lines = Lines(self._session, file, self._bound, self._settled) if file is not None else None
        if self.lines is None or not self.is_worth_it(of) or not self.lines.takes(block):
            return None
        return self.lines

    def insert(self) -> bool:
        """See `Lines`."""
        if self.lines is None:
            return False
        is_sound = self.lines.insert()
        self._saw({of.uri for of, *_ in self.lines.blocks}, failed=0 if is_sound else 1)
        return is_sound

    def rows(self) -> Iterator[tuple[ObjectContext, Block]]:
        """The blocks of the chunk that proved nothing, read as rows. Raises `NotAsPresumed`."""
        for of, block in self.lines.unproved() if self.lines is not None else ():
            yield of, self.as_rows(of, block)

    def as_rows(self, of: ObjectContext, block: Block) -> Block:
        """A presumed block read as rows. Raises `NotAsPresumed` for one whose lines are not its rows."""
        proved = csv_format.proved(block, self._settled)
        if proved is None:
            self._saw({of.uri}, failed=_HOPELESS)
            raise NotAsPresumed(of.uri)
        return proved

    def _saw(self, uris: set[str], *, failed: int) -> None:
        for uri in uris:
            tried, before = self._seen.pop(uri, (0, 0))
            self._seen[uri] = (tried + 1, before + failed)
        while len(self._seen) > _MOST_SEEN:
            del self._seen[next(iter(self._seen))]


def _inner(index: int) -> str:
    return f"_rangemill_{index}"


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    for node in plan if isinstance(plan, list) else [plan]:
        yield node
        yield from _nodes(node.get("children", []))


def _told(node: dict[str, Any], what: str) -> list[str]:
    """What a node of a plan says of itself: DuckDB writes a list of one as that one."""
    said = node.get("extra_info", {}).get(what, [])
    return [said] if isinstance(said, str) else said
