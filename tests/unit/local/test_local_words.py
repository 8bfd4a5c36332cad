"""The pure parts of `rangemill local`: sentences, parameters, fingerprints."""

from pathlib import Path

import pytest
from rangemill_cli.errors import UsageProblem
from rangemill_cli.local import commands, sam, stacks

PROVIDER = (
    "Resource provider operation failed: An error occurred (InvalidDefinition) when calling the Create operation: why"
)
MOCKED = "Sorry, the AWS::X::Y resource (from the x service) is not supported by this version of LocalStack."
WAITER = 'Error: ex: Waiter encountered a terminal failure state: For "x" matched: "FAILED" Status: FAILED. Reason: why'


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (PROVIDER, "InvalidDefinition from Create: why"),
        (WAITER, "why"),
        (f"Unsupported: {MOCKED}", "Unsupported: LocalStack cannot create AWS::X::Y (put it behind a Condition)."),
        ("", "no reason given"),
    ],
)
def test_a_reason_is_told_without_its_wrappings(reason: str, sentence: str) -> None:
    assert stacks.readable(reason) == sentence


@pytest.fixture
def project(tmp_path: Path) -> sam.Project:
    (tmp_path / "template.yaml").write_text("Resources: {}")
    (tmp_path / "functions/one").mkdir(parents=True)
    (tmp_path / "functions/one/app.py").write_text("")
    return sam.Project(tmp_path)


@pytest.mark.parametrize("overrides", ['"Architecture=arm64 IsLocal=true"', '["Architecture=arm64", "IsLocal=true"]'])
def test_parameters_come_from_samconfig_and_the_architecture_from_the_host(
    project: sam.Project, overrides: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = f"version = 0.1\n[local.deploy.parameters]\nparameter_overrides = {overrides}\n"
    (project.folder / "samconfig.toml").write_text(config)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert project.parameters() == ["Architecture=x86_64", "IsLocal=true"]


@pytest.mark.parametrize(
    ("machine", "architecture"), [("x86_64", "x86_64"), ("aarch64", "arm64"), ("arm64", "arm64"), ("AMD64", "x86_64")]
)
def test_the_architecture_has_lambdas_name(machine: str, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert sam.host_architecture() == architecture


def test_the_fingerprint_follows_contents_and_names_and_nothing_else(project: sam.Project) -> None:
    (project.folder / "samconfig.toml").write_text("version = 0.1")
    first = project.fingerprint()
    (project.folder / "README.md").write_text("not an input")
    (project.folder / "functions/one/__pycache__").mkdir()
    (project.folder / "functions/one/__pycache__/app.pyc").write_text("x")
    (project.folder / "template.yaml").touch()
    assert project.fingerprint() == first
    (project.folder / "functions/one/app.py").write_text("changed")
    second = project.fingerprint()
    (project.folder / "functions/one/app.py").rename(project.folder / "functions/one/other.py")
    assert len({first, second, project.fingerprint()}) == 3


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)])
def test_a_time_span_is_read(text: str, seconds: int) -> None:
    assert commands.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1h", "1w"])
def test_a_time_span_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        commands.seconds_of(text)


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s"), (65, "1 min 5 s"), (3700, "1 h 1 min")])
def test_a_duration_is_told_in_two_units_at_most(seconds: int, words: str) -> None:
    assert commands.duration(seconds) == words
