"""A DuckDB that sees nothing but the bytes it is handed.

One database per process stays warm; each engine works in a session of its own. Before the first statement of a user
runs, external access is off (only our own memory files may be opened), extensions cannot be loaded, memory and
temporary space are bounded, the time zone is UTC, one thread works, and the configuration is locked.
"""

import atexit
import itertools
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from rangemill.blocks import SparseFile
from rangemill.engines import _bounds
from rangemill.engines._block_file import BlockFile
from rangemill.engines._memory_files import PROTOCOL, MemoryFiles

# What the plan of a statement must not lose before its columns are read from it.
_PRUNING: Final = "unused_columns"
_sessions: Final = itertools.count()


@dataclass(slots=True)
class _Database:
    connection: duckdb.DuckDBPyConnection
    files: MemoryFiles
    folder: Path
    block_file: BlockFile


_databases: dict[tuple[int, bool], _Database] = {}  # by process: a database does not survive a fork


class Session:
    """A connection with its own temporary tables and memory files; both go with `close`."""

    def __init__(self, *, planning: bool = False) -> None:
        database = _database(planning)
        self._files = database.files
        self._folder = f"s{next(_sessions)}"
        self._numbers = itertools.count()
        self._connection = database.connection.cursor()
        self._block_file = database.block_file
        self._block_files: list[BlockFile] = []  # that this session has taken
        self._release = weakref.finalize(self, _release, self._connection, self._files, self._folder, self._block_files)

    def run(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a statement. Raises `duckdb.Error`."""
        return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, rows: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a statement, so many at a time and no more of them in memory. Raises `duckdb.Error`."""
        self._connection.execute(sql)
        while batch := self._connection.fetchmany(rows):
            yield batch

    def tree_of(self, written: str) -> Any:
        """A type with its `id` and `children`."""
        return self._connection.sqltype(written)

    def type_of(self, written: str) -> str:
        """A type as DuckDB spells it. Raises `duckdb.Error` for what is none."""
        return str(self._connection.sqltype(written))

    def put(self, name: str, content: bytes | SparseFile) -> str:
        """Make a memory file of this session; returns the path that DuckDB opens.

        No path is used twice, since DuckDB may remember what it read of one.
        """
        path = f"{self._folder}/{next(self._numbers)}-{name}"
        if isinstance(content, SparseFile):
            self._files.sparse[path] = content
        else:
            self._files.contents[path] = content
        return f"{PROTOCOL}://{path}"

    def take_block_file(self) -> BlockFile | None:
        """The database's file of blocks, this session's alone until it is closed; None while another one has it."""
        if self._block_file.is_taken:
            return None
        self._block_file.is_taken = True
        self._block_files.append(self._block_file)
        return self._block_file

    def copy(self, select: str, options: str) -> tuple[bytes, int]:
        """The rows of a SELECT as a file of that format, and how many they are."""
        path = self.put("out", b"")
        ((rows,),) = self.run(f"COPY ({select}) TO '{path}' ({options}, USE_TMP_FILE false)")
        return self._files.contents.pop(path.removeprefix(f"{PROTOCOL}://")), rows

    def drop_files(self) -> None:
        """Forget the session's memory files."""
        _drop_files(self._files, self._folder)

    def close(self) -> None:
        """Drop tables and files."""
        self._release()


def _database(planning: bool) -> _Database:
    """The process's database; the one for planning runs only EXPLAIN and keeps a plan readable."""
    key = (os.getpid(), planning)
    if key not in _databases:
        _databases[key] = _make_database(planning)
    return _databases[key]


def _make_database(planning: bool) -> _Database:
    bounds = _bounds.current()
    folder = Path(tempfile.mkdtemp(prefix="rangemill-duckdb-"))  # of this process: nobody else's spilled records
    connection = duckdb.connect(config={"threads": 1})
    files = MemoryFiles()
    connection.register_filesystem(files)
    block_file = BlockFile(folder)
    settings = {
        "memory_limit": f"'{bounds.memory_bytes}B'",
        "temp_directory": f"'{folder}'",
        "max_temp_directory_size": f"'{bounds.temporary_bytes}B'",
        "TimeZone": "'UTC'",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "python_enable_replacements": "false",  # a statement must not see this program's variables
        "enable_external_file_cache": "false",  # nothing is read twice
        # Costs nothing in memory, and refuses the pages of files that parquet-cpp wrote before 2018.
        "disable_parquet_prefetching": "true",
        "allowed_directories": f"['{PROTOCOL}://']",
        "allowed_paths": f"['{block_file.path}']",
    }
    if planning:
        optimizers = [name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()]
        settings["disabled_optimizers"] = f"'{','.join(name for name in optimizers if name != _PRUNING)}'"
    settings |= {"enable_external_access": "false", "lock_configuration": "true"}
    for name, value in settings.items():
        connection.execute(f"SET GLOBAL {name} = {value}")
    return _Database(connection, files, folder, block_file)


def _release(
    connection: duckdb.DuckDBPyConnection, files: MemoryFiles, folder: str, block_files: list[BlockFile]
) -> None:
    connection.close()
    _drop_files(files, folder)
    for block_file in block_files:
        block_file.is_taken = False


def _drop_files(files: MemoryFiles, folder: str) -> None:
    for kept in (files.contents, files.sparse):
        for name in [name for name in kept if name.startswith(f"{folder}/")]:
            kept.pop(name, None)


def close_all() -> None:
    """Forget this process's databases; the next session makes one anew, within the bounds of then."""
    for (process, _), database in _databases.items():
        if process == os.getpid():
            database.connection.close()
            database.block_file.close()
            shutil.rmtree(database.folder, ignore_errors=True)
    _databases.clear()


atexit.register(close_all)
