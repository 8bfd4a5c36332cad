"""Open batches, locks and bookmarks in the job table.

`pk` / `sk`: `BATCH#<pipeline>` / `<arrived>#<token>` members, `TAKEN#<pipeline>#<token>` / `TAKEN` their guards,
`CLOSING#<pipeline>`, `LOCK#<name>`, `PIPELINE#<name>`, `BOOKMARK#<name>` single items.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from rangemill.aws import failures
from rangemill.aws.items import from_item, to_item, to_value
from rangemill.messages import Member

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Events come at least once for as long as SQS keeps them (14 days) and sweeps look back a day: 30 days cover both.
_GUARD_DAYS: Final = 30
_DELETES_AT_ONCE: Final = 25


class DynamoBatches:
    """The part of `gateways.Jobs` that is not about a job's own row."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._batch_client = client
        self._batch_table = table

    def add_member(self, pipeline: str, member: Member) -> bool:
        """Add to the open batch; False when that object was a member of any batch before."""
        expires = datetime.fromisoformat(member.arrived) + timedelta(days=_GUARD_DAYS)
        guard = {**_key(f"TAKEN#{pipeline}#{member.token}", "TAKEN"), "expires_at": to_value(int(expires.timestamp()))}
        return self._call(
            "transact_write_items",
            TransactItems=[
                {
                    "Put": {
                        "TableName": self._batch_table,
                        "Item": guard,
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                },
                {
                    "Put": {
                        "TableName": self._batch_table,
                        "Item": to_item(member, pk=f"BATCH#{pipeline}", sk=_member_sk(member)),
                    }
                },
            ],
        )

    def members(self, pipeline: str, most: int) -> list[Member]:
        """The open batch's members, in order of arrival."""
        found: list[Member] = []
        try:
            for page in self._batch_client.get_paginator("query").paginate(
                TableName=self._batch_table,
                ConsistentRead=True,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": to_value(f"BATCH#{pipeline}")},
            ):
                found += [from_item(item, Member) for item in page["Items"]]
                if len(found) >= most:
                    break
        except (ClientError, BotoCoreError) as error:
            failures.raise_named(error, f"read the open batch of {pipeline}")
        return found[:most]

    def is_taken(self, pipeline: str, token: str) -> bool:
        """Whether a job or a batch of that pipeline has the object of that identity."""
        return (
            self._get(f"JOB#{pipeline}-{token}", "JOB") is not None
            or self._get(f"TAKEN#{pipeline}#{token}", "TAKEN") is not None
        )

    def closing(self, pipeline: str) -> str | None:
        """The job id under which the batch is being closed, or None."""
        return self._text(f"CLOSING#{pipeline}")

    def close_batch(self, pipeline: str, job_id: str) -> str:
        """Mark the open batch as closing under that job id; the id that was marked first."""
        self._put_text(f"CLOSING#{pipeline}", job_id, once=True)
        return self.closing(pipeline) or job_id

    def batch_closed(self, pipeline: str, job_id: str, members: list[Member]) -> None:
        """Take exactly these members out of the open batch, and the mark away."""
        for start in range(0, len(members), _DELETES_AT_ONCE):
            keys = [_key(f"BATCH#{pipeline}", _member_sk(m)) for m in members[start : start + _DELETES_AT_ONCE]]
            self._call(
                "transact_write_items",
                TransactItems=[{"Delete": {"TableName": self._batch_table, "Key": key}} for key in keys],
            )
        self._call(
            "delete_item",
            TableName=self._batch_table,
            Key=_key(f"CLOSING#{pipeline}", "ITEM"),
            ConditionExpression="#value = :job",
            ExpressionAttributeNames={"#value": "value"},
            ExpressionAttributeValues={":job": to_value(job_id)},
        )

    def lock(self, name: str, owner: str, now: datetime, seconds: int) -> bool:
        """Take a lock that expires; False while somebody else holds it."""
        until = (now + timedelta(seconds=seconds)).timestamp()
        return self._call(
            "put_item",
            TableName=self._batch_table,
            Item={**lock_key(name), "owner": to_value(owner), "until": to_value(until)},
            ConditionExpression="attribute_not_exists(pk) OR #until < :now OR #owner = :owner",
            ExpressionAttributeNames={"#until": "until", "#owner": "owner"},
            ExpressionAttributeValues={":now": to_value(now.timestamp()), ":owner": to_value(owner)},
        )

    def unlock(self, name: str, owner: str) -> None:
        """Give it back, if it is still mine."""
        self._call(
            "delete_item",
            TableName=self._batch_table,
            Key=lock_key(name),
            ConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": to_value(owner)},
        )

    def first_active(self, pipeline: str, now: str) -> str:
        """When the pipeline was first seen deployed: now, or the moment that was kept."""
        known = self._text(f"PIPELINE#{pipeline}")
        if known is None:
            self._put_text(f"PIPELINE#{pipeline}", now, once=True)
            known = self._text(f"PIPELINE#{pipeline}")
        return known or now

    def bookmark(self, name: str) -> str | None:
        """Where a listing that goes on in the next run stands."""
        return self._text(f"BOOKMARK#{name}")

    def keep_bookmark(self, name: str, value: str | None) -> None:
        """Keep it, or forget it."""
        if value is None:
            self._call("delete_item", TableName=self._batch_table, Key=_key(f"BOOKMARK#{name}", "ITEM"))
        else:
            self._put_text(f"BOOKMARK#{name}", value, once=False)

    def _text(self, pk: str) -> str | None:
        item = self._get(pk, "ITEM")
        return None if item is None else str(item["value"]["S"])

    def _put_text(self, pk: str, value: str, *, once: bool) -> bool:
        condition = {"ConditionExpression": "attribute_not_exists(pk)"} if once else {}
        return self._call(
            "put_item", TableName=self._batch_table, Item={**_key(pk, "ITEM"), "value": to_value(value)}, **condition
        )

    def _get(self, pk: str, sk: str) -> Any:
        try:
            response = self._batch_client.get_item(TableName=self._batch_table, Key=_key(pk, sk), ConsistentRead=True)
        except (ClientError, BotoCoreError) as error:
            failures.raise_named(error, f"read {pk}")
        return response.get("Item")

    def _call(self, operation: str, **arguments: Any) -> bool:
        try:
            getattr(self._batch_client, operation)(**arguments)
        except ClientError as error:
            if failures.is_condition_failed(error):
                return False
            failures.raise_named(error, f"write to table {self._batch_table}")
        except BotoCoreError as error:
            failures.raise_named(error, f"write to table {self._batch_table}")
        return True


def lock_key(name: str) -> dict[str, Any]:
    """The key of a lock's item."""
    return _key(f"LOCK#{name}", "ITEM")


def _member_sk(member: Member) -> str:
    return f"{member.arrived}#{member.token}"


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}
