"""Processes by identity: a pid alone may belong to somebody else by tomorrow."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A pid together with when its process began, and in which boot."""

    pid: int
    started: str

    def is_running(self) -> bool:
        """Whether this very process still runs."""
        return start_of(self.pid) == self.started

    def stop(self, patience_s: float = 2.0) -> None:
        """Ask the process to end, and after `patience_s` end it and its process group; return when it is gone."""
        for sign, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 10.0)):
            if not self.is_running():
                return
            with contextlib.suppress(ProcessLookupError):
                # The server leads its own group (start_new_session), so the group's id is its pid.
                (os.killpg if sign == signal.SIGKILL else os.kill)(self.pid, sign)
            until = time.monotonic() + wait_s
            while self.is_running() and time.monotonic() < until:
                time.sleep(0.05)


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a running process."""
    started = start_of(pid)
    return None if started is None else ProcessIdentity(pid, started)


def start_of(pid: int) -> str | None:
    """Return when the process began, in a form that only compares; None if it is gone or a zombie."""
    try:
        # The command's name is in brackets and may hold anything; state is field 3, start time field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{fields[19]}"
