"""The `rangemill` command: one module per command, imported when it is asked for."""

import importlib
import os
import sys
from typing import Final

import click

from rangemill_cli.errors import CliError, show_error
from rangemill_cli.loading import loading

# command name -> (module:attribute, what it does). Lazy, so that `rangemill run` does not pay for boto3 nor `local` for
# DuckDB, and `--help` for none of them.
COMMANDS: Final = {
    "bucket": ("rangemill_cli.bucket:bucket", "Let an existing bucket's uploads start jobs."),
    "cancel": ("rangemill_cli.control:cancel", "End a job."),
    "check": ("rangemill_cli.check:check", "Say what is wrong with pipelines before they are deployed."),
    "local": ("rangemill_cli.local.commands:local", "A cloud on this machine: LocalStack without Docker."),
    "pause": ("rangemill_cli.control:pause", "Let a job rest after its wave."),
    "redrive": ("rangemill_cli.control:redrive", "Take up a job that failed or was cancelled."),
    "results": ("rangemill_cli.results:results", "Show or download what a job made."),
    "resume": ("rangemill_cli.control:resume", "Let a job that rests go on."),
    "run": ("rangemill_cli.run:run", "Run a pipeline over files on this machine."),
    "set": ("rangemill_cli.control:set_bounds", "Change a job's concurrency or cost cap."),
    "status": ("rangemill_cli.status:status", "Show a job, or all recent ones."),
    "submit": ("rangemill_cli.submit:submit", "Start a job over S3 objects."),
}


class LazyGroup(click.Group):
    """A click group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute = COMMANDS[cmd_name][0].split(":")
        with loading():
            command: click.Command = getattr(importlib.import_module(module_name), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


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
    except Exception as error:
        if os.environ.get("RANGEMILL_DEBUG"):
            raise
        what = f"Rangemill itself failed with {type(error).__name__}: {error}"
        show_error(CliError(what, "Please report it, with what RANGEMILL_DEBUG=1 shows when you repeat the command."))
        sys.exit(1)
