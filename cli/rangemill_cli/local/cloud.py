"""The local cloud as the rest of the project sees it: an endpoint, and clients that can reach nothing else.

cloud = LocalCloud.at(local_paths())
cloud.client("s3").list_buckets()
"""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self

from rangemill_cli.errors import EnvironmentProblem
from rangemill_cli.local.paths import LocalPaths, local_paths
from rangemill_cli.local.process import ProcessIdentity

STACK: Final = "rangemill"
ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
ANSWER_S: Final = 3.0
PATIENCE_S: Final = 20.0  # with twenty workers on two cores an answer takes its time; a restart would lose everything
# Everything that could lead an AWS tool to a person's own account, shut; LocalStack takes `test` as account zero.
CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """A LocalStack: ours, with a process, or somebody's, with an endpoint only."""

    endpoint_url: str
    process: ProcessIdentity | None = None
    nonce: str | None = None

    @classmethod
    def at(cls, paths: LocalPaths) -> Self | None:
        """Return the cloud that `up` started with this state folder, if it still runs."""
        try:
            record = json.loads(paths.record.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        process = ProcessIdentity(record["pid"], record["started"])
        return cls(record["endpoint_url"], process, record["nonce"]) if process.is_running() else None

    @classmethod
    def require(cls, endpoint_url: str | None = None, paths: LocalPaths | None = None) -> Self:
        """Return the cloud at `endpoint_url`, or ours; raise EnvironmentProblem when it does not answer."""
        cloud = cls(endpoint_url.rstrip("/")) if endpoint_url else cls.at(paths or local_paths())
        if cloud is None:
            raise EnvironmentProblem("The local cloud is not running.", "Start it with `rangemill local up`.")
        if not cloud.is_running():
            raise EnvironmentProblem(f"No LocalStack answers at {cloud.endpoint_url}.", "Is the endpoint right?")
        return cloud

    def is_running(self) -> bool:
        """Whether the process (of our own) runs and answers, with patience for one that is busy."""
        until = time.monotonic() + PATIENCE_S
        while self.process is None or self.process.is_running():
            if self.answers():
                return True
            if self.process is None or time.monotonic() > until:
                break
            time.sleep(0.1)
        return False

    def answers(self) -> bool:
        """Whether a LocalStack is ready at the endpoint and, if it should be ours, is ours."""
        if self.nonce is None:
            return _get(f"{self.endpoint_url}/_localstack/health", ANSWER_S) is not None
        identity = _get(f"{self.endpoint_url}/_rangemill/identity", ANSWER_S)
        return identity is not None and identity.get("nonce") == self.nonce

    def environment(self) -> dict[str, str]:
        """Return the variables that point an AWS tool at this cloud and at nothing else."""
        return {"AWS_ENDPOINT_URL": self.endpoint_url, **CREDENTIALS}

    def client(self, service: str) -> Any:
        """Return a boto3 client; it takes no profile, variable or endpoint from the environment."""
        return _client(self.endpoint_url, service)


@cache
def _client(endpoint_url: str, service: str) -> Any:
    import boto3  # noqa: PLC0415 - 200 ms, and `status` without a cloud does not need it
    import botocore.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    # (name in a config file, environment variable, default, conversion): neither file nor variable is looked at, so
    # that a profile of the user's can neither be used nor be missing.
    nowhere: dict[str, Any] = dict.fromkeys(("config_file", "credentials_file"), (None, None, "/dev/null", None))
    session: Any = boto3.session.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
        botocore_session=botocore.session.Session(session_vars={"profile": (None, None, None, None), **nowhere}),
    )
    config = Config(
        retries={"mode": "standard", "max_attempts": 2},
        s3={"addressing_style": "path"},
        max_pool_connections=50,
        proxies={},
    )
    return session.client(service, endpoint_url=endpoint_url, config=config)


def _get(url: str, timeout_s: float) -> dict[str, Any] | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy: it is this machine
    try:
        with opener.open(url, timeout=timeout_s) as response:
            document = json.load(response)
    except (urllib.error.URLError, OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
