"""The job's report: all that the row, the history and the ledger know, over all generations, in one document.

`docs/report.md` documents its fields.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from rangemill import keys, messages, pages, redo
from rangemill.gateways import Gateways, Jobs
from rangemill.limits import REPORT_MAX_OBJECTS, REPORT_MAX_REJECT_FILES
from rangemill.messages import Checkpoint, ClosedObject, JobRow, Plan, Totals, WaveRow


def seconds_between(start: str | None, end: str | None) -> float:
    """Seconds between two moments of the job row; 0 where one is missing."""
    if start is None or end is None:
        return 0.0
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)


def proof(checkpoint: Checkpoint, plan: Plan) -> dict[str, Any]:
    """The proof of a complete checkpoint. `matched` is null when S3 kept no checksum of some object."""
    names = checkpoint.crc_names
    return {
        "complete": True,
        "level": plan.level or plan.settled.level,
        "checksum": "+".join(names) if names else "CRC64NVME",
        "matched": True if checkpoint.totals.unmatched_objects == 0 else None,
    }


def outline(row: JobRow, totals: Totals, ended: str | None) -> dict[str, Any]:
    """What `--json` shows of any job, ended or not."""
    return {
        "job_id": row.job_id,
        "pipeline": row.pipeline,
        "status": row.status,
        "objects": row.objects,
        "ranges": totals.ranges,
        "slots": totals.slots,
        "waves": totals.waves,
        "generations": row.generation + 1,
        "records": totals.records,
        "rejects": totals.rejects,
        "bytes": totals.bytes,
        "seconds": seconds_between(row.started, ended),
        "cost_usd": round(row.cost_usd, 6),
        "proof": {"complete": False, "level": "bytes", "checksum": None, "matched": None},
        "output": [],
        "report": None,
        "error": row.error,
        **({"rest_reason": row.rest_reason} if row.rest_reason else {}),
    }


def summary(
    row: JobRow, plan: Plan, checkpoint: Checkpoint, jobs: Jobs, ended: str, output: list[str]
) -> dict[str, Any]:
    """What `--json` shows of a job that succeeded."""
    generations = sum(1 for _ in jobs.generations(row.job_id))
    return {
        **outline(row, checkpoint.totals, ended),
        "status": "SUCCEEDED",
        "objects": plan.objects,
        "generations": max(generations, 1),
        "proof": proof(checkpoint, plan),
        "output": output,
        "error": None,
    }


def full(
    summary_: dict[str, Any], row: JobRow, plan: Plan, checkpoint: Checkpoint, gateways: Gateways
) -> dict[str, Any]:
    """`report.json`."""
    all_waves = list(gateways.jobs.waves(row.job_id))
    waves = [wave for wave in all_waves if wave.wave > row.restarted_after_wave]
    rejecting = [w for w in waves if w.rejects_key is not None and w.wave > row.rejects_after_wave]
    objects = [msgspec.to_builtins(o) for o in islice(_closed_objects(waves, gateways), REPORT_MAX_OBJECTS)]
    for entry in objects:
        entry["crc"] = f"{entry['crc']:x}"
    return {
        "v": 1,
        **summary_,
        "created": row.created,
        "started": row.started,
        "origin": row.origin,
        "pipeline_document": plan.pipeline_text,
        "code": msgspec.to_builtins(plan.code),
        "settled": msgspec.to_builtins(plan.settled),
        "warnings": plan.warnings,
        "gzip": None if plan.gzip is None else msgspec.to_builtins(plan.gzip),
        "range_bytes": plan.range_bytes,
        "concurrency": row.concurrency or plan.concurrency,
        "history_budget_events": plan.history_budget_events,
        "totals": msgspec.to_builtins(checkpoint.totals),
        "promises": {
            "exact": "integers, decimals, min/max, counts and text are the same whatever fails, splits or repeats",
            "floating_sums_relative": 1e-9,
        },
        "redrives": row.redrives,
        "generation_history": list(_generations(row, gateways)),
        "wave_history": [_of_wave(wave) for wave in waves],
        "given_up_waves": [_of_wave(wave) for wave in all_waves if wave.wave <= row.restarted_after_wave],
        "reject_groups": [msgspec.to_builtins(group) for group in checkpoint.reject_groups],
        "reject_files": list(islice(_reject_files(rejecting, gateways), REPORT_MAX_REJECT_FILES)),
        "reject_lists": [gateways.store.uri(w.rejects_key) for w in rejecting if w.rejects_key is not None],
        "proved_objects": objects,
        "proved_objects_omitted": max(0, plan.objects - len(objects)),
        "ledger": [gateways.store.uri(w.closed_key) for w in waves if w.closed_key is not None],
    }


def _of_wave(wave: WaveRow) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(wave).items() if not name.endswith("_key")}


def _generations(row: JobRow, gateways: Gateways) -> Iterator[dict[str, Any]]:
    """Each generation with the code that it ran; how it ended where people took the job up after it."""
    codes: dict[int, Any] = {}
    for generation in gateways.jobs.generations(row.job_id):
        number = generation.plan_number
        if number not in codes:
            body = gateways.store.get(keys.plan(row.job_id, number))  # none where planning failed and was repeated
            plan = None if body is None else messages.decode(body, Plan, "a plan of the job")
            codes[number] = None if plan is None else msgspec.to_builtins(plan.code)
        yield {**msgspec.to_builtins(generation), "plan_number": number, "code": codes[number]}


def _reject_files(waves: list[WaveRow], gateways: Gateways) -> Iterator[str]:
    for wave in waves:
        if wave.rejects_key is not None:
            files = redo.reject_files(pages.required(gateways.store, wave.rejects_key))
            yield from (gateways.store.uri(file.key) for file in files)


def _closed_objects(waves: list[WaveRow], gateways: Gateways) -> Iterator[ClosedObject]:
    for wave in waves:
        if wave.closed_key is not None:
            body = pages.required(gateways.store, wave.closed_key)
            yield from msgspec.json.decode(body, type=list[ClosedObject])
