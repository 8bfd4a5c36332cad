"""The state machine as a loop: the same steps in the same order as `statemachines/job.asl.yaml`, on the same core.

row = run_job(request, gateways, in_this_process(gateways, identity), identity)
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from rangemill import abandon, admission, aggregate, fetch, finish, plan, states
from rangemill import apply as apply_state
from rangemill.abandon import Failure
from rangemill.aggregate import Machine
from rangemill.errors import RangemillError, Superseded
from rangemill.gateways import Gateways
from rangemill.limits import CONCURRENCY, HISTORY_BUDGET_EVENTS, RANGE_BYTES
from rangemill.messages import (
    ApplyMessage,
    CodeIdentity,
    Context,
    JobRequest,
    JobRow,
    SlotItem,
    StateMessage,
    Verdict,
    encode,
)
from rangemill.plan import Defaults
from rangemill_cli.inprocess.memory import MemoryExecutions

type WaveRunner = Callable[[list[ApplyMessage]], None]
type Watcher = Callable[[JobRow], None]
type ShouldStop = Callable[[], bool]

DEFAULTS: Final = Defaults(RANGE_BYTES, CONCURRENCY, HISTORY_BUDGET_EVENTS)
MACHINE: Final = Machine(memory_mb=1769, architecture="arm64")
# Events that each state adds to a history on AWS: a Lambda task five, a Choice two, a distributed Map six.
_EVENTS: Final = {"Plan": 5, "MorePlan?": 2, "Fetch": 5, "Apply": 6, "Aggregate": 5, "Decide": 2, "Finish": 5}
_SLOTS_A_WORKER: Final = 8  # they cost nothing here, and all workers end together
_TRANSIENT_TRIES: Final = 8
_BACKOFF_SECONDS: Final = 2.0
_BACKOFF_MAX_SECONDS: Final = 60.0


def in_this_process(gateways: Gateways, identity: CodeIdentity, should_stop: ShouldStop = lambda: False) -> WaveRunner:
    """A Map without workers: slot after slot, here."""

    def apply_wave(messages: list[ApplyMessage]) -> None:
        for message in messages:
            apply_slot(message, gateways, identity, should_stop)

    return apply_wave


def apply_slot(message: ApplyMessage, gateways: Gateways, identity: CodeIdentity, should_stop: ShouldStop) -> None:
    """One child of the Map: an outcome, or a verdict. Never raises an `Exception`."""
    try:
        apply_state.run(message, gateways, identity, should_stop)
    except Exception as error:  # noqa: BLE001 - as the state machine's Catch: the verdict names it
        cause = msgspec.json.encode({"errorType": type(error).__name__, "errorMessage": str(error)}).decode()
        verdict = Verdict(Error=type(error).__name__, Cause=cause)
        gateways.store.put(message.item.verdict_key, encode(verdict))


def run_job(
    request: JobRequest,
    gateways: Gateways,
    apply_wave: WaveRunner,
    identity: CodeIdentity,
    *,
    defaults: Defaults = DEFAULTS,
    machine: Machine = MACHINE,
    watch: Watcher = lambda _: None,
) -> JobRow:
    """Carry a job to its end, or to its rest, over all its generations; the row as it then stands.

    `watch` sees the row after every commit. Only what is no `Exception` (a keyboard's interrupt) comes out.
    """
    admission.create_job(request, gateways)
    generation: int | None = gateways.jobs.load(request.job_id).generation
    while generation is not None:
        execution_arn = gateways.executions.start(request.job_id, generation)
        execution = _Execution(gateways, apply_wave, identity, defaults, machine, watch, execution_arn)
        generation = execution.run(Context(request.job_id, generation))
    return gateways.jobs.load(request.job_id)


@dataclass(frozen=True, slots=True)
class _Execution:
    """One execution of the machine."""

    gateways: Gateways
    apply_wave: WaveRunner
    identity: CodeIdentity
    defaults: Defaults
    machine: Machine
    watch: Watcher
    execution_arn: str

    def run(self, context: Context) -> int | None:
        """Go through the states; the generation that takes over, or None at the end."""
        try:
            last = self._through(context)
        except Superseded:
            return None
        except Exception as error:  # noqa: BLE001 - as States.ALL in Catch: Abandon names it in the row
            self._abandon(context, error)
            return None
        return last.next_generation if last.next == "EXECUTE_NEW" else None

    def _through(self, context: Context) -> Context:
        context = self._plan(context)
        while context.next == "FETCH":
            context = self._state(
                "Fetch",
                context,
                lambda m: fetch.run(m, self.gateways, self._attempt(m.context, "f"), slots_a_worker=_SLOTS_A_WORKER),
            )
            self._map(context)
            context = self._state(
                "Aggregate",
                context,
                lambda m: aggregate.run(m, self.gateways, self.identity, self.machine, self._attempt(m.context, "a")),
            )
            self._count("Decide")
            self.watch(self.gateways.jobs.load(context.job_id))
        if context.next == "FINISH":
            return self._state("Finish", context, lambda m: finish.run(m, self.gateways, self.identity))
        return context

    def _plan(self, context: Context) -> Context:
        while True:
            context = self._state("Plan", context, lambda m: plan.run(m, self.gateways, self.defaults, self.identity))
            self._count("MorePlan?")
            if context.next != "MORE_PLAN":
                self.watch(self.gateways.jobs.load(context.job_id))
                return context

    def _map(self, context: Context) -> None:
        self._count("Apply")
        body = self.gateways.store.get(context.map.key) if context.map is not None else None
        items = msgspec.json.decode(body or b"[]", type=list[SlotItem])
        self.apply_wave([ApplyMessage(context.job_id, context.generation, context.wave, item) for item in items])

    def _state(self, name: str, context: Context, step: Callable[[StateMessage], Context]) -> Context:
        """A Task: what is transient is tried again, as the machine does it."""
        message = StateMessage(context, self.execution_arn)
        for attempt in range(_TRANSIENT_TRIES + 1):
            self._count(name)
            try:
                return states.guarded(lambda: step(message), context, self.gateways)
            except RangemillError as error:
                if not error.retryable or attempt == _TRANSIENT_TRIES:
                    raise
            time.sleep(random.uniform(0, min(_BACKOFF_SECONDS * 2**attempt, _BACKOFF_MAX_SECONDS)))  # noqa: S311
        raise RuntimeError(name)

    def _attempt(self, context: Context, kind: str) -> str:
        return f"{kind}{context.generation}-{random.getrandbits(32):08x}"

    def _count(self, state: str) -> None:
        executions = self.gateways.executions
        if isinstance(executions, MemoryExecutions):
            executions.add_events(self.execution_arn, _EVENTS[state])

    def _abandon(self, context: Context, error: Exception) -> None:
        name, message = type(error).__name__, getattr(error, "message", str(error))
        cause = msgspec.json.encode({"errorType": name, "errorMessage": message}).decode()
        abandon.run(Failure(context.job_id, context.generation, name, cause), self.gateways)
