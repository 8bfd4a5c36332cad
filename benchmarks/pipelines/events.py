"""The user's code of the comparison over JSON lines: the same sums from a declared struct and from `json.loads`."""

from collections.abc import Iterator
from typing import Any

import msgspec

Sums = dict[str, list[int]]


class Event(msgspec.Struct):
    """What is wanted of a line; it has more."""

    kind: str
    cents: int


class Events:
    """Events and cents by kind."""

    def start(self, context: Any) -> Sums:
        return {}

    def apply(self, partial: Sums, record: Event) -> Sums:
        seen = partial.get(record.kind)
        if seen is None:
            seen = partial[record.kind] = [0, 0]
        seen[0] += 1
        seen[1] += record.cents
        return partial

    def merge(self, left: Sums, right: Sums) -> Sums:
        for kind, (count, cents) in right.items():
            seen = left.setdefault(kind, [0, 0])
            seen[0] += count
            seen[1] += cents
        return left

    def finish(self, total: Sums) -> Iterator[dict[str, object]]:
        for kind, (count, cents) in sorted(total.items()):
            yield {"kind": kind, "events": count, "cents": cents}
