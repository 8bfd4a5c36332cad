"""The Map of a run on this machine: worker processes, made once, that take slot after slot.

A worker that dies takes nobody with it: its slot gets a verdict, as on Lambda, and another worker comes.
"""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from msgspec.structs import replace

from rangemill.gateways import Gateways
from rangemill.messages import ApplyMessage, CodeIdentity, Verdict, encode
from rangemill_cli.inprocess import processes
from rangemill_cli.inprocess.code import pipelines_of
from rangemill_cli.inprocess.driver import apply_slot
from rangemill_cli.inprocess.folder import FolderStore
from rangemill_cli.inprocess.inputs import Inputs
from rangemill_cli.inprocess.memory import MemoryExecutions, MemoryJobs, NoNotices, utc_now

type OnBytes = Callable[[int], None]
type Warm = Callable[[], None]

_SAY_SECONDS: Final = 0.1
_END_SECONDS: Final = 2.0


class Workplace(msgspec.Struct, frozen=True):
    """What a worker needs to know of the job: the first that its process is sent."""

    work: str
    out: str
    job_id: str
    pipeline_folder: str
    identity: CodeIdentity
    index: str  # the parent's: a fork server's environment may be an older one

    def store(self) -> FolderStore:
        """The job's documents."""
        return FolderStore(Path(self.work), Path(self.out), self.job_id, Path(self.index))

    def gateways(self) -> Gateways:
        """Gateways of this process. The job table is the parent's; a worker never asks it."""
        store = self.store()
        return Gateways(MemoryJobs(), store, Inputs(), MemoryExecutions(), NoNotices(), utc_now)


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    busy_with: ApplyMessage | None = None


class WorkerPool:
    """A `WaveRunner` of processes, most of which are there before the job is known; `furnish` tells them of it."""

    def __init__(self, workers: int, warm: Warm = lambda: None) -> None:
        self.size = workers
        self._warm = warm  # what workers do while there is no job yet
        self._workplace: Workplace | None = None
        self._on_bytes: OnBytes = lambda _: None
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        context = processes.forking()
        while context is not None and len(self._workers) < self.size:
            self._workers.append(self._fork(context))
        return self

    def furnish(self, workplace: Workplace, on_bytes: OnBytes = lambda _: None) -> None:
        """Tell the job; `on_bytes` hears how many bytes were read since it was told last."""
        self._workplace = workplace
        self._on_bytes = on_bytes
        for worker in self._workers:
            with suppress(OSError):  # it has died: another takes its place when there is a slot for it
                worker.connection.send_bytes(msgspec.json.encode(workplace))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, messages: list[ApplyMessage]) -> None:
        """All slots of a wave; returns when each has an outcome or a verdict."""
        waiting = deque(messages)
        while len(self._workers) < min(self.size, len(messages)):
            self._workers.append(self._start())
        while waiting or any(worker.busy_with for worker in self._workers):
            for position, worker in enumerate(self._workers):
                if worker.busy_with is None and waiting:
                    self._give(position, waiting.popleft())
            self._listen()

    def close(self) -> None:
        """End all workers, busy or not."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_END_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers = []

    def _fork(self, context: Any) -> _Worker:
        ours, theirs = context.Pipe()
        not_its_own = [ours, *(worker.connection for worker in self._workers)]
        process = context.Process(target=_serve_forked, args=(theirs, not_its_own, self._warm), daemon=True)
        with processes.deaf(forked=True):
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _start(self) -> _Worker:
        context = processes.starting()
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), daemon=True)
        with processes.deaf():
            process.start()
        theirs.close()
        ours.send_bytes(msgspec.json.encode(self._workplace))
        return _Worker(process, ours)

    def _give(self, position: int, message: ApplyMessage) -> None:
        if not self._workers[position].process.is_alive():
            self._replace(position)
        worker = self._workers[position]
        worker.busy_with = message
        worker.connection.send_bytes(encode(message))

    def _listen(self) -> None:
        """Hear from whoever speaks or dies next."""
        busy = {worker.connection: i for i, worker in enumerate(self._workers) if worker.busy_with is not None}
        for ready in wait(list(busy)):
            position = busy[ready]  # type: ignore[index]  # only connections were waited for
            worker = self._workers[position]
            try:
                read = int.from_bytes(worker.connection.recv_bytes())
            except (EOFError, OSError):
                self._died(position)
                continue
            if read:
                self._on_bytes(read)
            else:
                worker.busy_with = None

    def _died(self, position: int) -> None:
        worker = self._workers[position]
        worker.process.join()
        if worker.busy_with is not None and self._workplace is not None:
            verdict = Verdict(Error="Runtime.ExitError", Cause=_how(worker.process.exitcode))
            self._workplace.store().put(worker.busy_with.item.verdict_key, encode(verdict))
        self._replace(position)

    def _replace(self, position: int) -> None:
        self._workers[position].connection.close()
        self._workers[position] = self._start()


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"the worker process was killed by {signal.Signals(-exit_code).name}"
    return f"the worker process ended with exit code {exit_code}"


def _serve_forked(connection: Connection, not_its_own: list[Connection], warm: Warm) -> None:
    """`serve`, without the other ends that came along: they would outlive the parent, and whoever waits for its end."""
    for other in not_its_own:
        other.close()
    warm()
    serve(connection)


def serve(connection: Connection) -> None:
    """A worker's life: the job, then a slot in, its bytes as it goes, zero when it is done, until the pipe closes."""
    os.dup2(2, 1)  # what user code prints must not get into the parent's output
    try:
        workplace = msgspec.json.decode(connection.recv_bytes(), type=Workplace)
    except (EOFError, OSError):
        return
    sys.path.insert(0, workplace.pipeline_folder)
    gateways = workplace.gateways()
    identity = replace(workplace.identity, pipelines=pipelines_of(Path(workplace.pipeline_folder)))
    say = _Progress(connection, gateways.objects)
    while True:
        try:
            message = msgspec.json.decode(connection.recv_bytes(), type=ApplyMessage)
        except (EOFError, OSError):
            return
        apply_slot(message, gateways, identity, say)
        say.done()


class _Progress:
    """Stands for `should_stop`, which is asked after every block: never says stop, but how far it is."""

    def __init__(self, connection: Connection, objects: Any) -> None:
        self._connection = connection
        self._objects = objects
        self._said_bytes = 0
        self._said_at = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._said_at > _SAY_SECONDS:
            self._say()
        return False

    def done(self) -> None:
        """The slot is done."""
        self._say()
        self._connection.send_bytes(b"\0")

    def _say(self) -> None:
        new = self._objects.bytes_read - self._said_bytes
        if new:
            self._connection.send_bytes(new.to_bytes(8))
        self._said_bytes += new
        self._said_at = time.monotonic()
