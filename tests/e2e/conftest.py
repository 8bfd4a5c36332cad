"""One local cloud for the whole session, apart from the one that a person may have running.

`cloud` is an empty account; `stack` is the project's own template in it, deployed when the first test asks for it.
"""

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rangemill_cli.local import sam, server, stacks
from rangemill_cli.local.cloud import STACK, LocalCloud
from rangemill_cli.local.paths import LocalPaths, find_project


@dataclass(frozen=True)
class DeployedStack:
    """A stack with its outputs and its functions by logical id."""

    cloud: LocalCloud
    name: str
    outputs: dict[str, str]
    functions: dict[str, str]


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
def cloud(cloud_paths: LocalPaths) -> Iterator[LocalCloud]:
    """A running local cloud with an empty account."""
    server.stop(cloud_paths)  # left over from a session that was killed
    running = server.start(cloud_paths, print, port=0)
    try:
        yield running
    finally:
        server.stop(cloud_paths)


@pytest.fixture(scope="session")
def stack(cloud: LocalCloud, cloud_paths: LocalPaths) -> DeployedStack:
    """The project's own template, built and deployed."""
    sam.deploy(cloud, cloud_paths)
    return DeployedStack(cloud, STACK, stacks.outputs(cloud, STACK), stacks.functions(cloud, STACK))
