"""A file system in memory, through which DuckDB reads blocks and writes partials without touching a disk."""

import io
from datetime import UTC, datetime
from typing import Any, Final

from fsspec.spec import AbstractFileSystem

from rangemill.blocks import SparseFile

PROTOCOL: Final = "rangemill"


class MemoryFiles(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """Named bytes. A file that is read is not copied; a file that is written appears when it is closed."""

    protocol = PROTOCOL
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, bytes] = {}
        self.sparse: dict[str, SparseFile] = {}

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.IOBase:
        name = self._strip_protocol(path)
        if mode == "rb":
            sparse = self.sparse.get(name)
            return io.BytesIO(self._content(name)) if sparse is None else _Sparse(sparse)
        return _Written(self.contents, name)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What fsspec wants to know of a file. Raises FileNotFoundError."""
        name = self._strip_protocol(path)
        sparse = self.sparse.get(name)
        size = len(self._content(name)) if sparse is None else sparse.size_bytes
        return {"name": name, "size": size, "type": "file"}

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: no name here is a pattern."""
        name = self._strip_protocol(path)
        return [path] if name in self.contents or name in self.sparse else []

    def modified(self, path: str) -> datetime:  # noqa: ARG002 - the interface
        """Always the same: a name is used for one content only."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def _content(self, name: str) -> bytes:
        content = self.contents.get(name)
        if content is None:
            raise FileNotFoundError(name)
        return content


class _Written(io.BytesIO):
    """A file that is being written."""

    def __init__(self, contents: dict[str, bytes], name: str) -> None:
        super().__init__()
        self._contents = contents
        self._name = name
        contents[name] = b""

    def close(self) -> None:
        """Publish what was written."""
        if not self.closed:
            self._contents[self._name] = self.getvalue()
        super().close()


class _Sparse(io.RawIOBase):
    """A sparse file that is being read."""

    def __init__(self, file: SparseFile) -> None:
        super().__init__()
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size_bytes}[whence]
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Bytes from the position on."""
        start = self._at
        end = self._file.size_bytes if size < 0 else min(start + size, self._file.size_bytes)
        self._at = max(start, end)
        return self._between(start, end) if start < end else b""

    def readinto(self, buffer: Any, /) -> int:
        """The same into a buffer."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _between(self, start: int, end: int) -> bytes:
        """Zeros for what is not here: DuckDB reads more than it wants of a file's end, and over short gaps.

        What it does want it would not take for its own: Parquet's pages, like its footer, begin with what is no zero.
        """
        if any(start < high and low < end for low, high in self._file.absent):
            raise OSError(f"the bytes from {start} to {end} are not here")
        found: bytearray | None = None
        for offset, content in self._file.parts:
            low, high = max(start, offset), min(end, offset + len(content))
            if (low, high) == (start, end):
                return content[start - offset : end - offset]
            if low < high:
                found = bytearray(end - start) if found is None else found
                found[low - start : high - start] = content[low - offset : high - offset]
        return bytes(end - start) if found is None else bytes(found)
