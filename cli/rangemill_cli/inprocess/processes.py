"""How worker processes come to be: from a fork server, which has imported what all of them need before any is born."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Final

_SOCKET_PATH_BYTES: Final = 104
"""Of `sun_path` in `sockaddr_un`, its zero byte included: 108 on Linux, 104 on macOS."""
_WORKERS: Final = "rangemill_cli.inprocess.workers"
_S3: Final = ("rangemill.aws.objects", "rangemill_cli.clients")
_ENGINES: Final = {True: "rangemill.engines.sql", False: "rangemill.engines.python"}


def method() -> str:
    """The start method of `multiprocessing`: a fork server's socket must have a path that is not too long."""
    socket = os.fsencode(Path(tempfile.gettempdir()) / "pymp-12345678" / "listener-12345678")
    fits = "forkserver" in multiprocessing.get_all_start_methods() and len(socket) < _SOCKET_PATH_BYTES
    return "forkserver" if fits else "spawn"


def prepare(*, is_sql: bool, reads_s3: bool) -> None:
    """Start the fork server, which imports what workers need while this process reads on and plans."""
    if method() != "forkserver":
        return
    multiprocessing.set_forkserver_preload([_WORKERS, _ENGINES[is_sql], *(_S3 if reads_s3 else ())])
    with deaf():
        forkserver.ensure_running()


@contextmanager
def deaf() -> Iterator[None]:
    """What is started in here never hears SIGINT: a terminal's Ctrl-C goes to all processes, and is for the first one.

    The mask is inherited, by the fork server's children as well, so that there is no moment in which a worker that is
    being born could hear it.
    """
    resource_tracker.ensure_running()  # at its first start it takes SIGINT off the mask again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
