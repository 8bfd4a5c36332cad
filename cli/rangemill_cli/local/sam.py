"""`sam build` and `sam deploy` against a local cloud, skipped when nothing changed."""

import hashlib
import json
import os
import platform
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rangemill_cli import bytecode
from rangemill_cli.errors import EnvironmentProblem
from rangemill_cli.local import stacks
from rangemill_cli.local.cloud import STACK, LocalCloud
from rangemill_cli.local.paths import LocalPaths
from rangemill_cli.local.server import locked

ARTIFACTS_BUCKET: Final = "rangemill-local-artifacts"  # made beforehand: sam's own managed bucket costs 20 s
CONFIG_ENV: Final = "local"
# What `sam build` reads. The commands of this package and the documents are not among them.
INPUTS: Final = ("template.yaml", "samconfig.toml", "functions", "layers", "statemachines")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What `deploy` did: `built` and `deployed` are False where nothing had changed."""

    built: bool
    deployed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Project:
    """What is deployed: the project's own template, or (in tests) another one with its own stack."""

    folder: Path
    stack: str = STACK
    config_env: str | None = CONFIG_ENV

    def fingerprint(self) -> str:
        """Return a hash of everything that `sam build` reads, and of the machine that it builds for.

        The place counts as well: the built template names the state machine's file where it lies.
        """
        digest = hashlib.sha256(f"{host_architecture()}\0{self.folder}\0".encode())
        for file in self._files():
            digest.update(f"{file.relative_to(self.folder)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def parameters(self) -> list[str]:
        """Return `Name=Value` for every parameter: samconfig's [local] ones, and this host's architecture."""
        found: dict[str, str] = {}
        samconfig = self.folder / "samconfig.toml"
        if samconfig.exists() and self.config_env:
            section = tomllib.loads(samconfig.read_text()).get(self.config_env, {})
            overrides = section.get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
            for pair in overrides.split() if isinstance(overrides, str) else overrides:
                name, _, value = pair.partition("=")
                found[name] = value.strip('"')
        found["Architecture"] = host_architecture()
        return [f"{name}={value}" for name, value in found.items()]

    def _files(self) -> Iterator[Path]:
        for name in INPUTS if (self.folder / "samconfig.toml").exists() else ("",):
            place = self.folder / name
            files = sorted(place.rglob("*")) if place.is_dir() else [place]
            yield from (
                file
                for file in files
                if file.is_file() and "__pycache__" not in file.parts and ".aws-sam" not in file.parts
            )


def deploy(
    cloud: LocalCloud,
    paths: LocalPaths,
    project: Project | None = None,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Deployed:
    """Build what changed and bring the stack to it; raise EnvironmentProblem with CloudFormation's reason."""
    project = project or Project(paths.project)
    folder = paths.state / "builds" / project.stack
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        return _deploy(cloud, paths, project, folder, force=force, say=say)


def _deploy(
    cloud: LocalCloud, paths: LocalPaths, project: Project, folder: Path, *, force: bool, say: Callable[[str], None]
) -> Deployed:
    began = time.monotonic()
    fingerprint = project.fingerprint()
    build_dir = folder / "build"
    built = force or _read(folder / "built.json") != {"fingerprint": fingerprint} or not build_dir.exists()
    if built:
        (folder / "built.json").unlink(missing_ok=True)
        say(f"Building with SAM for {host_architecture()} …")
        _sam(cloud, paths, project, _build_arguments(project, folder), "sam build")
        bytecode.compile_build(build_dir)
        (folder / "built.json").write_text(json.dumps({"fingerprint": fingerprint}))
    # A nonce names one life of one cloud: after a restart the account is empty, and the record says nothing.
    target = {"fingerprint": fingerprint, "nonce": cloud.nonce, "endpoint_url": cloud.endpoint_url}
    unchanged = cloud.nonce is not None and _read(folder / "deployed.json") == target
    status = stacks.status(cloud, project.stack)
    if unchanged and not force and status in stacks.GOOD:
        return Deployed(built, False, time.monotonic() - began)
    if status in stacks.MUST_GO:
        stacks.delete(cloud, project.stack)
    _make_bucket(cloud)
    say(f"Deploying the stack `{project.stack}` …")
    _sam(cloud, paths, project, _deploy_arguments(project, folder), "sam deploy")
    (folder / "deployed.json").write_text(json.dumps(target))
    return Deployed(built, True, time.monotonic() - began)


def host_architecture() -> str:
    """Return this machine's architecture by Lambda's name."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


def _build_arguments(project: Project, folder: Path) -> list[str]:
    return [
        "build",
        *("--template-file", str(project.folder / "template.yaml")),
        *_config(project),
        *("--build-dir", str(folder / "build")),
        *("--cached", "--cache-dir", str(folder / "cache")),
        *("--parameter-overrides", *project.parameters()),
    ]


def _deploy_arguments(project: Project, folder: Path) -> list[str]:
    return [
        "deploy",
        *_config(project),
        *("--template-file", str(folder / "build/template.yaml")),
        *("--stack-name", project.stack),
        *("--s3-bucket", ARTIFACTS_BUCKET, "--no-resolve-s3"),
        *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
        *("--no-confirm-changeset", "--no-fail-on-empty-changeset"),
        *("--parameter-overrides", *project.parameters()),
    ]


def _config(project: Project) -> list[str]:
    samconfig = project.folder / "samconfig.toml"
    if not project.config_env or not samconfig.exists():
        return []
    return ["--config-file", str(samconfig), "--config-env", project.config_env]


def sam_environment(cloud: LocalCloud, paths: LocalPaths) -> dict[str, str]:
    """Return the whole environment of `sam`: nothing of it can lead to a person's own account."""
    return {
        **{name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ},
        **{name: text for name, text in os.environ.items() if name.startswith("PIP_")},
        **{name: os.environ[name] for name in ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE") if name in os.environ},
        "NO_PROXY": "127.0.0.1,localhost",
        # First on PATH: the python3.13 with pip that `sam build` looks for.
        "PATH": f"{paths.sam_bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.3",
        "__SAM_CLI_APP_DIR": str(paths.state / "sam"),  # its own settings: here, not in the home folder
        **cloud.environment(),
    }


def _sam(cloud: LocalCloud, paths: LocalPaths, project: Project, arguments: list[str], what: str) -> None:
    log = paths.state / "builds" / project.stack / f"{what.replace(' ', '-')}.log"
    finished = subprocess.run(
        [str(paths.sam_bin / "sam"), *arguments],
        cwd=log.parent,  # sam keeps downloaded dependencies under its current folder: not among those of another build
        env=sam_environment(cloud, paths),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    log.write_text(finished.stdout + finished.stderr)
    if finished.returncode != 0:
        output = f"{finished.stdout}\n{finished.stderr}"
        reason = stacks.failure(cloud, project.stack) if what == "sam deploy" else None
        raise EnvironmentProblem(reason or _last_error(output, what), f"The whole output of {what}: {log}")


def _last_error(output: str, what: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "Failed" in line]
    return f"{what} failed: {stacks.readable((errors or lines or ['no output'])[-1])}"


def _make_bucket(cloud: LocalCloud) -> None:
    s3 = cloud.client("s3")
    if ARTIFACTS_BUCKET not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=ARTIFACTS_BUCKET)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
