"""Functions as processes: what AWS gives them, what it keeps from them, and how it spells their failures."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from tests.e2e.local.conftest import Probe

from rangemill_cli.local import function_logs


def test_a_function_sees_its_own_environment_and_nothing_of_the_hosts(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = probe.invoke("ProbeFunction", "describe").payload
    environment = seen["environment"]
    assert environment["GREETING"] == "hello"
    assert environment["AWS_ENDPOINT_URL"] == probe.cloud.endpoint_url
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == probe.outputs["ProbeFunction"]
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["LAMBDA_TASK_ROOT"] == seen["cwd"]
    allowed = re.compile(r"_?AWS_|_X_AMZN_|LAMBDA_|_HANDLER|PATH|PYTHONPATH|LD_LIBRARY_PATH|LANG|LC_CTYPE|TZ|TMPDIR")
    assert [name for name in environment if not allowed.match(name)] == ["GREETING", "TABLE"]
    assert "HOME" in os.environ
    assert "HOME" not in environment


def test_layers_are_merged_in_order_and_come_before_the_runtimes_own_packages(probe: Probe) -> None:
    seen = probe.invoke("ProbeFunction", "describe").payload
    assert seen["layer"] == "upper"
    files = [name for name in seen["layer_files"] if not name.endswith(".pyc")]  # bytecode came with the build
    assert files == ["__init__.py", "below.py", "requirements.txt"]
    runtime = next(
        place for place in seen["path"] if place.endswith("local/runtime/.venv/lib/python3.13/site-packages")
    )
    assert seen["path"].index(seen["layer_root"]) < seen["path"].index(runtime)
    assert seen["boto3"].startswith(runtime)


def test_the_context_is_filled(probe: Probe) -> None:
    seen = probe.invoke("ProbeFunction", "describe")
    assert 0 < seen.payload["remaining_ms"] <= 120_000
    assert seen.payload["arn"].endswith(f":function:{probe.outputs['ProbeFunction']}")
    assert seen.payload["request_id"] in seen.log


def test_a_warm_environment_is_used_again(probe: Probe) -> None:
    first, second = (probe.invoke("ProbeFunction", "describe").payload for _ in range(2))
    assert second["pid"] == first["pid"]
    assert second["calls"] == first["calls"] + 1


def test_an_exception_is_reported_by_its_type(probe: Probe) -> None:
    failed = probe.invoke("ProbeFunction", "fail")
    assert (failed.error, failed.payload["errorType"]) == ("Unhandled", "KeyError")


@pytest.mark.parametrize(
    ("function", "do", "event", "error_type", "message"),
    [
        ("ProbeFunction", "kill", {}, "Runtime.ExitError", "signal: killed"),
        ("ProbeFunction", "exit", {"code": 3}, "Runtime.ExitError", "exit status 3"),
        ("ProbeFunction", "eat", {"mib": 400}, "Runtime.ExitError", "signal: killed"),
        ("ProbeFunction", "answer", {"chars": 7_000_000}, "Function.ResponseSizeTooLarge", "6291556 bytes"),
        ("SlowFunction", "sleep", {"seconds": 5}, "Sandbox.Timedout", "timed out after 2.00 seconds"),
        ("BrokenFunction", "sleep", {"seconds": 0}, "Runtime.HandlerNotFound", "no_such_handler"),
    ],
)
def test_failures_are_spelled_as_aws_spells_them(
    *, probe: Probe, function: str, do: str, event: dict[str, int], error_type: str, message: str
) -> None:
    failed = probe.invoke(function, do, **event)
    assert (failed.error, failed.payload["errorType"]) == ("Unhandled", error_type)
    assert message in failed.payload["errorMessage"]


@pytest.mark.parametrize("do", ["kill", "eat"])
def test_an_environment_is_made_anew_after_its_process_died(probe: Probe, do: str) -> None:
    before = probe.invoke("ProbeFunction", "describe").payload["pid"]
    assert probe.invoke("ProbeFunction", do, mib=400).error
    after = probe.invoke("ProbeFunction", "describe").payload
    assert after["pid"] != before
    assert after["calls"] == 1


def test_memory_within_the_limit_is_left_alone_and_reported(probe: Probe) -> None:
    fed = probe.invoke("ProbeFunction", "eat", mib=100)
    used = re.search(r"Max Memory Used: (\d+) MB", fed.log)
    assert fed.payload == 100 * 1024 * 1024
    assert used is not None
    assert 100 <= int(used[1]) <= 256


def test_tmp_is_private_and_has_the_size_that_the_template_says(probe: Probe) -> None:
    with ThreadPoolExecutor(2) as pool:
        pids = set(pool.map(lambda _: probe.invoke("ProbeFunction", "sleep", seconds=1).payload, range(2)))
        seen = list(pool.map(lambda _: probe.invoke("ProbeFunction", "tmp").payload, range(2)))
    assert len(pids) == 2
    for document in seen:
        # A checkout that itself lies under /tmp is seen there as well.
        assert {name for name in document["found"] if name.startswith("mine-")} <= {f"mine-{document['pid']}"}
    if seen[0]["folder"] == "/tmp":  # namespaces are allowed here
        assert probe.invoke("ProbeFunction", "tmp", fill_mib=600).payload["errorType"] == "OSError"
        assert probe.invoke("ProbeFunction", "kill").error  # frees what was filled


def test_twenty_environments_work_at_once(probe: Probe) -> None:
    with ThreadPoolExecutor(20) as pool:
        pids = list(pool.map(lambda _: probe.invoke("ProbeFunction", "sleep", seconds=6).payload, range(20)))
    assert len(set(pids)) == 20


def test_reserved_concurrency_throttles(probe: Probe) -> None:
    def attempt(_: int) -> str:
        try:
            return str(probe.invoke("SingleFunction", "sleep", seconds=6).error)
        except ClientError as error:
            return str(error.response["Error"]["Code"])

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, range(2))) == ["None", "TooManyRequestsException"]


def test_logs_are_in_cloudwatch_with_their_frame(probe: Probe) -> None:
    request_id = probe.invoke("ProbeFunction", "describe").payload["request_id"]
    groups = function_logs.groups(probe.cloud, "probe", "probe")
    for _ in range(20):
        lines = [line for line in function_logs.lines(probe.cloud, groups, 0, follow=False) if request_id in line]
        if len(lines) == 3:
            break
    assert [line.split()[2] for line in lines] == ["START", "END", "REPORT"]
