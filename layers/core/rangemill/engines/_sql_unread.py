"""Row groups whose bytes the statement does not need: their footer tells that no row passes its filters.

The statement itself is run over a file of which only the footer is here. If DuckDB asks for a byte of the columns, that
is an error, nothing is kept, and the row group is fetched; if it does not, what it gave is the partial.
"""

# ruff: noqa: S608 - statements are made of quoted names and literals; the user's own runs in the sandbox

from typing import Final

import duckdb

from rangemill.blocks import Block, SparseFile
from rangemill.engines._parquet_files import reading
from rangemill.engines._sandbox import Session
from rangemill.engines._sql_bind import Bound
from rangemill.engines._sql_chunk import choose, columns_of
from rangemill.engines._sql_sieve import insert
from rangemill.engines.base import ObjectContext
from rangemill.formats.base import Settled

_MOST_PASSED: Final = 15  # row groups between two tries, which take some milliseconds each


class Unread:
    """One slot's tries: the more of them fail in a row, the fewer are made."""

    def __init__(self, session: Session, bound: Bound, settled: Settled) -> None:
        self._session = session
        self._bound = bound
        self._settled = settled
        self._can = "_offset" not in bound.needed
        self._pass = 0
        self._next_pass = 0

    def apply(self, of: ObjectContext, block: Block) -> bool:
        """Put the statement's rows over the block into P; False, and nothing is there, where that takes its bytes."""
        if not self._can or block.file is None or not block.file.absent:
            return False
        if self._pass:
            self._pass -= 1
            return False
        is_enough = self._applies(of, block.file)
        self._next_pass = 0 if is_enough else min(2 * self._next_pass + 1, _MOST_PASSED)
        self._pass = self._next_pass
        return is_enough

    def _applies(self, of: ObjectContext, footer: SparseFile) -> bool:
        path = self._session.put("footer", footer)
        columns = [name for name, _ in columns_of(self._bound, self._settled)]
        source = f"SELECT {choose(self._bound, self._settled, of, columns, {})} FROM {reading([path])}"
        self._session.run("BEGIN TRANSACTION")
        is_enough = False
        try:
            self._session.run(f"CREATE OR REPLACE TEMP VIEW records AS {source}")
            insert(self._session, self._bound.apply, self._bound.partial)
            is_enough = True
        except (duckdb.Error, OSError):
            is_enough = False
        finally:
            self._session.run("COMMIT" if is_enough else "ROLLBACK")
            self._session.drop_files()
        return is_enough
