"""Ingest: S3 events from the intake queue to members of open batches, or to jobs, which start if there is room."""

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes import S3EventBridgeNotificationEvent
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from rangemill import admission, admit, catalog, sharing
from rangemill.aws import gateways
from rangemill.aws.clients import Clients
from rangemill.gateways import Gateways
from rangemill.messages import ObjectRef
from rangemill.observability import LambdaContext, logger, measure, observed
from rangemill.settings import IngestSettings

NO_PIPELINE = "(none)"


@cache
def wired() -> tuple[Gateways, IngestSettings, sharing.Limits]:
    """Clients, settings and limits, made once per cold start."""
    settings = IngestSettings.from_environment(os.environ)
    world = gateways.make(
        Clients(),
        work_bucket=settings.work_bucket,
        job_table=settings.job_table,
        state_machine_arn=settings.state_machine_arn,
    )
    for mistake in catalog.deployed().mistakes:  # `rangemill check` refuses these; the other pipelines go on
        logger.error("a deployed pipeline cannot be read", extra={"mistake": mistake.message})
        measure(mistake.file, BrokenPipelines=1)
    return world, settings, admit.limits_of(world, settings)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """SQS batch → the messages that go back to the queue; all of them is no different from some."""
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event, _take, processor, context)
    world, _, limits = wired()
    admit.run(catalog.deployed(), world, limits)
    return dict(answer)


def _take(record: SQSRecord) -> None:
    found = S3EventBridgeNotificationEvent(record.json_body).detail
    # Raw: EventBridge gives the plain key, and Powertools' `.key` would turn a `+` of its name into a space.
    key = found.object["key"]
    ref = ObjectRef(found.bucket.name, key, found.object.get("version-id"), found.object.etag, found.object.size)
    world, settings, _ = wired()
    verdicts = admission.ingest(ref, catalog.deployed(), world, settings.input_buckets)
    logger.info("ingested", extra={"bucket": ref.bucket, "key": ref.key, "verdicts": verdicts})
    for pipeline, verdict in verdicts.items():
        if verdict in ("created", "member"):
            measure(pipeline, ObjectsTaken=1)
        elif verdict == "unmatched":
            measure(NO_PIPELINE, ObjectsUnmatched=1)
