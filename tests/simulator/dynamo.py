"""A table as boto3's DynamoDB client shows it: conditions, transactions, and an index that comes after the writes."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from botocore.exceptions import ClientError
from tests.simulator.expressions import Item, Unsupported, holds, require_used, updated

type Call = Callable[[str, str, dict[str, Any], Callable[[], Any]], Any]

_PAGE_ITEMS: Final = 7  # small, so that paging is met
_INDEX: Final = "by-status"
_ALLOWED: Final = {
    "put_item": {"Item", "ConditionExpression"},
    "get_item": {"Key", "ConsistentRead"},
    "update_item": {"Key", "UpdateExpression", "ConditionExpression", "ReturnValues"},
    "delete_item": {"Key", "ConditionExpression"},
    "query": {
        "IndexName",
        "KeyConditionExpression",
        "FilterExpression",
        "ScanIndexForward",
        "ConsistentRead",
        "ExclusiveStartKey",
        "Limit",
        "Select",
    },
}
_COMMON: Final = {"TableName", "ExpressionAttributeNames", "ExpressionAttributeValues"}


def client_error(operation: str, code: str, message: str = "", status: int = 400, **more: Any) -> ClientError:
    """An answer of a service that botocore turns into an exception."""
    response: Any = {
        "Error": {"Code": code, "Message": message or code},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, operation)


class Table:
    """The items, and what the index shows of them."""

    def __init__(self, lag: Callable[[], float], now: Callable[[], float]) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self._lag = lag
        self._now = now
        self._indexed: dict[tuple[str, str], Item] = {}
        self.wrong: list[str] = []
        self._coming: list[tuple[float, tuple[str, str], Item | None]] = []

    def write(self, key: tuple[str, str], item: Item | None) -> None:
        """Put or delete; the index is told later, in order."""
        self._judge(key, self.items.get(key), item)
        if item is None:
            self.items.pop(key, None)
        else:
            self.items[key] = item
        latest = self._coming[-1][0] if self._coming else 0.0
        self._coming.append((max(latest, self._now() + self._lag()), key, item))

    def _judge(self, key: tuple[str, str], before: Item | None, after: Item | None) -> None:
        """Keep what must never happen to a job's row: it goes back, or a generation writes that does not carry it."""
        if after is None:
            return
        if key[1] == "JOB" and before is not None:
            for name in ("generation", "wave"):
                if int(after[name]["N"]) < int(before[name]["N"]):
                    self.wrong.append(f"{key[0]} went back from {name} {before[name]['N']} to {after[name]['N']}")
        if key[1].startswith("WAVE#"):
            row = self.items[key[0], "JOB"]
            if after["generation"] != row["generation"]:
                self.wrong.append(f"generation {after['generation']['N']} committed {key} of {row['generation']['N']}")

    def indexed(self) -> dict[tuple[str, str], Item]:
        """The items as the index knows them by now."""
        while self._coming and self._coming[0][0] <= self._now():
            _, key, item = self._coming.pop(0)
            if item is None:
                self._indexed.pop(key, None)
            else:
                self._indexed[key] = item
        return self._indexed


class DynamoClient:
    """What `boto3.client("dynamodb")` is to the code under test. Every operation goes through `call`."""

    def __init__(self, table: Table, call: Call) -> None:
        self._table = table
        self._call = call

    def put_item(self, **request: Any) -> dict[str, Any]:
        """PutItem."""
        return self._call("dynamodb", "put_item", request, lambda: self._alone("put_item", request))

    def update_item(self, **request: Any) -> dict[str, Any]:
        """UpdateItem."""
        return self._call("dynamodb", "update_item", request, lambda: self._alone("update_item", request))

    def delete_item(self, **request: Any) -> dict[str, Any]:
        """DeleteItem."""
        return self._call("dynamodb", "delete_item", request, lambda: self._alone("delete_item", request))

    def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem; only consistent reads, since the code asks for nothing else."""
        _require_known("get_item", request)
        if not request.get("ConsistentRead"):
            raise Unsupported("a read that is not consistent")

        def read() -> dict[str, Any]:
            item = self._table.items.get(_key(request["Key"]))
            return {"Item": dict(item)} if item is not None else {}

        return self._call("dynamodb", "get_item", request, read)

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """All of it or nothing."""

        def write() -> dict[str, Any]:
            planned = [_planned(_operation(action), _body(action), self._table) for action in TransactItems]
            keys = [key for key, _, _ in planned]
            if len(set(keys)) < len(keys):
                raise client_error("TransactWriteItems", "ValidationException", "one item twice")
            if not all(ok for _, _, ok in planned):
                reasons = [{"Code": "None" if ok else "ConditionalCheckFailed"} for _, _, ok in planned]
                raise client_error("TransactWriteItems", "TransactionCanceledException", CancellationReasons=reasons)
            for key, item, _ in planned:
                if TransactItems[keys.index(key)].keys() != {"ConditionCheck"}:
                    self._table.write(key, item)
            return {}

        if len(TransactItems) > 100:
            raise client_error("TransactWriteItems", "ValidationException", "more than 100 actions")
        return self._call("dynamodb", "transact_write_items", {"TransactItems": TransactItems}, write)

    def query(self, **request: Any) -> dict[str, Any]:
        """One page. Of the index, as far as it has come."""
        _require_known("query", request)
        return self._call("dynamodb", "query", request, lambda: self._page(request))

    def get_paginator(self, operation: str) -> "_Pages":
        """Of `query`."""
        if operation != "query":
            raise Unsupported(operation)
        return _Pages(self.query)

    def _alone(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        key, item, ok = _planned(operation, request, self._table)
        if not ok:
            raise client_error(operation, "ConditionalCheckFailedException", "The conditional request failed")
        old = self._table.items.get(key)
        self._table.write(key, item)
        wanted = request.get("ReturnValues", "NONE")
        return {"Attributes": {"ALL_NEW": item, "ALL_OLD": old}[wanted] or {}} if wanted != "NONE" else {}

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        index = request.get("IndexName")
        if index not in (None, _INDEX):
            raise Unsupported(f"index {index}")
        if index is not None and request.get("ConsistentRead"):
            raise client_error("Query", "ValidationException", "Consistent reads are not supported on an index")
        source = self._table.items if index is None else self._table.indexed()
        used: set[str] = set()
        for text in (request["KeyConditionExpression"], request.get("FilterExpression")):
            holds(None, text, request, used)
        require_used(request, used)
        found = [
            item
            for item in source.values()
            if (index is None or ("status" in item and "created" in item))
            and holds(item, request["KeyConditionExpression"], request, used)
        ]
        found.sort(key=_sort_key(index), reverse=not request.get("ScanIndexForward", True))
        start = request.get("ExclusiveStartKey")
        if start is not None:
            after = [position for position, item in enumerate(found) if _key(item) == _key(start)]
            # Where the item is gone from the index by now, DynamoDB goes on behind its place; the place is in the key.
            found = found[after[0] + 1 :] if after else _behind(found, start, index, request)
        most = min(request.get("Limit", _PAGE_ITEMS), _PAGE_ITEMS)
        page, more = found[:most], len(found) > most
        shown = [dict(item) for item in page if holds(item, request.get("FilterExpression"), request, used)]
        answer: dict[str, Any] = {"Items": shown, "Count": len(shown)}
        if more:
            names = ("pk", "sk") if index is None else ("pk", "sk", "status", "created")
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in names}
        return answer


class _Pages:
    def __init__(self, query: Callable[..., dict[str, Any]]) -> None:
        self._query = query

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        """Page by page."""
        while True:
            page = self._query(**request)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _operation(action: dict[str, Any]) -> str:
    (name,) = action
    names = {"Put": "put_item", "Update": "update_item", "Delete": "delete_item", "ConditionCheck": "condition_check"}
    return names[name]


def _body(action: dict[str, Any]) -> dict[str, Any]:
    (body,) = action.values()
    return dict(body)


def _planned(operation: str, request: dict[str, Any], table: Table) -> tuple[tuple[str, str], Item | None, bool]:
    """Key, item after it, and whether the condition holds."""
    if operation != "condition_check":
        _require_known(operation, request)
    key = _key(request["Item"] if operation == "put_item" else request["Key"])
    before = table.items.get(key)
    used: set[str] = set()
    ok = holds(before, request.get("ConditionExpression"), request, used)
    after: Item | None = before
    if operation == "put_item":
        after = dict(request["Item"])
    elif operation == "delete_item":
        after = None
    elif operation == "update_item":
        base = before if before is not None else dict(request["Key"])
        after = updated(base, request["UpdateExpression"], request, used)
    require_used(request, used)
    return key, after, ok


def _require_known(operation: str, request: dict[str, Any]) -> None:
    unknown = request.keys() - _ALLOWED[operation] - _COMMON
    if unknown:
        raise Unsupported(f"{operation} with {sorted(unknown)}")


def _key(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _sort_key(index: str | None) -> Callable[[Item], tuple[str, ...]]:
    return (lambda item: (item["sk"]["S"],)) if index is None else (lambda item: (item["created"]["S"], *_key(item)))


def _behind(found: list[Item], start: Item, index: str | None, request: dict[str, Any]) -> list[Item]:
    place = _sort_key(index)
    if request.get("ScanIndexForward", True):
        return [item for item in found if place(item) > place(start)]
    return [item for item in found if place(item) < place(start)]
