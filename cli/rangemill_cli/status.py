"""`rangemill status`: one job, or all recent ones."""

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from rangemill_cli.answers import answering, print_json
from rangemill_cli.options import json_option, stack_option

if TYPE_CHECKING:
    from rangemill.gateways import Gateways
    from rangemill.messages import JobRow
    from rangemill_cli.stack import Stack

_LISTED: Final = 30


@click.command()
@click.argument("job", required=False)
@stack_option
@json_option
def status(job: str | None, stack: str, as_json: bool) -> None:
    """Show JOB, or the most recent jobs of all kinds. The exit code says whether the question was answered."""
    with answering(as_json=as_json):
        from rangemill_cli import stack as stacks  # noqa: PLC0415 - boto3

        found = stacks.find(stack)
        gateways = found.gateways()
        if job is None:
            _list(gateways, found, as_json=as_json)
        else:
            _one(gateways.jobs.load(job), gateways, found, as_json=as_json)


def _one(row: "JobRow", gateways: "Gateways", stack: "Stack", *, as_json: bool) -> None:
    from rangemill_cli import jobs, line, show  # noqa: PLC0415 - `--help` needs none of this

    document = {**jobs.document(row, gateways), **line.fields([row], stack.parameters, gateways).get(row.job_id, {})}
    if as_json:
        print_json(document)
        return
    show.summary(document, with_error=True)
    if row.status == "RUNNING" and row.bytes_total:
        done = 100 * row.totals.bytes / row.bytes_total
        click.echo(f"Progress   {done:.1f} % of {row.bytes_total:,} bytes are proved")
    shared = line.sentence(document)
    if shared is not None:
        click.echo(shared)
    if row.rest_reason:
        click.echo(f"Rests      {row.rest_reason}")


def _list(gateways: "Gateways", stack: "Stack", *, as_json: bool) -> None:
    from rangemill_cli import line  # noqa: PLC0415 - likewise

    rows = recent(gateways, _LISTED)
    shared = line.fields(rows, stack.parameters, gateways)
    documents = [{**_line(row, gateways), **shared.get(row.job_id, {})} for row in rows]
    if as_json:
        print_json({"stack": stack.name, "jobs": documents})
        return
    if not rows:
        click.echo(f"The stack {stack.name} has no jobs.")
        return
    width = max(len(row.job_id) for row in rows)
    click.echo(f"{'JOB':{width}}  {'STATUS':9}  {'CREATED':19}  {'RECORDS':>15}  DONE")
    for row, document in zip(rows, documents, strict=True):
        done = f"{100 * row.totals.bytes / row.bytes_total:.0f} %" if row.bytes_total else ""
        done = line.reason(document) or done
        created = row.created[:19].replace("T", " ")
        click.echo(f"{row.job_id:{width}}  {row.status:9}  {created}  {row.totals.records:>15,}  {done}".rstrip())


def recent(gateways: "Gateways", most: int) -> "list[JobRow]":
    """The newest jobs over all statuses, newest first."""
    from rangemill.messages import Status  # noqa: PLC0415

    found: list[JobRow] = []
    for kind in get_args(Status):
        found += islice(gateways.jobs.by_status(kind, newest_first=True), most)
    return sorted(found, key=lambda row: row.created, reverse=True)[:most]


def _line(row: "JobRow", gateways: "Gateways") -> dict[str, Any]:
    from rangemill_cli import jobs  # noqa: PLC0415

    return {**jobs.document(row, gateways), "created": row.created}
