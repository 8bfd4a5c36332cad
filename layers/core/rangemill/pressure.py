"""How hard AWS presses back: throttled answers are counted in the workers and lower the concurrency of later waves.

Additive increase, multiplicative decrease: what persists halves the bound, what has stopped raises it by a step, until
the job has all the workers again that it may have. Pure but for the counters.
"""

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from rangemill.errors import is_transient
from rangemill.limits import BOUND_LOWEST_PART, BOUND_STEPS, THROTTLED_MIN_ANSWERS, THROTTLED_SHARE
from rangemill.messages import OutcomeHeader, Verdict


@dataclass
class Pressure:
    """Answers that this process got from S3 and DynamoDB, and how many of them were throttling or a server's error.

    Every answer counts, also one whose request boto3 made again by itself.
    """

    answers: int = 0
    throttled: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)  # workers read by threads

    def note(self, *, throttled: bool) -> None:
        """One more answer."""
        with self._lock:
            self.answers += 1
            self.throttled += throttled

    def read(self) -> tuple[int, int]:
        """(answers, throttled ones) so far."""
        with self._lock:
            return self.answers, self.throttled

    def since(self, before: tuple[int, int]) -> dict[str, Any]:
        """`answers` and `throttled` that came after what `read` said before: fields of outcomes and verdicts."""
        answers, throttled = self.read()
        return {"answers": answers - before[0], "throttled": throttled - before[1]}


@dataclass
class WavePressure:
    """What the workers of a wave met, all together."""

    answers: int = 0
    throttled: int = 0
    slots: int = 0
    throttled_slots: int = 0  # that came to no outcome for throttling or a service's error

    def outcome(self, header: OutcomeHeader) -> None:
        """A slot that came to its outcome."""
        self.slots += 1
        self.answers += header.answers
        self.throttled += header.throttled

    def missing(self, verdict: Verdict | None) -> None:
        """A slot without an outcome; its worker may not even have begun (Lambda throttles as well)."""
        self.slots += 1
        if verdict is None:
            return
        self.answers += verdict.answers
        self.throttled += verdict.throttled
        retryable = verdict.error is not None and bool(verdict.error.get("retryable"))
        self.throttled_slots += retryable or (verdict.error is None and is_transient(verdict.Error or ""))

    @property
    def persists(self) -> bool:
        """Whether that was more than requests that are made again by themselves put right."""
        many = self.throttled >= THROTTLED_MIN_ANSWERS and self.throttled > self.answers * THROTTLED_SHARE
        return many or self.throttled_slots > self.slots * THROTTLED_SHARE


def next_bound(pressure: WavePressure, own_workers: int, wave_workers: int, bound: int | None) -> int | None:
    """How many workers the next wave may have at most; None: as many as the job may have.

    `own_workers` is what the job may have, `wave_workers` what the wave had, `bound` what it was held to. At the lowest
    bound the next wave has a step more even if it was throttled: what does not pass with so few workers is not their
    doing, and must not hold the job down for ever.
    """
    lowest = max(1, own_workers // BOUND_LOWEST_PART)
    step = max(1, own_workers // BOUND_STEPS)
    before = own_workers if bound is None else bound
    if pressure.persists and before > lowest:
        return max(lowest, min(before, wave_workers) // 2)
    raised = before + step
    return None if raised >= own_workers else raised
