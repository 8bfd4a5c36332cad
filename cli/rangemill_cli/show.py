"""How a job looks to a person: a progress bar while it runs, its result and its proof when it has ended."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final, Protocol

import click

from rangemill.messages import JobRow
from rangemill_cli import preview

_ROWS: Final = 10


class Progress(Protocol):
    """What a running job tells."""

    def row(self, row: JobRow) -> None:
        """The job's row, exact."""

    def read(self, read_bytes: int) -> None:
        """So many bytes more were read by a worker; not yet committed."""


class NoProgress:
    """Nobody looks."""

    def row(self, row: JobRow) -> None:
        """Nothing."""

    def read(self, read_bytes: int) -> None:
        """Nothing."""


@contextmanager
def progress(name: str) -> Iterator[Progress]:
    """A bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield NoProgress()
        return
    from rich import progress as bars  # noqa: PLC0415 - a terminal only
    from rich.console import Console  # noqa: PLC0415

    with bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn(binary_units=True),
        bars.TransferSpeedColumn(),
        bars.TextColumn("{task.fields[where]}"),
        bars.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        yield _Bar(bar, bar.add_task(name, total=None, where="planning"))


class _Bar:
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task
        self._shown = 0
        self._total = 0

    def row(self, row: JobRow) -> None:
        self._total = row.bytes_total
        self._shown = max(self._shown, row.totals.bytes) if row.status == "RUNNING" else row.totals.bytes
        where = f"wave {row.wave}"
        if row.generation:
            where += f", generation {row.generation}"
        if row.status != "RUNNING":
            where = row.status.lower()
        self._bar.update(self._task, total=self._total or None, completed=self._shown, where=where)

    def read(self, read_bytes: int) -> None:
        # Ranges are read a little past their end, and what a dead worker read is read again: never past the total.
        self._shown = min(self._shown + read_bytes, self._total)
        self._bar.update(self._task, completed=self._shown)


def table(rows: list[preview.Row], more: bool) -> None:
    """The first rows, as a table on standard output."""
    if not rows:
        click.echo("The result has no rows.")
        return
    from rich import box  # noqa: PLC0415 - 100 ms, only where rows are shown
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[preview.cell(row.get(name)) for name in columns] for row in rows]
    console = Console(file=sys.stdout)
    widths = [max(cell_len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    if sum(widths) + 2 * len(widths) > console.width:  # a folded number is no number: one line for each value instead
        for row_cells in cells:
            names = (f"{name:<{max(map(len, columns))}}  {text}" for name, text in zip(columns, row_cells, strict=True))
            click.echo("\n".join(names) + "\n")
    else:
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in columns:
            numeric = all(isinstance(row.get(name), int | float | Decimal | None) for row in rows)
            shown.add_column(Text(str(name)), justify="right" if numeric else "left", no_wrap=True)
        for row_cells in cells:
            shown.add_row(*map(Text, row_cells))
        console.print(shown)
    if more:
        click.echo("… the first rows; the output has more.\n")


def first_rows(outputs: list[str], read: preview.Reader) -> None:
    """The first rows of a job's output."""
    table(*preview.rows(outputs, read, _ROWS))


def summary(document: dict[str, Any], *, with_error: bool = False) -> None:
    """Counts, proof and places of a job, from the object that `--json` prints; its error only where none else tells."""
    status = str(document["status"])
    colour = {"SUCCEEDED": "green", "FAILED": "red"}.get(status, "yellow")
    click.echo(click.style(status, fg=colour, bold=True) + f"  {document['job_id']}  ({document['pipeline']})")
    cost = f", about ${document['cost_usd']:.4f}" if document["cost_usd"] else ""
    click.echo(
        f"Counts     {document['records']:,} records, {document['bytes']:,} bytes in "
        f"{_count(document['objects'], 'object')}; {_count(document['ranges'], 'range')}, "
        f"{_count(document['slots'], 'slot')}, {_count(document['waves'], 'wave')}, "
        f"{_count(document['generations'], 'generation')}; {document['seconds']:.1f} s{cost}"
    )
    if document["rejects"]:
        kept = f", kept in {document['rejects_in']}" if document.get("rejects_in") else ""
        click.echo(f"Rejects    {_count(document['rejects'], 'record')}{kept}")
    click.echo(f"Proof      {proof(document)}")
    for output in document["output"]:
        click.echo(f"Output     {output}")
    if document["report"]:
        click.echo(f"Report     {document['report']}")
    if with_error and document["error"]:
        click.echo(f"Error      {document['error']['type']}: {document['error']['message']}")


def proof(document: dict[str, Any]) -> str:
    """The proof in a sentence."""
    found = document["proof"]
    if not found["complete"]:
        return "not complete: the job has not succeeded" if document["status"] != "RUNNING" else "not complete yet"
    handed = "rejected or handed over" if document["rejects"] else "handed over"
    said = f"complete: every byte was read exactly once and every record {handed} exactly once"
    if found["matched"]:
        return f"{said}; the ranges' {found['checksum']}, combined, is the objects' own"
    return f"{said}; there is no stored checksum to hold the ranges' {found['checksum']} against"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
