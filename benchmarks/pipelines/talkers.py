"""The user's code of the comparisons over the access log: plain, as somebody would write it; also run by the peers."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

Counts = dict[bytes, list[int]]

TOP: Final = 100


class Talkers:
    """Requests and refusals by client address."""

    def start(self, context: Any) -> Counts:
        return {}

    def apply(self, partial: Counts, record: bytes) -> Counts:
        address, _, rest = record.partition(b" ")
        seen = partial.get(address)
        if seen is None:
            seen = partial[address] = [0, 0]
        seen[0] += 1
        if rest.partition(b'" ')[2] >= b"400":
            seen[1] += 1
        return partial

    def merge(self, left: Counts, right: Counts) -> Counts:
        for address, (requests, refusals) in right.items():
            seen = left.setdefault(address, [0, 0])
            seen[0] += requests
            seen[1] += refusals
        return left

    def finish(self, total: Counts) -> Iterator[dict[str, object]]:
        ranking = sorted(total.items(), key=lambda item: (-item[1][0], item[0]))
        for address, (requests, refusals) in ranking[:TOP]:
            yield {"address": address.decode(), "requests": requests, "refusals": refusals}


class TalkersBatch:
    """The same, a block at a time."""

    start = Talkers.start
    merge = Talkers.merge
    finish = Talkers.finish

    def apply_batch(self, partial: Counts, records: Iterable[bytes]) -> Counts:
        for record in records:
            address, _, rest = record.partition(b" ")
            seen = partial.get(address)
            if seen is None:
                seen = partial[address] = [0, 0]
            seen[0] += 1
            if rest.partition(b'" ')[2] >= b"400":
                seen[1] += 1
        return partial


class Nothing:
    """A job that does nothing."""

    def start(self, context: Any) -> int:
        return 0

    def apply_batch(self, partial: int, records: Iterable[bytes]) -> int:
        return partial

    def merge(self, left: int, right: int) -> int:
        return left

    def finish(self, total: int) -> Iterator[dict[str, object]]:
        return iter(())
