"""The `rangemill` command: one module per command, imported when it is asked for."""

import importlib
import sys
from typing import Final

import click

from rangemill_cli.errors import CliError, show_error

# command name -> module:attribute. Lazy, so that `rangemill run` does not pay for boto3 nor `local` for DuckDB.
COMMANDS: Final = {
    "bucket": "rangemill_cli.bucket:bucket",
    "check": "rangemill_cli.check:check",
    "local": "rangemill_cli.local.commands:local",
    "results": "rangemill_cli.results:results",
    "run": "rangemill_cli.run:run",
    "status": "rangemill_cli.status:status",
    "submit": "rangemill_cli.submit:submit",
}


class LazyGroup(click.Group):
    """A click group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module_name), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rangemill-cli", prog_name="rangemill")
def cli() -> None:
    """Run your Python or SQL over S3 objects of any size, and prove that every byte was read exactly once."""


def main() -> None:
    """Run the command; exit 0 succeeded, 1 the job failed, 2 wrong usage, 3 the environment, 130 interrupted."""
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except CliError as error:
        show_error(error)
        sys.exit(error.exit_code)
