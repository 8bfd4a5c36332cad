"""Where things lie in the work bucket (design section 7). No other module builds a key."""

import hashlib


def spread(job_id: str, *parts: object) -> str:
    """Two characters that spread a job's scratch over S3's partitions."""
    return hashlib.sha256("/".join(map(str, (job_id, *parts))).encode()).hexdigest()[:2]


def job_root(job_id: str) -> str:
    """Everything that is kept until some days after the job's end."""
    return f"jobs/{job_id}/"


def request(job_id: str) -> str:
    """What was asked."""
    return f"jobs/{job_id}/request.json"


def plan(job_id: str, number: int = 0) -> str:
    """The settled plan; by its number the one that a redrive renewed."""
    return f"jobs/{job_id}/plan/plan{_of_redrive(number)}.json"


def pipeline_document(job_id: str, attempt: str) -> str:
    """A pipeline document that a redrive named; it counts if the row points at it."""
    return f"jobs/{job_id}/plan/pipeline-{attempt}.json"


def plan_page(job_id: str, page: int) -> str:
    """A page of pinned objects."""
    return f"jobs/{job_id}/plan/objects-{page:06d}.json"


def checkpoint(job_id: str, wave: int, attempt: str) -> str:
    """A checkpoint; it counts only if the row points at it."""
    return f"jobs/{job_id}/checkpoints/{wave:08d}-{attempt}.json"


def aggregate(job_id: str, level: int, wave: int, attempt: str) -> str:
    """A folded partial. Under `jobs/`, not `scratch/`: a paused job keeps it for as long as it rests."""
    return f"jobs/{job_id}/aggregates/{level}-{wave:08d}-{attempt}"


def closed_objects(job_id: str, wave: int, attempt: str) -> str:
    """The objects that a wave proved."""
    return f"jobs/{job_id}/ledger/{wave:08d}-{attempt}.json"


def parts(job_id: str, wave: int, attempt: str) -> str:
    """The output parts that a wave committed."""
    return f"jobs/{job_id}/parts/{wave:08d}-{attempt}.json"


def rejects_root(job_id: str) -> str:
    """Where all rejected records lie; which of the files count the report says."""
    return f"jobs/{job_id}/rejects/"


def rejects(job_id: str, wave_number: int, slot: int, attempt: str) -> str:
    """The records that one worker rejected; they count only if its outcome names them, and that counts."""
    return f"{rejects_root(job_id)}w{wave_number:06d}-s{slot:05d}-{attempt}.jsonl"


def rejects_list(job_id: str, wave: int, attempt: str) -> str:
    """The keys of the rejects that a wave committed."""
    return f"jobs/{job_id}/ledger/rejects-{wave:08d}-{attempt}.json"


def redo(job_id: str, number: int, page: int) -> str:
    """A page of the lists that name the rejects which the redrive of that number hands out again."""
    return f"jobs/{job_id}/redo/{number}-{page:06d}.json"


def _of_redrive(number: int) -> str:
    return f"-r{number}" if number else ""


def wave(job_id: str, wave_number: int, redrives: int = 0) -> str:
    """The wave document, put once: what the Map reads."""
    root = f"scratch/{spread(job_id, wave_number)}/{job_id}/waves"
    return f"{root}/{wave_number:08d}{_of_redrive(redrives)}.json"


def slots(job_id: str, wave_number: int, attempt: str) -> str:
    """The slots of a wave, one document after the other; items name their bytes in it."""
    return f"scratch/{spread(job_id, wave_number)}/{job_id}/waves/{wave_number:08d}-{attempt}/slots"


def handout(slots_key: str) -> str:
    """What Fetch decided beside the slots that lie at `slots_key`."""
    return slots_key.removesuffix("slots") + "handout"


def outcome(job_id: str, wave_number: int, slot: int, redrives: int = 0) -> str:
    """A slot's outcome: the first writer wins."""
    root = f"scratch/{spread(job_id, wave_number, slot)}/{job_id}/outcomes"
    return f"{root}/{wave_number:08d}{_of_redrive(redrives)}/{slot:06d}"


def verdict(job_id: str, wave_number: int, slot: int, redrives: int = 0) -> str:
    """How a slot ended without an outcome."""
    root = f"scratch/{spread(job_id, wave_number, slot)}/{job_id}/verdicts"
    return f"{root}/{wave_number:08d}{_of_redrive(redrives)}/{slot:06d}"


def results(pipeline: str, job_id: str) -> str:
    """The default place of a job's output, with its final slash."""
    return f"results/{pipeline}/{job_id}/"


def gzip_directory(identity: str) -> str:
    """Says that a gzip object's index is complete, written last. It expires before what it speaks of."""
    return f"index/directories/{identity}"


def gzip_progress(identity: str) -> str:
    """How far the index of a gzip object goes that no job has read to its end."""
    return f"index/directories/{identity}-progress"


def gzip_page(identity: str, number: int) -> str:
    """A page of a gzip object's index: the restart points that begin in one stretch of its stored bytes."""
    return f"index/points/{identity}/pages/{number:08d}"


def gzip_point(identity: str, stored: int) -> str:
    """The restart point at that stored byte of a gzip object."""
    return f"index/points/{identity}/{stored:016d}"


def gzip_so_far(identity: str, stored: int) -> str:
    """What the worker needs that goes on from there with a pass over a gzip object."""
    return f"index/points/{identity}/{stored:016d}-so-far"
