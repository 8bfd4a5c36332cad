"""What the page says of the machine and of the versions that ran."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks import data
from benchmarks.world import World

_OURS = ("duckdb", "boto3", "botocore", "urllib3", "awscrt", "msgspec")


def describe() -> list[str]:
    """Processor, cores, memory and system."""
    processor = re.search(r"model name\s*:\s*(.*)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    name = processor[1] if processor else platform.processor() or "unknown processor"
    memory_gib = int(memory[1]) / 2**20 if memory else 0
    return [
        f"{name}, {os.process_cpu_count() or 1} cores, {memory_gib:.0f} GiB of memory",
        f"{platform.system()} {platform.release()}, {platform.machine()}",
    ]


def load() -> str:
    """How many processes wanted a core, over 1, 5 and 15 minutes."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())


def versions(world: World) -> list[str]:
    """Ours, the peers', and the tools'."""
    ours = ", ".join(f"{name} {version(name)}" for name in _OURS)
    found = [f"Rangemill {version('rangemill')} ({_commit()}), Python {platform.python_version()}, {ours}"]
    if world.peers.problem is None:
        found.append("peers: " + ", ".join(f"{name} {number}" for name, number in sorted(world.peers.versions.items())))
    else:
        found.append(f"peers: {world.peers.problem}")
    found.append(f"server: {world.server.problem or 'nginx ' + world.server.version}")
    tools = {"curl": ["curl", "--version"], "mawk": ["mawk", "-W", "version"], "zcat": ["zcat", "--version"]}
    found.append(", ".join(f"{tool}: {_first_line(command)}" for tool, command in tools.items() if shutil.which(tool)))
    found.append(f"gzip files by {Path(data.compressor()[0]).name} -6")
    return found


def _commit() -> str:
    root = Path(__file__).parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return (done.stdout or done.stderr).strip().partition("\n")[0][:60]


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""
