"""One job from request to published result on this machine: store, workers and driver put together."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rangemill import pages, report
from rangemill.gateways import Gateways
from rangemill.limits import HISTORY_BUDGET_EVENTS
from rangemill.messages import JobRequest, JobRow, Totals, WaveRow
from rangemill.plan import Defaults
from rangemill_cli.documents import importable
from rangemill_cli.inprocess import cache
from rangemill_cli.inprocess.code import identity_of
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.folder import FolderStore
from rangemill_cli.inprocess.inputs import Inputs
from rangemill_cli.inprocess.memory import MemoryExecutions, MemoryJobs, NoNotices, utc_now
from rangemill_cli.inprocess.workers import WorkerPool, Workplace
from rangemill_cli.show import Progress

_CLOCK_SECONDS: Final = 2.0  # a file system's clock may be behind
_WAVE_SECONDS: Final = 0.5  # what a wave costs by itself, here where workers are at hand


@dataclass(frozen=True, slots=True)
class Place:
    """The job's folders: for its documents, for its result, and where the pipeline's modules lie."""

    work: Path
    out: Path
    pipeline_folder: Path


class OwnMachine(MemoryJobs):
    """The job table of a run on one's own machine, which costs nothing."""

    def commit(
        self,
        job_id: str,
        generation: int,
        wave: WaveRow,
        pointer: str,
        totals: Totals,
        cost_usd: float,
        *,
        leased_until: str | None = None,
        own_workers: int | None = None,
        wants: int | None = None,
    ) -> JobRow:
        """See `MemoryJobs`."""
        bounds = {"own_workers": own_workers, "wants": wants}
        free = cost_usd * 0
        return super().commit(job_id, generation, wave, pointer, totals, free, leased_until=leased_until, **bounds)


@dataclass(frozen=True, slots=True)
class Done:
    """The row as the job ended, all outputs (empty unless it succeeded), what Plan warned of and what it chose."""

    row: JobRow
    outputs: list[str]
    warnings: list[str]
    choices: list[str]

    @property
    def document(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        row = self.row
        return row.result if row.result is not None else report.outline(row, row.totals, row.ended)


def run(request: JobRequest, place: Place, pool: WorkerPool, range_bytes: int, progress: Progress) -> Done:
    """Carry the job to its end and publish what it made; without workers in `pool`, in this process.

    `range_bytes` is for a request that names none.

    Raises `AccessRefused` when the result cannot be written to its folder.
    """
    started = time.time() - _CLOCK_SECONDS
    store = FolderStore(place.work, place.out, request.job_id)
    gateways = Gateways(OwnMachine(), store, Inputs(), MemoryExecutions(), NoNotices(), utc_now)
    identity = identity_of(place.pipeline_folder)
    folders = (str(place.work), str(place.out), str(place.pipeline_folder), str(store.index))
    pool.furnish(Workplace(folders[0], folders[1], request.job_id, folders[2], identity, folders[3]), progress.read)
    overlaps = (os.process_cpu_count() or 1) > 1
    defaults = Defaults(range_bytes, max(1, pool.size), HISTORY_BUDGET_EVENTS, _WAVE_SECONDS, overlaps)
    with importable(place.pipeline_folder):
        apply_wave = pool if pool.size else in_this_process(gateways, identity)
        row = run_job(request, gateways, apply_wave, identity, defaults=defaults, watch=progress.row)
    kept = cache.folder()
    if cache.has_grown(kept, started):
        cache.prune(kept)
    planned = row.pointer is not None
    plan = pages.plan(store, request.job_id) if planned else None
    way = plan.gzip if plan is not None else None
    choices = [f"{way.object}: {way.why}"] if way is not None else []
    outputs = store.publish() if row.status == "SUCCEEDED" else []
    return Done(row, outputs, plan.warnings if plan is not None else [], choices)
