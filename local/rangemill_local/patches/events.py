"""S3 events and EventBridge targets."""

import dataclasses
import json
import logging
from urllib.parse import unquote

from localstack.aws.connect import connect_to
from localstack.services.events.target import TargetSender
from localstack.services.s3.notifications import EventBridgeNotifier, S3EventNotificationContext
from localstack.utils.aws.arns import parse_arn, sqs_queue_url_for_arn

LOG = logging.getLogger(__name__)


def plain_object_key() -> None:
    """EventBridge gets the object's key as it is; LocalStack quotes it, as only direct notifications do on AWS."""
    original = EventBridgeNotifier._get_event_payload

    def _get_event_payload(ctx: S3EventNotificationContext, config_id: str | None = None) -> dict:
        return original(dataclasses.replace(ctx, key_name=unquote(ctx.key_name)), config_id)

    EventBridgeNotifier._get_event_payload = staticmethod(_get_event_payload)


def dead_letters_of_targets() -> None:
    """What a target refuses goes to its DeadLetterConfig's queue; LocalStack reads the field and leaves it there."""
    original = TargetSender.process_event

    def process_event(self: TargetSender, event: dict, trace_header: object) -> None:
        queue_arn = (self.target.get("DeadLetterConfig") or {}).get("Arn")
        if not queue_arn:
            original(self, event, trace_header)
            return
        try:
            original(self, event.copy(), trace_header)
        except Exception as error:  # noqa: BLE001 - whatever the target says, the event is not lost
            LOG.warning("Target %s of %s failed: %s", self.target_id, self.rule_arn, error)
            code = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
            attributes = {
                "RULE_ARN": self.rule_arn,
                "TARGET_ARN": self.target["Arn"],
                "ERROR_CODE": code,
                "ERROR_MESSAGE": str(error),
            }
            where = parse_arn(queue_arn)
            connect_to(aws_access_key_id=where["account"], region_name=where["region"]).sqs.send_message(
                QueueUrl=sqs_queue_url_for_arn(queue_arn),
                MessageBody=json.dumps(event, default=str),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()
                },
            )

    TargetSender.process_event = process_event


PATCHES = (plain_object_key, dead_letters_of_targets)
