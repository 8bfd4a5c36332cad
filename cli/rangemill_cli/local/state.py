"""What `rangemill local status` tells."""

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from rangemill_cli.local import stacks
from rangemill_cli.local.cloud import STACK, LocalCloud
from rangemill_cli.local.paths import LocalPaths


@dataclass(frozen=True, slots=True)
class CloudState:
    """A local cloud and its stack; `functions` maps physical names to their states."""

    running: bool
    endpoint_url: str | None = None
    pid: int | None = None
    uptime_seconds: float | None = None
    log: str | None = None
    stack: str = STACK
    stack_status: str | None = None
    functions: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the state as one JSON object."""
        return asdict(self)


def look(paths: LocalPaths, endpoint_url: str | None = None) -> CloudState:
    """Look at the cloud of `paths`, or at the one at `endpoint_url`; a cloud that does not answer is not running."""
    cloud = LocalCloud(endpoint_url.rstrip("/")) if endpoint_url else LocalCloud.at(paths)
    if cloud is None or not cloud.is_running():
        return CloudState(running=False, endpoint_url=None if cloud is None else cloud.endpoint_url)
    status = stacks.status(cloud, STACK)
    pid = None if cloud.process is None else cloud.process.pid
    return CloudState(
        running=True,
        endpoint_url=cloud.endpoint_url,
        pid=pid,
        uptime_seconds=None if pid is None else round(time.time() - json.loads(paths.record.read_text())["since"], 1),
        log=None if pid is None else str(paths.log),
        stack_status=status,
        functions=_functions(cloud) if status else {},
        outputs=stacks.outputs(cloud, STACK),
    )


def _functions(cloud: LocalCloud) -> dict[str, str]:
    client = cloud.client("lambda")
    names = stacks.functions(cloud, STACK).values()
    return {name: str(client.get_function_configuration(FunctionName=name).get("State")) for name in names}
