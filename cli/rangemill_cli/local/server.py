"""Starting and stopping LocalStack."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from rangemill_cli.errors import EnvironmentProblem
from rangemill_cli.local.cloud import CREDENTIALS, LocalCloud
from rangemill_cli.local.paths import DEFAULT_PORT, LocalPaths
from rangemill_cli.local.process import identify

START_TIMEOUT_S: Final = 120.0  # usually 5; two that start on a busy machine have taken more than 60
LOG_TAIL_LINES: Final = 15
# Variables for all functions, a JSON object: `{"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:…"}` puts something of yours
# between them and S3.
FUNCTION_ENVIRONMENT: Final = "RANGEMILL_LOCAL_FUNCTION_ENVIRONMENT"

# As measured in DECISIONS.md; each keeps LocalStack on this machine or makes it work without Docker and Java.
LOCALSTACK_SETTINGS: Final = {
    "LAMBDA_RUNTIME_EXECUTOR": "rangemill",
    "GATEWAY_SERVER": "rangemill",
    "PROVIDER_OVERRIDE_DYNAMODB": "rangemill",
    "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "rangemill",
    "LAMBDA_IGNORE_ARCHITECTURE": "1",
    "LAMBDA_KEEPALIVE_MS": "120000",
    "LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC": "0.2",
    "LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC": "1",
    "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "0",  # a type that is only mocked fails the deploy
    "SQS_ENDPOINT_STRATEGY": "path",  # queue URLs that need no DNS
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "DISABLE_EVENTS": "1",
    "DNS_ADDRESS": "0",
    "LS_LOG": "warning",  # a line for every request would be most of the log, and nothing that anybody reads
    "PYTHONUNBUFFERED": "1",
}


def start(
    paths: LocalPaths,
    say: Callable[[str], None],
    *,
    port: int | None = None,
    function_environment: dict[str, str] | None = None,
) -> LocalCloud:
    """Return the running cloud of this state folder, starting it when there is none.

    `say` takes progress lines; `port` 0 means any free one, None the person's choice, last time's or the default.
    `function_environment` goes into every function's: what leads their clients through a proxy that makes faults.
    """
    _require_installed(paths)
    paths.state.mkdir(parents=True, exist_ok=True)
    with locked(paths.state / "lock"):
        running = LocalCloud.at(paths)
        if running is not None and running.is_running():
            return running
        if running is not None:
            say("The local cloud of this project runs but does not answer: starting it again.")
            _stop(paths)
        chosen = _choose_port(paths) if port is None else port or _any_free_port()
        cloud, server = _launch(paths, chosen, function_environment)
        say(f"Starting LocalStack at {cloud.endpoint_url} …")
        _wait_ready(paths, cloud, server)
        return cloud


def stop(paths: LocalPaths) -> bool:
    """Stop the cloud that `start` started with this state folder, and nothing else; False if there was none."""
    if not paths.state.exists():
        return False
    with locked(paths.state / "lock"):
        return _stop(paths)


def _stop(paths: LocalPaths) -> bool:
    running = LocalCloud.at(paths)
    if running is not None and running.process is not None:
        running.process.stop()
    if paths.record.exists():
        # The port is kept: the endpoint in somebody's shell stays right after the next `up`.
        record = json.loads(paths.record.read_text())
        _write(paths.record, {"port": record.get("port"), "pid": 0, "started": "", "endpoint_url": "", "nonce": ""})
    for folder in ("workers", "tmp", "volume"):
        shutil.rmtree(paths.state / folder, ignore_errors=True)
    return running is not None


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """Return the last lines of a log."""
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _require_installed(paths: LocalPaths) -> None:
    if sys.platform != "linux":
        raise EnvironmentProblem(
            "The local cloud runs on Linux only: what SAM builds for Lambda are Linux binaries.",
            "Use a Linux machine or a virtual one (WSL, Lima, a container); `rangemill run` works everywhere.",
        )
    for python in (paths.server_python, paths.runtime_python, paths.sam_bin / "sam"):
        if not python.exists():
            raise EnvironmentProblem(
                f"The local cloud is not installed ({python} is missing).", "Run scripts/bootstrap."
            )


def _launch(
    paths: LocalPaths, port: int, function_environment: dict[str, str] | None
) -> tuple[LocalCloud, "subprocess.Popen[bytes]"]:
    of_functions = (
        os.environ.get(FUNCTION_ENVIRONMENT, "") if function_environment is None else json.dumps(function_environment)
    )
    nonce = secrets.token_hex(8)
    for folder in ("tmp", "cache", "volume"):
        (paths.state / folder).mkdir(exist_ok=True)
    environment = {
        # Only what a Python process needs from the host; proxies, profiles and LocalStack's own settings stay out.
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "USER") if name in os.environ},
        **CREDENTIALS,
        **LOCALSTACK_SETTINGS,
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "FILESYSTEM_ROOT": str(paths.state / "volume"),
        "LOCALSTACK_VOLUME_DIR": str(paths.state / "volume"),
        "XDG_CACHE_HOME": str(paths.state / "cache"),  # plux caches entry points: never another environment's
        "TMPDIR": str(paths.state / "tmp"),
        "RANGEMILL_LOCAL_STATE": str(paths.state),
        "RANGEMILL_LOCAL_PYTHON": str(paths.runtime_python),
        "RANGEMILL_LOCAL_NONCE": nonce,
        FUNCTION_ENVIRONMENT: of_functions,
    }
    with paths.log.open("wb") as log:
        server = subprocess.Popen(
            [str(paths.server_python), "-m", "rangemill_local.server"],
            cwd=paths.state,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = identify(server.pid)
    cloud = LocalCloud(f"http://127.0.0.1:{port}", process, nonce)
    record = {
        "pid": server.pid,
        "started": process.started if process else "",
        "port": port,
        "endpoint_url": cloud.endpoint_url,
        "nonce": nonce,
        "since": time.time(),
    }
    _write(paths.record, record)
    return cloud, server


def _wait_ready(paths: LocalPaths, cloud: LocalCloud, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while not cloud.answers():
        code = server.poll()
        if code is not None or time.monotonic() > until:
            _stop(paths)
            what = f"ended with exit code {code}" if code is not None else f"was not ready in {START_TIMEOUT_S:.0f} s"
            raise EnvironmentProblem(f"LocalStack {what}. The end of its log ({paths.log}):\n{tail(paths.log)}")
        time.sleep(0.1)


def _choose_port(paths: LocalPaths) -> int:
    """Return $RANGEMILL_LOCAL_PORT, or the port of last time, or the default, or a free one."""
    asked = os.environ.get("RANGEMILL_LOCAL_PORT")
    if asked:
        if not asked.isdecimal() or not _is_free(int(asked)):
            raise EnvironmentProblem(f"RANGEMILL_LOCAL_PORT={asked} is not a free port.", "Choose another or unset it.")
        return int(asked)
    remembered: list[int] = []
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        remembered = [int(json.loads(paths.record.read_text())["port"])]
    for port in remembered:
        # A server that was killed is gone a moment before its last threads, and they hold the port.
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            if _is_free(port):
                return port
            time.sleep(0.05)
    if _is_free(DEFAULT_PORT):
        return DEFAULT_PORT
    return _any_free_port()


def _any_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _write(path: Path, document: dict[str, object]) -> None:
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(document))
    unfinished.replace(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file: of two `up` or `deploy` at once, the second finds what the first has done."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
