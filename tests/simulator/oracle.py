"""What must be true: the direct answer to compare results with, and what holds at every moment and at the end."""

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from tests.simulator.s3 import Version
from tests.simulator.world import Violation, World

from rangemill import errors
from rangemill.aws.items import from_item
from rangemill.limits import CONTEXT_MAX_BYTES
from rangemill.messages import JobRow

_NO_REDRIVE_HELPS: Final = ("ObjectChanged", "ObjectMissing")


def rows(world: World) -> list[JobRow]:
    """All jobs as the table has them, whatever its index shows."""
    return [from_item(item, JobRow) for (_, sk), item in sorted(world.table.items.items()) if sk == "JOB"]


def row(world: World, job_id: str) -> JobRow:
    """A job's row."""
    return next(found for found in rows(world) if found.job_id == job_id)


def document(world: World, key: str) -> Any:
    """A JSON document of the work bucket; None where there is none."""
    version = world.buckets.newest("work", key)
    return None if version is None else json.loads(version.body or b"")


def root(job: JobRow) -> str:
    """Where the job's result lies."""
    return f"results/{job.pipeline}/{job.job_id}/"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A published result beside the direct answer: bytes that are missing, or there once too often."""

    lost_bytes: int
    doubled_bytes: int
    is_proved: bool

    @property
    def is_exact(self) -> bool:
        """Whether it is the direct answer, proved."""
        return self.is_proved and not self.lost_bytes and not self.doubled_bytes


def outcome_of(world: World, job_id: str) -> Outcome:
    """The job's published result, read as a reader would: by its manifest. Raises `Violation` when it is not whole."""
    job = row(world, job_id)
    manifest = document(world, f"{root(job)}_manifest.json")
    if manifest is None:
        raise Violation(f"{job_id} has published nothing")
    published: Counter[str] = Counter()
    for uri in manifest["output"]:
        body = world.buckets.newest("work", uri.removeprefix("s3://work/"))
        if body is None:
            raise Violation(f"the manifest of {job_id} names {uri}, which is not there")
        for line in (body.body or b"").splitlines():
            entry = json.loads(line)
            published[entry["line"]] += entry["count"]
    expected, rejectable = expected_of(world, job)
    required = Counter({text: n for text, n in expected.items() if text not in rejectable})
    allowed = expected if world.mended else required
    return Outcome(_bytes(required - published), _bytes(published - allowed), bool(manifest["proof"]["complete"]))


def _bytes(counts: Counter[str]) -> int:
    return sum((len(text.encode()) + 1) * count for text, count in counts.items())


def pinned(world: World, job: JobRow) -> list[dict[str, Any]]:
    """What the job pinned."""
    found: list[dict[str, Any]] = []
    page = 0
    while (made := document(world, f"jobs/{job.job_id}/plan/objects-{page:06d}.json")) is not None:
        found += made["objects"]
        page += 1
    return found


def expected_of(world: World, job: JobRow) -> tuple[Counter[str], set[str]]:
    """The direct answer: what the job's pinned objects hold, and which of it their code may reject."""
    counts: Counter[str] = Counter()
    for pin in pinned(world, job):
        body = world.buckets.written[pin["bucket"], pin["key"], pin["etag"]]
        if job.pipeline == "rows":
            counts.update("|".join(record) for record in csv.reader(io.StringIO(body.decode(), newline="")))
        else:
            counts.update(line for line in body.decode().split("\n") if line)
    return counts, {text for text in counts if text.startswith(("boom", "die"))}


def always(world: World) -> None:
    """What holds at every moment. Raises `Violation`."""
    for job in rows(world):
        if document(world, f"{root(job)}_manifest.json") is not None:
            if job.status in ("WAITING", "PAUSED"):
                raise Violation(f"{job.job_id} is {job.status} and has published")
            require_exact(world, job.job_id)
    _shared(world)
    if world.table.wrong:
        raise Violation(world.table.wrong[0])
    if world.buckets.overwritten:
        raise Violation(f"{world.buckets.overwritten[0]} was written again")
    for execution in world.executions.values():
        if execution.worst_payload_bytes > CONTEXT_MAX_BYTES + 512:  # a failure's cause travels with it
            raise Violation(f"{execution.worst_payload_bytes} bytes passed between the states of {execution.name}")


def _shared(world: World) -> None:
    """The limits that jobs share. Not counted: who was started by hand, and the one worker of who woke up too late."""
    holding = 0
    running = 0
    for job in rows(world):
        if job.status != "RUNNING" or job.job_id in world.by_hand:
            continue
        if job.grant is None:
            world.by_hand.add(job.job_id)
        elif job.grant > 0 and job.leased_until is not None:
            running += 1
            most = max(job.grant, job.held or 0)
            # Whatever it was granted: it has workers for no more than it has slots left to hand out.
            holding += most if job.pointer is None or job.wants is None else min(most, job.wants)
    limits = world.environment["MAX_WORKERS"], world.environment["MAX_RUNNING_JOBS"]
    if holding > int(limits[0]) or running > int(limits[1]):
        told = [
            (j.job_id, j.generation, j.wave, j.grant, j.held, j.leased_until)
            for j in rows(world)
            if j.status == "RUNNING"
        ]
        raise Violation(
            f"{running} jobs hold {holding} workers, beyond the limits of {limits[1]} and {limits[0]}: {told}"
        )


def require_exact(world: World, job_id: str) -> None:
    """Raise `Violation` unless the published result is the direct answer."""
    outcome = outcome_of(world, job_id)
    if not outcome.is_exact:
        raise Violation(f"the result of {job_id} is not exact: {outcome}")


def at_rest(world: World) -> None:
    """What holds when nobody has anything to do any more and nothing goes wrong. Raises `Violation`."""
    always(world)
    for job in rows(world):
        if job.status in ("RUNNING", "WAITING"):
            raise Violation(f"{job.job_id} is {job.status}, and nobody carries it on: {job}")
        if job.status == "SUCCEEDED":
            require_exact(world, job.job_id)
            if job.error is not None or job.result is None or job.result["proof"]["complete"] is not True:
                raise Violation(f"{job.job_id} has succeeded with {job.error} and {job.result}")
        elif document(world, f"{root(job)}_manifest.json") is not None:
            raise Violation(f"{job.job_id} is {job.status} and has published")
        if job.status == "FAILED" and errors.error_class(str((job.error or {}).get("type"))) is None:
            raise Violation(f"{job.job_id} failed without a name: {job.error}")
        told = Counter(notice["status"] for notice in world.notices if notice["job_id"] == job.job_id)
        if told["SUCCEEDED"] > 1 or told["FAILED"] > job.redrives + 1:
            raise Violation(f"people were told of {job.job_id} {dict(told)}")


def all_done(world: World) -> None:
    """What holds after people have resumed and redriven what could be: nothing is lost. Raises `Violation`."""
    for job in rows(world):
        if job.status != "SUCCEEDED" and not cannot_succeed(job):
            raise Violation(f"{job.job_id} does not succeed: {job.status} {job.error}")
    for name in ("versioned", "plain"):
        for key in world.buckets.keys(name):
            version = world.buckets.newest(name, key)
            pipeline = key.partition("/")[0]
            if version is None or pipeline not in world.catalog.entries:
                continue
            taken = [
                job
                for job in rows(world)
                if job.pipeline == pipeline and job.origin != "submit" and _asks_for(world, job, name, key, version)
            ]
            if not taken:
                raise Violation(f"s3://{name}/{key} was never taken up")
            if len(taken) > 1 and world.buckets.buckets[name].versioned:
                raise Violation(f"s3://{name}/{key} has {len(taken)} jobs")


def _asks_for(world: World, job: JobRow, bucket: str, key: str, version: Version) -> bool:
    asked = document(world, f"jobs/{job.job_id}/request.json")["objects"]
    identity = (bucket, key, version.version_id if world.buckets.buckets[bucket].versioned else None, version.etag)
    return any((o["bucket"], o["key"], o.get("version_id"), o.get("etag")) == identity for o in asked)


def cannot_succeed(job: JobRow) -> bool:
    """Whether what the job read is gone for good."""
    return job.status == "FAILED" and (job.error or {}).get("type") in _NO_REDRIVE_HELPS
