"""`rangemill local …`: a cloud on this machine, without Docker and without an account."""

import json
import time

import click

from rangemill_cli.errors import EnvironmentProblem
from rangemill_cli.local import sam, server, stacks
from rangemill_cli.local.cloud import STACK, LocalCloud
from rangemill_cli.local.paths import local_paths

endpoint_option = click.option(
    "--endpoint-url", metavar="URL", help="Another LocalStack than the one that `rangemill local up` starts."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def local() -> None:
    """A cloud on this machine: LocalStack without Docker, on loopback only."""


@local.command()
def up() -> None:
    """Start the local cloud, and wait until it is ready. Does nothing when it runs."""
    began = time.monotonic()
    was_running = LocalCloud.at(local_paths()) is not None
    cloud = server.start(local_paths(), _say)
    state = "runs" if was_running else f"is ready after {time.monotonic() - began:.1f} s"
    _say(f"The local cloud {state}: {cloud.endpoint_url}")


@local.command()
@endpoint_option
@click.option("--force", is_flag=True, help="Build and deploy even when nothing changed.")
def deploy(endpoint_url: str | None, force: bool) -> None:  # noqa: FBT001 - click's calling convention
    """Build the template with SAM and deploy it; starts the local cloud when it does not run."""
    paths = local_paths()
    cloud = LocalCloud.require(endpoint_url) if endpoint_url else server.start(paths, _say)
    _say(f"Building and deploying the stack `{STACK}` …")
    done = sam.deploy(cloud, paths, force=force)
    if not done.deployed:
        _say(f"Nothing changed: the stack `{STACK}` stands as it is ({done.seconds:.1f} s).")
        return
    how = "built and deployed" if done.built else "deployed from the build that was there"
    _say(f"The stack `{STACK}` is {how} in {done.seconds:.1f} s.")


@local.command()
def down() -> None:
    """Stop the local cloud that `up` started, and nothing else. Everything in it is gone."""
    _say("Stopped." if server.stop(local_paths()) else "The local cloud is not running.")


def _say(line: str) -> None:
    click.echo(line, err=True)
