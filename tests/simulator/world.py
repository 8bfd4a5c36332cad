"""A whole account in memory: buckets, a table, a queue, events, executions, people, and a clock.

Everything runs at least once, in an order that the seed decides. The code in it is the real one (`lambdas`); what it
calls are boto3 clients that keep the documented promises and no others.
"""

import json
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, Self

from tests.simulator import faults, lambdas, services, user_code
from tests.simulator.dynamo import DynamoClient, Table
from tests.simulator.expressions import Unsupported
from tests.simulator.machine import Execution, StateFailed
from tests.simulator.process import Invocation, Killed
from tests.simulator.s3 import Bucket, Buckets, Damage, S3Client

from rangemill.aws import gateways
from rangemill.errors import RangemillError
from rangemill.gateways import Gateways
from rangemill.messages import CodeIdentity
from rangemill.pressure import Pressure

MACHINE: Final = "arn:aws:states:us-east-1:123456789012:stateMachine:simulated-job"
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
CODE: Final = CodeIdentity("core", "pipelines", "dependencies")
_QUEUE_MAX_RECEIVES: Final = 5
_ASYNC_RETRIES_SECONDS: Final = (60.0, 120.0)
_PERSON_SECONDS: Final = 3_600.0
_INDEX_LAG_SECONDS: Final = 3.0
_TICK_SECONDS: Final = 1_800.0  # half an hour: longer than the lease of a job, which sweep waits for


class Violation(Exception):
    """Something happened that must not."""


@dataclass(eq=False)
class Pending:
    """An invocation that the state machine waits for: several where it was invoked twice, an answer that is lost."""

    world: "World"
    invocations: list[Invocation]
    lost: float | None = None  # when its answer is given up
    told: float | None = None  # when its end is seen

    def is_over(self) -> bool:
        """Whether the state machine sees an end by now."""
        if self.lost is not None and self.world.now >= self.lost:
            return True
        ended = [invocation for invocation in self.invocations if invocation.ended]
        if not ended:
            return False
        if self.told is None:
            late = self.world.random.random() * 30 if ended[0].died is not None else 0.0
            self.told = self.world.now + late
            self.world.later(self.told, lambda: None)
        return self.world.now >= self.told

    def result(self) -> Any:
        """What it answered. Raises `StateFailed` as the state machine sees it."""
        ended = [invocation for invocation in self.invocations if invocation.ended]
        if not ended or (self.lost is not None and self.world.now >= self.lost):
            raise StateFailed("Lambda.SdkClientException", "the answer was lost")
        first = ended[0]
        if first.died is not None or isinstance(first.error, Killed):
            raise StateFailed(self.world.spelling(first.died or "Lambda.Unknown"), "")
        if first.error is not None:
            kind = type(first.error).__name__
            cause = {"errorMessage": str(first.error), "errorType": kind, "requestId": "r", "stackTrace": []}
            raise StateFailed(kind, json.dumps(cause))
        return first.answer


@dataclass
class World:
    """Options: `pipelines` are the deployed documents, `variables` change the functions' environment."""

    seed: int = 0
    pipelines: tuple[str, ...] = (user_code.LINES,)
    variables: dict[str, str] = field(default_factory=dict)
    is_local: bool = False  # how a worker's death is spelt
    machine: str = MACHINE
    code: CodeIdentity = CODE

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.now = EPOCH.timestamp()
        self.faults = faults.Faults(self.random)
        self.running: Invocation | None = None
        self.invocations: list[Invocation] = []
        self.executions: dict[str, Execution] = {}
        self.notices: list[dict[str, Any]] = []
        self.notes: deque[str] = deque(maxlen=400)
        self.steps = 0
        self.by_hand: set[str] = set()  # jobs whose execution `admit` has not started
        self.invoked: dict[str, int] = {}
        self._pressures: dict[str, Pressure] = {}
        self.buckets = Buckets(self.moment)
        for name, versioned in (("work", True), ("versioned", True), ("plain", False)):
            self.buckets.buckets[name] = Bucket(versioned)
        self.table = Table(lambda: self.random.random() * _INDEX_LAG_SECONDS, lambda: self.now)
        self.catalog = lambdas.entries(*self.pipelines)
        self.environment = lambdas.environment(
            self.machine,
            {
                "RANGE_BYTES": "64",
                "CONCURRENCY": "3",
                "MAX_RUNNING_JOBS": "2",
                "MAX_WORKERS": "5",
                "INPUT_BUCKETS": "versioned,plain",
                **self.variables,
            },
        )
        self.mended = False
        self.state_events: list[tuple[str, dict[str, Any]]] = []  # what the machine has invoked, to be repeated
        self._watched = -1
        self.sent: list[str] = []  # events of uploads
        self.frozen: list[Invocation] = []  # who stands still, to wake up later
        self.user_code = user_code.module(self)
        self.watch: Callable[[World], None] | None = None
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._tokens = 0
        self._installed = ExitStack()

    # --- what the code under test is given ---------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._installed.enter_context(lambdas.installed(self))
        return self

    def __exit__(self, *_: object) -> None:
        for invocation in self.invocations:
            invocation.kill("the end of the world")
        self._installed.close()

    def client(self, service: str, **_: Any) -> Any:
        """A boto3 client."""
        if service == "s3":
            return S3Client(self.buckets, self.call, self._damage)
        if service == "dynamodb":
            return DynamoClient(self.table, self.call)
        if service == "stepfunctions":
            return services.StepFunctions(self)
        if service == "sns":
            return services.Topic(self)
        if service == "lambda":
            return services.Lambda(self)
        raise Unsupported(f"a client of {service}")

    def watch_answers(self, _client: Any, pressure: Pressure) -> None:
        """Whoever made the client counts its answers there."""
        if self.running is not None:
            self._pressures[self.running.name] = pressure

    def answered(self, name: str, *, throttled: bool) -> None:
        """A service answered to a function."""
        if name in self._pressures:
            self._pressures[name].note(throttled=throttled)

    def moment(self) -> datetime:
        """The clock; it never shows the same twice."""
        self.now += 1e-6
        return EPOCH + timedelta(seconds=self.now - EPOCH.timestamp())

    def sleep(self, seconds: float) -> None:
        """Time passes for whoever runs."""
        self.now += seconds
        if self.running is not None:
            self.running.pause()

    def token(self, size: int) -> str:
        """Hexadecimal digits nobody else has."""
        self._tokens += 1
        return f"{self._tokens:0{2 * size}x}"

    def call(self, service: str, operation: str, request: dict[str, Any], effect: Callable[[], Any]) -> Any:
        """A call of a service by whoever runs; by the test itself where nobody does."""
        if self.running is None:
            return effect()
        return self.running.call(service, operation, request, effect)

    def fault_of(self, invocation: Invocation, service: str, operation: str, request: dict[str, Any]) -> str:
        """What goes wrong with that call."""
        fault = self.faults.of_call(invocation.name, operation, request)
        if fault:
            self.note(f"{invocation.name}: {fault}: {operation} {_place(request)}")
        return fault

    def machine_fault(self, kind: str, error: str) -> None:
        """Raise `StateFailed` where the state machine's own doing goes wrong."""
        if self.faults.draw((kind,), "machine", kind):
            raise StateFailed(error, "a fault of the simulator's")

    def spelling(self, died: str) -> str:
        """How the state machine spells a worker's death: AWS has one word for all of them."""
        if self.is_local:
            return died if died.startswith(("Sandbox.", "Runtime.")) else "Runtime.ExitError"
        return "Lambda.Unknown"

    def note(self, text: str) -> None:
        """For whoever reads what happened."""
        self.notes.append(f"{self.now - EPOCH.timestamp():10.2f}  {text}")

    @property
    def gateways(self) -> Gateways:
        """A person's own."""
        return gateways.make(
            self,
            work_bucket="work",
            job_table="table",
            state_machine_arn=self.machine,
            topic_arn="topic",
        )

    # --- invoking ----------------------------------------------------------------------------------------------------

    def begin(self, function: str, event: dict[str, Any]) -> Invocation:
        """A function begins to run."""
        self.invoked[function] = self.invoked.get(function, 0) + 1
        if "execution_arn" in event or function == "Apply":
            self.state_events.append((function, event))
        request_id = f"r{sum(self.invoked.values()):06d}"
        handler = lambdas.handler_modules()[function].handler
        seconds = lambdas.timeout_seconds(function)
        deadline = self.now + seconds
        document = json.loads(json.dumps(event))

        def body() -> Any:
            return json.loads(json.dumps(handler(document, lambdas.context_of(self, deadline, request_id))))

        invocation = Invocation(self, function, body, seconds)
        self.invocations.append(invocation)
        return invocation

    def person(self, name: str, act: Callable[[Gateways], Any]) -> Invocation:
        """A person's command begins to run, on a machine of their own."""
        invocation = Invocation(self, name, lambda: act(self.gateways), _PERSON_SECONDS)
        self.invocations.append(invocation)
        return invocation

    def invoke(self, function: str, payload: Any) -> Pending:
        """The state machine invokes a function."""
        fault = self.faults.draw(faults.INVOKE_KINDS, function, "invoke")
        if fault == "refused":
            raise StateFailed("Lambda.TooManyRequestsException", "Rate Exceeded.")
        first = self.begin(function, payload)
        pending = Pending(self, [first])
        if fault:
            self.note(f"{function}: {fault}")
        if fault == "stillborn":
            first.kill()
        elif fault == "doomed":
            first.doomed = self.random.randrange(10)
        elif fault == "invoked twice":
            pending.invocations.append(self.begin(function, payload))
        elif fault == "unheard":
            pending.lost = self.now + self.random.random() * 20
            self.later(pending.lost, lambda: None)
        return pending

    def at_least_once(self, function: str, event: dict[str, Any], retries: tuple[float, ...] | None = None) -> None:
        """An asynchronous invocation: tried again twice when it fails, then given up."""
        invocation = self.begin(function, event)
        left = _ASYNC_RETRIES_SECONDS if retries is None else retries

        def look() -> None:
            if not invocation.ended:
                self.later(self.now + 1, look)
            elif invocation.error is not None and left:
                self.later(self.now + left[0], lambda: self.at_least_once(function, event, left[1:]))

        self.later(self.now, look)

    # --- executions --------------------------------------------------------------------------------------------------

    def start_execution(self, name: str, input_text: str) -> Execution | None:
        """Started, or found running with that very input; None where the name is taken."""
        arn = f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"
        known = self.executions.get(arn)
        if known is None:
            self.note(f"execution {name} starts")
            known = self.executions[arn] = Execution(self, arn, name, input_text)
            return known
        return known if known.status == "RUNNING" and known.input_text == input_text else None

    def execution_ended(self, execution: Execution) -> None:
        """EventBridge hears of it: once, twice, late, or never."""
        self.note(
            f"execution {execution.name}: {execution.status} {execution.error or ''} {execution.cause or ''}"[:300]
        )
        if execution.status == "SUCCEEDED":
            return
        fault = self.faults.draw(faults.EVENT_KINDS, "Abandon", "event")
        if fault == "event lost":
            return
        detail = {
            "name": execution.name,
            "status": execution.status,
            "stateMachineArn": self.machine,
            "executionArn": execution.arn,
            "error": execution.error,
            "cause": execution.cause,
        }
        event = {"source": "aws.states", "detail-type": "Step Functions Execution Status Change", "detail": detail}
        for _ in range(2 if fault == "event twice" else 1):
            due = self.now + self.random.random() * (7_200 if fault == "event late" else 2)
            self.later(due, lambda: self.at_least_once("Abandon", event))

    # --- events of S3 ------------------------------------------------------------------------------------------------

    def upload(self, bucket: str, key: str, body: bytes) -> None:
        """An object, and the word of it: once, several times, late, or never."""
        version = self.buckets.put(bucket, key, body)
        described: dict[str, Any] = {"key": key, "size": len(body), "etag": version.etag, "sequencer": "0"}
        if self.buckets.buckets[bucket].versioned:
            described["version-id"] = version.version_id
        detail = {"version": "0", "bucket": {"name": bucket}, "object": described, "reason": "PutObject"}
        event = {"version": "0", "detail-type": "Object Created", "source": "aws.s3", "detail": detail}
        self.sent.append(json.dumps(event))
        fault = self.faults.draw(faults.EVENT_KINDS, "Ingest", "event")
        if fault == "event lost":
            return
        for _ in range(3 if fault == "event twice" else 1):
            due = self.now + self.random.random() * (600 if fault == "event late" else 1)
            self.send(self.sent[-1], due)

    def send(self, body: str, due: float, receives: int = 0) -> None:
        """A message of the intake queue."""
        self.later(due, lambda: self._receive(body, receives + 1))

    def _receive(self, body: str, receives: int) -> None:
        record = {"messageId": "m1", "body": body, "eventSource": "aws:sqs", "attributes": {}, "messageAttributes": {}}
        invocation = self.begin("Ingest", {"Records": [{**record, "receiptHandle": "h", "awsRegion": "us-east-1"}]})
        visible = self.now + 360

        def look() -> None:
            if not invocation.ended and self.now < visible:
                self.later(self.now + 1, look)
                return
            done = invocation.ended and invocation.error is None and not invocation.answer["batchItemFailures"]
            if not done and receives < _QUEUE_MAX_RECEIVES:
                self.send(body, visible, receives)

        self.later(self.now, look)

    # --- time --------------------------------------------------------------------------------------------------------

    def deploy(self) -> None:
        """Other code, from now on."""
        self._tokens += 1
        self.code = CodeIdentity("core", f"pipelines {self._tokens}", "dependencies")

    def later(self, due: float, act: Callable[[], None]) -> None:
        """Something happens at that moment, or soon after it."""
        self._later.append((due, act))

    def pass_time(self, seconds: float) -> None:
        """Nobody does anything for so long."""
        self.now += seconds

    def step(self) -> bool:
        """Somebody goes on a little; False when nobody has anything to do."""
        ready: list[Callable[[], None]] = []
        self.invocations = [invocation for invocation in self.invocations if not invocation.ended]
        going = [invocation for invocation in self.invocations if invocation not in self.frozen]
        ready += [lambda invocation=i: self._go_on(invocation) for i in going]  # type: ignore[misc]
        for execution in self.executions.values():
            ready += [part.step for part in execution.ready()]
        due = [entry for entry in self._later if entry[0] <= self.now]
        ready += [lambda entry=entry: self._happen(entry) for entry in due]  # type: ignore[misc]
        if not ready:
            return self._skip()
        self.steps += 1
        ready[self.random.randrange(len(ready))]()
        if self.watch is not None and self._watched < self.buckets.published:
            self._watched = self.buckets.published
            self.watch(self)
        return True

    def run(self, steps: int = 100_000) -> None:
        """Until nobody has anything to do."""
        for _ in range(steps):
            if not self.step():
                return
        raise Violation(f"there is no end after {steps} steps")

    def tick(self, function: str) -> None:
        """The schedule of Admit or Sweep."""
        self.at_least_once(function, {"source": "aws.events"})

    def settle(self, ticks: int = 200) -> None:
        """Until nothing is left to do for anybody: schedules tick, and time passes in between."""
        quiet = 0
        for _ in range(ticks):
            self.run()
            before = self._state()
            for function in ("Admit", "Sweep"):
                self.pass_time(_TICK_SECONDS)
                self.tick(function)
                self.run()
            quiet = quiet + 1 if self._state() == before else 0
            if quiet > 1:  # a lease ends within two
                return
        raise Violation(f"there is no end after {ticks} ticks")

    def _state(self) -> list[Any]:
        """What tells whether anything has moved: the rows but for leases and marks that expire."""
        kept = ("JOB#", "BATCH#")
        return sorted((key, str(item)) for key, item in self.table.items.items() if key[0].startswith(kept))

    def _skip(self) -> bool:
        moments = [due for due, _ in self._later]
        moments += [due for e in self.executions.values() if e.status == "RUNNING" for due in e.waits_due]
        if not moments:
            return False
        self.now = max(self.now, min(moments))
        return True

    def _happen(self, entry: tuple[float, Callable[[], None]]) -> None:
        self._later.remove(entry)
        entry[1]()

    def _go_on(self, invocation: Invocation) -> None:
        invocation.step(self.random.choice((1, 1, 2, 4, 8, 1_000)))
        error = invocation.error
        if isinstance(error, Unsupported):
            raise error
        if invocation.ended and isinstance(error, Exception):
            self.note(f"{invocation.name} raised {type(error).__name__}: {error}"[:300])
            if not isinstance(error, RangemillError):
                raise Violation(f"{invocation.name} raised what has no name: {error!r}") from error

    def _damage(self) -> Damage:
        if self.running is None:
            return Damage()
        kind = self.faults.draw(faults.BODY_KINDS, self.running.name, "get_object")
        return Damage(kind, self.random.random())


def _place(request: dict[str, Any]) -> str:
    if "TransactItems" in request:
        return " + ".join(_place(next(iter(action.values()))) for action in request["TransactItems"])
    item = request.get("Key") or request.get("Item") or request.get("IndexName", "")
    return f"{item['pk']['S']} {item['sk']['S']}" if isinstance(item, dict) else str(item)
