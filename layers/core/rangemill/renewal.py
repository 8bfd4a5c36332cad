"""Renewal: the plan of a redrive with the code, and the pipeline document, that are there by then."""

import msgspec

from rangemill import documents, keys, messages, pages
from rangemill.gateways import Store
from rangemill.ledger import Segment
from rangemill.messages import Checkpoint, CodeIdentity, JobRequest, JobRow, PipelineDocument, Plan
from rangemill.pipeline import Pipeline


def document_for(row: JobRow, request: JobRequest, store: Store) -> PipelineDocument:
    """The document that a job goes on with: the one that its newest redrive named, or that is deployed by then.

    A job that was submitted with a document of its own keeps it, and so does one whose pipeline is deployed no more.
    """
    own = PipelineDocument(request.pipeline_text, request.pipeline_file)
    if not row.plan_number:
        return own
    if row.document is not None:
        document = messages.decode(pages.required(store, row.document), PipelineDocument, row.document)
    elif request.origin in ("submit", "run") and request.pipeline_text:
        return own
    else:
        from rangemill import catalog  # noqa: PLC0415 - reading a whole catalog is not free

        entry = catalog.deployed().entries.get(row.pipeline)
        document = own if entry is None else PipelineDocument(entry.text, entry.file)
    if own.text and store.get(keys.plan_page(row.job_id, 0)) is not None:
        _require_same_format(pages.pipeline(own.text, own.file), document)
    return document


def renew(row: JobRow, store: Store, code: CodeIdentity) -> None:
    """Put the plan of the row's redrive, unless it is there. Raises `BadPipeline` for a document that cannot go on."""
    key = keys.plan(row.job_id, row.plan_number)
    if store.get(key) is not None or row.pointer is None:
        return
    before = pages.newest_plan(store, row.job_id, row.plan_number)
    document = document_for(row, pages.request(store, row.job_id), store)
    plan = msgspec.structs.replace(before, code=code)
    if document.text and document.text != before.pipeline_text:
        warnings = require_fit(before, document, pages.checkpoint(store, row.pointer))
        plan = msgspec.structs.replace(
            plan,
            pipeline_text=document.text,
            pipeline_file=document.file,
            warnings=[*before.warnings, *(warning for warning in warnings if warning not in before.warnings)],
        )
    store.put_once(key, messages.encode(plan))


def require_fit(before: Plan, document: PipelineDocument, checkpoint: Checkpoint) -> list[str]:
    """Warnings of a document that a planned job is to go on with.

    Raises `BadPipeline`, with its line, where it does not go together with the ranges that were planned or with what
    was made of some of them already, and `BadStatement` for SQL that does not bind.
    """
    # Imported here: no generation but the one that renews a plan needs an engine.
    from rangemill.engines import check_pipeline  # noqa: PLC0415

    old, new = pages.pipeline_of(before), pages.pipeline(document.text, document.file)
    _require_same_format(old, document)
    field, problem = _difference(old, new, before, checkpoint)
    if field:
        raise documents.parse_yaml(document.text, document.file).problem(field, problem)
    return check_pipeline(new, before.settled if before.bytes else None)


def require_name(name: str, document: PipelineDocument) -> None:
    """Raise `BadPipeline` for a document of another pipeline."""
    if pages.pipeline(document.text, document.file).name != name:
        raise documents.parse_yaml(document.text, document.file).problem("name", f"the job is one of {name}")


def _require_same_format(old: Pipeline, document: PipelineDocument) -> None:
    require_name(old.name, document)
    new = pages.pipeline(document.text, document.file)
    if old.format != new.format:
        problem = "a job's objects are pinned and cut for the format that it began with; submit them again for another"
        raise documents.parse_yaml(document.text, document.file).problem("format", problem)


def _difference(old: Pipeline, new: Pipeline, plan: Plan, checkpoint: Checkpoint) -> tuple[str, str]:
    """The field that does not go together with what was made already and why; empty where all may be as it is."""
    if not _is_begun(checkpoint):
        return "", ""
    if old.is_sql != new.is_sql or old.is_folded != new.is_folded:
        what = "partials" if old.is_folded else "output parts"
        return "apply", f"there are {what} of another kind already; redrive with `--code restart`"
    if not old.is_folded and old.output != new.output:
        return "output", "output parts were written already; redrive with `--code restart`"
    if old.is_sql and plan.settled.columns is not None:
        from rangemill.engines import sql  # noqa: PLC0415

        was, is_now = (_columns(sql.bind(pipeline, plan.settled).partial) for pipeline in (old, new))
        if was != is_now:
            problem = f"what was made already has the columns {was}, not {is_now}; redrive with `--code restart`"
            return "apply.sql", problem
    return "", ""


def _is_begun(checkpoint: Checkpoint) -> bool:
    done: list[Segment] = [segment for entry in checkpoint.open_objects for segment in entry.segments]
    return bool(done or checkpoint.closed or checkpoint.levels or checkpoint.pending)


def _columns(partial: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in partial)
