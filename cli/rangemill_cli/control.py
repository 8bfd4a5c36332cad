"""`rangemill pause`, `resume`, `cancel`, `redrive` and `set`: what people do to a job that is there."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rangemill import control
from rangemill.messages import PipelineDocument
from rangemill_cli import documents
from rangemill_cli.answers import SUCCEEDED, answering, print_json
from rangemill_cli.errors import CliError, UsageProblem, show_error
from rangemill_cli.options import json_option, pipelines_folder, stack_option

if TYPE_CHECKING:
    from rangemill.gateways import Gateways
    from rangemill.messages import JobRow

wait_option = click.option("--wait", is_flag=True, help="Wait until it rests or has ended.")
type Act = "Callable[[Gateways], JobRow]"

_AS_ASKED = {"pause": ("PAUSED", "SUCCEEDED"), "cancel": ("CANCELLED", "SUCCEEDED")}


@click.command()
@click.argument("job")
@wait_option
@stack_option
@json_option
def pause(job: str, wait: bool, stack: str, as_json: bool) -> None:
    """Let JOB rest after its wave. It costs nothing meanwhile, and keeps what it has for as long as it rests."""
    _do("pause", lambda gateways: control.pause(job, gateways), stack, wait=wait, as_json=as_json)


@click.command()
@click.argument("job")
@wait_option
@stack_option
@json_option
def resume(job: str, wait: bool, stack: str, as_json: bool) -> None:
    """Let JOB, which rests, go on where it stands."""
    _do("resume", lambda gateways: control.resume(job, gateways), stack, wait=wait, as_json=as_json)


@click.command()
@click.argument("job")
@wait_option
@stack_option
@json_option
def cancel(job: str, wait: bool, stack: str, as_json: bool) -> None:
    """End JOB. Its workers stop at a record boundary within seconds; what it has done stays for a redrive."""
    _do("cancel", lambda gateways: control.cancel(job, gateways), stack, wait=wait, as_json=as_json)


@click.command()
@click.argument("job")
@click.option(
    "--code",
    type=click.Choice(["same", "new", "restart"]),
    default="same",
    show_default=True,
    help="same: what it was planned with; new: go on with what is deployed now; restart: begin again with that.",
)
@click.option(
    "--pipeline-file",
    type=click.Path(path_type=Path),
    metavar="F.yaml",
    help="With new or restart: the pipeline document to go on with [default: the deployed one].",
)
@click.option(
    "--rejects", is_flag=True, help="Apply the records again that were rejected; also of a JOB that succeeded."
)
@wait_option
@stack_option
@json_option
def redrive(
    job: str,
    code: Literal["same", "new", "restart"],
    pipeline_file: Path | None,
    rejects: bool,
    wait: bool,
    stack: str,
    as_json: bool,
) -> None:
    """Take up JOB, which failed, was cancelled or rests: only what is missing runs again."""

    def act(gateways: "Gateways") -> "JobRow":
        if rejects and code == "restart":
            raise UsageProblem("`--code restart` does all records again.", "Leave out --rejects.")
        if pipeline_file is None:
            return control.redrive(job, code, gateways, rejects=rejects)
        if code == "same":
            raise UsageProblem("--pipeline-file goes with --code new or restart.")
        return control.redrive(job, code, gateways, document=_document(pipeline_file), rejects=rejects)

    _do("redrive", act, stack, wait=wait, as_json=as_json)


def _document(path: Path) -> PipelineDocument:
    entry = documents.read(path)
    documents.check(entry, pipelines_folder())
    return PipelineDocument(entry.text, entry.file)


@click.command(name="set")
@click.argument("job")
@click.option("--concurrency", type=click.IntRange(1, 10_000), metavar="N", help="Workers at the same time.")
@click.option("--cost-usd", type=click.FloatRange(0, min_open=True), metavar="N", help="Rest when it has cost so much.")
@stack_option
@json_option
def set_bounds(job: str, concurrency: int | None, cost_usd: float | None, stack: str, as_json: bool) -> None:
    """Change bounds of JOB, also while it runs: its next wave takes them up."""

    def act(gateways: "Gateways") -> "JobRow":
        if concurrency is None and cost_usd is None:
            raise UsageProblem("Nothing is to be changed.", "Name --concurrency or --cost-usd.")
        return control.adjust(job, gateways, concurrency=concurrency, cost_cap_usd=cost_usd)

    _do("set", act, stack, wait=False, as_json=as_json)


def _do(what: str, act: Act, stack_name: str, *, wait: bool, as_json: bool) -> None:
    """Do it, let the stack start what waits, and say where the job stands. Exits with the job's code after a wait."""
    with answering(as_json=as_json, interrupted="interrupted; what was asked for goes on, see `rangemill status`"):
        from rangemill_cli import jobs, show  # noqa: PLC0415
        from rangemill_cli import stack as stacks  # noqa: PLC0415 - boto3

        stack = stacks.find(stack_name)
        gateways = stack.gateways()
        row = act(gateways)
        if row.status == "WAITING":
            stack.admit()
            row = gateways.jobs.load(row.job_id)
        if wait:
            row = jobs.wait(row.job_id, gateways)
        document = jobs.document(row, gateways)
        if as_json:
            print_json(document)
        elif wait:
            show.summary(document, with_error=True)
        else:
            click.echo(_sentence(what, row))
        if not wait or row.status in _AS_ASKED.get(what, ()):
            raise click.exceptions.Exit(SUCCEEDED)
        if row.error is not None and as_json:
            show_error(CliError(str(row.error.get("message"))))
        raise click.exceptions.Exit(jobs.exit_code(row))


def _sentence(what: str, row: "JobRow") -> str:
    if what == "set":
        bounds = {"concurrency": row.concurrency, "cost cap in dollars": row.cost_cap_usd}
        changed = ", ".join(f"{name} {value:g}" for name, value in bounds.items() if value is not None)
        return f"Job {row.job_id}: {changed}, from its next wave on."
    if row.status == "RUNNING" and row.desired != "run":
        return f"Job {row.job_id} will be {'paused' if row.desired == 'pause' else 'cancelled'} after its wave."
    return f"Job {row.job_id} is {row.status.lower()}."
