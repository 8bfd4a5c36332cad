"""`rangemill results`: what a job made."""

from pathlib import Path

import click

from rangemill_cli.answers import FAILED, answering, print_json
from rangemill_cli.options import json_option, stack_option


@click.command()
@click.argument("job")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Download it all to DIR.")
@stack_option
@json_option
def results(job: str, out: Path | None, stack: str, as_json: bool) -> None:
    """Show the first rows of JOB's result, or download its output, report and manifest with --out."""
    with answering(as_json=as_json):
        from rangemill_cli import jobs, outputs, show  # noqa: PLC0415 - boto3
        from rangemill_cli import stack as stacks  # noqa: PLC0415

        gateways = stacks.find(stack).gateways()
        row = gateways.jobs.load(job)
        if as_json and row.status != "SUCCEEDED":
            print_json(jobs.document(row, gateways))
            raise click.exceptions.Exit(jobs.exit_code(row) or FAILED)
        listed = outputs.listed(row)
        paths = outputs.download(row, listed, out) if out is not None else []
        document = jobs.document(row, gateways)
        if as_json:
            print_json({**document, "output": [str(path) for path in paths[: len(listed)]] or listed})
            return
        show.first_rows(listed, outputs.read)
        show.summary(document)
        for path in paths:
            click.echo(f"Saved      {path}")
