"""`rangemill run`: a pipeline over files on this machine, with the same core as in the cloud."""

import os
import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rangemill_cli.answers import SUCCEEDED, answering, job_exit_code, print_json
from rangemill_cli.errors import CliError, UsageProblem, show_error
from rangemill_cli.loading import loading
from rangemill_cli.options import history_budget_option, json_option, range_bytes_option

if TYPE_CHECKING:
    from rangemill.catalog import Entry
    from rangemill_cli.inprocess.session import Done
    from rangemill_cli.inprocess.workers import WorkerPool

_OUT: Final = "rangemill-out"
_MIN_RANGE_BYTES: Final = 2**20
_RANGES_A_WORKER: Final = 4  # so that all workers end together


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options."""

    out: Path | None
    range_bytes: int | None
    workers: int
    history_budget: int | None


@click.command()
@click.argument("pipeline", metavar="PIPELINE.yaml")
@click.argument("inputs", metavar="INPUT…", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help=f"Where the result goes [default: {_OUT}/JOB]."
)
@range_bytes_option
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Worker processes [default: all cores]; 0 works in this process, where breakpoint() works.",
)
@history_budget_option
@json_option
def run(
    pipeline: str,
    inputs: tuple[str, ...],
    out: Path | None,
    range_bytes: int | None,
    workers: int | None,
    history_budget: int | None,
    as_json: bool,
) -> None:
    """Run PIPELINE.yaml over files, folders or s3:// URIs on this machine.

    A folder or an s3:// prefix (with a slash at its end) stands for all that lies below it and ends as the pipeline's
    `match.suffix` says. Modules of the pipeline are imported from the folder of its document.
    """
    with answering(as_json=as_json, interrupted="interrupted; nothing was published"):
        count = (os.process_cpu_count() or 1) if workers is None else workers
        asked = Asked(out, range_bytes, count, history_budget)
        raise click.exceptions.Exit(_run(pipeline, inputs, asked, as_json=as_json))


def _run(pipeline: str, inputs: tuple[str, ...], asked: Asked, *, as_json: bool) -> int:
    """The exit code."""
    with loading():
        from rangemill import engines  # noqa: PLC0415 - `rangemill --help` needs none of this
        from rangemill_cli import documents  # noqa: PLC0415 - likewise
        from rangemill_cli.inprocess import processes  # noqa: PLC0415 - likewise
        from rangemill_cli.inprocess.workers import WorkerPool  # noqa: PLC0415 - likewise

        path = documents.find(pipeline)
        entry = documents.read(path)
        if asked.workers:
            reads_s3 = any(text.startswith("s3://") for text in inputs)
            processes.import_all(is_sql=entry.pipeline.apply.sql is not None, reads_s3=reads_s3)
    with WorkerPool(asked.workers, partial(engines.warm, entry.pipeline)) as pool:
        done = _carry(path, entry, inputs, asked, pool)
    for choice in done.choices:
        _say(choice)
    for warning in done.warnings:
        _say(f"warning: {warning}")
    return _answer(done, entry, as_json=as_json)


def _carry(path: Path, entry: "Entry", inputs: tuple[str, ...], asked: Asked, pool: "WorkerPool") -> "Done":
    """Check what can be checked, then carry the job to its end. Raises `UsageProblem` and what the job's checks do."""
    from rangemill.admission import new_job_id  # noqa: PLC0415
    from rangemill.messages import JobRequest  # noqa: PLC0415
    from rangemill_cli import documents, locations, show  # noqa: PLC0415 - likewise
    from rangemill_cli.inprocess import session  # noqa: PLC0415
    from rangemill_cli.inprocess.folder import foreign_file  # noqa: PLC0415

    documents.check(entry)
    job_id = new_job_id(entry.pipeline.name)
    out = (asked.out or Path(_OUT, job_id)).resolve()
    in_the_way = foreign_file(out, entry.pipeline.output.format)
    if out.exists() and not out.is_dir():
        raise UsageProblem(f"--out {asked.out} is not a folder.")
    if in_the_way is not None:
        raise UsageProblem(
            f"{in_the_way} is in the way: the result would replace it, and no Rangemill run wrote it.",
            "Choose another folder with --out.",
        )
    suffix = entry.pipeline.match.suffix if entry.pipeline.match else ""
    found = locations.collect(inputs, suffix, leave_out=Path(_OUT).resolve())
    if found.left_out:
        _say(f"{found.left_out} files do not end in {suffix}, as the pipeline's `match` wants, and are left out.")
    if entry.pipeline.output.to is not None:
        _say(f"The pipeline's own output, {entry.pipeline.output.to}, is not written to: the result goes to {out}.")
    request = JobRequest(
        job_id,
        entry.pipeline.name,
        entry.text,
        entry.file,
        "run",
        found.objects,
        found.prefixes,
        range_bytes=asked.range_bytes,
        concurrency=max(1, asked.workers),
        history_budget_events=asked.history_budget,
    )
    work = Path(tempfile.mkdtemp(prefix="rangemill-"))
    try:
        with redirect_stdout(sys.stderr), show.progress(entry.pipeline.name) as progress:
            place = session.Place(work, out, path.parent.resolve())
            range_bytes = _range_bytes(found.known_bytes, asked.workers)
            return session.run(request, place, pool, range_bytes, progress)
    finally:
        pool.close()  # first: a worker that is busy still would write into the folder while it is deleted
        shutil.rmtree(work, ignore_errors=True)


def _answer(done: "Done", entry: "Entry", *, as_json: bool) -> int:
    from rangemill.errors import error_class  # noqa: PLC0415
    from rangemill_cli import documents, show  # noqa: PLC0415

    row, document = done.row, done.document
    planned = row.pointer is not None
    if row.error is not None and not planned:
        document["error"] = documents.placed(row.error, entry)
    if as_json:
        print_json(document)
    else:
        if row.status == "SUCCEEDED":
            show.first_rows(done.outputs, _read_file)
        show.summary(document)
    if row.status == "SUCCEEDED":
        return SUCCEEDED
    if row.error is not None:
        show_error(CliError(document["error"]["message"], _remedy(error_class(str(row.error["type"])))))
    return job_exit_code(row.error, planned=planned)


def _remedy(kind: type[Exception] | None) -> str | None:
    if kind is None or kind.__name__ == "ExecutionFailed":
        return "This is a fault of Rangemill or of this machine, not of the pipeline."
    return None


def _range_bytes(known_bytes: int | None, workers: int) -> int:
    """Ranges of a size that gives all workers something to do; only where nobody asked for one."""
    from rangemill.limits import MIB, RANGE_BYTES  # noqa: PLC0415

    if known_bytes is None:
        return RANGE_BYTES // 4
    share = known_bytes // (max(1, workers) * _RANGES_A_WORKER)
    return max(_MIN_RANGE_BYTES, min(RANGE_BYTES, share // MIB * MIB))


def _read_file(path: str, most: int | None) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(-1 if most is None else most)


def _say(line: str) -> None:
    click.echo(line, err=True)
