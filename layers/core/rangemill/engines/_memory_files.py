"""A file system in memory, through which DuckDB reads blocks and writes partials without touching a disk."""

import io
from datetime import UTC, datetime
from typing import Any, Final

from fsspec.spec import AbstractFileSystem

PROTOCOL: Final = "rangemill"


class MemoryFiles(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """Named bytes. A file that is read is not copied; a file that is written appears when it is closed."""

    protocol = PROTOCOL
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, bytes] = {}

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        name = self._strip_protocol(path)
        if mode == "rb":
            return io.BytesIO(self._content(name))
        return _Written(self.contents, name)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What fsspec wants to know of a file. Raises FileNotFoundError."""
        name = self._strip_protocol(path)
        return {"name": name, "size": len(self._content(name)), "type": "file"}

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: no name here is a pattern."""
        return [path] if self._strip_protocol(path) in self.contents else []

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
