"""Executions of `statemachines/job.asl.yaml`: of the States Language what it uses; anything else is refused loudly.

An execution is a generator that yields what it waits for. Lambda functions are the world's invocations.
"""

import json
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from tests.simulator.expressions import Unsupported

ROOT: Final = Path(__file__).parents[2]
HISTORY_MAX_EVENTS: Final = 25_000
_PAYLOAD_MAX_BYTES: Final = 256 * 1024
_KNOWN: Final = {
    "Task": "Resource Parameters ResultSelector ResultPath OutputPath TimeoutSeconds Retry Catch Next End",
    "Choice": "Choices Default",
    "Map": "ItemReader ItemSelector MaxConcurrencyPath ToleratedFailurePercentage ItemProcessor ResultWriter "
    "ResultPath Retry Catch Next End",
    "Pass": "Result Next End ResultPath",
    "Succeed": "",
    "Fail": "ErrorPath CausePath",
}
_NOT_ALL: Final = ("States.DataLimitExceeded", "States.Runtime")


@cache
def definition() -> dict[str, Any]:
    """The machine as it is deployed."""
    text = (ROOT / "statemachines/job.asl.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\$\{(\w+)FunctionArn\}", r"\1", text).replace("${WorkBucket}", "work")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


class StateFailed(Exception):
    """An error of a state, by the name that Retry and Catch see."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.cause = cause


@dataclass(slots=True)
class Waiting:
    """What a walk waits for; `due` is the moment at which it is certain to go on."""

    is_over: Callable[[], bool]
    due: float | None = None


type Walking = Generator[Waiting, None, Any]


@dataclass(eq=False)
class Walk:
    """A way through states, one step at a time: an execution, or a child of its Map."""

    walking: Walking
    waiting: Waiting | None = None
    ended: bool = False

    def is_ready(self) -> bool:
        """Whether it can go on."""
        return not self.ended and (self.waiting is None or self.waiting.is_over())

    def step(self) -> None:
        """Go on until it waits again."""
        try:
            self.waiting = next(self.walking)
        except StopIteration:
            self.ended = True


@dataclass(eq=False)
class MapRun:
    """Children of a Map; of those that are not done, the first ones run."""

    children: list[Walk]
    concurrency: int

    def running(self) -> list[Walk]:
        """Who may go on."""
        left = [child for child in self.children if not child.ended]
        return left[: self.concurrency]

    def is_over(self) -> bool:
        """Whether all are done."""
        return all(child.ended for child in self.children)


@dataclass(eq=False)
class Execution:
    """An execution of the machine, in a world that invokes functions and keeps S3 (see `world.World`)."""

    world: Any
    arn: str
    name: str
    input_text: str
    status: str = "RUNNING"
    events: int = 1
    state: str = ""
    error: str | None = None
    cause: str | None = None
    map_run: MapRun | None = None
    worst_payload_bytes: int = 0
    _data: Any = None
    walk: Walk = field(init=False)

    def __post_init__(self) -> None:
        self.state, self._data = definition()["StartAt"], json.loads(self.input_text)
        self.walk = Walk(self._execute(self.state, self._data))

    @property
    def waits_due(self) -> Iterator[float]:
        """The moments at which some part of it goes on by itself."""
        for walk in (self.walk, *(self.map_run.running() if self.map_run else ())):
            if not walk.ended and walk.waiting is not None and walk.waiting.due is not None:
                yield walk.waiting.due

    def ready(self) -> list[Walk]:
        """Its parts that can go on now."""
        if self.status != "RUNNING":
            return []
        parts = [self.walk, *(self.map_run.running() if self.map_run else ())]
        return [part for part in parts if part.is_ready()]

    def stop(self, status: str, error: str | None = None, cause: str | None = None) -> None:
        """It ends now; whatever it invoked goes on."""
        if self.status == "RUNNING":
            self.status, self.error, self.cause = status, error, cause
            self.world.execution_ended(self)

    def redrive(self) -> None:
        """RedriveExecution: on from the state that failed or was stopped. Children that are done stay done."""
        self.status, self.error, self.cause = "RUNNING", None, None
        done = [child.ended for child in self.map_run.children] if self.map_run else []
        self.walk = Walk(self._execute(self.state, self._data, done))

    def _execute(self, start: str, data: Any, done: list[bool] | None = None) -> Walking:
        try:
            yield from self._walk(definition()["States"], start, data, self._count, done or [])
        except StateFailed as failed:
            self.stop("FAILED", failed.error, failed.cause)
        else:
            self.stop("SUCCEEDED")

    def _count(self, state: str, data: Any, events: int) -> None:
        """Events of the parent's history."""
        if state:
            self.state, self._data = state, data
            self.worst_payload_bytes = max(self.worst_payload_bytes, len(_text(data)))
        self.events += events
        if self.events >= HISTORY_MAX_EVENTS:
            raise StateFailed("States.Runtime", "The execution reached the maximum number of history events")

    def _walk(
        self,
        states: dict[str, Any],
        name: str,
        data: Any,
        count: Callable[[str, Any, int], None],
        done: list[bool] | None = None,
    ) -> Walking:
        while True:
            state = states[name]
            _require_known(name, state)
            count(name, data, 1)
            kind = state["Type"]
            if kind == "Fail":
                raise StateFailed(_resolve(state["ErrorPath"], data, {}), _resolve(state["CausePath"], data, {}))
            if kind == "Succeed":
                count("", data, 1)
                return data
            if kind == "Choice":
                name = _choose(state, data)
                count("", data, 1)
                continue
            try:
                result = yield from self._tried(state, data, count, done or [])
                done = None
                output = _placed(state, data, result)
                following = state.get("Next")
            except StateFailed as failed:
                following, output = _caught(state, data, failed)
            count("", data, 1)
            if following is None:
                return output
            name, data = following, output

    def _tried(self, state: dict[str, Any], data: Any, count: Any, done: list[bool]) -> Walking:
        """A state's work, with its retries."""
        tries = [0] * len(state.get("Retry", []))
        while True:
            count("", data, 2)
            try:
                if state["Type"] == "Pass":
                    return state.get("Result", data)
                result = yield from (
                    self._map(state, data, done) if state["Type"] == "Map" else self._task(state, data)
                )
            except StateFailed as failed:
                count("", data, 1)
                delay = _delay(state, failed, tries, self.world.random.random())
                if delay is None:
                    raise
                self.world.note(f"{self.name}: {failed.error}, again in {delay:.0f} s")
                due = self.world.now + delay
                yield Waiting(lambda due=due: self.world.now >= due, due)  # type: ignore[misc]  # bound now
            else:
                count("", data, 1)
                return result

    def _task(self, state: dict[str, Any], data: Any) -> Walking:
        resource, context = (
            state["Resource"],
            {"Execution": {"Id": self.arn}, "StateMachine": {"Id": self.world.machine}},
        )
        request = _template(state["Parameters"], data, context)
        if resource == "arn:aws:states:::lambda:invoke":
            unknown = request.keys() - {"FunctionName", "Payload"}
            if unknown:
                raise Unsupported(str(unknown))
            due = self.world.now + state["TimeoutSeconds"]
            pending = self.world.invoke(request["FunctionName"], request["Payload"])
            yield Waiting(lambda: pending.is_over() or self.world.now >= due, due)
            if not pending.is_over():
                raise StateFailed("States.Timeout")
            payload = json.loads(_text(pending.result()))
            return _selected(state, {"Payload": payload, "StatusCode": 200})
        if resource == "arn:aws:states:::aws-sdk:s3:putObject":
            self.world.machine_fault("verdict", "S3.S3Exception")
            self.world.buckets.put(request["Bucket"], request["Key"], _text(request["Body"]))
            return _selected(state, {})
        if resource == "arn:aws:states:::states:startExecution":
            self.world.machine_fault("start", "StepFunctions.AWSStepFunctionsException")
            started = self.world.start_execution(request["Name"], _text(request["Input"]).decode())
            if started is None:
                raise StateFailed("StepFunctions.ExecutionAlreadyExistsException", request["Name"])
            return _selected(state, {"ExecutionArn": started.arn})
        raise Unsupported(resource)

    def _map(self, state: dict[str, Any], data: Any, done: list[bool]) -> Walking:
        reader = _template(state["ItemReader"]["Parameters"], data, {})
        self.world.machine_fault("reader", "States.ItemReaderFailed")
        version = self.world.buckets.newest(reader["Bucket"], reader["Key"])
        if version is None or state["ItemReader"]["ReaderConfig"] != {"InputType": "JSON"}:
            raise StateFailed("States.ItemReaderFailed", reader["Key"])
        processor = state["ItemProcessor"]
        children: list[Walk] = []
        for number, item in enumerate(json.loads(version.body or b"")):
            selected = _template(state["ItemSelector"], data, {"Map": {"Item": {"Value": item}}})
            child = Walk(self._child(processor["States"], processor["StartAt"], selected))
            child.ended = number < len(done) and done[number]
            children.append(child)
        self.map_run = MapRun(children, max(1, _resolve(state["MaxConcurrencyPath"], data, {})))
        if state["ToleratedFailurePercentage"] != 100:
            raise Unsupported("a Map whose tolerance is not total")
        yield Waiting(self.map_run.is_over)
        self.map_run = None
        self.world.machine_fault("writer", "States.ResultWriterFailed")
        return {}

    def _child(self, states: dict[str, Any], start: str, data: Any) -> Walking:
        try:
            yield from self._walk(states, start, data, lambda *_: None)
        except StateFailed as failed:  # tolerated
            self.world.note(f"{self.name}: a child failed: {failed.error}")


def _text(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def _require_known(name: str, state: dict[str, Any]) -> None:
    unknown = state.keys() - {"Type", "Comment", *_KNOWN.get(state["Type"], "").split()}
    if unknown or state["Type"] not in _KNOWN:
        raise Unsupported(f"state {name}: {sorted(unknown) or state['Type']}")


def _resolve(path: str, data: Any, context: dict[str, Any]) -> Any:
    """A JSONPath without wildcards, or `States.Format`."""
    if path.startswith("States.Format("):
        parts = [part.strip() for part in path.removeprefix("States.Format(").removesuffix(")").split(",")]
        return parts[0].strip("'").format(*(_resolve(part, data, context) for part in parts[1:]))
    where = context if path.startswith("$$") else data
    for step in path.lstrip("$").split(".")[1:]:
        if not isinstance(where, dict) or step not in where:
            raise StateFailed("States.Runtime", f"{path} is not in {_text(data).decode()[:200]}")
        where = where[step]
    return where


def _template(template: Any, data: Any, context: dict[str, Any]) -> Any:
    if isinstance(template, dict):
        return {
            key.removesuffix(".$"): _resolve(value, data, context)
            if key.endswith(".$")
            else _template(value, data, context)
            for key, value in template.items()
        }
    return template


def _selected(state: dict[str, Any], result: Any) -> Any:
    return _template(state["ResultSelector"], result, {}) if "ResultSelector" in state else result


def _placed(state: dict[str, Any], data: Any, result: Any) -> Any:
    """`ResultPath`, then `OutputPath`."""
    output = _at(data, state.get("ResultPath", "$"), result)
    if len(_text(output)) > _PAYLOAD_MAX_BYTES:
        raise StateFailed("States.DataLimitExceeded")
    return _resolve(state["OutputPath"], output, {}) if "OutputPath" in state else output


def _at(data: Any, path: str | None, result: Any) -> Any:
    if path is None:
        return data
    if path == "$":
        return result
    return {**data, path.removeprefix("$."): result}


def _choose(state: dict[str, Any], data: Any) -> str:
    for choice in state["Choices"]:
        if choice.keys() != {"Variable", "StringEquals", "Next"}:
            raise Unsupported(str(choice))
        if _resolve(choice["Variable"], data, {}) == choice["StringEquals"]:
            return str(choice["Next"])
    return str(state["Default"])


def _matches(names: list[str], error: str) -> bool:
    if "States.TaskFailed" in names:
        raise Unsupported("States.TaskFailed")
    return error in names or ("States.ALL" in names and error not in _NOT_ALL)


def _delay(state: dict[str, Any], failed: StateFailed, tries: list[int], chance: float) -> float | None:
    """Seconds until the next try, or None."""
    for number, retry in enumerate(state.get("Retry", [])):
        if _matches(retry["ErrorEquals"], failed.error):
            if tries[number] >= retry["MaxAttempts"] or retry["JitterStrategy"] != "FULL":
                return None
            delay = retry["IntervalSeconds"] * retry["BackoffRate"] ** tries[number]
            tries[number] += 1
            return chance * min(delay, retry["MaxDelaySeconds"])
    return None


def _caught(state: dict[str, Any], data: Any, failed: StateFailed) -> tuple[str, Any]:
    for catch in state.get("Catch", []):
        if _matches(catch["ErrorEquals"], failed.error):
            found = {"Error": failed.error, "Cause": failed.cause}
            return catch["Next"], _at(data, catch.get("ResultPath", "$"), found)
    raise failed
