"""Finish: prove completeness, run the finish step once, publish. The manifest, written last, makes it a result."""

from typing import Any, Final

import msgspec

from rangemill import aggregate, code, folding, keys, pages, report
from rangemill.engines import make_folder
from rangemill.errors import IncompleteProof, Superseded
from rangemill.gateways import Gateways, Store
from rangemill.messages import Checkpoint, CodeIdentity, Context, JobRow, Plan, StateMessage, now_text
from rangemill.parts import output_root
from rangemill.pipeline import Pipeline

_ROW_OUTPUTS: Final = 20  # output parts named in the row itself; the manifest names all


def run(message: StateMessage, gateways: Gateways, running: CodeIdentity) -> Context:
    """Publish the result and mark the job. Repeating it, or dying anywhere in it, changes nothing that readers see.

    Raises `Superseded`, `CodeChanged`, `IncompleteProof`, and what the finish step raises.
    """
    context = message.context
    row = gateways.jobs.load(context.job_id)
    done = Context(context.job_id, context.generation, "DONE", wave=row.wave)
    if row.status == "SUCCEEDED" and row.generation == context.generation:
        return done
    if row.generation != context.generation or row.status != "RUNNING" or row.pointer is None:
        raise Superseded(f"generation {context.generation} of job {context.job_id} is not the one that carries it")
    plan = pages.plan(gateways.store, context.job_id, row.plan_number)
    checkpoint = pages.checkpoint(gateways.store, row.pointer)
    if row.ending is None:
        code.require_same(plan.code, running)
        require_proof(checkpoint, plan)
        aggregate.require_few_rejects(checkpoint, plan)
        _write_output(row, plan, checkpoint, gateways)
        row = _settle(row, plan, checkpoint, gateways)
    # From here on nothing can fail the job, and all of its executions do the same.
    summary = row.result or {}
    output = _output(row, plan, gateways)
    root = output_root(pages.pipeline_of(plan), row.job_id)
    full = report.full({**summary, "output": output}, row, plan, checkpoint, gateways)
    gateways.store.put(f"{root}report.json", _pretty(full))
    manifest = {
        "v": 1,
        **{k: summary[k] for k in ("job_id", "pipeline", "records", "bytes", "proof")},
        "output": output,
    }
    gateways.store.put(f"{root}_manifest.json", _pretty(manifest))
    ended = now_text(gateways.clock())
    if gateways.jobs.succeed(row.job_id, context.generation, ended, summary["cost_usd"], summary):
        gateways.lambdas.wake_admit()
        gateways.notices.publish(f"Rangemill: {row.pipeline} succeeded", summary)
    return done


def _settle(row: JobRow, plan: Plan, checkpoint: Checkpoint, gateways: Gateways) -> JobRow:
    """The output is written: fix what the job's result is, if this generation still carries it."""
    moment = now_text(gateways.clock())
    output = _output(row, plan, gateways)
    root = output_root(pages.pipeline_of(plan), row.job_id)
    if len(output) > _ROW_OUTPUTS:
        output = [gateways.store.uri(f"{root}_manifest.json")]
    summary = report.summary(row, plan, checkpoint, gateways.jobs, moment, output)
    summary["report"] = gateways.store.uri(f"{root}report.json")
    if checkpoint.totals.rejects and pages.pipeline_of(plan).rejects.on_error == "quarantine":
        summary["rejects_in"] = gateways.store.uri(keys.rejects_root(row.job_id))
    return gateways.jobs.publish(row.job_id, row.generation, moment, summary)


def require_proof(checkpoint: Checkpoint, plan: Plan) -> None:
    """Raise `IncompleteProof` unless every object of the plan was proved, once, to its last byte."""
    problem: str | None = None
    expected = [(0, plan.objects)] if plan.objects else []
    if checkpoint.cursor.page < plan.pages:
        problem = f"the cursor stands at page {checkpoint.cursor.page} of {plan.pages}"
    elif checkpoint.retry:
        problem = f"{len(checkpoint.retry)} slots that came back were never done"
    elif checkpoint.pending:
        problem = f"{len(checkpoint.pending)} outcomes were never verified"
    elif checkpoint.indexing:
        problem = f"{checkpoint.indexing[0].pin.uri} was not handed out to its end"
    elif checkpoint.redo:
        problem = "rejects that were to be applied again were not handed out"
    elif checkpoint.open_objects:
        entry = checkpoint.open_objects[0]
        problem = f"{len(checkpoint.open_objects)} objects have holes, the first is {entry.pin.uri}"
    elif checkpoint.closed != expected:
        problem = f"objects {checkpoint.closed} of {plan.objects} are proved"
    elif checkpoint.totals.bytes != plan.bytes or checkpoint.totals.objects != plan.objects:
        problem = f"{checkpoint.totals.bytes} bytes of {plan.bytes} are proved"
    if problem:
        raise IncompleteProof(f"job {plan.job_id} is not complete: {problem}")


def total_partial(checkpoint: Checkpoint, pipeline: Pipeline, plan: Plan, store: Store) -> bytes:
    """The folded total: the levels from the oldest waves to the newest."""
    folder = make_folder(pipeline, plan.settled)
    return folding.fold_keys([key for level in reversed(checkpoint.levels) for key in level], folder, store)


def _output(row: JobRow, plan: Plan, gateways: Gateways) -> list[str]:
    """The URIs that the manifest names."""
    pipeline = pages.pipeline_of(plan)
    if not pipeline.is_folded:
        return [gateways.store.uri(key) for key in _parts(row, gateways)]
    if _has_no_columns(plan) and pipeline.output.format == "parquet":  # which cannot be without columns
        return []
    return [gateways.store.uri(_result_key(row, pipeline))]


def _write_output(row: JobRow, plan: Plan, checkpoint: Checkpoint, gateways: Gateways) -> None:
    """Run the finish step and write what it gives; parts are there already."""
    pipeline, store = pages.pipeline_of(plan), gateways.store
    if not pipeline.is_folded or not _output(row, plan, gateways):
        return
    body = b""
    if not _has_no_columns(plan):
        total = total_partial(checkpoint, pipeline, plan, store)
        body = make_folder(pipeline, plan.settled).finish(total).body
    store.put(_result_key(row, pipeline), body)


def _has_no_columns(plan: Plan) -> bool:
    """Whether there were only empty objects, and nothing names a column."""
    return pages.pipeline_of(plan).is_sql and plan.settled.columns is None


def _result_key(row: JobRow, pipeline: Pipeline) -> str:
    """Of its own for each code that the job ran: what lags behind must not write over what came after it."""
    name = f"result-r{row.plan_number}" if row.plan_number else "result"
    # A job that had succeeded leaves that result as it is: readers see the old one until the manifest is replaced.
    again = f"-{row.published}" if row.published else ""
    return f"{output_root(pipeline, row.job_id)}{name}{again}.{pipeline.output.format}"


def _parts(row: JobRow, gateways: Gateways) -> list[str]:
    keys_of_parts: list[str] = []
    for wave in gateways.jobs.waves(row.job_id):
        if wave.parts_key is not None and wave.wave > row.restarted_after_wave:
            keys_of_parts += msgspec.json.decode(pages.required(gateways.store, wave.parts_key), type=list[str])
    return keys_of_parts


def _pretty(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
