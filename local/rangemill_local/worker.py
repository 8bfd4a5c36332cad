"""One function process: started, fed, measured, killed."""

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rangemill_local import memory
from rangemill_local.runtime_api import Invocation, Report, RuntimeApi
from rangemill_local.settings import settings

# Linux ties a child's life to the *thread* that started it: this one lives as long as the server.
_SPAWNER: Final = ThreadPoolExecutor(1, thread_name_prefix="worker-spawner")
_LIFE_READ, _LIFE_WRITE = os.pipe()  # the write end is never written: its closing, at our death, is the message
_WORKER_MAIN: Final = Path(__file__).with_name("worker_main.py")


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a process needs to know; folders are absolute."""

    handler: str
    code: Path
    opt: Path | None
    environment: dict[str, str]
    memory_mib: int
    tmp_mib: int


class Worker:
    """A process under awslambdaric with its Runtime API; not thread-safe, one invocation at a time."""

    def __init__(self, name: str, spec: WorkerSpec) -> None:
        self.spec = spec
        self.folder = settings().state / "workers" / name
        self.reports: queue.Queue[Report] = queue.Queue()
        self.api = RuntimeApi(self.reports)
        self.init_ms = 0.0
        self.exit_reason = ""
        self._log_offset = 0
        self._log_path = self.folder / "log"
        self._started = time.perf_counter()
        self._process = _SPAWNER.submit(self._spawn).result()
        self._memory = memory.watch(self._process.pid, spec.memory_mib, self._out_of_memory)
        threading.Thread(target=self._wait, name="worker-wait", daemon=True).start()

    def wait_ready(self, timeout_s: float) -> Report:
        """Wait for the end of init: "ready", "init_error", "exited", "out_of_memory" or "timed_out"."""
        try:
            report = self.reports.get(timeout=timeout_s)
        except queue.Empty:
            return Report("timed_out")
        self.init_ms = (time.perf_counter() - self._started) * 1000
        return report

    def invoke(self, invocation: Invocation, timeout_s: float) -> Report:
        """Hand one event to the process and wait for what comes of it."""
        deadline = time.monotonic() + timeout_s
        self.api.invocations.put(invocation)
        while True:
            try:
                report = self.reports.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return Report("timed_out")
            if report.request_id == invocation.request_id and self._memory.exceeded():
                self.exit_reason = "signal: killed"  # between two looks: on AWS it would not have answered
                return Report("out_of_memory")
            if report.request_id == invocation.request_id or report.kind in ("exited", "out_of_memory"):
                return report

    @property
    def alive(self) -> bool:
        """Whether the process runs and has not been given up."""
        return not self.exit_reason and self._process.poll() is None

    @property
    def peak_mib(self) -> int:
        """The most memory the process has had, in MiB, as a REPORT line says it."""
        return self._memory.peak_mib()

    def take_log(self) -> str:
        """Return what the process wrote since the last call."""
        with contextlib.suppress(FileNotFoundError), self._log_path.open("rb") as log:
            log.seek(self._log_offset)
            text = log.read()
            self._log_offset += len(text)
            return text.decode("utf-8", "replace")
        return ""

    def kill(self) -> None:
        """End the process and everything that it started; remove its folder. May be called again."""
        memory.forget(self._process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.api.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        tmp = self.folder / "tmp"
        tmp.mkdir(parents=True)
        options = {
            "tmp": str(tmp),
            "tmp_mib": self.spec.tmp_mib,
            "keep": _needed_under_tmp(self.spec),
            "parent": os.getpid(),
            "life_fd": _LIFE_READ,
            "pycache": str(settings().state / "pycache"),
        }
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                [str(settings().runtime_python), str(_WORKER_MAIN), json.dumps(options), self.spec.handler],
                cwd=self.spec.code,
                env={**self.spec.environment, "AWS_LAMBDA_RUNTIME_API": self.api.address},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[_LIFE_READ],
                start_new_session=True,  # its own group: killed as a whole
            )

    def _wait(self) -> None:
        code = self._process.wait()
        if code < 0:
            name = re.sub("^SIG", "", signal.Signals(-code).name)
            self.exit_reason = self.exit_reason or f"signal: {'killed' if name == 'KILL' else name.lower()}"
        else:
            self.exit_reason = self.exit_reason or f"exit status {code}"
        self.reports.put(Report("exited"))

    def _out_of_memory(self) -> None:
        self.exit_reason = "signal: killed"
        self.reports.put(Report("out_of_memory"))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _needed_under_tmp(spec: WorkerSpec) -> list[str]:
    """Return the folders that a private /tmp would hide and the process needs."""
    python = settings().runtime_python
    prefixes = [python.parent.parent, python.resolve().parent.parent, _WORKER_MAIN.parent]
    needed = {str(path) for path in (spec.code, spec.opt, settings().state / "pycache", *prefixes) if path}
    return sorted(path for path in needed if path.startswith("/tmp/"))
