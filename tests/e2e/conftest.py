"""One local cloud for the whole session, apart from the one that a person may have running.

`cloud` is an empty account, whose functions reach S3 and DynamoDB through `proxy`; `app` is the project's own template
in it, with the test pipelines, deployed when the first test asks for it.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.app import App, deploy
from tests.e2e.faults.proxy import FaultProxy
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from rangemill_cli.local import server
from rangemill_cli.local.cloud import LocalCloud
from rangemill_cli.local.paths import LocalPaths, find_project


class ByCloud(LoadScopeScheduling):  # type: ignore[misc]  # untyped as well
    """Of two processes, each with a local cloud of its own, one has jobs and objects, the other one all else."""

    def _split_scope(self, nodeid: str) -> str:
        return "jobs" if "/e2e/jobs/" in nodeid or "/faults/test_objects.py::" in nodeid else "faults and cloud"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByCloud:
    """Which process runs what, with `-n 2`: `loadgroup` does not see its groups under pytest 9."""
    return ByCloud(config, log)


@pytest.fixture(scope="session")
def cloud_paths() -> Iterator[LocalPaths]:
    """A state folder of this session: kept between sessions for its built layers, never shared by two at once."""
    project = find_project()
    (project / ".rangemill").mkdir(exist_ok=True)
    for number in range(1, 100):
        state = project / f".rangemill/e2e-{number}"
        with Path(f"{state}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield LocalPaths(project, state)
            return


@pytest.fixture(scope="session")
def proxy() -> Iterator[FaultProxy]:
    """What stands between the functions and S3 and DynamoDB; it makes no faults until a test adds a rule."""
    proxy = FaultProxy(seed=20)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def cloud(cloud_paths: LocalPaths, proxy: FaultProxy) -> Iterator[LocalCloud]:
    """A running local cloud with an empty account."""
    server.stop(cloud_paths)  # left over from a session that was killed
    running = server.start(cloud_paths, print, port=0, function_environment=proxy.environment())
    proxy.upstream = running.endpoint_url
    try:
        yield running
    finally:
        server.stop(cloud_paths)


@pytest.fixture(scope="session")
def app(cloud: LocalCloud, cloud_paths: LocalPaths, proxy: FaultProxy) -> App:
    """The application with the test pipelines, deployed once."""
    return deploy(cloud, cloud_paths, proxy)


@pytest.fixture
def rangemill(app, tmp_path):
    """Run the command with an environment that points at the session's cloud and at nothing else."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **app.cloud.environment()}

    def run(*words, expect=0):
        done = subprocess.run(
            [Path(sys.executable).with_name("rangemill"), *map(str, words)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=180,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run
