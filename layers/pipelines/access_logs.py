"""A pipeline in Python: requests, bytes and refusals per client address."""

from collections.abc import Iterator
from typing import Any

Talkers = dict[bytes, list[int]]


class TopTalkers:
    """The clients that asked most often. A partial maps an address to [requests, refusals, bytes sent]."""

    TOP = 20

    def start(self, context: Any) -> Talkers:
        """Nothing was seen yet."""
        return {}

    def apply(self, partial: Talkers, record: bytes) -> Talkers:
        """`203.0.113.7 - - [date] "GET /path HTTP/1.1" 200 5120 "referer" "agent"`."""
        address, _, rest = record.partition(b" ")
        status, _, sent = rest.partition(b'" ')[2].partition(b" ")
        seen = partial.get(address)
        if seen is None:
            seen = partial[address] = [0, 0, 0]
        seen[0] += 1
        if status >= b"400":
            seen[1] += 1
        size = sent.partition(b" ")[0]
        if size.isdigit():
            seen[2] += int(size)
        return partial

    def merge(self, left: Talkers, right: Talkers) -> Talkers:
        """Add up; `left` may be changed, `right` may not."""
        for address, (requests, refusals, size) in right.items():
            seen = left.setdefault(address, [0, 0, 0])
            seen[0] += requests
            seen[1] += refusals
            seen[2] += size
        return left

    def finish(self, total: Talkers) -> Iterator[dict[str, object]]:
        """The first ones by requests, then by address."""
        ranking = sorted(total.items(), key=lambda item: (-item[1][0], item[0]))
        for address, (requests, refusals, size) in ranking[: self.TOP]:
            yield {
                "address": address.decode("ascii", "replace"),
                "requests": requests,
                "refused": refusals,
                "bytes": size,
            }
