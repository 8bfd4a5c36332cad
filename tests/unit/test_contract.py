"""The contract between template, state machine and code: what one names, the others have."""

import dataclasses
import importlib
import inspect
import json
import re
import sys
import tomllib
import types
import typing
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from cfnlint.api import ManualArgs
from cfnlint.api import lint as cfn_lint

from rangemill import errors, keys, limits, messages, settings
from rangemill.aws import refusals
from rangemill.compression import _points
from rangemill.plan import Defaults
from rangemill_cli.inprocess import driver
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

ROOT = Path(__file__).parents[2]
TEMPLATE_TEXT = (ROOT / "template.yaml").read_text()
ASL_TEXT = (ROOT / "statemachines/job.asl.yaml").read_text()
STATE_FUNCTIONS = ("plan", "fetch", "aggregate", "finish", "abandon")
FUNCTIONS = ("ingest", "admit", "sweep", "apply", *STATE_FUNCTIONS)
LAMBDA_SERVICE_ERRORS = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException",
}
# AWS defines no resource for these: everything else names what it may touch.
ANY_RESOURCE_ACTIONS = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "lambda:GetAccountSettings",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}


class _CfnLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: `!Ref X` → `{"Ref": "X"}`, `!Sub` → `{"Fn::Sub": …}`."""


def _short_form(loader: Any, suffix: str, node: Any) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_CfnLoader.add_multi_constructor("!", _short_form)
TEMPLATE: dict[str, Any] = yaml.load(TEMPLATE_TEXT, _CfnLoader)  # a subclass of SafeLoader
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
ASL: dict[str, Any] = yaml.safe_load(ASL_TEXT)


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """The template's resources of a type: logical id → properties."""
    return {name: r.get("Properties", {}) for name, r in RESOURCES.items() if r["Type"] == kind}


def logical(function: str) -> str:
    return f"{function.capitalize()}Function"


def function_properties(function: str) -> dict[str, Any]:
    return RESOURCES[logical(function)]["Properties"]


def states(machine: dict[str, Any] = ASL) -> Iterator[tuple[str, dict[str, Any]]]:
    """All states, those of the Map's children too."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


STATES = dict(states())
LAMBDA_TASKS = [name for name, state in STATES.items() if "lambda:invoke" in state.get("Resource", "")]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of a policy document, those behind a condition too."""
    found: list[dict[str, Any]] = []
    for statement in document["Statement"]:
        branches = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
        found += [branch for branch in branches if "Effect" in branch]
    return found


def grants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement that allows something to a role, with the role's logical id."""
    for name, role in of_type("AWS::IAM::Role").items():
        for policy in role["Policies"]:
            yield from ((name, statement) for statement in statements(policy["PolicyDocument"]))
    for policy in of_type("AWS::IAM::Policy").values():
        for role in policy["Roles"]:
            yield from ((role["Ref"], statement) for statement in statements(policy["PolicyDocument"]))


def work_patterns(role: str, action: str) -> list[str]:
    """The key patterns of the work bucket for which a role has an S3 action."""
    found = []
    for name, statement in grants():
        if name == role and action in as_list(statement["Action"]):
            texts = [r["Fn::Sub"] for r in as_list(statement["Resource"]) if isinstance(r, dict) and "Fn::Sub" in r]
            found += [t.removeprefix("${WorkBucket.Arn}/") for t in texts if str(t).startswith("${WorkBucket.Arn}/")]
    return found


# --- the state machine and its template ------------------------------------------------------------------------------


def test_every_substitution_is_defined_and_every_definition_is_used():
    defined = RESOURCES["JobStateMachine"]["Properties"]["DefinitionSubstitutions"]
    assert set(re.findall(r"\$\{(\w+)\}", ASL_TEXT)) == set(defined)
    for name, value in defined.items():
        if name.endswith("FunctionArn"):
            assert value == {"Fn::GetAtt": f"{name.removesuffix('Arn')}.Arn"}


def test_the_machine_is_in_the_states_language():
    defined = RESOURCES["JobStateMachine"]["Properties"]["DefinitionSubstitutions"]
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": "arn:aws:iam::123456789012:role/job",
            "Definition": ASL,
            "DefinitionSubstitutions": dict.fromkeys(defined, "anything"),
        },
    }
    found = cfn_lint(json.dumps({"Resources": {"Machine": machine}}), config=ManualArgs(regions=["us-east-1"]))
    assert [match.message for match in found] == []


def test_the_machine_may_invoke_exactly_the_functions_that_it_names():
    invoked = [
        s["Resource"] for r, s in grants() if r == "JobStateMachineRole" and s["Action"] == "lambda:InvokeFunction"
    ]
    assert [r["Fn::GetAtt"] for r in invoked[0]] == [
        f"{STATES[name]['Parameters']['FunctionName'][2:-4]}.Arn" for name in sorted(LAMBDA_TASKS, key=_order)
    ]


def _order(state: str) -> int:
    return ["Plan", "Fetch", "ApplySlot", "Aggregate", "Finish", "Abandon"].index(state)


def test_every_state_is_reached_and_every_target_exists():
    def targets(state: dict[str, Any]) -> set[str]:
        branches = [*state.get("Choices", []), *state.get("Catch", [])]
        return {t for t in (state.get("Next"), state.get("Default"), *(b["Next"] for b in branches)) if t}

    for machine in (ASL, ASL["States"]["Apply"]["ItemProcessor"]):
        own = machine["States"]
        named = {machine["StartAt"]}.union(*(targets(state) for state in own.values()))
        assert named == set(own)
        for name, state in own.items():
            ends = state.get("End") or state["Type"] in ("Succeed", "Fail", "Choice")
            assert bool(ends) != ("Next" in state), name


def test_every_custom_error_name_is_in_the_table_of_spellings():
    known = errors.DIED_SPELLINGS | errors.TRANSIENT_SPELLINGS | errors.EXECUTION_EXISTS_SPELLINGS
    for name, state in STATES.items():
        for rule in (*state.get("Retry", []), *state.get("Catch", [])):
            for error in rule["ErrorEquals"]:
                assert error.startswith("States.") or error in known or errors.error_class(error), (name, error)


def test_states_all_is_never_retried():
    for name, state in STATES.items():
        for rule in state.get("Retry", []):
            assert not {"States.ALL", "States.TaskFailed"} & set(rule["ErrorEquals"]), name


def test_every_retry_backs_off_to_a_cap_with_jitter():
    for name, state in STATES.items():
        for rule in state.get("Retry", []):
            assert rule["BackoffRate"] > 1, name
            assert rule["JitterStrategy"] == "FULL", name
            assert 0 < rule["IntervalSeconds"] <= rule["MaxDelaySeconds"], name
            assert 0 < rule["MaxAttempts"] <= 10, name


@pytest.mark.parametrize("name", LAMBDA_TASKS)
def test_every_lambda_task_retries_the_lambda_service_errors(name):
    retried = {error for rule in STATES[name]["Retry"] for error in rule["ErrorEquals"]}
    assert retried >= LAMBDA_SERVICE_ERRORS


@pytest.mark.parametrize("name", [name for name in LAMBDA_TASKS if name != "ApplySlot"])
def test_a_state_function_that_died_is_repeated_and_transient_errors_too(name):
    retried = {error for rule in STATES[name]["Retry"] for error in rule["ErrorEquals"]}
    assert {"Transient", "Lambda.Unknown", "Runtime.ExitError", "Sandbox.Timedout"} <= retried


def test_a_worker_that_died_is_judged_by_aggregate_and_not_repeated_here():
    retried = {error for rule in STATES["ApplySlot"]["Retry"] for error in rule["ErrorEquals"]}
    assert not retried & errors.DIED_SPELLINGS


def test_every_state_that_can_fail_ends_in_abandon_and_superseded_ends_quietly():
    for name in ("Plan", "Fetch", "Aggregate", "Finish"):
        assert [(c["ErrorEquals"], c["Next"]) for c in STATES[name]["Catch"]] == [
            (["Superseded"], "Superseded"),
            (["States.ALL"], "Abandon"),
        ]
    for name in ("Apply", "ExecuteNew"):
        assert (STATES[name]["Catch"][-1]["ErrorEquals"], STATES[name]["Catch"][-1]["Next"]) == (
            ["States.ALL"],
            "Abandon",
        )
    assert STATES["Superseded"]["Type"] == "Succeed"


def test_no_state_leaves_a_task_without_a_bound_in_time():
    for name in LAMBDA_TASKS:
        function = STATES[name]["Parameters"]["FunctionName"][2:-4]
        assert STATES[name]["TimeoutSeconds"] > RESOURCES[function]["Properties"]["Timeout"], name
    for name, state in STATES.items():  # so no execution hangs: the Map ends when its children do
        assert state["Type"] != "Task" or 0 < state["TimeoutSeconds"] <= 930, name


def test_the_language_is_the_part_that_runs_on_aws_and_locally():
    assert not re.search(
        r"^\s*(QueryLanguage|Assign|Arguments|Output|ItemBatcher|WriterConfig):", ASL_TEXT, re.MULTILINE
    )
    processor = STATES["Apply"]["ItemProcessor"]["ProcessorConfig"]
    assert processor == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert isinstance(STATES["Apply"]["ToleratedFailurePercentage"], float)  # an integer is refused by the local cloud
    assert STATES["Apply"]["ToleratedFailurePercentage"] == 100


def test_the_payload_cannot_grow_with_the_slots():
    assert STATES["Apply"]["ResultPath"] is None
    assert STATES["ApplySlot"]["ResultSelector"] == {}
    assert STATES["Verdict"]["ResultSelector"] == {}
    assert STATES["NoVerdict"]["Result"] == {}


def test_the_worst_wave_fits_what_the_history_budget_keeps_for_it():
    def retries(name: str) -> int:
        return sum(rule["MaxAttempts"] for rule in STATES[name].get("Retry", []))

    wave = limits.WAVE_EVENTS + 3 * (retries("Fetch") + retries("Apply") + retries("Aggregate"))
    assert wave <= limits.WORST_WAVE_EVENTS
    assert 1 + 5 + 3 * retries("Plan") + 2 <= limits.WORST_START_EVENTS
    assert 5 + 3 * retries("Plan") + 2 <= limits.WORST_WAVE_EVENTS  # a further step of planning
    handed_over = 5 + 3 * retries("ExecuteNew") + 3
    abandoned = 5 + 3 * max(retries("Finish"), retries("ExecuteNew")) + 5 + 3 * retries("Abandon") + 2
    assert max(handed_over, abandoned) <= limits.WORST_EXIT_EVENTS
    budget = TEMPLATE["Parameters"]["HistoryBudgetEvents"]
    least = limits.WORST_START_EVENTS + limits.WORST_WAVE_EVENTS + limits.WORST_EXIT_EVENTS
    assert least < budget["MaxValue"] < limits.SFN_HISTORY_MAX_EVENTS - least


# --- the state machine and the code ----------------------------------------------------------------------------------


def test_choices_know_exactly_the_words_that_the_code_says():
    compared = {choice["StringEquals"] for state in STATES.values() for choice in state.get("Choices", [])}
    assert compared == {"MORE_PLAN", "FETCH", "EXECUTE_NEW", "FINISH", "REST"}
    assert compared < set(typing.get_args(messages.Next))


def test_the_paths_of_the_map_are_fields_of_the_context():
    context = {field.name for field in msgspec.structs.fields(messages.Context)}
    state = STATES["Apply"]
    paths = [state["MaxConcurrencyPath"], *state["ItemReader"]["Parameters"].values(), *state["ItemSelector"].values()]
    for path in paths:
        if not path.startswith("$$"):
            assert path.split(".")[1] in context, path
    assert {path.split(".")[2] for path in state["ItemReader"]["Parameters"].values()} == {
        field.name for field in msgspec.structs.fields(messages.MapInput)
    }


def test_a_child_gets_exactly_an_apply_message():
    selected = {name.removesuffix(".$") for name in STATES["Apply"]["ItemSelector"]}
    assert selected == {field.name for field in msgspec.structs.fields(messages.ApplyMessage)}
    assert STATES["Verdict"]["Parameters"]["Key.$"] == "$.item.verdict_key"
    assert "verdict_key" in {field.name for field in msgspec.structs.fields(messages.SlotItem)}


def test_a_verdict_of_the_machine_is_a_verdict():
    written = {name.removesuffix(".$") for name in STATES["Verdict"]["Parameters"]["Body"]}
    assert written <= {field.name for field in msgspec.structs.fields(messages.Verdict)}


@pytest.mark.parametrize("name", ["Plan", "Fetch", "Aggregate", "Finish"])
def test_a_state_function_gets_exactly_a_state_message(name):
    payload = {field.removesuffix(".$") for field in STATES[name]["Parameters"]["Payload"]}
    assert payload == {field.name for field in msgspec.structs.fields(messages.StateMessage)}
    assert STATES[name]["OutputPath"] == "$.Payload"


def test_the_machine_starts_a_generation_as_the_code_does():
    parameters = STATES["ExecuteNew"]["Parameters"]
    assert parameters["Name.$"] == "States.Format('{}-g{}', $.job_id, $.next_generation)"
    assert list(parameters["Input"]) == ["job_id.$", "generation.$"]  # same order, same bytes as SfnExecutions.start


# --- functions -------------------------------------------------------------------------------------------------------


def test_one_name_goes_down_the_stack():
    assert {path.parent.name for path in ROOT.glob("functions/*/app.py")} == set(FUNCTIONS)
    assert set(of_type("AWS::Serverless::Function")) == {logical(function) for function in FUNCTIONS}
    for function in FUNCTIONS:
        properties = function_properties(function)
        name = function.capitalize()
        assert properties["CodeUri"] == f"functions/{function}/"
        assert properties["Role"] == {"Fn::GetAtt": f"{name}Role.Arn"}
        assert properties["FunctionName"] == {"Fn::Sub": f"${{AWS::StackName}}-{function}"}
        assert RESOURCES[f"{name}LogGroup"]["Properties"]["LogGroupName"] == {
            "Fn::Sub": f"/aws/lambda/${{AWS::StackName}}-{function}"
        }
        assert list((ROOT / "events" / function).glob("*.json")), f"no sample event for {function}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_environment_is_its_settings(function):
    kind = getattr(settings, f"{function.capitalize()}Settings")
    given = set(function_properties(function)["Environment"]["Variables"])
    assert given == {field.name.upper() for field in dataclasses.fields(kind)}
    assert f"{kind.__name__}.from_environment(os.environ)" in (ROOT / f"functions/{function}/app.py").read_text()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_handler_only_wires(function):
    lines = (ROOT / f"functions/{function}/app.py").read_text().splitlines()
    assert len(lines) <= 60


def test_shared_variables_are_powertools_own():
    assert all(name.startswith("POWERTOOLS_") for name in TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])


def test_no_function_reserves_concurrency():
    assert "ReservedConcurrentExecutions" not in TEMPLATE_TEXT


def test_defaults_of_parameters_are_the_limits_of_the_library():
    defaults = {name: parameter.get("Default") for name, parameter in TEMPLATE["Parameters"].items()}
    assert defaults["RangeBytes"] == limits.RANGE_BYTES
    assert defaults["HistoryBudgetEvents"] == limits.HISTORY_BUDGET_EVENTS
    assert defaults["WorkersPerJob"] == limits.CONCURRENCY
    assert defaults["MaxRunningJobs"] == limits.MAX_RUNNING_JOBS
    assert defaults["MaxWorkers"] == limits.MAX_WORKERS
    assert all(parameter.get("Description", "").strip() for parameter in TEMPLATE["Parameters"].values())


def test_samconfig_sets_parameters_that_exist():
    samconfig = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for environment in ("default", "local"):
        for command in samconfig[environment].values():
            pairs = command["parameters"].get("parameter_overrides", "").split()
            assert {pair.split("=")[0] for pair in pairs} <= set(TEMPLATE["Parameters"])


# --- permissions -----------------------------------------------------------------------------------------------------


def test_no_grant_is_for_any_action_or_any_resource():
    for role, statement in grants():
        actions = as_list(statement["Action"])
        assert statement["Effect"] == "Allow"
        assert not [action for action in actions if "*" in action], role
        if "*" in as_list(statement["Resource"]):
            assert set(actions) <= ANY_RESOURCE_ACTIONS, role
    assert TEMPLATE_TEXT.count('Resource: "*"') == TEMPLATE_TEXT.count("any-resource:")


def test_whoever_may_wake_admit_has_its_name_and_the_other_way_round():
    wakes = {
        role
        for role, s in grants()
        if s["Action"] == "lambda:InvokeFunction" and s["Resource"] == {"Fn::GetAtt": "AdmitFunction.Arn"}
    }
    named = {f for f in FUNCTIONS if "ADMIT_FUNCTION" in function_properties(f)["Environment"]["Variables"]}
    assert (
        wakes
        == {f"{function.capitalize()}Role" for function in named}
        == {"AggregateRole", "FinishRole", "AbandonRole"}
    )


def test_whoever_admits_may_ask_how_many_workers_the_account_allows():
    asks = {role for role, s in grants() if s["Action"] == "lambda:GetAccountSettings"}
    assert asks == {"IngestRole", "AdmitRole", "SweepRole"}


def test_every_role_is_one_functions_own_and_takes_the_permissions_boundary():
    roles = of_type("AWS::IAM::Role")
    assert set(roles) == {f"{function.capitalize()}Role" for function in FUNCTIONS} | {"JobStateMachineRole"}
    for role in roles.values():
        assert role["PermissionsBoundary"]["Fn::If"][0] == "HasPermissionsBoundary"
        assert "ManagedPolicyArns" not in role


JOB = "orders-abcdefghij0123456789"


@pytest.mark.parametrize(
    ("role", "action", "key"),
    [
        ("IngestRole", "s3:PutObject", keys.request(JOB)),
        ("AdmitRole", "s3:PutObject", keys.request(JOB)),
        ("AdmitRole", "s3:GetObject", keys.request(JOB)),
        ("SweepRole", "s3:PutObject", keys.request(JOB)),
        ("SweepRole", "s3:DeleteObject", keys.checkpoint(JOB, 1, "a")),
        ("PlanRole", "s3:GetObject", keys.request(JOB)),
        ("PlanRole", "s3:PutObject", keys.plan(JOB)),
        ("PlanRole", "s3:PutObject", keys.plan_page(JOB, 3)),
        ("PlanRole", "s3:PutObject", keys.checkpoint(JOB, 0, "plan")),
        ("PlanRole", "s3:GetObject", keys.checkpoint(JOB, 0, "plan")),
        ("PlanRole", "s3:GetObject", keys.plan_page(JOB, 3)),
        ("PlanRole", "s3:GetObject", keys.gzip_directory("ab12")),
        ("FetchRole", "s3:GetObject", keys.plan(JOB)),
        ("FetchRole", "s3:GetObject", keys.checkpoint(JOB, 2, "a")),
        ("FetchRole", "s3:GetObject", keys.wave(JOB, 1)),
        ("FetchRole", "s3:PutObject", keys.wave(JOB, 1)),
        ("FetchRole", "s3:PutObject", keys.slots(JOB, 1, "a")),
        ("FetchRole", "s3:PutObject", keys.handout(keys.slots(JOB, 1, "a"))),
        ("JobStateMachineRole", "s3:GetObject", keys.wave(JOB, 1)),
        ("JobStateMachineRole", "s3:PutObject", keys.verdict(JOB, 1, 7)),
        ("ApplyRole", "s3:GetObject", keys.plan(JOB)),
        ("ApplyRole", "s3:GetObject", keys.slots(JOB, 1, "a")),
        ("ApplyRole", "s3:GetObject", keys.plan_page(JOB, 3)),
        ("ApplyRole", "s3:PutObject", keys.outcome(JOB, 1, 7)),
        *(
            ("ApplyRole", action, key)
            for action in ("s3:GetObject", "s3:PutObject")
            for key in (
                keys.gzip_directory("ab12"),
                keys.gzip_progress("ab12"),
                keys.gzip_page("ab12", 7),
                keys.gzip_point("ab12", 7),
                keys.gzip_so_far("ab12", 7),
            )
        ),
        ("ApplyRole", "s3:PutObject", keys.verdict(JOB, 1, 7)),
        ("ApplyRole", "s3:PutObject", keys.rejects(JOB, 1, 7, "abcd")),
        ("ApplyRole", "s3:PutObject", keys.results("orders", JOB) + "parts/w000001-s00007-abcd.parquet"),
        ("AggregateRole", "s3:GetObject", keys.outcome(JOB, 1, 7)),
        ("AggregateRole", "s3:GetObject", keys.verdict(JOB, 1, 7)),
        ("AggregateRole", "s3:GetObject", keys.slots(JOB, 1, "a")),
        ("AggregateRole", "s3:PutObject", keys.aggregate(JOB, 0, 1, "a")),
        ("AggregateRole", "s3:PutObject", keys.checkpoint(JOB, 1, "a")),
        ("AggregateRole", "s3:PutObject", keys.closed_objects(JOB, 1, "a")),
        ("AggregateRole", "s3:PutObject", keys.parts(JOB, 1, "a")),
        ("AggregateRole", "s3:PutObject", keys.rejects_list(JOB, 1, "a")),
        ("FinishRole", "s3:GetObject", keys.rejects_list(JOB, 1, "a")),
        ("FinishRole", "s3:GetObject", keys.aggregate(JOB, 0, 1, "a")),
        ("FinishRole", "s3:PutObject", keys.results("orders", JOB) + "report.json"),
    ],
)
def test_a_role_may_touch_the_keys_that_its_function_builds(role, action, key):
    assert any(fnmatchcase(key, pattern) for pattern in work_patterns(role, action)), work_patterns(role, action)


# What a key's function may be given, by the parameter's name.
SAMPLES: dict[str, Any] = {
    "job_id": JOB,
    "pipeline": "orders",
    "slots_key": keys.slots(JOB, 1, "a"),
    "attempt": "a",
    "identity": "ab12",
    **dict.fromkeys(("page", "wave", "wave_number", "level", "slot", "stored", "number", "redrives"), 1),
}
NO_KEYS = {"spread", "job_root", "_of_redrive"}  # parts of keys, and what `sweep` deletes below
FOR_PEOPLE = {"results"}


@pytest.mark.parametrize(
    "name", [n for n, f in vars(keys).items() if isinstance(f, types.FunctionType) and n not in NO_KEYS]
)
def test_every_key_may_be_written_and_read_by_some_role(name):
    function = getattr(keys, name)
    key = function(**{parameter: SAMPLES[parameter] for parameter in inspect.signature(function).parameters})
    actions = ["s3:PutObject"] if name in FOR_PEOPLE else ["s3:PutObject", "s3:GetObject"]
    for action in actions:
        assert any(fnmatchcase(key, p) for role in of_type("AWS::IAM::Role") for p in work_patterns(role, action)), key


class Watched:
    """A store that notes which role would have read and written what."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.role = ""
        self.calls: set[tuple[str, str, str]] = set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        action = {"get": "s3:GetObject", "put": "s3:PutObject", "put_once": "s3:PutObject"}.get(name)

        def noted(key: str, *rest: Any) -> Any:
            if self.role:
                self.calls.add((self.role, str(action), key.removeprefix(f"s3://{self.store.bucket}/")))
            return method(key, *rest)

        return noted if action else method


class Picky:
    """Counts records, all but one."""

    def start(self, context: Any) -> int:
        return 0

    def apply(self, partial: int, record: bytes) -> int:
        if record.startswith(b"line 7 "):
            raise ValueError("not that one")
        return partial + 1

    def merge(self, left: int, right: int) -> int:
        return left + right

    def finish(self, total: int) -> Iterator[dict[str, int]]:
        yield {"n": total}


LINES = b"".join(b"line %d %s\n" % (n, b"z" * (n % 50)) for n in range(3000))
DOCUMENTS = {
    "gzip: stream": "format: {type: text, gzip: stream}\napply: {python: picky:Picky}\n",
    "gzip: index": "format: {type: text, gzip: index}\napply: {python: picky:Picky}\n",
    "parts": 'format: {type: text}\napply: {sql: "SELECT line FROM records"}\n',
}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_what_jobs_read_and_write_is_granted_to_who_does_it(monkeypatch, what):
    monkeypatch.setattr(_points, "SPACING_BYTES", 9_000)
    module = types.ModuleType("picky")
    module.Picky = Picky  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picky", module)
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    packed = b"".join(
        packer.compress(LINES[at : at + 700]) + packer.flush(zlib.Z_BLOCK) for at in range(0, len(LINES), 700)
    )
    world = in_memory(objects := MemoryObjects())
    watched = Watched(world.store)
    world = dataclasses.replace(world, store=watched)
    ref = objects.put("in", "a.gz", packed + packer.flush())
    for step in ("plan", "fetch", "apply", "aggregate", "finish"):
        _as_role(monkeypatch, watched, step)
    code = messages.CodeIdentity("core", "pipelines", "dependencies")
    for number in range(2):  # the second job finds what the first one has indexed
        text = f"name: granted\n{DOCUMENTS[what]}rejects: {{on_error: quarantine}}\n"
        request = messages.JobRequest(f"granted-{number}", "granted", text, "p.yaml", "submit", [ref])
        row = driver.run_job(
            request, world, driver.in_this_process(world, code), code, defaults=Defaults(3_000, 4, 20_000)
        )
        assert row.status == "SUCCEEDED", row.error
    for role, action, key in watched.calls:
        assert any(fnmatchcase(key, pattern) for pattern in work_patterns(role, action)), (role, action, key)
    written = {key.partition("/")[0] for role, action, key in watched.calls if action == "s3:PutObject"}
    assert written == {"jobs", "scratch", "results", "index"}
    assert what == "parts" or any("/rejects/" in key for _, _, key in watched.calls)
    assert what != "gzip: index" or any(key.endswith("-progress") for _, _, key in watched.calls)


def _as_role(monkeypatch: Any, watched: Watched, step: str) -> None:
    """Whatever the state's function does to the work bucket, it does by its own role."""
    module = importlib.import_module(f"rangemill.{step}")
    run = module.run

    def in_role(*arguments: Any, **named: Any) -> Any:
        watched.role = f"{step.capitalize()}Role"
        try:
            return run(*arguments, **named)
        finally:
            watched.role = ""

    monkeypatch.setattr(module, "run", in_role)


@pytest.mark.parametrize(
    "key",
    [keys.plan(JOB), keys.checkpoint(JOB, 1, "a"), keys.wave(JOB, 1), keys.results("orders", JOB) + "_manifest.json"],
)
def test_a_worker_cannot_change_what_others_decided(key):
    assert not any(fnmatchcase(key, pattern) for pattern in work_patterns("ApplyRole", "s3:PutObject"))


def test_who_reads_a_bucket_may_list_it_so_that_a_missing_key_is_not_taken_for_a_refusal():
    readers = {
        role for role, s in grants() if "s3:GetObject" in as_list(s["Action"]) and work_patterns(role, "s3:GetObject")
    }
    listers = {
        role
        for role, s in grants()
        if s["Action"] == "s3:ListBucket" and s["Resource"] == {"Fn::GetAtt": "WorkBucket.Arn"}
    }
    assert readers - {"JobStateMachineRole"} <= listers


# --- what holds data, and what carries events -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["InputBucket", "WorkBucket", "JobTable"])
def test_data_is_retained(name):
    assert RESOURCES[name]["DeletionPolicy"].startswith("Retain")
    assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


def test_buckets_are_encrypted_private_and_talk_tls_only():
    guarded = {p["Bucket"]["Ref"]: p["PolicyDocument"] for p in of_type("AWS::S3::BucketPolicy").values()}
    for name, bucket in of_type("AWS::S3::Bucket").items():
        assert bucket["BucketEncryption"], name
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert _denies_plain_http(guarded[name]), name
        for rule in bucket["LifecycleConfiguration"]["Rules"]:
            # What can be made again: scratch, and the index of restart points, which is a cache.
            assert rule.get("Prefix", "").startswith(("scratch/", "index/")) or "AbortIncompleteMultipartUpload" in rule
            assert "ExpirationInDays" not in rule or rule["Prefix"].startswith(("scratch/", "index/"))


def test_queues_are_encrypted_and_talk_tls_only():
    guarded = {p["Queues"][0]["Ref"]: p["PolicyDocument"] for p in of_type("AWS::SQS::QueuePolicy").values()}
    for name, queue in of_type("AWS::SQS::Queue").items():
        assert queue["SqsManagedSseEnabled"] is True, name
        assert _denies_plain_http(guarded[name]), name


def _denies_plain_http(document: dict[str, Any]) -> bool:
    return any(
        s["Effect"] == "Deny" and s.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for s in document["Statement"]
    )


def test_every_rule_has_a_dead_letter_queue_that_takes_from_it():
    policy = RESOURCES["EventsDeadLetterQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
    taken_from = [arn["Fn::GetAtt"] for arn in policy["Condition"]["ArnEquals"]["aws:SourceArn"]]
    rules = of_type("AWS::Events::Rule")
    assert taken_from == [f"{name}.Arn" for name in rules]
    for rule in rules.values():
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": "EventsDeadLetterQueue.Arn"}}


def test_functions_that_events_call_send_what_they_cannot_do_to_the_dead_letter_queue():
    for function in ("admit", "sweep", "abandon"):
        invoke = function_properties(function)["EventInvokeConfig"]
        assert invoke["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": "EventsDeadLetterQueue.Arn"}
        assert any(r == f"{function.capitalize()}Role" and s["Action"] == "sqs:SendMessage" for r, s in grants())


def test_a_message_stays_hidden_for_six_times_as_long_as_ingest_may_take():
    queue = RESOURCES["IntakeQueue"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * function_properties("ingest")["Timeout"]
    event = function_properties("ingest")["Events"]["Intake"]["Properties"]
    assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert event["ScalingConfig"]["MaximumConcurrency"] == {"Ref": "IngestConcurrency"}


def test_every_queue_of_dead_letters_and_every_bad_end_of_an_execution_has_an_alarm():
    text = str(of_type("AWS::CloudWatch::Alarm"))
    for name in ("IntakeDeadLetterQueue", "EventsDeadLetterQueue"):
        assert f"{name}.QueueName" in text
    for metric in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"):
        assert metric in text
    for function in FUNCTIONS:
        assert f"{{'Ref': '{logical(function)}'}}" in text


def test_the_table_has_the_index_and_the_expiry_that_the_code_uses():
    table = RESOURCES["JobTable"]["Properties"]
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["by-status"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_the_stack_says_where_everything_is():
    assert set(TEMPLATE["Outputs"]) == {
        "InputBucket",
        "WorkBucket",
        "JobTable",
        "StateMachineArn",
        "TopicArn",
        "IntakeQueueUrl",
        "IntakeDeadLetterQueueUrl",
    }


def test_remedies_name_policies_parameters_and_actions_that_the_template_has():
    """What people are told when AWS refuses something."""
    policies = {
        resource["Properties"]["PolicyName"]: json.dumps(resource["Properties"])
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::IAM::Policy"
    }
    for action, grant in refusals.GRANTS.items():
        named = grant.policy.split("` or `")
        assert all(action in policies[name] for name in named), action
        assert all(grant.parameter in policies[name] for name in named), action
        assert grant.parameter in TEMPLATE["Parameters"], action
