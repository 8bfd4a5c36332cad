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
    code.require_same(plan.code, running)
    checkpoint = pages.checkpoint(gateways.store, row.pointer)
    require_proof(checkpoint, plan)
    aggregate.require_few_rejects(checkpoint, plan)
    output = _publish(row, plan, checkpoint, gateways)
    ended = now_text(gateways.clock())
    summary = report.summary(row, plan, checkpoint, gateways.jobs, ended, output)
    root = output_root(pages.pipeline_of(plan), row.job_id)
    summary["report"] = gateways.store.uri(f"{root}report.json")
    if checkpoint.totals.rejects and pages.pipeline_of(plan).rejects.on_error == "quarantine":
        summary["rejects_in"] = gateways.store.uri(keys.rejects_root(row.job_id))
    full = report.full(summary, row, plan, checkpoint, gateways)
    gateways.store.put(f"{root}report.json", _pretty(full))
    manifest = {
        "v": 1,
        **{k: summary[k] for k in ("job_id", "pipeline", "records", "bytes", "proof")},
        "output": output,
    }
    gateways.store.put(f"{root}_manifest.json", _pretty(manifest))
    if len(output) > _ROW_OUTPUTS:
        summary["output"] = [gateways.store.uri(f"{root}_manifest.json")]
    if gateways.jobs.succeed(row.job_id, context.generation, ended, summary["cost_usd"], summary):
        gateways.lambdas.wake_admit()
        gateways.notices.publish(f"Rangemill: {row.pipeline} succeeded", summary)
    return done


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


def _publish(row: JobRow, plan: Plan, checkpoint: Checkpoint, gateways: Gateways) -> list[str]:
    """Write the output; the URIs that the manifest will name."""
    pipeline, store = pages.pipeline_of(plan), gateways.store
    if not pipeline.is_folded:
        return [store.uri(key) for key in _parts(row, gateways)]
    # A job that had succeeded leaves that result as it is: readers see the old one until the manifest is replaced.
    name = f"result-{row.published}" if row.published else "result"
    key = f"{output_root(pipeline, row.job_id)}{name}.{pipeline.output.format}"
    if pipeline.is_sql and plan.settled.columns is None:  # only empty objects: there is nothing that names a column
        if pipeline.output.format == "parquet":  # which cannot be without columns
            return []
        body = b""
    else:
        total = total_partial(checkpoint, pipeline, plan, store)
        body = make_folder(pipeline, plan.settled).finish(total).body
    store.put(key, body)
    return [store.uri(key)]


def _parts(row: JobRow, gateways: Gateways) -> list[str]:
    keys_of_parts: list[str] = []
    for wave in gateways.jobs.waves(row.job_id):
        if wave.parts_key is not None and wave.wave > row.restarted_after_wave:
            keys_of_parts += msgspec.json.decode(pages.required(gateways.store, wave.parts_key), type=list[str])
    return keys_of_parts


def _pretty(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
