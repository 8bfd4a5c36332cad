"""Options that several commands share."""

from pathlib import Path
from typing import Any

import click

from rangemill.units import parse_bytes


class Bytes(click.ParamType[int]):
    """`1048576` or `64 MiB`."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes, or click's refusal."""
        try:
            return parse_bytes(int(value) if str(value).isdecimal() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
range_bytes_option = click.option(
    "--range-bytes", type=Bytes(), metavar="N", help="Bytes of one range, such as 1048576 or '64 MiB'."
)
history_budget_option = click.option(
    "--history-budget",
    type=click.IntRange(min=1, max=24_000),
    metavar="N",
    help="Events of history after which the next generation takes over.",
)
stack_option = click.option(
    "--stack", envvar="RANGEMILL_STACK", default="rangemill", show_default=True, help="The stack's name."
)


def pipelines_folder(start: Path | None = None) -> Path | None:
    """`layers/pipelines` of the project around the current folder, or None."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "layers" / "pipelines").is_dir():
            return folder / "layers" / "pipelines"
    return None
