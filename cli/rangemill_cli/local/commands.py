"""`rangemill local …`: a cloud on this machine, without Docker and without an account."""

import json
import os
import shlex
import time

import click

from rangemill_cli.check import require_sound
from rangemill_cli.errors import UsageProblem
from rangemill_cli.local import function_logs, sam, server, stacks
from rangemill_cli.local.cloud import STACK, LocalCloud
from rangemill_cli.local.paths import local_paths
from rangemill_cli.local.state import CloudState, look

endpoint_option = click.option(
    "--endpoint-url", metavar="URL", help="Another LocalStack than the one that `rangemill local up` starts."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def local() -> None:
    """A cloud on this machine: LocalStack without Docker, on loopback only."""


@local.command()
def up() -> None:
    """Start the local cloud and wait until it is ready. Does nothing when it runs."""
    _up()


@local.command()
@endpoint_option
@click.option("--force", is_flag=True, help="Build and deploy even when nothing changed.")
def deploy(endpoint_url: str | None, force: bool) -> None:
    """Build the template with SAM and deploy it. Starts the local cloud when it does not run."""
    require_sound(local_paths().project / "layers/pipelines")
    cloud = LocalCloud.require(endpoint_url) if endpoint_url else _up()
    done = sam.deploy(cloud, local_paths(), force=force, say=_say)
    if not done.deployed:
        _say(f"Nothing changed: the stack `{STACK}` stands as it is ({done.seconds:.1f} s).")
        return
    how = "built and deployed" if done.built else "deployed from the build that was there"
    _say(f"The stack `{STACK}` is {how} in {done.seconds:.1f} s.")


@local.command()
def down() -> None:
    """Stop the local cloud that `up` started, and nothing else. Everything in it is gone."""
    _say("The local cloud is stopped." if server.stop(local_paths()) else "The local cloud is not running.")


@local.command()
def reset() -> None:
    """Begin again with an empty account: `down`, then `up`."""
    server.stop(local_paths())
    _up()


@local.command()
@endpoint_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def status(context: click.Context, endpoint_url: str | None, as_json: bool) -> None:
    """Show whether the local cloud runs and what is deployed in it. Exit code 3 when it does not run."""
    found = look(local_paths(), endpoint_url)
    click.echo(json.dumps(found.document()) if as_json else _in_words(found))
    if not found.running:
        context.exit(3)


@local.command()
@click.argument("function", required=False)
@endpoint_option
@click.option("--follow", "-f", is_flag=True, help="Go on showing what is written, until interrupted.")
@click.option("--since", default="1h", show_default=True, help="How far back: 30s, 10m, 2h or 1d.")
def logs(function: str | None, endpoint_url: str | None, follow: bool, since: str) -> None:
    """Show the logs of the stack's functions, or of FUNCTION (`apply`, `ApplyFunction` or its whole name)."""
    cloud = LocalCloud.require(endpoint_url)
    groups = function_logs.groups(cloud, STACK, function)
    begin_ms = int((time.time() - seconds_of(since)) * 1000)
    for line in function_logs.lines(cloud, groups, begin_ms, follow=follow):
        click.echo(line)


@local.command()
@endpoint_option
def env(endpoint_url: str | None) -> None:
    """Print what points aws, boto3 and rangemill here: `eval "$(rangemill local env)"`."""
    cloud = LocalCloud.require(endpoint_url)
    for name, value in {**cloud.environment(), "RANGEMILL_STACK": STACK}.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    # A profile of the user's would win over the keys, a session token go with them, an endpoint of a service over ours.
    theirs = {name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")}
    click.echo(f"unset {' '.join(sorted({'AWS_PROFILE', 'AWS_DEFAULT_PROFILE', 'AWS_SESSION_TOKEN', *theirs}))}")


def _up() -> LocalCloud:
    began = time.monotonic()
    paths = local_paths()
    was_running = LocalCloud.at(paths) is not None
    cloud = server.start(paths, _say)
    state = "runs" if was_running else f"is ready after {time.monotonic() - began:.1f} s"
    _say(f"The local cloud {state}: {cloud.endpoint_url}")
    return cloud


def _in_words(found: CloudState) -> str:
    if not found.running and found.endpoint_url is not None:
        return f"No LocalStack answers at {found.endpoint_url}."
    if not found.running:
        return "The local cloud is not running. Start it with `rangemill local up`."
    lines = [f"Endpoint   {found.endpoint_url}"]
    if found.pid is not None:
        lines.append(f"Process    {found.pid}, up for {duration(found.uptime_seconds or 0)}, log {found.log}")
    lines.append(f"Stack      {found.stack}: {found.stack_status or 'not deployed (rangemill local deploy)'}")
    if found.stack_status in stacks.GOOD:
        lines += [f"Function   {name}  {state}" for name, state in sorted(found.functions.items())]
        lines += [f"Output     {key} = {value}" for key, value in sorted(found.outputs.items())]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return a duration in words."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def seconds_of(text: str) -> int:
    """Read `30s`, `10m`, `2h` or `1d`; raise UsageProblem for anything else."""
    number, unit = text[:-1], text[-1:]
    if unit not in "smhd" or not number.isdecimal():
        raise UsageProblem(f"--since {text} is not a time.", "Say 30s, 10m, 2h or 1d.")
    return int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def _say(line: str) -> None:
    click.echo(line, err=True)
