"""When a worker stops at the next record boundary: its deadline nears, or its job should rest."""

import time
from collections.abc import Callable

from rangemill.errors import Transient
from rangemill.gateways import Jobs
from rangemill.limits import LOOK_EVERY_SECONDS, STOP_MARGIN_MS
from rangemill.messages import ApplyMessage


class StopSignal:
    """Asked after every block; looks at the job row every few seconds and remembers a yes.

    should_stop = StopSignal(message, jobs, context.get_remaining_time_in_millis)
    """

    def __init__(
        self,
        message: ApplyMessage,
        jobs: Jobs,
        remaining_ms: Callable[[], int],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._message = message
        self._jobs = jobs
        self._remaining_ms = remaining_ms
        self._seconds = seconds
        self._next_look = seconds()  # the first look is after the first block: a slot may be over in seconds
        self._stops = False

    def __call__(self) -> bool:
        """Whether to stop now. Raises what reading the row raises, except for `Transient`: the next look will tell."""
        if not self._stops:
            self._stops = self._remaining_ms() < STOP_MARGIN_MS or (self._is_time_to_look() and self._job_rests())
        return self._stops

    def _is_time_to_look(self) -> bool:
        now = self._seconds()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_EVERY_SECONDS
        return True

    def _job_rests(self) -> bool:
        try:
            row = self._jobs.load(self._message.job_id)
        except Transient:
            return False
        if row.desired != "run" or row.status != "RUNNING" or row.generation != self._message.generation:
            return True
        return row.held == 0  # its lease ran out and others have its workers
