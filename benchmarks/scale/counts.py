"""The pipeline of the jobs at scale: how many records, and how many bytes they have."""

from collections.abc import Iterable, Iterator
from typing import Any


class Counts:
    """A list of the two: a partial that does not grow."""

    def start(self, context: object) -> list[int]:  # noqa: ARG002 - the counts of all objects add up
        """Nothing yet."""
        return [0, 0]

    def apply(self, partial: list[int], record: bytes) -> list[int]:
        """One more."""
        partial[0] += 1
        partial[1] += len(record)
        return partial

    def merge(self, left: list[int], right: Iterable[int]) -> list[int]:
        """Both."""
        return [a + b for a, b in zip(left, right, strict=True)]

    def finish(self, total: list[int]) -> Iterator[dict[str, Any]]:
        """One row."""
        yield {"records": total[0], "bytes": total[1]}
