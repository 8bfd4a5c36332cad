"""`rangemill submit`: a job over S3 objects, on the deployed stack."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangemill_cli.answers import INTERRUPTED, answering, print_json
from rangemill_cli.errors import CliError, UsageProblem, show_error
from rangemill_cli.options import (
    history_budget_option,
    json_option,
    pipelines_folder,
    range_bytes_option,
    stack_option,
)

if TYPE_CHECKING:
    from rangemill.catalog import Entry
    from rangemill.gateways import Gateways
    from rangemill.messages import JobRequest, JobRow
    from rangemill_cli.stack import Stack


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options."""

    pipeline: str  # of a deployed pipeline; empty where a document travels along
    pipeline_file: Path | None
    objects: tuple[str, ...]
    prefixes: tuple[str, ...]
    range_bytes: int | None
    concurrency: int | None
    history_budget: int | None
    idempotency_key: str | None
    yes: bool


@click.command()
@click.argument("arguments", metavar="[PIPELINE] [s3://bucket/key]…", nargs=-1)
@click.option(
    "--pipeline-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="F.yaml",
    help="A document that need not be deployed; Python that it names must be.",
)
@click.option(
    "--prefix", "prefixes", multiple=True, metavar="s3://…", help="All objects below it; says the cost first."
)
@range_bytes_option
@click.option("--concurrency", type=click.IntRange(1, 10_000), metavar="N", help="Workers at the same time.")
@history_budget_option
@click.option("--idempotency-key", metavar="K", help="The same key again finds the same job instead of a new one.")
@click.option("--wait", is_flag=True, help="Wait for the end; exit 0 when it succeeded, 1 when it failed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@stack_option
@json_option
def submit(
    arguments: tuple[str, ...],
    pipeline_file: Path | None,
    prefixes: tuple[str, ...],
    range_bytes: int | None,
    concurrency: int | None,
    history_budget: int | None,
    idempotency_key: str | None,
    wait: bool,
    yes: bool,
    stack: str,
    as_json: bool,
) -> None:
    """Start a job of a deployed PIPELINE, or of --pipeline-file, over S3 objects."""
    interrupted = "interrupted; what was submitted goes on, see `rangemill status`"
    with answering(as_json=as_json, interrupted=interrupted):
        name, objects = _split(arguments, pipeline_file)
        asked = Asked(
            name, pipeline_file, objects, prefixes, range_bytes, concurrency, history_budget, idempotency_key, yes
        )
        raise click.exceptions.Exit(_submit(asked, stack, wait=wait, as_json=as_json))


def _split(arguments: tuple[str, ...], pipeline_file: Path | None) -> tuple[str, tuple[str, ...]]:
    """The pipeline's name, if one is named, and the objects."""
    if pipeline_file is not None:
        for argument in arguments:
            if not argument.startswith("s3://"):
                raise UsageProblem(f"{argument} is not an S3 URI.", "--pipeline-file names the pipeline already.")
        return "", arguments
    if not arguments or arguments[0].startswith("s3://"):
        raise UsageProblem("No pipeline is named.", "Say `rangemill submit PIPELINE s3://bucket/key`.")
    return arguments[0], arguments[1:]


def _submit(asked: Asked, stack_name: str, *, wait: bool, as_json: bool) -> int:
    """The exit code."""
    from rangemill import admission, pages  # noqa: PLC0415 - `--help` needs none of this
    from rangemill_cli import jobs  # noqa: PLC0415
    from rangemill_cli import stack as stacks  # noqa: PLC0415

    entry = _document(asked)
    request = _request(asked, entry)
    stack = stacks.find(stack_name)
    gateways = stack.gateways()
    _look(asked, request, stack, gateways, as_json=as_json)
    if not admission.create_job(request, gateways):
        _require_same(request, pages.request(gateways.store, request.job_id))
        _say(f"Job {request.job_id} was submitted with this key before; it is not submitted again.")
    stack.admit()
    row = gateways.jobs.load(request.job_id)
    interrupted = False
    if wait:
        try:
            row = jobs.wait(request.job_id, gateways)
        except KeyboardInterrupt:  # the job does not hear it: what is shown is where it stands
            interrupted = True
            row = gateways.jobs.load(request.job_id)
            _say(f"Interrupted; job {row.job_id} goes on, see `rangemill status {row.job_id}`.")
    _answer(row, gateways, waited=wait, as_json=as_json)
    return INTERRUPTED if interrupted else jobs.exit_code(row)


def _require_same(asked: "JobRequest", before: "JobRequest") -> None:
    """A key names one request. Raises `UsageProblem` when it was used for another pipeline, objects or options."""
    for field in ("pipeline_name", "objects", "prefixes", "range_bytes", "concurrency", "history_budget_events"):
        if getattr(asked, field) != getattr(before, field):
            what = field.removesuffix("_events").replace("_", " ")
            raise UsageProblem(
                f"This idempotency key was used for job {before.job_id} with other {what}.",
                "Choose another key, or submit exactly what was submitted with it.",
            )


def _document(asked: Asked) -> "Entry | None":
    """The pipeline's document, checked, where it can be seen from here. Raises `BadPipeline`, `UsageProblem`."""
    from rangemill_cli import documents  # noqa: PLC0415

    if asked.pipeline_file is not None:
        entry = documents.read(asked.pipeline_file)
        documents.check(entry, also=pipelines_folder())
        return entry
    from rangemill import catalog  # noqa: PLC0415

    folder = pipelines_folder()
    if folder is None:
        return None
    known = catalog.read(folder)
    for mistake in known.mistakes:
        if Path(mistake.file).stem == asked.pipeline:
            raise mistake
    if asked.pipeline not in known.entries:
        names = ", ".join(sorted(known.entries)) or "none"
        _say(f"This project has no pipeline {asked.pipeline} (it has {names}); the deployed stack must have it.")
        return None
    entry = known.entries[asked.pipeline]
    documents.check(documents.read(folder / entry.file))
    return entry


def _request(asked: Asked, entry: "Entry | None") -> "JobRequest":
    from rangemill.admission import new_job_id, token_of  # noqa: PLC0415
    from rangemill.messages import JobRequest, ObjectRef, Prefix  # noqa: PLC0415
    from rangemill_cli.locations import split_uri  # noqa: PLC0415

    name = asked.pipeline or (entry.pipeline.name if entry else "")
    objects: list[ObjectRef] = []
    for uri in asked.objects:
        bucket, key = split_uri(uri)
        if not key or key.endswith("/"):
            raise UsageProblem(f"{uri} is a prefix.", f"Say --prefix {uri} for all objects below it.")
        objects.append(ObjectRef(bucket, key))
    suffix = entry.pipeline.match.suffix if entry is not None and entry.pipeline.match is not None else ""
    prefixes = [Prefix(*split_uri(uri), suffix) for uri in asked.prefixes]
    if not objects and not prefixes:
        raise UsageProblem("No objects are named.", "Name s3://bucket/key, or all below --prefix s3://bucket/prefix/.")
    again = asked.idempotency_key
    # A document that is deployed is read by Plan, where it is deployed: what lies here may be newer.
    travels = entry is not None and asked.pipeline_file is not None
    return JobRequest(
        new_job_id(name) if again is None else f"{name}-{token_of('submit', name, again)}",
        name,
        entry.text if travels and entry is not None else "",
        entry.file if travels and entry is not None else "",
        "submit",
        objects,
        prefixes,
        asked.range_bytes,
        asked.concurrency,
        asked.history_budget,
    )


def _look(asked: Asked, request: "JobRequest", stack: "Stack", gateways: "Gateways", *, as_json: bool) -> None:
    """Refuse objects that are not there; say what a prefix will cost, and ask."""
    from rangemill_cli import estimate  # noqa: PLC0415

    estimate.require_objects(request.objects, gateways.objects)
    if not request.prefixes:
        return
    size = estimate.measure(request.prefixes, gateways.objects)
    if not size.objects:
        where = ", ".join(asked.prefixes)
        suffix = request.prefixes[0].suffix
        raise UsageProblem(f"There is no object below {where}" + (f" that ends in {suffix}." if suffix else "."))
    _say(estimate.sentence(size, stack.parameters))
    if asked.yes:
        return
    if as_json or not sys.stdin.isatty():
        raise UsageProblem("This starts a job over a whole prefix and nobody can be asked.", "Say --yes.")
    if not click.confirm("Start it?", err=True):
        raise UsageProblem("Nothing was submitted.")


def _answer(row: "JobRow", gateways: "Gateways", *, waited: bool, as_json: bool) -> None:
    from rangemill_cli import jobs, outputs, show  # noqa: PLC0415

    document = jobs.document(row, gateways)
    if as_json:
        print_json(document)
    elif not waited:
        click.echo(row.job_id)
        _say(f"Submitted. `rangemill status {row.job_id}` shows how it goes.")
        return
    else:
        if row.status == "SUCCEEDED":
            show.first_rows(outputs.listed(row), outputs.read)
        show.summary(document)
    if row.error is not None:
        show_error(CliError(str(row.error.get("message"))))


def _say(line: str) -> None:
    click.echo(line, err=True)
