"""A function's memory limit, watched from outside: what AWS enforces with a control group.

Looks every 50 ms at the peak that the kernel keeps (VmHWM), so a peak between two looks is seen as well.
Elsewhere than on Linux there is no such file, and nothing is enforced.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INTERVAL_S: Final = 0.05


@dataclass(slots=True)
class MemoryWatch:
    """One process, its limit in MiB, and whom to tell once when it is passed."""

    pid: int
    limit_mib: int
    on_exceeded: Callable[[], None]
    peak_kib: int = 0

    def look(self) -> None:
        """Read the peak of the process and the present size of its children."""
        with contextlib.suppress(OSError, StopIteration, ValueError):
            self.peak_kib = max(self.peak_kib, _status_kib(self.pid, "VmHWM:") + _children_kib(self.pid))

    def peak_mib(self) -> int:
        """Return the peak, never more than the limit, as AWS reports it."""
        self.look()
        return min(-(-self.peak_kib // 1024), self.limit_mib)

    def exceeded(self) -> bool:
        """Look, and compare with the limit."""
        self.look()
        return self.peak_kib > self.limit_mib * 1024


_watched: dict[int, MemoryWatch] = {}
_started = threading.Event()


def watch(pid: int, limit_mib: int, on_exceeded: Callable[[], None]) -> MemoryWatch:
    """Begin to watch a process; `on_exceeded` is called at most once, in the watcher's thread."""
    _watched[pid] = watched = MemoryWatch(pid, limit_mib, on_exceeded)
    if not _started.is_set():
        _started.set()
        threading.Thread(target=_loop, name="memory-watch", daemon=True).start()
    return watched


def forget(pid: int) -> None:
    """Stop watching a process."""
    _watched.pop(pid, None)


def _loop() -> None:
    while True:
        for watched in list(_watched.values()):
            if watched.exceeded() and _watched.pop(watched.pid, None):
                watched.on_exceeded()
        time.sleep(INTERVAL_S)


def _status_kib(pid: int, field: str) -> int:
    with Path(f"/proc/{pid}/status").open() as status:
        return int(next(line for line in status if line.startswith(field)).split()[1])


def _children_kib(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(_status_kib(int(child), "VmRSS:") + _children_kib(int(child)) for child in children)
