"""Admission: objects become jobs once, batches close, missed objects are found. Starting them is `admit`'s."""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from rangemill import keys, messages, pages
from rangemill.catalog import Catalog, Entry
from rangemill.errors import BadPipeline
from rangemill.gateways import Gateways, Head
from rangemill.limits import JOB_TOKEN_CHARS
from rangemill.messages import JobRequest, JobRow, Member, ObjectRef, now_text
from rangemill.pipeline import Batch, Pipeline
from rangemill.sharing import wants_of_request

_LATER_MEMBERS: Final = 1_000

IngestVerdict = Literal["created", "duplicate", "member", "unmatched", "own", "folder", "gone", "unknown-bucket"]


def token_of(*parts: str) -> str:
    """A short name for an identity: lower-case base32, `JOB_TOKEN_CHARS` long."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().lower()[:JOB_TOKEN_CHARS]


def identity_token(pipeline: str, head: Head) -> str:
    """The identity of an object for a pipeline: its version id, or where there is none ETag and LastModified."""
    ref = head.ref
    version = ref.version_id or f"{ref.etag}:{now_text(head.last_modified)}"
    return token_of(pipeline, ref.bucket, ref.key, version)


def new_job_id(pipeline: str) -> str:
    """A job id that nobody else has; it sorts by time within a pipeline."""
    moment = f"{int(time.time() * 1000):011x}"
    return f"{pipeline}-{moment}{secrets.token_hex(8)}"[: len(pipeline) + 1 + JOB_TOKEN_CHARS]


def create_job(request: JobRequest, gateways: Gateways) -> bool:
    """Write the request, then the row that guards it; False when the row is there. The job then waits for `admit`."""
    gateways.store.put_once(keys.request(request.job_id), messages.encode(request))
    row = JobRow(
        request.job_id,
        request.pipeline_name,
        "WAITING",
        now_text(gateways.clock()),
        request.origin,
        own_workers=request.concurrency,
        wants=wants_of_request(request, _pipeline(request)),
    )
    return gateways.jobs.create(row)


def _pipeline(request: JobRequest) -> Pipeline | None:
    """The request's own document; None where it has none or a wrong one, which Plan will tell of."""
    try:
        return pages.pipeline(request.pipeline_text, request.pipeline_file) if request.pipeline_text else None
    except BadPipeline:
        return None


# --- ingest ----------------------------------------------------------------------------------------------------------


def ingest(
    ref: ObjectRef, catalog: Catalog, gateways: Gateways, input_buckets: Iterable[str]
) -> dict[str, IngestVerdict]:
    """What an uploaded object came to: pipeline name -> verdict (`""` where no pipeline is concerned).

    Raises `Transient`, `AccessRefused`: the event then goes back to the queue.
    """
    if ref.bucket == gateways.store.bucket:
        return {"": "own"}
    if ref.bucket not in input_buckets:
        return {"": "unknown-bucket"}
    if ref.key.endswith("/") and not ref.size_bytes:
        return {"": "folder"}
    entries = catalog.matching(ref.bucket, ref.key)
    if not entries:
        return {"": "unmatched"}
    head = gateways.objects.head(ref.bucket, ref.key, ref.version_id)
    if head is None:
        return {entry.pipeline.name: "gone" for entry in entries}
    return {entry.pipeline.name: take(entry, head, gateways, "event") for entry in entries}


def take(entry: Entry, head: Head, gateways: Gateways, origin: Literal["event", "sweep"]) -> IngestVerdict:
    """Make a job of an object, or a member of the open batch, unless it was taken before."""
    pipeline = entry.pipeline
    token = identity_token(pipeline.name, head)
    if pipeline.trigger.batch is not None:
        added = gateways.jobs.add_member(pipeline.name, Member(token, now_text(gateways.clock()), head.ref))
        return "member" if added else "duplicate"
    request = JobRequest(f"{pipeline.name}-{token}", pipeline.name, entry.text, entry.file, origin, [head.ref])
    return "created" if create_job(request, gateways) else "duplicate"


# --- batches ---------------------------------------------------------------------------------------------------------


def note_active(catalog: Catalog, gateways: Gateways) -> None:
    """Keep since when each pipeline is deployed: sweeps take up what was uploaded after that."""
    for name in catalog.entries:
        gateways.jobs.first_active(name, now_text(gateways.clock()))


def close_due_batches(entry: Entry, gateways: Gateways) -> list[str]:
    """Close the pipeline's open batch as often as it is full or due; the ids of the jobs that this made.

    The request, put once, decides which members a batch has; exactly those leave the open batch. Dying anywhere in
    between is made good by the next run, which finds the mark. Members are read under the mark only: when it can be
    set, all members of the batch before have left, even if two runs are here at once. A run that finds nothing due any
    more puts a request without objects, which makes no job.
    """
    pipeline = entry.pipeline
    batch = pipeline.trigger.batch
    if batch is None:
        return []
    closed: list[str] = []
    while True:
        job_id = gateways.jobs.closing(pipeline.name)
        if job_id is None:
            if not _due(batch, pipeline.name, gateways):
                return closed
            job_id = gateways.jobs.close_batch(pipeline.name, new_job_id(pipeline.name))
        if gateways.store.get(keys.request(job_id)) is None:
            refs = _newest([member.ref for member in _due(batch, pipeline.name, gateways)])
            request = JobRequest(job_id, pipeline.name, entry.text, entry.file, "batch", refs)
            gateways.store.put_once(keys.request(job_id), messages.encode(request))
        request = pages.request(gateways.store, job_id)
        if request.objects:
            create_job(request, gateways)
            closed.append(job_id)
        gateways.jobs.batch_closed(pipeline.name, job_id, _leaving(pipeline.name, request.objects, gateways))


def _due(batch: Batch, pipeline: str, gateways: Gateways) -> list[Member]:
    members = gateways.jobs.members(pipeline, batch.max_objects)
    return members_due(members, batch.max_objects, batch.bound_bytes, batch.wait_seconds, gateways.clock())


def _newest(refs: list[ObjectRef]) -> list[ObjectRef]:
    """Without those that were overwritten while they waited: only the newest of them can still be read."""
    newest = {(ref.bucket, ref.key, ref.version_id): position for position, ref in enumerate(refs)}
    return [refs[position] for position in sorted(newest.values())]


def _leaving(pipeline: str, chosen: list[ObjectRef], gateways: Gateways) -> list[Member]:
    """The members of the open batch that a closed one holds, and those that one of these replaced."""
    most = len(chosen) + _LATER_MEMBERS
    members = gateways.jobs.members(pipeline, most)
    wanted = {_ref_identity(ref) for ref in chosen}
    while len(members) == most and wanted - {_ref_identity(member.ref) for member in members}:
        most *= 2  # some lie behind what has arrived since, or were taken out by a run that died
        members = gateways.jobs.members(pipeline, most)
    leaving: list[Member] = []
    places: set[tuple[str, str, str | None]] = set()
    for member in reversed(members):
        place = (member.ref.bucket, member.ref.key, member.ref.version_id)
        if _ref_identity(member.ref) in wanted or place in places:
            leaving.append(member)
            places.add(place)
    return leaving[::-1]


def _ref_identity(ref: ObjectRef) -> tuple[str, str, str | None, str | None]:
    return ref.bucket, ref.key, ref.version_id, ref.etag


def members_due(
    members: list[Member], max_objects: int, max_bytes: int, wait_seconds: int, now: datetime
) -> list[Member]:
    """The members that make the next batch, or none while it is neither full nor due."""
    chosen: list[Member] = []
    size = 0
    for member in members:
        size += member.ref.size_bytes or 0
        if chosen and size > max_bytes:
            return chosen
        chosen.append(member)
        if len(chosen) >= max_objects or size >= max_bytes:
            return chosen
    if chosen and now - datetime.fromisoformat(chosen[0].arrived) >= timedelta(seconds=wait_seconds):
        return chosen
    return []


# --- sweep -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SweepBounds:
    """How far back a sweep looks, how much it starts, and when it must leave the rest to the next run."""

    look_back_seconds: int
    max_starts: int
    is_time_up: Callable[[], bool] = lambda: False


def sweep(catalog: Catalog, gateways: Gateways, input_buckets: list[str], bounds: SweepBounds) -> dict[str, int]:
    """Take objects that no event brought: pipeline name -> how many. Goes on in the next run where this one stops.

    Raises `AccessRefused`, `Transient`.
    """
    found: dict[str, int] = {}
    for entry in catalog.entries.values():
        match = entry.pipeline.match
        if match is None:
            continue
        active_since = gateways.jobs.first_active(entry.pipeline.name, now_text(gateways.clock()))
        oldest = max(
            datetime.fromisoformat(active_since), gateways.clock() - timedelta(seconds=bounds.look_back_seconds)
        )
        for bucket in input_buckets:
            if match.bucket in (None, bucket):
                left = bounds.max_starts - sum(found.values())
                taken = _sweep_bucket(entry, bucket, oldest, gateways, left, bounds.is_time_up)
                found[entry.pipeline.name] = found.get(entry.pipeline.name, 0) + taken
    return found


def _sweep_bucket(
    entry: Entry, bucket: str, oldest: datetime, gateways: Gateways, most: int, is_time_up: Callable[[], bool]
) -> int:
    match = entry.pipeline.match
    if match is None or most <= 0 or bucket == gateways.store.bucket:
        return 0
    name = f"sweep#{entry.pipeline.name}#{bucket}"
    after = gateways.jobs.bookmark(name)
    taken = 0
    while not is_time_up():
        listing = gateways.objects.list_page(bucket, match.prefix, after)
        for ref, last_modified in listing.objects:
            if last_modified.astimezone(UTC) < oldest or not match.covers(bucket, ref.key):
                continue
            if ref.key.endswith("/") and not ref.size_bytes:
                continue
            head = gateways.objects.head(bucket, ref.key, None)
            if head is None or gateways.jobs.is_taken(entry.pipeline.name, identity_token(entry.pipeline.name, head)):
                continue
            taken += take(entry, head, gateways, "sweep") in ("created", "member")
            if taken >= most:
                gateways.jobs.keep_bookmark(name, ref.key)
                return taken
        after = listing.after
        gateways.jobs.keep_bookmark(name, after)  # after every page: a run that is cut short must not begin again
        if after is None:
            break
    return taken
