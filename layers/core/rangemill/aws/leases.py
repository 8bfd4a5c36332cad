"""What a job may use, in its own row: granted by `admit`, taken up by Fetch, renewed by the commit of each wave."""

from typing import Any

from rangemill.aws.batches import DynamoBatches, lock_key
from rangemill.aws.items import job_key, to_value, update_arguments
from rangemill.gateways import ADMIT_LOCK
from rangemill.messages import JobRow


class DynamoLeases(DynamoBatches):
    """The part of `gateways.Jobs` that is about leases."""

    def lease(
        self, before: JobRow, *, owner: str, grant: int, held: int | None = None, leased_until: str | None = None
    ) -> bool:
        """Write what `admit` has decided of a row; False when the row is not as it was seen any more."""
        changes: dict[str, Any] = {"grant": grant}
        seen: dict[str, Any] = {name: getattr(before, name) for name in ("generation", "status", "grant", "held")}
        if held is not None:
            changes["held"] = held
        if leased_until is not None:
            changes["leased_until"] = leased_until
        if held == 0:  # given away, unless the job has woken up since
            changes["leased_until"] = None
            seen["leased_until"] = before.leased_until
        known = {name: value for name, value in seen.items() if value is not None}
        clauses = [f"#{name} = :seen_{name}" if name in known else f"attribute_not_exists(#{name})" for name in seen]
        values = {f":seen_{name}": value for name, value in known.items()}
        update = self._update_of(before.job_id, changes, " AND ".join(clauses), values)
        lock = {
            "TableName": self._batch_table,
            "Key": lock_key(ADMIT_LOCK),
            "ConditionExpression": "#owner = :owner",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {":owner": to_value(owner)},
        }
        return self._call("transact_write_items", TransactItems=[{"ConditionCheck": lock}, {"Update": update}])

    def take_grant(self, job_id: str, generation: int, workers: int, leased_until: str) -> bool:
        """Hold more workers from the next wave on: at most what is granted, or one where that is none.

        False when so many are not granted any more, or the job is not this generation's.
        """
        granted = "#grant >= :workers AND " if workers > 1 else ""
        update = self._update_of(
            job_id,
            {"held": workers, "leased_until": leased_until},
            f"{granted}#held < :workers AND #generation = :mine AND #status = :running",
            {":workers": workers, ":mine": generation, ":running": "RUNNING"},
        )
        return self._call("update_item", **update)

    def _update_of(
        self, job_id: str, changes: dict[str, Any], condition: str, values: dict[str, Any]
    ) -> dict[str, Any]:
        place = {"TableName": self._batch_table, "Key": job_key(job_id)}
        return place | update_arguments(changes, condition, values)
