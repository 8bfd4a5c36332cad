"""The state machine, walked as `statemachines/job.asl.yaml` has it, with the events that its history would have."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from benchmarks.scale.gateways import MeasuredStore
from rangemill import aggregate, fetch, finish, messages, plan, states
from rangemill.aggregate import Machine
from rangemill.gateways import Gateways
from rangemill.limits import CONTEXT_MAX_BYTES
from rangemill.messages import ApplyMessage, CodeIdentity, Context, SlotItem, StateMessage
from rangemill.plan import Defaults
from rangemill_cli.inprocess.memory import MemoryExecutions

ASL: Final[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[2] / "statemachines" / "job.asl.yaml").read_text())[
    "States"
]
CODE: Final = CodeIdentity("core", "pipelines", "dependencies")
MACHINE: Final = Machine(memory_mb=1769, architecture="arm64")
START_EVENTS: Final = 1  # ExecutionStarted
RETRY_EVENTS: Final = 3  # of a task: failed, scheduled, started; of a Map: map run failed, map started, run started
# Entered, scheduled, started, succeeded, exited; entered, map started, run started, run succeeded, map succeeded,
# exited; entered, exited; entered, exited, and the execution's own last event.
_EVENTS: Final = {"Task": 5, "Map": 6, "Choice": 2, "Succeed": 3, "Fail": 2}


def events_of(name: str) -> int:
    """Events that a state adds to the history when nothing fails."""
    state = ASL[name]
    return _EVENTS[state["Type"]] + (1 if state.get("End") else 0)


def retries_of(name: str) -> int:
    """How often the machine repeats a state at most: each of its retriers counts for itself."""
    return sum(rule["MaxAttempts"] for rule in ASL[name].get("Retry", []))


def worst_of(*names: str) -> int:
    """Events that the states add when each is repeated as often as it may be."""
    return sum(events_of(name) + RETRY_EVENTS * retries_of(name) for name in names)


@dataclass
class Timing:
    """CPU seconds of a state's steps, by wave."""

    seconds: list[float] = field(default_factory=list)

    def part(self, numerator: int, parts: int) -> float:
        """The median of a part of the waves, in seconds."""
        every = len(self.seconds)
        first = every * numerator // parts
        chosen = sorted(self.seconds[first : max(first + 1, every * (numerator + 1) // parts)])
        return chosen[len(chosen) // 2]


@dataclass
class Walker:
    """Carries a job to its end over all its generations.

    `repeats` says how many tries of a state fail before the one that counts; of those that failed the last one did all
    of its work, and only its answer was lost.
    """

    gateways: Gateways
    defaults: Defaults
    work: Callable[[ApplyMessage], None]
    repeats: Callable[[str, int], int] = lambda _state, _wave: 0
    before_state: Callable[[str, StateMessage], None] = lambda _state, _message: None
    kept_waves: int = 0  # whose outcomes may still be waited for
    events: list[int] = field(default_factory=list)  # by generation
    transitions: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    largest_payload_bytes: int = 0
    timings: dict[str, Timing] = field(default_factory=lambda: defaultdict(Timing))

    def run(self, job_id: str) -> None:
        """From the first generation to the last; raises what no Retry helps."""
        context: Context | None = Context(job_id, self.gateways.jobs.load(job_id).generation)
        while context is not None:
            execution = self.gateways.executions.start(job_id, context.generation)
            context = self._execute(context, execution)

    def _execute(self, context: Context, execution: str) -> Context | None:
        """One execution; the context that the next generation begins with, or None at the end."""
        self.events.append(0)
        self._count(execution, START_EVENTS - 1)  # the executions' gateway has counted the first one
        self.events[-1] = START_EVENTS
        name: str | None = "Plan"
        following: Context | None = None
        while name is not None:
            state = ASL[name]
            self.transitions[name] += 1
            self._payload(messages.encode(context))
            # A Map and a Choice know of the wave by the context; Fetch makes the next one.
            wave = context.wave + (name == "Fetch")
            repeats = self.repeats(name, wave)
            self._count(execution, events_of(name) + RETRY_EVENTS * repeats)
            if state["Type"] == "Choice":
                name = _chosen(state, context)
                continue
            if name == "Apply":
                self._map(context)
            elif name == "ExecuteNew":
                following = Context(context.job_id, context.next_generation)
            elif state["Type"] == "Task":
                context = self._task(name, context, execution, wave, repeats)
            name = state.get("Next")
        return following

    def _task(self, name: str, context: Context, execution: str, wave: int, repeats: int) -> Context:
        store = self.gateways.store
        message = msgspec.json.decode(messages.encode(StateMessage(context, execution)), type=StateMessage)
        self._payload(messages.encode(message))
        self.before_state(name, message)
        if isinstance(store, MeasuredStore):
            store.state, store.wave = name, wave
        found = context
        for number in range(min(repeats, 1) + 1):
            began = time.process_time()
            found = states.guarded(partial(self.step, name, message, f"{number}"), context, self.gateways)
            self.timings[name].seconds.append(time.process_time() - began)
        if isinstance(store, MeasuredStore) and name == "Aggregate":
            store.forget(wave - 1 - self.kept_waves)
        return msgspec.json.decode(messages.encode(found), type=Context)

    def step(self, name: str, message: StateMessage, attempt: str) -> Context:
        """What the state's function does. Raises what it raises."""
        context = message.context
        attempt = f"{name[0].lower()}{context.generation}-{attempt:0>8}"
        match name:
            case "Plan":
                return plan.run(message, self.gateways, self.defaults, CODE)
            case "Fetch":
                return fetch.run(message, self.gateways, attempt)
            case "Aggregate":
                return aggregate.run(message, self.gateways, CODE, MACHINE, attempt)
            case "Finish":
                return finish.run(message, self.gateways, CODE)
        raise ValueError(name)

    def _map(self, context: Context) -> None:
        store = self.gateways.store
        if isinstance(store, MeasuredStore):
            store.state, store.wave = "Apply", context.wave
        body = store.get(context.map.key) if context.map is not None else None
        for item in msgspec.json.decode(body or b"[]", type=list[SlotItem]):
            message = ApplyMessage(context.job_id, context.generation, context.wave, item)
            self._payload(messages.encode(message))
            self.work(message)

    def _payload(self, body: bytes) -> None:
        self.largest_payload_bytes = max(self.largest_payload_bytes, len(body))
        if len(body) > CONTEXT_MAX_BYTES:
            raise ValueError(f"{len(body)} bytes pass between states: {body.decode()}")

    def _count(self, execution: str, events: int) -> None:
        if isinstance(self.gateways.executions, MemoryExecutions):
            self.gateways.executions.add_events(execution, events)
        self.events[-1] += events


def _chosen(state: dict[str, Any], context: Context) -> str:
    for choice in state["Choices"]:
        if choice["Variable"] == "$.next" and choice["StringEquals"] == context.next:
            return str(choice["Next"])
    return str(state["Default"])
