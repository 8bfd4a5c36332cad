"""What DuckDB may use, set by a function's wiring before the first statement; read when the database is made."""

import shutil
import tempfile
from dataclasses import dataclass
from typing import Final

DEFAULT_MEMORY_BYTES: Final = 2**30
DEFAULT_TEMPORARY_BYTES: Final = 256 * 2**20  # half of what Lambda gives /tmp by default
# The interpreter, the blocks on their way (64 MiB a chunk, read and copied) and the partial need the rest.
_MEMORY_SHARE: Final = 0.5
_TEMPORARY_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes of memory, and of temporary space that it may spill to."""

    memory_bytes: int = DEFAULT_MEMORY_BYTES
    temporary_bytes: int = DEFAULT_TEMPORARY_BYTES


_current = [Bounds()]


def of_function(function_memory_mb: int) -> Bounds:
    """Half of a function's memory, and half of what is free in its temporary folder."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return Bounds(int(function_memory_mb * 2**20 * _MEMORY_SHARE), int(free * _TEMPORARY_SHARE))


def configure(bounds: Bounds) -> None:
    """Set the bounds of this process; they hold for the database that is made next."""
    _current[0] = bounds


def current() -> Bounds:
    """The bounds of this process."""
    return _current[0]
