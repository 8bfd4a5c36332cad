"""The job table on DynamoDB. Conditions, not request tokens, make every write safe to repeat.

`pk` / `sk`: `JOB#<id>` / `JOB`, `GEN#<n>`, `WAVE#<n>`; the batches' and sweeps' items are in `aws.batches`.
Index `by-status`: `status`, `created`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from rangemill.aws import failures
from rangemill.aws.items import from_item, job_key, job_key_text, to_item, to_value, update_arguments
from rangemill.aws.leases import DynamoLeases
from rangemill.errors import Superseded, UnknownJob
from rangemill.messages import Desired, GenerationRow, JobRow, Status, Totals, WaveRow

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_INDEX: Final = "by-status"


class DynamoJobs(DynamoLeases):
    """`gateways.Jobs` on DynamoDB."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        super().__init__(client, table)
        self._client = client
        self._table = table

    def create(self, row: JobRow) -> bool:
        """The guard against doing it twice: False when the row is there."""
        return self._write(
            "put_item",
            f"create job {row.job_id}",
            Item=to_item(row, **job_key_text(row.job_id)),
            ConditionExpression="attribute_not_exists(pk)",
        )

    def load(self, job_id: str) -> JobRow:
        """A consistent read. Raises `UnknownJob`."""
        try:
            response = self._client.get_item(TableName=self._table, Key=job_key(job_id), ConsistentRead=True)
        except (ClientError, BotoCoreError) as error:
            failures.raise_named(error, f"read job {job_id}")
        if "Item" not in response:
            raise UnknownJob(f"there is no job {job_id}")
        return from_item(response["Item"], JobRow)

    def start(self, job_id: str, generation: int, started: str) -> bool:
        """WAITING to RUNNING; False when it was not waiting, or not for that generation."""
        return self._update(
            job_id,
            {"status": "RUNNING"} if generation else {"status": "RUNNING", "started": started},
            "#status = :waiting AND #generation = :mine",
            {":waiting": "WAITING", ":mine": generation},
        )

    def take_generation(self, job_id: str, generation: int, execution_arn: str, started: str) -> JobRow:
        """The execution's first act: the row is this generation's from now on."""
        row = self.load(job_id)
        if row.generation == generation and row.execution_arn == execution_arn and row.status == "RUNNING":
            return row  # a repeat of this very act
        mine = {":mine": generation, ":before": generation - 1, ":waiting": "WAITING", ":running": "RUNNING"}
        first_wave = row.generation_first_wave if row.generation == generation else row.wave
        changes: dict[str, Any] = {
            "status": "RUNNING",
            "generation": generation,
            "generation_first_wave": first_wave,
            "execution_arn": execution_arn,
        }
        if row.started is None:
            changes["started"] = started
        update = update_arguments(
            changes, "(#generation = :mine OR #generation = :before) AND #status IN (:waiting, :running)", mine
        )
        # One transaction: the history must not lose a generation that died right after it took the row.
        history = GenerationRow(generation, execution_arn, started, row.plan_number)
        item = to_item(history, **job_key_text(job_id, f"GEN#{generation:06d}"))
        taken = self._write(
            "transact_write_items",
            f"take generation {generation} of job {job_id}",
            TransactItems=[
                {"Update": {"TableName": self._table, "Key": job_key(job_id), **update}},
                {"Put": {"TableName": self._table, "Item": item}},
            ],
        )
        if not taken:
            raise Superseded(
                f"generation {generation} of job {job_id} comes too late: it is {row.status}, "
                f"generation {row.generation}"
            )
        return self.load(job_id)

    def planned(
        self,
        job_id: str,
        generation: int,
        pointer: str,
        objects: int,
        bytes_total: int,
        *,
        own_workers: int | None = None,
        wants: int | None = None,
    ) -> JobRow:
        """Point at the first checkpoint; whoever was first wins, and the row as it stands is returned."""
        changes: dict[str, Any] = {"pointer": pointer, "objects": objects, "bytes_total": bytes_total}
        known = {"own_workers": own_workers, "wants": wants}
        changes |= {name: value for name, value in known.items() if value is not None}
        return self._first(job_id, generation, changes, "attribute_not_exists(#pointer)")

    def publish(self, job_id: str, generation: int, moment: str, result: dict[str, Any]) -> JobRow:
        """Settle the result: from now on the job can only succeed. Whoever was first wins; the row as it stands."""
        changes = {"ending": moment, "result": result}
        return self._first(job_id, generation, changes, "attribute_not_exists(#ending)")

    def _first(self, job_id: str, generation: int, changes: dict[str, Any], condition: str) -> JobRow:
        mine = {":mine": generation, ":running": "RUNNING"}
        self._update(job_id, changes, f"#generation = :mine AND #status = :running AND {condition}", mine)
        row = self.load(job_id)
        if row.generation != generation or row.status != "RUNNING":
            raise Superseded(f"generation {generation} of job {job_id} is not the one that carries it")
        return row

    def commit(
        self,
        job_id: str,
        generation: int,
        wave: WaveRow,
        pointer: str,
        totals: Totals,
        cost_usd: float,
        *,
        leased_until: str | None = None,
        own_workers: int | None = None,
        wants: int | None = None,
    ) -> JobRow:
        """The commit of a wave: the pointer moves if generation is mine and the row's wave is the one before."""
        changes: dict[str, Any] = {
            "pointer": pointer,
            "wave": wave.wave,
            "totals": totals,
            "cost_usd": cost_usd,
            "error": None,
        }
        known = {"wants": wants, "own_workers": own_workers, "leased_until": leased_until}
        changes |= {name: value for name, value in known.items() if value is not None}
        update = update_arguments(
            changes,
            "#generation = :mine AND #wave = :previous AND #status = :running",
            {":mine": generation, ":previous": wave.wave - 1, ":running": "RUNNING"},
            # As it is at that very moment: what `admit` lowers meanwhile must not be lost.
            {"held": "grant"} if leased_until is not None else {},
        )
        committed = self._write(
            "transact_write_items",
            f"commit wave {wave.wave} of job {job_id}",
            TransactItems=[
                {"Update": {"TableName": self._table, "Key": job_key(job_id), **update}},
                {
                    "Put": {
                        "TableName": self._table,
                        "Item": to_item(wave, **job_key_text(job_id, f"WAVE#{wave.wave:08d}")),
                    }
                },
            ],
        )
        row = self.load(job_id)
        if row.generation != generation or row.status != "RUNNING" or row.wave < wave.wave:
            raise Superseded(
                f"wave {wave.wave} of job {job_id} was not committed: another generation, or its end, came first"
            )
        if not committed and row.wave > wave.wave:
            raise Superseded(f"wave {wave.wave} of job {job_id} was committed by somebody who has gone on since")
        return row

    def rest(
        self, job_id: str, generation: int, status: Status, reason: str, ended: str | None, desired: Desired
    ) -> bool:
        """The job rests: paused, cancelled, or at its cost cap; False when people want something else by now."""
        changes: dict[str, Any] = {"status": status, "rest_reason": reason}
        if ended is not None:
            changes["ended"] = ended
        condition = "#generation = :mine AND #status = :running AND #desired = :desired"
        values = {":mine": generation, ":running": "RUNNING", ":desired": desired}
        if self._update(job_id, changes, condition, values):
            return True
        row = self.load(job_id)
        if row.generation != generation or row.status not in ("RUNNING", status):
            raise Superseded(f"generation {generation} of job {job_id} is not the one that carries it")
        return row.status == status

    def succeed(self, job_id: str, generation: int, ended: str, cost_usd: float, result: dict[str, Any]) -> bool:
        """RUNNING to SUCCEEDED; False when somebody else has done it before. Raises `Superseded`."""
        # An error that a retry has overcome is none of the job's.
        changes = {"status": "SUCCEEDED", "ended": ended, "cost_usd": cost_usd, "result": result, "error": None}
        mine = {":mine": generation, ":running": "RUNNING"}
        if self._update(job_id, changes, "#generation = :mine AND #status = :running", mine):
            return True
        row = self.load(job_id)
        if row.generation != generation or row.status != "SUCCEEDED":
            raise Superseded(f"generation {generation} of job {job_id} is not the one that carries it")
        return row.ended == ended  # boto3 sends a write again whose answer was lost

    def fail(self, job_id: str, generation: int, ended: str, error: dict[str, Any]) -> bool:
        """RUNNING or WAITING to FAILED; False when the row is another generation's, or the job has end or result."""
        return self._update(
            job_id,
            {"status": "FAILED", "ended": ended, "error": error},
            # A generation that died before its first act never took the row: it is still the one before's.
            "(#generation = :mine OR #generation = :before) AND #status IN (:waiting, :running) "
            "AND attribute_not_exists(#ending)",
            {":mine": generation, ":before": generation - 1, ":waiting": "WAITING", ":running": "RUNNING"},
        )

    def note_error(self, job_id: str, generation: int, error: dict[str, Any]) -> None:
        """Keep an error's data until the job is marked; losing the condition does nothing."""
        mine = {":mine": generation, ":running": "RUNNING"}
        self._update(job_id, {"error": error}, "#generation = :mine AND #status = :running", mine)

    def desire(self, job_id: str, desired: Desired) -> bool:
        """What people want of a running job; False when it does not run."""
        return self._update(job_id, {"desired": desired}, "#status = :running", {":running": "RUNNING"})

    def adjust(self, job_id: str, changes: dict[str, Any]) -> bool:
        """Change bounds of a job that waits, runs or rests; False when it has ended."""
        statuses = {":waiting": "WAITING", ":running": "RUNNING", ":paused": "PAUSED"}
        return self._update(job_id, changes, "#status IN (:waiting, :running, :paused)", statuses)

    def turn(self, before: JobRow, changes: dict[str, Any], history: GenerationRow | None = None) -> bool:
        """Change a row that no execution carries; False when it is not as before."""
        seen = {":before": before.status, ":mine": before.generation}
        update = update_arguments(changes, "#status = :before AND #generation = :mine", seen)
        writes: list[dict[str, Any]] = [{"Update": {"TableName": self._table, "Key": job_key(before.job_id), **update}}]
        if history is not None:
            item = to_item(history, **job_key_text(before.job_id, f"GEN#{history.generation:06d}"))
            writes.append({"Put": {"TableName": self._table, "Item": item}})
        return self._write("transact_write_items", f"change job {before.job_id}", TransactItems=writes)

    def by_status(self, status: Status, *, newest_first: bool = False) -> Iterator[JobRow]:
        """Jobs of a status, oldest first unless said otherwise."""
        yield from self._query(
            JobRow,
            IndexName=_INDEX,
            KeyConditionExpression="#status = :status",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":status": to_value(status)},
            ScanIndexForward=not newest_first,
        )

    def forget(self, job_id: str) -> None:
        """Delete the job's row and its history; the row last, because it is what finds the rest."""
        history = [f"GEN#{g.generation:06d}" for g in self.generations(job_id)]
        history += [f"WAVE#{w.wave:08d}" for w in self.waves(job_id)]
        for sk in (*history, "JOB"):
            self._write("delete_item", f"forget job {job_id}", Key=job_key(job_id, sk))

    def waves(self, job_id: str) -> Iterator[WaveRow]:
        """A job's waves, in order."""
        yield from self._history(job_id, "WAVE#", WaveRow)

    def generations(self, job_id: str) -> Iterator[GenerationRow]:
        """A job's generations, in order."""
        yield from self._history(job_id, "GEN#", GenerationRow)

    def _history[T: msgspec.Struct](self, job_id: str, prefix: str, kind: type[T]) -> Iterator[T]:
        yield from self._query(
            kind,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
            ExpressionAttributeValues={":pk": to_value(f"JOB#{job_id}"), ":prefix": to_value(prefix)},
        )

    def _query[T: msgspec.Struct](self, kind: type[T], **arguments: Any) -> Iterator[T]:
        try:
            for page in self._client.get_paginator("query").paginate(TableName=self._table, **arguments):
                for item in page["Items"]:
                    yield from_item(item, kind)
        except (ClientError, BotoCoreError) as error:
            failures.raise_named(error, f"query table {self._table}")

    def _update(self, job_id: str, changes: dict[str, Any], condition: str, values: dict[str, Any]) -> bool:
        return self._write(
            "update_item", f"update job {job_id}", Key=job_key(job_id), **update_arguments(changes, condition, values)
        )

    def _write(self, operation: str, what: str, **arguments: Any) -> bool:
        """A conditional write; False when its condition did not hold."""
        if operation != "transact_write_items":
            arguments["TableName"] = self._table
        try:
            getattr(self._client, operation)(**arguments)
        except ClientError as error:
            if failures.is_condition_failed(error):
                return False
            failures.raise_named(error, what)
        except BotoCoreError as error:
            failures.raise_named(error, what)
        return True
