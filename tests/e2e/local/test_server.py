"""The server: on loopback only, this project's own, gone when it is stopped."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.local.conftest import Probe, invoke

from rangemill_cli.errors import EnvironmentProblem
from rangemill_cli.local import server
from rangemill_cli.local.cloud import LocalCloud
from rangemill_cli.local.paths import LocalPaths
from rangemill_cli.local.process import ProcessIdentity, identify

LOOPBACK_V4 = "0100007F"
LOOPBACK_V6 = "00000000000000000000000001000000"
LISTEN = "0A"
PID_AND_WAIT = """
import os, time
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return os.getpid()
"""


def descendants(pid: int) -> set[int]:
    """The process and everything below it."""
    children = {
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    }
    return {pid}.union(*(descendants(child) for child in children))


def listening_addresses(pids: set[int]) -> set[str]:
    """The local addresses, as the kernel writes them, on which any of the processes listens."""
    sockets = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(str(link.readlink()))
            except FileNotFoundError:
                continue
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == LISTEN and f"socket:[{row[9]}]" in sockets}


def wait_gone(pid: int, patience_s: float = 5.0) -> bool:
    until = time.monotonic() + patience_s
    while identify(pid) is not None and time.monotonic() < until:
        time.sleep(0.05)
    return identify(pid) is None


def test_everything_listens_on_loopback_only(probe: Probe) -> None:
    worker = probe.invoke("ProbeFunction", "describe").payload["pid"]
    assert probe.cloud.process is not None
    pids = descendants(probe.cloud.process.pid)
    addresses = listening_addresses(pids)
    port = f"{int(probe.cloud.endpoint_url.rpartition(':')[2]):04X}"
    assert worker in pids
    assert f"{LOOPBACK_V4}:{port}" in addresses
    assert {address.partition(":")[0] for address in addresses} <= {LOOPBACK_V4, LOOPBACK_V6}


def test_up_finds_the_cloud_that_runs(cloud: LocalCloud, cloud_paths: LocalPaths) -> None:
    assert server.start(cloud_paths, print) == cloud


def test_a_taken_port_is_left_alone_and_the_chosen_one_remembered(
    spare_paths: LocalPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.delenv("RANGEMILL_LOCAL_PORT", raising=False)
        monkeypatch.setattr(server, "DEFAULT_PORT", taken.getsockname()[1])
        first = server.start(spare_paths, print)
        assert first.endpoint_url != f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RANGEMILL_LOCAL_PORT", str(taken.getsockname()[1]))
        assert server.start(spare_paths, print) == first
        assert server.stop(spare_paths)
        with pytest.raises(EnvironmentProblem, match="not a free port"):
            server.start(spare_paths, print)
        monkeypatch.delenv("RANGEMILL_LOCAL_PORT")
        assert server.start(spare_paths, print).endpoint_url == first.endpoint_url


def test_down_ends_the_server_and_its_workers(
    spare_paths: LocalPaths, make_function: Callable[[LocalCloud, str], str]
) -> None:
    cloud = server.start(spare_paths, print, port=0)
    assert cloud.process is not None
    worker = invoke(cloud, make_function(cloud, PID_AND_WAIT), {}).payload
    assert server.stop(spare_paths)
    assert not cloud.process.is_running()
    assert wait_gone(worker)
    assert not server.stop(spare_paths)


def test_workers_die_with_a_server_that_is_killed(
    spare_paths: LocalPaths, make_function: Callable[[LocalCloud, str], str]
) -> None:
    cloud = server.start(spare_paths, print, port=0)
    assert cloud.process is not None
    function = make_function(cloud, PID_AND_WAIT)
    idle = invoke(cloud, function, {}).payload
    cloud.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps({"seconds": 50}))
    time.sleep(1)
    os.kill(cloud.process.pid, signal.SIGKILL)
    assert wait_gone(idle)
    assert wait_gone(cloud.process.pid)
    assert LocalCloud.at(spare_paths) is None


def test_down_leaves_a_process_that_only_has_the_same_pid(spare_paths: LocalPaths, cloud: LocalCloud) -> None:
    assert cloud.process is not None
    spare_paths.state.mkdir()
    record = {"pid": cloud.process.pid, "started": "another life", "port": 1, "endpoint_url": "x", "nonce": "x"}
    spare_paths.record.write_text(json.dumps(record))
    assert not server.stop(spare_paths)
    assert cloud.is_running()


def test_another_localstack_at_the_endpoint_is_not_taken_for_ours(cloud: LocalCloud) -> None:
    assert not LocalCloud(cloud.endpoint_url, cloud.process, "a nonce of another life").answers()
    assert LocalCloud(cloud.endpoint_url).answers()


def test_a_server_that_dies_shows_the_end_of_its_log(spare_paths: LocalPaths, tmp_path: Path) -> None:
    python = tmp_path / "local/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho this is why\nexit 7\n")
    python.chmod(0o755)
    for name in ("local/runtime", "tools"):
        (tmp_path / name).symlink_to(spare_paths.project / name)
    with pytest.raises(EnvironmentProblem, match=r"(?s)exit code 7.*this is why"):
        server.start(LocalPaths(tmp_path, spare_paths.state), print)


def test_a_process_is_known_by_its_start_too() -> None:
    this = identify(os.getpid())
    assert this is not None
    assert this.is_running()
    assert not ProcessIdentity(this.pid, "another time").is_running()
