"""Where the project and the local cloud's state are."""

import os
from dataclasses import dataclass
from pathlib import Path

from rangemill_cli.errors import EnvironmentProblem

DEFAULT_PORT = 4599  # not LocalStack's own 4566


@dataclass(frozen=True, slots=True)
class LocalPaths:
    """The project's folder and the folder that holds one local cloud's state."""

    project: Path
    state: Path

    @property
    def server_python(self) -> Path:
        """LocalStack's interpreter."""
        return self.project / "local/.venv/bin/python"

    @property
    def runtime_python(self) -> Path:
        """The functions' interpreter."""
        return self.project / "local/runtime/.venv/bin/python"

    @property
    def sam_bin(self) -> Path:
        """The folder of `sam`, and of the python with pip that it must find first."""
        return self.project / "tools/sam/.venv/bin"

    @property
    def record(self) -> Path:
        """What `up` started."""
        return self.state / "cloud.json"

    @property
    def log(self) -> Path:
        """The server's output."""
        return self.state / "server.log"


def local_paths(state: Path | None = None) -> LocalPaths:
    """Return the paths: the checkout that this command belongs to, and `state` or $RANGEMILL_LOCAL_STATE or its own."""
    project = find_project()
    chosen = state or os.environ.get("RANGEMILL_LOCAL_STATE")
    return LocalPaths(project, Path(chosen).resolve() if chosen else project / ".rangemill/local")


def find_project() -> Path:
    """Return the project's folder: of this checkout, or around the current folder."""
    here = Path(__file__).resolve()
    for folder in (*here.parents[3:4], Path.cwd(), *Path.cwd().parents):
        if (folder / "local/rangemill_local").is_dir() and (folder / "tools/sam").is_dir():
            return folder
    raise EnvironmentProblem(
        "The local cloud needs Rangemill's project folder, and this is not inside one.",
        "Clone the repository and run `rangemill local up` there.",
    )
