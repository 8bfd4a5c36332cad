"""How worker processes come to be.

The first ones are forked off this process while it has a single thread: what both need is imported once, and they are
there while the job is planned. Those that replace a dead one, and all of them where that cannot be done, come from a
fork server, or are started afresh.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

_SOCKET_PATH_BYTES: Final = 104
"""Of `sun_path` in `sockaddr_un`, its zero byte included: 108 on Linux, 104 on macOS."""
_THREADS: Final = Path("/proc/self/task")
_WORKERS: Final = "rangemill_cli.inprocess.workers"
_S3: Final = ("rangemill.aws.objects", "rangemill_cli.clients")
_ENGINES: Final = {True: "rangemill.engines.sql", False: "rangemill.engines.python"}


def import_all(*, is_sql: bool, reads_s3: bool) -> None:
    """Import here what workers need, and make their client: what is forked off has it."""
    for name in (_WORKERS, _ENGINES[is_sql], *(_S3 if reads_s3 else ())):
        importlib.import_module(name)
    if reads_s3:
        clients = sys.modules["rangemill_cli.clients"]
        with suppress(Exception):  # it is asked for again where the job's own error can say what is wrong
            clients.s3_client()


def forking() -> Any | None:
    """The context that forks this process; None where a thread might hold a lock that the fork then never gets.

    Only on Linux, where threads of libraries are seen as well and system libraries stand a fork.
    """
    if sys.platform != "linux" or not _THREADS.is_dir() or len(list(_THREADS.iterdir())) > 1:
        return None
    return multiprocessing.get_context("fork")


def starting() -> Any:
    """The context that starts a process which shares nothing with this one."""
    return multiprocessing.get_context(method())


def method() -> str:
    """Its start method: a fork server's socket must have a path that is not too long."""
    socket = os.fsencode(Path(tempfile.gettempdir()) / "pymp-12345678" / "listener-12345678")
    fits = "forkserver" in multiprocessing.get_all_start_methods() and len(socket) < _SOCKET_PATH_BYTES
    return "forkserver" if fits else "spawn"


@contextmanager
def deaf(*, forked: bool = False) -> Iterator[None]:
    """What is started in here never hears SIGINT: a terminal's Ctrl-C goes to all processes, and is for the first one.

    The mask is inherited, by the fork server's children as well, so that there is no moment in which a worker that is
    being born could hear it.
    """
    if not forked:
        from multiprocessing import resource_tracker  # noqa: PLC0415 - a process of its own, which forks do without

        resource_tracker.ensure_running()  # at its first start it takes SIGINT off the mask again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
