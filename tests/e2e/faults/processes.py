"""The processes of the local cloud's functions: found below its server, ended or stopped one by one, by their ids."""

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.faults.proxy import Request

from rangemill_cli.local.cloud import LocalCloud
from rangemill_cli.local.process import ProcessIdentity, identify


@dataclass
class Workers:
    """The function processes of one local cloud, and what was done to them."""

    cloud: LocalCloud
    killed: Counter[str] = field(default_factory=Counter)  # by the function's name
    frozen: list[ProcessIdentity] = field(default_factory=list)

    def running(self, function: str = "") -> list[ProcessIdentity]:
        """Every function process, or those of one function by its physical name."""
        found = [identify(pid) for pid in self._children() if function in ("", self.function_of(pid))]
        return [process for process in found if process is not None]

    def kill(self, process: ProcessIdentity) -> bool:
        """End one process as an out-of-memory killer would; False when it is gone."""
        function = self.function_of(process.pid)
        if not process.is_running():
            return False
        os.kill(process.pid, signal.SIGKILL)
        self.killed[function] += 1
        return True

    def kill_all(self) -> int:
        """End every function process at once; how many there were."""
        return sum(self.kill(process) for process in self.running())

    def kill_client(self, request: Request) -> None:
        """End the process that made this request."""
        process = self.client_of(request)
        if process is not None:
            self.kill(process)

    def freeze_client(self, request: Request, seconds: float) -> None:
        """Stop the process that made this request, and let it go on after a while, as if nothing had been."""
        process = self.client_of(request)
        if process is None:
            return
        os.kill(process.pid, signal.SIGSTOP)
        self.frozen.append(process)

        def thaw() -> None:
            time.sleep(seconds)
            if process.is_running():
                os.kill(process.pid, signal.SIGCONT)

        threading.Thread(target=thaw, daemon=True).start()

    @staticmethod
    def is_frozen(process: ProcessIdentity) -> bool:
        """Whether the process is stopped."""
        return process.is_running() and "T (stopped)" in _read(Path(f"/proc/{process.pid}/status"))

    def client_of(self, request: Request) -> ProcessIdentity | None:
        """The function process at the other end of a request's connection."""
        inode = _inode_of(request.port)
        for pid in self._children():
            if inode in _sockets(pid):
                return identify(pid)
        return None

    @staticmethod
    def function_of(pid: int) -> str:
        """The physical name of the function that a process is of; empty for a process that is none or gone."""
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return ""
        name = b"AWS_LAMBDA_FUNCTION_NAME="
        return next((entry.removeprefix(name).decode() for entry in environment if entry.startswith(name)), "")

    def _children(self) -> list[int]:
        """The children of the server that are functions."""
        if self.cloud.process is None:
            return []
        tasks = Path(f"/proc/{self.cloud.process.pid}/task")
        found = {int(child) for task in tasks.glob("*/children") for child in _read(task).split()}
        return sorted(pid for pid in found if self.function_of(pid))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _inode_of(port: int) -> str:
    """The socket that is bound to this port of the loopback interface, as /proc names it."""
    for line in _read(Path("/proc/net/tcp")).splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}":
            return f"socket:[{fields[9]}]"
    return "none"


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(str(link.readlink()))
            except OSError:
                continue
    except OSError:
        return set()
    return found
