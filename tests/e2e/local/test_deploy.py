"""Deploying: what changed, only what changed, and a readable reason when it fails."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.e2e.local.conftest import Probe, wait_for

from rangemill_cli.errors import EnvironmentProblem
from rangemill_cli.local import stacks


@pytest.fixture
def sources(probe: Probe) -> Iterator[Path]:
    """The sources of the deployed template; what a test changes is put back."""
    kept = {file: file.read_bytes() for file in probe.project.folder.rglob("*") if file.is_file()}
    yield probe.project.folder
    for file, content in kept.items():
        file.write_bytes(content)


@pytest.fixture(scope="module", autouse=True)
def restored(probe: Probe) -> Iterator[None]:
    """The other modules find deployed what they expect."""
    yield
    probe.deploy()


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_nothing_is_built_or_deployed_when_nothing_changed(probe: Probe) -> None:
    probe.deploy()
    again = probe.deploy()
    assert (again.built, again.deployed) == (False, False)
    assert again.seconds < 2


def test_a_changed_function_and_layer_run_next_and_an_invocation_under_way_ends_with_the_code_that_it_began_with(
    probe: Probe, sources: Path
) -> None:
    assert probe.invoke("ProbeFunction", "describe").payload["version"] == "one"
    table, tag = probe.cloud.client("dynamodb"), str(uuid.uuid4())
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(probe.invoke, "ProbeFunction", "wait", tag=tag)
        wait_for(lambda: probe.item(f"waiting/{tag}"))
        replace(sources / "functions/probe/app.py", 'VERSION = "one"', 'VERSION = "two"')
        replace(sources / "layer2/probe_layer/__init__.py", '"upper"', '"new upper"')
        probe.deploy()
        seen = probe.invoke("ProbeFunction", "describe").payload
        assert (seen["version"], seen["layer"]) == ("two", "new upper")
        assert not under_way.done()
        table.put_item(TableName=probe.outputs["Table"], Item={"pk": {"S": f"release/{tag}"}})
        assert under_way.result().error is None
    assert "REPORT" in under_way.result().log


def test_a_failed_update_names_the_resource_and_the_next_one_sets_it_right(probe: Probe, sources: Path) -> None:
    good = (sources / "machine.asl.yaml").read_text()
    replace(sources / "machine.asl.yaml", "Type: Map", "Type: Nothing")
    with pytest.raises(EnvironmentProblem, match=r"could not update Machine \(AWS::StepFunctions::StateMachine\)"):
        probe.deploy()
    (sources / "machine.asl.yaml").write_text(good)
    probe.deploy()
    assert stacks.status(probe.cloud, "probe") in stacks.GOOD


def test_a_type_that_localstack_only_mocks_fails_the_deploy(probe: Probe, sources: Path) -> None:
    mocked = "Resources:\n  Board:\n    Type: AWS::CloudWatch::Dashboard\n    Properties: {DashboardBody: '{}'}\n"
    replace(sources / "template.yaml", "\nResources:\n", f"\n{mocked}")
    with pytest.raises(EnvironmentProblem, match="cannot create AWS::CloudWatch::Dashboard"):
        probe.deploy()


def test_a_layer_that_aws_would_find_too_large_is_refused(probe: Probe, sources: Path) -> None:
    with (sources / "layer/large.bin").open("wb") as large:
        large.truncate(270_000_000)
    try:
        with pytest.raises(EnvironmentProblem, match="262144000"):
            probe.deploy()
    finally:
        (sources / "layer/large.bin").unlink()
