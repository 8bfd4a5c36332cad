"""The template in `stack/`, which tries the local cloud apart from Rangemill."""

import base64
import io
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rangemill_cli.local import sam, server, stacks
from rangemill_cli.local.cloud import LocalCloud
from rangemill_cli.local.paths import LocalPaths


@dataclass(frozen=True)
class Invoked:
    """What Invoke answered: the payload, the kind of error, and the log."""

    payload: Any
    error: str | None
    log: str


@dataclass(frozen=True)
class Probe:
    """The deployed template: its sources (a copy, which a test may change), its outputs."""

    cloud: LocalCloud
    paths: LocalPaths
    project: sam.Project
    outputs: dict[str, str]

    def invoke(self, function: str, do: str, **event: Any) -> Invoked:
        """Run `do_<do>` of the functions' code."""
        return invoke(self.cloud, self.outputs[function], {"do": do, **event})

    def item(self, key: str) -> dict[str, Any] | None:
        """Return the table's item."""
        found = self.cloud.client("dynamodb").get_item(TableName=self.outputs["Table"], Key={"pk": {"S": key}})
        item: dict[str, Any] | None = found.get("Item")
        return item

    def deploy(self) -> sam.Deployed:
        """Deploy the sources as they are now."""
        return sam.deploy(self.cloud, self.paths, self.project)


def wait_for[Found](look: Callable[[], Found | None], patience_s: float = 20.0) -> Found:
    """Return what `look` finds, or fail."""
    until = time.monotonic() + patience_s
    while (found := look()) is None:
        assert time.monotonic() < until, "nothing was found in time"
        time.sleep(0.1)
    return found


def invoke(cloud: LocalCloud, function: str, event: dict[str, Any]) -> Invoked:
    """Invoke a function and wait for its answer."""
    answer = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event), LogType="Tail")
    log = base64.b64decode(answer.get("LogResult", "")).decode()
    return Invoked(json.load(answer["Payload"]), answer.get("FunctionError"), log)


@pytest.fixture(scope="session")
def probe(cloud: LocalCloud, cloud_paths: LocalPaths, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    sources = tmp_path_factory.mktemp("probe") / "stack"
    shutil.copytree(Path(__file__).parent / "stack", sources, ignore=shutil.ignore_patterns("__pycache__"))
    project = sam.Project(sources, "probe", None)
    sam.deploy(cloud, cloud_paths, project)
    return Probe(cloud, cloud_paths, project, stacks.outputs(cloud, "probe"))


@pytest.fixture
def spare_paths(cloud_paths: LocalPaths) -> Iterator[LocalPaths]:
    """A state folder of this test alone; its cloud is stopped whatever happens."""
    paths = LocalPaths(cloud_paths.project, cloud_paths.state.with_name(cloud_paths.state.name + "-spare"))
    try:
        yield paths
    finally:
        server.stop(paths)
        shutil.rmtree(paths.state, ignore_errors=True)


@pytest.fixture
def make_function() -> Callable[[LocalCloud, str], str]:
    """Make a function from source text without SAM."""

    def make(cloud: LocalCloud, source: str) -> str:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("app.py", source)
        client = cloud.client("lambda")
        client.create_function(
            FunctionName="spare",
            Runtime="python3.13",
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/any",
            Code={"ZipFile": archive.getvalue()},
            Timeout=60,
        )
        client.get_waiter("function_active_v2").wait(FunctionName="spare", WaiterConfig={"Delay": 1})
        return "spare"

    return make
