"""The functions' logs in CloudWatch Logs, in the order of time."""

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rangemill_cli.errors import UsageProblem
from rangemill_cli.local import stacks
from rangemill_cli.local.cloud import LocalCloud

POLL_S: Final = 0.5


def groups(cloud: LocalCloud, stack: str, function: str | None) -> dict[str, str]:
    """Return log group → short name, of all functions or of the one that `function` names in any of its ways."""
    found = stacks.functions(cloud, stack)
    if not found:
        raise UsageProblem(f"The stack `{stack}` has no functions here.", "Deploy it with `rangemill local deploy`.")
    short = {physical: logical.removesuffix("Function").lower() for logical, physical in found.items()}
    if function is None:
        chosen = list(found.values())
    else:
        chosen = [
            physical
            for logical, physical in found.items()
            if function.lower() in (logical.lower(), physical.lower(), short[physical])
        ]
    if not chosen:
        raise UsageProblem(f"There is no function `{function}`.", f"There are: {', '.join(sorted(short.values()))}.")
    return {f"/aws/lambda/{physical}": short[physical] for physical in chosen}


def lines(cloud: LocalCloud, log_groups: Mapping[str, str], begin_ms: int, *, follow: bool) -> Iterator[str]:
    """Yield the log lines since `begin_ms`; with `follow`, for ever."""
    seen: dict[str, int] = {}  # event id → its time: events of one millisecond may come in two answers
    while True:
        events = [
            (event["timestamp"], name, event)
            for group, name in log_groups.items()
            for event in _events(cloud, group, begin_ms)
            if event["eventId"] not in seen
        ]
        # Sorting by time only: events of one invocation carry one time, and their order is kept.
        for timestamp, name, event in sorted(events, key=lambda found: found[0]):
            seen[event["eventId"]] = timestamp
            moment = dt.datetime.fromtimestamp(timestamp / 1000, dt.UTC)
            yield f"{moment:%H:%M:%S}.{timestamp % 1000:03d} {name:<10} {event['message'].rstrip()}"
        if not follow:
            return
        begin_ms = max([begin_ms, *seen.values()])
        seen = {key: timestamp for key, timestamp in seen.items() if timestamp >= begin_ms}
        time.sleep(POLL_S)


def _events(cloud: LocalCloud, group: str, begin_ms: int) -> list[dict[str, Any]]:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - with boto3, on first use

    pages = cloud.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group, startTime=begin_ms)
    try:
        return [event for page in pages for event in page["events"]]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":  # nothing was written yet
            return []
        raise
