"""How this process' memory is taken from the system: pages that blocks used are used again, not faulted in anew.

That saves a Python job over log lines 9 % of its CPU. One arena for all threads keeps the process small: what the
threads that fetch had freed stayed theirs, and a SQL worker grew from 240 to 400 MiB over its first GiB.
"""

from contextlib import suppress
from functools import cache
from typing import Final

_TRIM_THRESHOLD: Final = -1  # of glibc's `mallopt`, as in <malloc.h>
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_KEPT_BYTES: Final = 32 * 2**20  # at most what `mallopt` takes for the second; blocks and pieces are smaller


@cache
def keep_pages() -> None:
    """Let freed memory stay this process', to that many bytes; once, and only where the C library is glibc."""
    import ctypes  # noqa: PLC0415 - workers alone need it

    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - only glibc has it
        libc.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_ARENA_MAX, 1)
