"""The handlers, with real sample events: what they parse, what they call, what they answer."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rangemill import abandon, admission, admit, aggregate, apply, fetch, finish, lost, plan, retention
from rangemill.errors import BadRequest, Superseded, Transient, UnknownJob
from rangemill.messages import Context, MapInput, ObjectRef, StateMessage
from rangemill.sharing import Limits

ROOT = Path(__file__).parents[2]
JOB = "access-logs-36lft7iyq2z4lse7f74y"
LIMITS = Limits(10, 900, 100)


@dataclass
class LambdaContext:
    """What Lambda hands to a function."""

    function_name: str = "rangemill-test"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:rangemill-test"
    aws_request_id: str = "52fdfc07-2182-154f-163f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def app(function: str) -> ModuleType:
    """A fresh copy of a function's module."""
    spec = importlib.util.spec_from_file_location(f"app_{function}", ROOT / f"functions/{function}/app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def remembering(seen: list[Any], answer: Any) -> Callable[..., Any]:
    """A stand-in that keeps its first argument and gives that answer."""

    def stand_in(first: Any, *_: Any, **__: Any) -> Any:
        seen.append(first)
        return answer

    return stand_in


def sample(name: str) -> Any:
    return json.loads((ROOT / f"events/{name}.json").read_text())


class Jobs:
    """A job table that remembers what was noted."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, int, dict[str, Any]]] = []

    def note_error(self, job_id: str, generation: int, error: dict[str, Any]) -> None:
        self.noted.append((job_id, generation, error))


@pytest.fixture
def world() -> Any:
    return SimpleNamespace(jobs=Jobs(), store=SimpleNamespace(bucket="work"))


STATE_FUNCTIONS = [
    ("plan", plan, "plan/first_step", lambda w: (w, plan.Defaults(1, 1, 1))),
    ("plan", plan, "plan/next_page", lambda w: (w, plan.Defaults(1, 1, 1))),
    ("fetch", fetch, "fetch/first_wave", lambda w: w),
    ("aggregate", aggregate, "aggregate/wave", lambda w: (w, aggregate.Machine(1769, "arm64"))),
    ("finish", finish, "finish/last_wave", lambda w: w),
]


@pytest.mark.parametrize(("function", "core", "event", "wiring"), STATE_FUNCTIONS)
def test_a_state_function_passes_its_message_on_and_answers_a_context(
    monkeypatch, world, function, core, event, wiring: Callable[[Any], Any]
):
    seen: list[StateMessage] = []
    answer = Context(JOB, 0, "FETCH", wave=1, slots=2, concurrency=2, map=MapInput("work", "key"))
    monkeypatch.setattr(core, "run", remembering(seen, answer))
    module = app(function)
    monkeypatch.setattr(module, "wired", lambda: wiring(world))
    document = module.handler(sample(event), LambdaContext())
    assert seen[0].context.job_id == JOB
    assert seen[0].execution_arn.endswith(f":{JOB}-g0")
    assert document == {
        "job_id": JOB,
        "generation": 0,
        "next": "FETCH",
        "wave": 1,
        "slots": 2,
        "concurrency": 2,
        "map": {"bucket": "work", "key": "key"},
    }


@pytest.mark.parametrize(("function", "core", "event", "wiring"), STATE_FUNCTIONS)
def test_an_error_is_noted_in_the_row_and_raised_by_its_name(monkeypatch, world, function, core, event, wiring):
    def run(*_: Any, **__: Any) -> Context:
        raise BadRequest("no such thing", object_uri="s3://b/k", offset=7)

    monkeypatch.setattr(core, "run", run)
    module = app(function)
    monkeypatch.setattr(module, "wired", lambda: wiring(world))
    with pytest.raises(BadRequest):
        module.handler(sample(event), LambdaContext())
    assert world.jobs.noted == [
        (JOB, 0, {"type": "BadRequest", "message": "no such thing", "object": "s3://b/k", "offset": 7})
    ]


def test_superseded_is_raised_without_a_note(monkeypatch, world):
    def run(*_: Any, **__: Any) -> Context:
        raise Superseded("another generation")

    monkeypatch.setattr(fetch, "run", run)
    module = app("fetch")
    monkeypatch.setattr(module, "wired", lambda: world)
    with pytest.raises(Superseded):
        module.handler(sample("fetch/first_wave"), LambdaContext())
    assert world.jobs.noted == []


def test_an_event_that_is_no_message_is_named(monkeypatch, world):
    module = app("fetch")
    monkeypatch.setattr(module, "wired", lambda: world)
    with pytest.raises(BadRequest, match="no StateMessage"):
        module.handler({"context": {"job_id": 5}}, LambdaContext())


@pytest.mark.parametrize("published", [True, False])
def test_apply_answers_nothing_and_measures_what_it_published(monkeypatch, world, capsys, published):
    header = SimpleNamespace(records=10, rejects=1, bytes=1000, milliseconds=5) if published else None
    monkeypatch.setattr(apply, "run", lambda *_, **__: header)
    module = app("apply")
    monkeypatch.setattr(module, "wired", lambda: world)
    assert module.handler(sample("apply/slot"), LambdaContext()) == {}
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert len(metrics) == published
    if published:
        assert metrics[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["pipeline"]]
        assert metrics[0]["pipeline"] == "access-logs"
        assert metrics[0]["Records"] == [10.0]


def ingest(monkeypatch: Any, world: Any, take: Callable[[ObjectRef], Any]) -> Any:
    module = app("ingest")
    settings = SimpleNamespace(input_buckets=("rangemill-input",))
    monkeypatch.setattr(module, "wired", lambda: (world, settings, LIMITS))
    monkeypatch.setattr(admission, "ingest", lambda ref, *_: take(ref))
    monkeypatch.setattr(admit, "run", lambda *_: None)
    return module


def test_ingest_takes_keys_as_they_are(monkeypatch, world):
    """EventBridge gives the plain key: a `+` and a `%20` in it are the key's own."""
    seen: list[ObjectRef] = []
    module = ingest(monkeypatch, world, remembering(seen, {}))
    answer = module.handler(sample("ingest/names_that_look_encoded"), LambdaContext())
    assert answer == {"batchItemFailures": []}
    assert seen == [
        ObjectRef(
            "rangemill-input",
            "access-logs/a+b c%20d-é.log",
            "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "b1946ac92492d2347c6235b4d2611184",
            5243000,
        ),
        ObjectRef("rangemill-input", "access-logs/no version.log", None, "b1946ac92492d2347c6235b4d2611184", 5243000),
    ]


def test_one_bad_message_does_not_hold_up_the_others(monkeypatch, world):
    seen: list[ObjectRef] = []
    module = ingest(monkeypatch, world, remembering(seen, {}))
    answer = module.handler(sample("ingest/one_message_is_no_event"), LambdaContext())
    assert [failure["itemIdentifier"][-1] for failure in answer["batchItemFailures"]] == ["2"]
    assert len(seen) == 1


def test_a_whole_batch_that_fails_goes_back_to_the_queue(monkeypatch, world):
    def take(_: ObjectRef) -> Any:
        raise Transient("slow down")

    module = ingest(monkeypatch, world, take)
    answer = module.handler(sample("ingest/one_object"), LambdaContext())
    assert len(answer["batchItemFailures"]) == 1


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ("abandon/caught", "ObjectChanged"),
        ("abandon/stopped", "Stopped"),
        ("abandon/timed_out", "States.TIMED_OUT"),
        ("abandon/failed_in_its_fail_state", "States.DataLimitExceeded"),
    ],
)
def test_abandon_hears_of_a_failure_by_the_machine_and_by_eventbridge(monkeypatch, world, event, error):
    seen: list[abandon.Failure] = []
    monkeypatch.setattr(abandon, "run", remembering(seen, True))
    module = app("abandon")
    monkeypatch.setattr(module, "wired", lambda: world)
    assert module.handler(sample(event), LambdaContext()) == {"marked": True}
    assert (seen[0].job_id, seen[0].generation, seen[0].error) == (JOB, 0, error)


def test_abandon_lets_an_execution_that_somebody_started_by_hand_rest(monkeypatch, world):
    def run(*_: Any) -> bool:
        raise UnknownJob("there is no such job")

    monkeypatch.setattr(abandon, "run", run)
    module = app("abandon")
    monkeypatch.setattr(module, "wired", lambda: world)
    assert module.handler(sample("abandon/stopped"), LambdaContext()) == {"marked": False}
    event = sample("abandon/stopped")
    event["detail"]["name"] = "by-hand"
    assert module.handler(event, LambdaContext()) == {"marked": False}


def test_schedules_admit_and_sweep(monkeypatch, world):
    monkeypatch.setattr(admit, "run", lambda *_: admit.Admitted(["a"], [], ["b"]))
    monkeypatch.setattr(admission, "sweep", lambda *_: {"access-logs": 3})
    module = app("admit")
    monkeypatch.setattr(module, "wired", lambda: (world, LIMITS))
    assert module.handler(sample("admit/schedule"), LambdaContext()) == {
        "started": 1,
        "closed_batches": 0,
        "failed": ["b"],
    }
    sweep = app("sweep")
    settings = SimpleNamespace(sweep_lookback_seconds=1, sweep_max_starts=1, input_buckets=("b",), retention_days=1)
    monkeypatch.setattr(sweep, "wired", lambda: (world, settings, LIMITS))
    monkeypatch.setattr(retention, "forget_old_jobs", lambda *_: ["old"])
    monkeypatch.setattr(lost, "recover", lambda *_: {"gone": "taken up"})
    answer = sweep.handler(sample("sweep/schedule"), LambdaContext())
    assert answer == {"taken": {"access-logs": 3}, "forgotten": 1, "lost": {"gone": "taken up"}}
