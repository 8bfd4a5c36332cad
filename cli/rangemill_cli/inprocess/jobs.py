"""The job table in memory, with the fences of `rangemill.aws.jobs` and `.batches`, condition by condition."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

from msgspec.structs import replace

from rangemill.errors import Superseded, UnknownJob
from rangemill.gateways import ADMIT_LOCK
from rangemill.messages import Desired, GenerationRow, JobRow, Member, Status, Totals, WaveRow

Condition = Callable[[JobRow], bool]


@dataclass
class MemoryBatches:
    """The part of `gateways.Jobs` that is not about a job's own row."""

    _lock: RLock = field(default_factory=RLock)
    _taken: set[tuple[str, str]] = field(default_factory=set)
    _open: dict[str, list[Member]] = field(default_factory=dict)
    _closing: dict[str, str] = field(default_factory=dict)
    _locks: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    _active: dict[str, str] = field(default_factory=dict)
    _bookmarks: dict[str, str] = field(default_factory=dict)

    def add_member(self, pipeline: str, member: Member) -> bool:
        """Add to the open batch; False when that object was a member of any batch before."""
        with self._lock:
            if (pipeline, member.token) in self._taken:
                return False
            self._taken.add((pipeline, member.token))
            self._open.setdefault(pipeline, []).append(member)
            return True

    def members(self, pipeline: str, most: int) -> list[Member]:
        """The open batch's members, in order of arrival."""
        with self._lock:
            return sorted(self._open.get(pipeline, []), key=lambda m: (m.arrived, m.token))[:most]

    def closing(self, pipeline: str) -> str | None:
        """The job id under which the batch is being closed, or None."""
        with self._lock:
            return self._closing.get(pipeline)

    def close_batch(self, pipeline: str, job_id: str) -> str:
        """Mark the open batch as closing under that job id; the id that was marked first."""
        with self._lock:
            return self._closing.setdefault(pipeline, job_id)

    def batch_closed(self, pipeline: str, job_id: str, members: list[Member]) -> None:
        """Take exactly these members out of the open batch, and the mark away."""
        gone = {(member.arrived, member.token) for member in members}
        with self._lock:
            kept = [m for m in self._open.get(pipeline, []) if (m.arrived, m.token) not in gone]
            self._open[pipeline] = kept
            if self._closing.get(pipeline) == job_id:
                del self._closing[pipeline]

    def lock(self, name: str, owner: str, now: datetime, seconds: int) -> bool:
        """Take a lock that expires; False while somebody else holds it."""
        with self._lock:
            held = self._locks.get(name)
            if held is not None and held[1] >= now and held[0] != owner:
                return False
            self._locks[name] = (owner, now + timedelta(seconds=seconds))
            return True

    def unlock(self, name: str, owner: str) -> None:
        """Give it back, if it is still mine."""
        with self._lock:
            held = self._locks.get(name)
            if held is not None and held[0] == owner:
                del self._locks[name]

    def first_active(self, pipeline: str, now: str) -> str:
        """When the pipeline was first seen deployed: now, or the moment that was kept."""
        with self._lock:
            return self._active.setdefault(pipeline, now)

    def bookmark(self, name: str) -> str | None:
        """Where a listing that goes on in the next run stands."""
        with self._lock:
            return self._bookmarks.get(name)

    def keep_bookmark(self, name: str, value: str | None) -> None:
        """Keep it, or forget it."""
        with self._lock:
            if value is None:
                self._bookmarks.pop(name, None)
            else:
                self._bookmarks[name] = value


@dataclass
class MemoryJobs(MemoryBatches):
    """`gateways.Jobs` in memory."""

    _rows: dict[str, JobRow] = field(default_factory=dict)
    _waves: dict[str, dict[int, WaveRow]] = field(default_factory=dict)
    _generations: dict[str, dict[int, GenerationRow]] = field(default_factory=dict)

    def create(self, row: JobRow) -> bool:
        """The guard against doing it twice: False when the row is there."""
        with self._lock:
            if row.job_id in self._rows:
                return False
            self._rows[row.job_id] = row
            return True

    def load(self, job_id: str) -> JobRow:
        """The row as it is. Raises `UnknownJob`."""
        with self._lock:
            if job_id not in self._rows:
                raise UnknownJob(f"there is no job {job_id}")
            return self._rows[job_id]

    def start(self, job_id: str, generation: int, started: str) -> bool:
        """WAITING to RUNNING; False when it was not waiting, or not for that generation."""
        changes = {"status": "RUNNING"} if generation else {"status": "RUNNING", "started": started}
        return self._update(job_id, changes, lambda row: (row.status, row.generation) == ("WAITING", generation))

    def take_generation(self, job_id: str, generation: int, execution_arn: str, started: str) -> JobRow:
        """The execution's first act: the row is this generation's from now on. Raises `Superseded`."""
        with self._lock:
            row = self.load(job_id)
            if row.generation == generation and row.execution_arn == execution_arn and row.status == "RUNNING":
                return row
            changes: dict[str, Any] = {
                "status": "RUNNING",
                "generation": generation,
                "generation_first_wave": row.generation_first_wave if row.generation == generation else row.wave,
                "execution_arn": execution_arn,
                "started": row.started if row.started is not None else started,
            }
            taken = self._update(
                job_id,
                changes,
                lambda r: r.generation in (generation, generation - 1) and r.status in ("WAITING", "RUNNING"),
            )
            if not taken:
                raise Superseded(
                    f"generation {generation} of job {job_id} comes too late: "
                    f"it is {row.status}, generation {row.generation}"
                )
            history = self._generations.setdefault(job_id, {})
            history.setdefault(generation, GenerationRow(generation, execution_arn, started, row.plan_number))
            return self.load(job_id)

    def planned(
        self,
        job_id: str,
        generation: int,
        pointer: str,
        objects: int,
        bytes_total: int,
        *,
        own_workers: int | None = None,
        wants: int | None = None,
    ) -> JobRow:
        """Point at the first checkpoint; whoever was first wins. Raises `Superseded`."""
        changes = {"pointer": pointer, "objects": objects, "bytes_total": bytes_total}
        shared = {"own_workers": own_workers, "wants": wants}
        with self._lock:
            self._update(
                job_id,
                {**changes, **{name: value for name, value in shared.items() if value is not None}},
                lambda row: _carries(row, generation) and row.pointer is None,
            )
            return self._require(job_id, generation)

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
        """The commit of a wave. Raises `Superseded`."""
        changes = {"pointer": pointer, "wave": wave.wave, "totals": totals, "cost_usd": cost_usd, "error": None}
        with self._lock:
            known = {"wants": wants, "own_workers": own_workers}
            changes |= {name: value for name, value in known.items() if value is not None}
            if leased_until is not None:
                changes |= {"leased_until": leased_until, "held": self.load(job_id).grant}
            committed = self._update(
                job_id,
                changes,
                lambda row: _carries(row, generation) and row.wave == wave.wave - 1,
            )
            if committed:
                self._waves.setdefault(job_id, {})[wave.wave] = wave
            row = self.load(job_id)
            if not _carries(row, generation) or row.wave < wave.wave:
                raise Superseded(
                    f"wave {wave.wave} of job {job_id} was not committed: another generation, or its end, came first"
                )
            if not committed and row.wave > wave.wave:
                raise Superseded(f"wave {wave.wave} of job {job_id} was committed by somebody who has gone on since")
            return row

    def lease(
        self, before: JobRow, *, owner: str, grant: int, held: int | None = None, leased_until: str | None = None
    ) -> bool:
        """Write what `admit` has decided of a row; False when the row is not as it was seen any more."""
        changes: dict[str, Any] = {"grant": grant}
        if held is not None:
            changes["held"] = held
        if leased_until is not None or held == 0:
            changes["leased_until"] = leased_until
        names = ["status", "generation", "grant", "held", *(["leased_until"] if held == 0 else [])]

        def is_as_seen(row: JobRow) -> bool:
            lock = self._locks.get(ADMIT_LOCK)
            same = all(getattr(row, name) == getattr(before, name) for name in names)
            return same and lock is not None and lock[0] == owner

        return self._update(before.job_id, changes, is_as_seen)

    def take_grant(self, job_id: str, generation: int, workers: int, leased_until: str) -> bool:
        """Hold more workers from the next wave on; False when so many are not granted any more."""
        return self._update(
            job_id,
            {"held": workers, "leased_until": leased_until},
            lambda row: (
                _carries(row, generation)
                and row.held is not None
                and row.held < workers
                and (workers == 1 or (row.grant or 0) >= workers)
            ),
        )

    def rest(
        self, job_id: str, generation: int, status: Status, reason: str, ended: str | None, desired: Desired
    ) -> bool:
        """The job rests; False when people want something else by now. Raises `Superseded`."""
        changes: dict[str, Any] = {"status": status, "rest_reason": reason}
        if ended is not None:
            changes["ended"] = ended
        with self._lock:
            if self._update(job_id, changes, lambda row: _carries(row, generation) and row.desired == desired):
                return True
            row = self.load(job_id)
            if _carries(row, generation):
                return False
            if row.generation != generation or row.status != status:
                raise Superseded(f"generation {generation} of job {job_id} is not the one that carries it")
            return True

    def publish(self, job_id: str, generation: int, moment: str, result: dict[str, Any]) -> JobRow:
        """Settle the result: from now on the job can only succeed. Whoever was first wins. Raises `Superseded`."""
        with self._lock:
            changes = {"ending": moment, "result": result}
            self._update(job_id, changes, lambda row: _carries(row, generation) and row.ending is None)
            return self._require(job_id, generation)

    def succeed(self, job_id: str, generation: int, ended: str, cost_usd: float, result: dict[str, Any]) -> bool:
        """RUNNING to SUCCEEDED; False when somebody else has done it before. Raises `Superseded`."""
        changes = {"status": "SUCCEEDED", "ended": ended, "cost_usd": cost_usd, "result": result, "error": None}
        if self._update(job_id, changes, lambda row: _carries(row, generation)):
            return True
        row = self.load(job_id)
        if row.generation != generation or row.status != "SUCCEEDED":
            raise Superseded(f"generation {generation} of job {job_id} is not the one that carries it")
        return row.ended == ended

    def fail(self, job_id: str, generation: int, ended: str, error: dict[str, Any]) -> bool:
        """RUNNING or WAITING to FAILED; False when the row is another generation's, or the job has end or result."""
        return self._update(
            job_id,
            {"status": "FAILED", "ended": ended, "error": error},
            lambda row: (
                row.generation in (generation, generation - 1)
                and row.status in ("WAITING", "RUNNING")
                and row.ending is None
            ),
        )

    def note_error(self, job_id: str, generation: int, error: dict[str, Any]) -> None:
        """Keep an error's data until the job is marked; losing the condition does nothing."""
        self._update(job_id, {"error": error}, lambda row: _carries(row, generation))

    def desire(self, job_id: str, desired: Desired) -> bool:
        """What people want of a running job; False when it does not run."""
        return self._update(job_id, {"desired": desired}, lambda row: row.status == "RUNNING")

    def adjust(self, job_id: str, changes: dict[str, Any]) -> bool:
        """Change bounds of a job that waits, runs or rests; False when it has ended."""
        return self._update(job_id, changes, lambda row: row.status in ("WAITING", "RUNNING", "PAUSED"))

    def turn(self, before: JobRow, changes: dict[str, Any], history: GenerationRow | None = None) -> bool:
        """Change a row that no execution carries; False when it is not what it was before."""
        expected = (before.status, before.generation)
        with self._lock:
            if not self._update(before.job_id, changes, lambda row: (row.status, row.generation) == expected):
                return False
            if history is not None:
                self._generations.setdefault(before.job_id, {})[history.generation] = history
            return True

    def by_status(self, status: Status, *, newest_first: bool = False) -> Iterator[JobRow]:
        """Jobs of a status, oldest first unless said otherwise."""
        with self._lock:
            found = [row for row in self._rows.values() if row.status == status]
        yield from sorted(found, key=lambda row: row.created, reverse=newest_first)

    def is_taken(self, pipeline: str, token: str) -> bool:
        """Whether a job or a batch of that pipeline has the object of that identity."""
        with self._lock:
            return f"{pipeline}-{token}" in self._rows or (pipeline, token) in self._taken

    def forget(self, job_id: str) -> None:
        """Delete the job's row and its history."""
        with self._lock:
            for kept in (self._rows, self._waves, self._generations):
                kept.pop(job_id, None)

    def waves(self, job_id: str) -> Iterator[WaveRow]:
        """A job's waves, in order."""
        with self._lock:
            history = dict(self._waves.get(job_id, {}))
        yield from (history[wave] for wave in sorted(history))

    def generations(self, job_id: str) -> Iterator[GenerationRow]:
        """A job's generations, in order."""
        with self._lock:
            history = dict(self._generations.get(job_id, {}))
        yield from (history[generation] for generation in sorted(history))

    def _require(self, job_id: str, generation: int) -> JobRow:
        row = self.load(job_id)
        if not _carries(row, generation):
            raise Superseded(f"generation {generation} of job {job_id} is not the one that carries it")
        return row

    def _update(self, job_id: str, changes: dict[str, Any], condition: Condition) -> bool:
        """A conditional write; False when its condition did not hold, or there is no such row."""
        with self._lock:
            row = self._rows.get(job_id)
            if row is None or not condition(row):
                return False
            self._rows[job_id] = replace(row, **changes)
            return True


def _carries(row: JobRow, generation: int) -> bool:
    return row.generation == generation and row.status == "RUNNING"
