"""A function that does what a test asks for."""

import json
import os
import signal
import sys
import time
from pathlib import Path

VERSION = "one"
STARTED = time.time()
calls = 0


def handler(event, context):
    """Do `event["do"]`."""
    global calls  # noqa: PLW0603
    calls += 1
    sys.stdout.write(f"doing {event['do']}\n")
    return globals()[f"do_{event['do']}"](event, context)


def do_describe(event, context):
    import probe_layer

    return {
        "version": VERSION,
        "calls": calls,
        "pid": os.getpid(),
        "environment": dict(os.environ),
        "cwd": str(Path.cwd()),
        "path": sys.path,
        "layer": probe_layer.WHO,
        "layer_root": str(Path(probe_layer.__file__).parents[1]),
        "layer_files": sorted(p.name for p in Path(probe_layer.__file__).parents[1].rglob("*") if p.is_file()),
        "boto3": __import__("boto3").__file__,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
    }


def do_count(event, context):
    import boto3

    boto3.client("dynamodb").update_item(
        TableName=os.environ["TABLE"],
        Key={"pk": {"S": "count"}},
        UpdateExpression="ADD n :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


def do_sleep(event, context):
    time.sleep(event["seconds"])
    return os.getpid()


def do_wait(event, context):
    """Say that it is here, and stay until a test says so."""
    import boto3

    table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
    table.put_item(Item={"pk": f"waiting/{event['tag']}"})
    while "Item" not in table.get_item(Key={"pk": f"release/{event['tag']}"}):
        time.sleep(0.2)


def do_fail(event, context):
    raise KeyError("as asked")


def do_exit(event, context):
    os._exit(event["code"])


def do_kill(event, context):
    os.kill(os.getpid(), signal.SIGKILL)


def do_eat(event, context):
    return len(b"x" * (event["mib"] * 1024 * 1024))


def do_answer(event, context):
    return "x" * event["chars"]


def do_tmp(event, context):
    for folder in ("/tmp", os.environ.get("TMPDIR", "/tmp")):
        found = sorted(path.name for path in Path(folder).iterdir())
    (Path(folder) / f"mine-{os.getpid()}").write_text("x")
    if event.get("fill_mib"):
        with (Path(folder) / "large").open("wb") as file:
            for _ in range(event["fill_mib"]):
                file.write(b"x" * 1024 * 1024)
    return {"found": found, "folder": folder, "pid": os.getpid()}


def from_queue(event, context):
    import boto3

    failures = []
    for record in event["Records"]:
        body = json.loads(record["body"])
        time.sleep(body.get("seconds", 0))
        key = body["detail"]["object"]["key"] if "detail" in body else body["key"]
        if key.startswith("poison"):
            failures.append({"itemIdentifier": record["messageId"]})
            continue
        boto3.client("dynamodb").put_item(
            TableName=os.environ["TABLE"], Item={"pk": {"S": f"key/{key}"}, "body": {"S": record["body"]}}
        )
    return {"batchItemFailures": failures}
