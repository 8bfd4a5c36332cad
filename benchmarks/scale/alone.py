"""One state of a job by itself, in a fresh process, over documents that lie on disk: its memory and its seconds."""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scale.gateways import MeasuredStore, PatternObjects
from benchmarks.scale.machine import Walker
from rangemill import messages
from rangemill.gateways import Gateways
from rangemill.messages import GenerationRow, JobRow, StateMessage, WaveRow
from rangemill.plan import Defaults
from rangemill_cli.inprocess.folder import FolderStore
from rangemill_cli.inprocess.jobs import MemoryJobs
from rangemill_cli.inprocess.memory import MemoryExecutions, NoNotices, utc_now

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Alone:
    """What a state took: seconds from the start of its process's work, CPU seconds, and the process's peak memory."""

    state: str
    wave: int
    seconds: float
    cpu_seconds: float
    peak_mib: float


@dataclass(kw_only=True)
class _KeptJobs(MemoryJobs):
    """A table that begins with one job and its history."""

    kept_waves: list[WaveRow]
    kept_generations: list[GenerationRow]

    def waves(self, job_id: str) -> Iterator[WaveRow]:
        """As they were kept, and what came since."""
        yield from self.kept_waves
        yield from super().waves(job_id)

    def generations(self, job_id: str) -> Iterator[GenerationRow]:
        """As they were kept."""
        yield from self.kept_generations or super().generations(job_id)


def measure(state: str, message: StateMessage, walker: Walker) -> Alone:
    """Run the state that is about to be walked in a process of its own, over a copy of the world as it is."""
    gateways, job_id = walker.gateways, message.context.job_id
    store, objects = gateways.store, gateways.objects
    if not isinstance(store, MeasuredStore) or not isinstance(objects, PatternObjects):
        raise TypeError("only the gateways of this package can be copied")
    with tempfile.TemporaryDirectory(prefix="rangemill-scale-") as folder:
        store.copy_to(FolderStore(Path(folder, "work"), Path(folder, "out"), job_id, Path(folder, "index")))
        call = {
            "state": state,
            "message": messages.encode(message).decode(),
            "row": messages.encode(gateways.jobs.load(job_id)).decode(),
            "waves": messages.encode(list(gateways.jobs.waves(job_id))).decode(),
            "generations": messages.encode(list(gateways.jobs.generations(job_id))).decode(),
            "objects": [objects.count, objects.object_bytes],
            "defaults": [
                walker.defaults.range_bytes,
                walker.defaults.concurrency,
                walker.defaults.history_budget_events,
            ],
            "events": walker.events[-1],
        }
        Path(folder, "call.json").write_text(json.dumps(call))
        command = [sys.executable, "-m", "benchmarks.scale.alone", folder]
        done = subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE)
        return Alone(state, message.context.wave, **json.loads(done.stdout))


def main(folder: Path) -> dict[str, float]:
    """The process's side."""
    began = time.monotonic()
    call: dict[str, Any] = json.loads((folder / "call.json").read_text())
    message = messages.decode(call["message"].encode(), StateMessage, "the message")
    job_id = message.context.job_id
    jobs = _KeptJobs(
        kept_waves=messages.decode(call["waves"].encode(), list[WaveRow], "the waves"),
        kept_generations=messages.decode(call["generations"].encode(), list[GenerationRow], "the generations"),
    )
    jobs.create(messages.decode(call["row"].encode(), JobRow, "the row"))
    executions = MemoryExecutions()
    executions.add_events(message.execution_arn, call["events"])
    store = FolderStore(folder / "work", folder / "out", job_id, folder / "index")
    gateways = Gateways(jobs, store, PatternObjects(*call["objects"]), executions, NoNotices(), utc_now)
    walker = Walker(gateways, Defaults(*call["defaults"]), lambda _: None)
    walker.step(call["state"], message, "alone")
    status = Path("/proc/self/status").read_text()  # getrusage would tell the peak of whoever started this process
    peak = re.search(r"VmHWM:\s*(\d+)", status)
    return {
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time(),
        "peak_mib": int(peak[1]) / 1024 if peak else 0.0,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
