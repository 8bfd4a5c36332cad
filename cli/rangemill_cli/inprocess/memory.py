"""The in-process gateways, all of them.

gateways = in_memory(objects)
objects.put("bucket", "key", b"a\\nb\\n")
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from rangemill.gateways import Gateways, Objects
from rangemill_cli.inprocess.files import LocalFiles
from rangemill_cli.inprocess.jobs import MemoryJobs
from rangemill_cli.inprocess.objects import MemoryObjects

__all__ = [
    "LocalFiles",
    "MemoryExecutions",
    "MemoryJobs",
    "MemoryObjects",
    "MemoryStore",
    "NoNotices",
    "in_memory",
]


class MemoryStore:
    """`gateways.Store` in memory; other buckets' keys are kept by their `s3://` URI."""

    def __init__(self, bucket: str = "work") -> None:
        self._bucket = bucket
        self._bodies: dict[str, bytes] = {}
        self._lock = Lock()

    @property
    def bucket(self) -> str:
        """The work bucket's name."""
        return self._bucket

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
        """The bytes under a key, or those of `[start, end)`; None when there is nothing."""
        body = self._bodies.get(self.uri(key))
        return body if body is None or span is None else body[span[0] : span[1]]

    def put(self, key: str, body: bytes) -> None:
        """Put, over whatever was there."""
        with self._lock:
            self._bodies[self.uri(key)] = body

    def put_once(self, key: str, body: bytes) -> bool:
        """Put if nothing is there; False when somebody was first."""
        with self._lock:
            if self.uri(key) in self._bodies:
                return False
            self._bodies[self.uri(key)] = body
            return True

    def delete_below(self, prefix: str) -> int:
        """Delete every key of the work bucket that begins so; how many there were."""
        found = self.keys(prefix)
        with self._lock:
            for key in found:
                del self._bodies[self.uri(key)]
        return len(found)

    def uri(self, key: str) -> str:
        """`s3://bucket/key`."""
        return key if key.startswith("s3://") else f"s3://{self._bucket}/{key}"

    def keys(self, prefix: str = "") -> list[str]:
        """All keys of the work bucket under a prefix, sorted."""
        own = f"s3://{self._bucket}/"
        with self._lock:
            names = [uri.removeprefix(own) for uri in self._bodies if uri.startswith(own)]
        return sorted(name for name in names if name.startswith(prefix))


@dataclass
class MemoryExecutions:
    """`gateways.Executions` in memory; whoever plays the machine says how many events each step was worth."""

    _events: dict[str, int] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)

    def event_count(self, execution_arn: str) -> int:
        """The number of events said so far."""
        return self._events[execution_arn]

    def start(self, job_id: str, generation: int) -> str:
        """Start the generation's execution, or find it started; its ARN."""
        execution_arn = f"in-process:execution:{job_id}-g{generation}"
        self._events.setdefault(execution_arn, 1)
        return execution_arn

    def status(self, job_id: str, generation: int) -> str | None:
        """`RUNNING` for all that were started, unless `ended` says otherwise."""
        execution_arn = f"in-process:execution:{job_id}-g{generation}"
        return self.ended.get(execution_arn, "RUNNING") if execution_arn in self._events else None

    def add_events(self, execution_arn: str, events: int) -> None:
        """Let the history grow."""
        self._events[execution_arn] = self._events.get(execution_arn, 1) + events

    @property
    def started(self) -> list[str]:
        """The ARNs of all executions, in order of their start."""
        return list(self._events)


@dataclass
class NoNotices:
    """`gateways.Notices` for nobody; what would have been published is kept."""

    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def publish(self, subject: str, body: dict[str, Any]) -> None:
        """Keep the notice."""
        self.published.append((subject, body))


def utc_now() -> datetime:
    """The clock: UTC."""
    return datetime.now(UTC)


def in_memory(objects: Objects, clock: Callable[[], datetime] = utc_now) -> Gateways:
    """Gateways that leave nothing behind."""
    return Gateways(MemoryJobs(), MemoryStore(), objects, MemoryExecutions(), NoNotices(), clock)
