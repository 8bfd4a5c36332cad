"""The pure parts of `rangemill local`: sentences, parameters, fingerprints."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rangemill_cli.errors import UsageProblem
from rangemill_cli.local import commands, sam, stacks
from rangemill_cli.local.cloud import LocalCloud
from rangemill_cli.local.paths import LocalPaths

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


ENDPOINT = "http://127.0.0.1:1"


@pytest.fixture
def persons_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "theirs")


@pytest.mark.usefixtures("persons_environment")
def test_sam_gets_nothing_that_leads_to_a_persons_own_account() -> None:
    environment = sam.sam_environment(LocalCloud(ENDPOINT), LocalPaths(Path("/project"), Path("/state")))
    assert "theirs" not in environment.values()
    assert environment["AWS_ENDPOINT_URL"] == ENDPOINT
    assert environment["AWS_ACCESS_KEY_ID"] == "test"
    assert environment["PATH"].startswith("/project/tools/sam/.venv/bin:")


@pytest.mark.usefixtures("persons_environment")
def test_env_points_a_shell_here_and_away_from_a_persons_own_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCloud, "answers", lambda *_: True)
    shown = CliRunner().invoke(commands.local, ["env", "--endpoint-url", f"{ENDPOINT}/"])
    lines = shown.output.splitlines()
    assert f"export AWS_ENDPOINT_URL={ENDPOINT}" in lines
    assert "export AWS_CONFIG_FILE=/dev/null" in lines
    assert lines[-1] == "unset AWS_DEFAULT_PROFILE AWS_ENDPOINT_URL_S3 AWS_PROFILE AWS_SESSION_TOKEN"


@pytest.mark.usefixtures("persons_environment")
def test_clients_ignore_a_profile_that_does_not_exist() -> None:
    client = LocalCloud(ENDPOINT).client("s3")
    assert client.meta.endpoint_url == ENDPOINT


def test_status_of_a_cloud_that_does_not_run_is_one_json_object_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RANGEMILL_LOCAL_STATE", str(tmp_path))
    shown = CliRunner().invoke(commands.local, ["status", "--json"])
    assert shown.exit_code == 3
    assert json.loads(shown.output)["running"] is False
