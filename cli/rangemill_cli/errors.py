"""What goes wrong outside a job, as sentences with an exit code."""

from typing import ClassVar

import click


class CliError(Exception):
    """A sentence for the person at the terminal, and the remedy where there is one."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageProblem(CliError):
    """Wrong usage, or a pipeline document with a mistake."""

    exit_code = 2


class EnvironmentProblem(CliError):
    """No stack, no credentials, no network, or a local cloud that does not answer."""

    exit_code = 3


def show_error(error: CliError) -> None:
    """Print the sentence and its remedy to standard error."""
    click.secho(f"rangemill: {error.message}", fg="red", err=True)
    if error.remedy:
        click.echo(f"  {error.remedy}", err=True)
