"""Invocations: the real code in a thread of its own, which goes on from call to call as it is told.

Only one thread runs at a time, so that a history is the same under the same seed. Whoever is killed does nothing any
more: not even what its `finally` would have done.
"""

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from botocore.exceptions import ReadTimeoutError
from tests.simulator.dynamo import client_error

_CALL_SECONDS: Final = 0.02
_THROTTLES: Final = {
    "s3": ("SlowDown", 503),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "stepfunctions": ("ThrottlingException", 400),
    "sns": ("Throttling", 400),
    "lambda": ("TooManyRequestsException", 429),
}


class Killed(BaseException):
    """The process is gone. No `except Exception` sees it."""


class Surroundings(Protocol):
    """What an invocation needs of the world."""

    now: float
    running: "Invocation | None"

    def fault_of(self, invocation: "Invocation", service: str, operation: str, request: dict[str, Any]) -> str:
        """What goes wrong with that call: a kind of `faults.CALL_KINDS`, or nothing."""

    def answered(self, name: str, *, throttled: bool) -> None:
        """A service answered to a function."""


class Invocation:
    """One run of a function of the core, by a name, until a deadline (the world's seconds)."""

    def __init__(self, world: Surroundings, name: str, body: Callable[[], Any], seconds: float) -> None:
        self.name = name
        self.deadline = world.now + seconds
        self.calls = 0
        self.doomed: int | None = None  # how many calls it has left
        self.ended = False
        self.answer: Any = None
        self.error: BaseException | None = None
        self.died: str | None = None  # how its end is spelt
        self._world = world
        self._body = body
        self._budget = 0
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    def step(self, calls: int) -> None:
        """Let it go on for so many calls, or to its end."""
        self._budget = calls
        self._world.running, before = self, self._world.running
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name=self.name)
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()
        self._world.running = before
        if self.ended:
            self._thread.join()

    def run(self) -> Any:
        """To its end; what it answered. Raises what it raised."""
        while not self.ended:
            self.step(1_000_000)
        if self.error is not None:
            raise self.error
        return self.answer

    def kill(self, spelling: str = "Lambda.Unknown") -> None:
        """From outside: it does nothing any more."""
        if not self.ended:
            self.died = self.died or spelling
            if self._thread is None:
                self.ended = True
                self.error = Killed()
            else:
                while not self.ended:
                    self.step(1_000_000)

    def die(self, spelling: str) -> None:
        """From within: out of memory, a crash."""
        self.died = self.died or spelling
        raise Killed

    def require_alive(self) -> None:
        """Raise `Killed` when it is dead, or its time is up."""
        if self.died is None and self._world.now >= self.deadline:
            self.died = "Sandbox.Timedout"
        if self.died is not None:
            raise Killed

    def pause(self) -> None:
        """Let others go on, unless it may go on itself."""
        self.require_alive()
        self._budget -= 1
        if self._budget < 0:
            self._back.release()
            self._go.acquire()
            self._budget -= 1
        self.require_alive()

    def call(self, service: str, operation: str, request: dict[str, Any], effect: Callable[[], Any]) -> Any:
        """A call of a service, with what goes wrong before, during and after it."""
        self.pause()
        self._world.now += _CALL_SECONDS
        self.require_alive()
        self.calls += 1
        if self.doomed is not None and self.calls > self.doomed:
            self.die("Runtime.ExitError")
        fault = self._world.fault_of(self, service, operation, request)
        self._world.answered(self.name, throttled=fault == "throttled")
        if fault == "killed before":
            self.die("Lambda.Unknown")
        if fault == "throttled":
            code, status = _THROTTLES[service]
            raise client_error(operation, code, status=status)
        if fault == "conflict":
            if operation == "transact_write_items":
                reasons = [{"Code": "TransactionConflict"}]
                raise client_error(operation, "TransactionCanceledException", CancellationReasons=reasons)
            raise client_error(operation, "ConditionalRequestConflict", status=409)
        answer = effect()
        if fault == "repeated":  # the answer was lost, and botocore asks again: the effect is there twice
            answer = effect()
        if fault == "killed after":
            self.die("Lambda.Unknown")
        if fault == "unanswered":
            raise ReadTimeoutError(endpoint_url=service)
        return answer

    def _run(self) -> None:
        try:
            self.answer = self._body()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it looks at it
            self.error = error
        finally:
            self.ended = True
            self._back.release()
