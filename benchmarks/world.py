"""Where a run of the benchmarks happens: its folder, its data, its server, its peers; and how large all that is."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers import Peers
from benchmarks.server import Server

ROOT: Final = Path(__file__).parent.parent
HERE: Final = Path(__file__).parent
MIB: Final = 2**20
GIB: Final = 2**30
WORKERS: Final = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much data: bytes of the log and of the JSON lines, and TPC-H scale factors."""

    log_bytes: int
    small_log_bytes: int
    jsonl_bytes: int
    loop_bytes: int  # what the comparisons of loops hold in memory
    range_bytes: int  # of peers that cut the object themselves, as of ours
    scale: float
    small_scale: float
    large_scale: float | None = None


FULL: Final = Sizes(GIB, GIB // 4, GIB, 256 * MIB, 64 * MIB, 1, 0.25)
SMOKE: Final = Sizes(3 * MIB, MIB, MIB, 2 * MIB, MIB, 0.002, 0.001)


@dataclass(frozen=True, slots=True)
class World:
    """What comparisons are made from. `server` has started, or says why it could not."""

    folder: Path
    sizes: Sizes
    server: Server
    peers: Peers

    @property
    def objects(self) -> Path:
        """The folder that the server serves: bucket `bench`."""
        return self.folder / "objects" / "bench"

    @property
    def s3_environment(self) -> dict[str, str]:
        """What points a side's boto3 at the server."""
        return {"AWS_ENDPOINT_URL": self.server.url}

    def path(self, key: str) -> str:
        """An object as a file."""
        return str(self.objects / key)

    def bytes_of(self, key: str) -> int:
        """An object's size; 0 while it is not there."""
        path = self.objects / key
        return path.stat().st_size if path.exists() else 0

    def gib(self, key: str) -> float:
        """An object's size in GiB."""
        return self.bytes_of(key) / GIB

    def lacks(self, *, server: bool = False, peers: bool = False, tools: tuple[str, ...] = ()) -> str | None:
        """Why a side that needs these cannot run; None when it can."""
        if server and self.server.problem is not None:
            return self.server.problem
        if peers and self.peers.problem is not None:
            return self.peers.problem
        missing = next((tool for tool in tools if shutil.which(tool) is None), None)
        return f"{missing} is not installed" if missing is not None else None


def program(name: str) -> tuple[str, ...]:
    """Our interpreter and one of `benchmarks/programs`."""
    return sys.executable, "-m", f"benchmarks.programs.{name}"


def job(pipeline: str, *inputs: str, workers: int = WORKERS, range_bytes: int | None = None) -> tuple[str, ...]:
    """`rangemill run` of one of `benchmarks/pipelines`."""
    ranges = () if range_bytes is None else ("--range-bytes", str(range_bytes))
    document = str(HERE / "pipelines" / f"{pipeline}.yaml")
    command = (sys.executable, "-m", "rangemill_cli", "run", document, *inputs)
    return (*command, "--workers", str(workers), *ranges, "--out", "{out}/job", "--json")
