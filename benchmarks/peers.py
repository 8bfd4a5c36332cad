"""The peers' environment: its own lock, synced by the benchmarks and by nothing else."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_PYTHON: Final = _HERE / ".venv" / "bin" / "python"
_UV: Final = _HERE.parent / ".tools" / "bin" / "uv"
_NAMED: Final = ("lithops", "polars", "isal", "obstore", "boto3")
_ASK: Final = (
    "import importlib.metadata as m, json, sys;"
    "print(json.dumps({n: m.version(n) for n in sys.argv[1:]} | {'python': sys.version.split()[0]}))"
)


@dataclass(frozen=True, slots=True)
class Peers:
    """The environment, or why there is none."""

    problem: str | None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def search_path(self) -> str:
        """A PATH on which `python` is the peers': Lithops starts its workers so."""
        return f"{_PYTHON.parent}:{os.environ.get('PATH', '')}"

    def program(self, name: str) -> tuple[str, ...]:
        """The peers' interpreter and one of `benchmarks/programs`."""
        return str(_PYTHON), "-m", f"benchmarks.programs.{name}"


def without(reason: str) -> Peers:
    """No peers in this run."""
    return Peers(reason)


def synced() -> Peers:
    """The environment as its lock says; needs a network the first time."""
    command = [str(_UV), "sync", "--quiet", "--locked", "--python", sys.executable, "--project", str(_HERE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return Peers(f"uv could not sync the peers' environment: {done.stderr.strip()[-200:]}")
        asked = subprocess.run([str(_PYTHON), "-c", _ASK, *_NAMED], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return Peers(f"the peers' environment cannot be made: {error}")
    return Peers(None, json.loads(asked.stdout))
