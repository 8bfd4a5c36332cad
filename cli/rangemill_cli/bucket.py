"""`rangemill bucket`: existing buckets whose uploads shall start jobs."""

import difflib
import json
from typing import Any

import click

from rangemill_cli.answers import answering
from rangemill_cli.errors import EnvironmentProblem, UsageProblem


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bucket() -> None:
    """Let an existing bucket's uploads start jobs."""


@bucket.command()
@click.argument("name", metavar="BUCKET")
@click.option("--yes", is_flag=True, help="Do not ask.")
def enable(name: str, yes: bool) -> None:
    """Turn on EventBridge for BUCKET's notifications. What else it notifies stays; the difference is shown first."""
    with answering(as_json=False):
        from rangemill_cli.clients import s3_client  # noqa: PLC0415 - boto3

        client: Any = s3_client()
        name = name.removeprefix("s3://").rstrip("/")
        before = read(client, name)
        if "EventBridgeConfiguration" in before:
            click.echo(f"{name} sends its events to EventBridge already; nothing was changed.")
            return
        after = {**before, "EventBridgeConfiguration": {}}
        click.echo(difference(name, before, after))
        if not yes and not click.confirm(f"Change the notifications of {name} so?", err=True):
            raise UsageProblem(f"{name} was left as it is.")
        if read(client, name) != before:
            raise EnvironmentProblem(
                f"Somebody else changed the notifications of {name} meanwhile; nothing was changed.", "Try again."
            )
        # The destinations that are there are not ours to judge: S3 would refuse the whole for one that is broken.
        client.put_bucket_notification_configuration(
            Bucket=name, NotificationConfiguration=after, SkipDestinationValidation=True
        )
        click.echo(
            f"{name} sends its events to EventBridge now. "
            "Name it in the stack's parameter ExistingInputBuckets, so that its objects may be read."
        )


def read(client: Any, name: str) -> dict[str, Any]:
    """The bucket's notification configuration. Raises `UsageProblem` when there is no such bucket."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        response = dict(client.get_bucket_notification_configuration(Bucket=name))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            raise UsageProblem(f"There is no bucket {name}.") from None
        raise
    response.pop("ResponseMetadata", None)
    return response


def difference(name: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    """A unified diff of both configurations as JSON."""
    now, then = (json.dumps(config, indent=2, sort_keys=True).splitlines() for config in (before, after))
    return "\n".join(difflib.unified_diff(now, then, f"{name} (now)", f"{name} (then)", n=100, lineterm=""))
