"""A file in memory that DuckDB reads by itself, without asking Python for a byte of it."""

import os
from pathlib import Path
from typing import Final

_OPEN_FILES: Final = Path("/proc/self/fd")


class BlockFile:
    """Bytes behind one path, written anew for each query. Its pages are kept: to fault them in again costs more.

    It has no name where the system can do that, and lies in the folder otherwise.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._descriptor = os.memfd_create("rangemill-blocks", os.MFD_CLOEXEC)
            self.path = str(_OPEN_FILES / str(self._descriptor))
            if not Path(self.path).exists():
                raise FileNotFoundError(self.path)
        except (AttributeError, OSError):
            self.path = str(folder / "blocks")
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size_bytes = 0
        self.is_taken = False  # by a session: it is one's only

    def append(self, data: bytes) -> None:
        """More bytes at its end."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, self.size_bytes)
            self.size_bytes += written
            view = view[written:]

    def end(self) -> None:
        """Nothing follows of what was written before."""
        os.ftruncate(self._descriptor, self.size_bytes)

    def read(self, start: int, end: int) -> bytes:
        """The bytes [start, end)."""
        return os.pread(self._descriptor, end - start, start)

    def clear(self) -> None:
        """Begin anew."""
        self.size_bytes = 0

    def close(self) -> None:
        """Free its memory."""
        os.close(self._descriptor)
