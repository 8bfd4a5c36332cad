"""Where the local cloud keeps its things; read once from the environment that `rangemill local up` makes."""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

LOCALSTACK_VERSION: Final = "2026.3.0"  # patches touch private names: they hold for this version only
UNZIPPED_MAX_BYTES: Final = (
    262_144_000  # a function and its layers, https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
)
RESPONSE_MAX_BYTES: Final = 6 * 1024 * 1024 + 100  # what the Runtime API itself accepts
INIT_MAX_SECONDS: Final = 10.0  # AWS stops a longer init and runs it again inside the first invocation


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`state` holds unzipped code, merged layers, worker folders; `runtime_python` is the functions' interpreter.

    `function_environment` goes into the environment of every function, over what the template says.
    """

    state: Path
    runtime_python: Path
    nonce: str
    function_environment: dict[str, str]


@cache
def settings() -> LocalSettings:
    """Read the settings; KeyError names what is missing."""
    return LocalSettings(
        state=Path(os.environ["RANGEMILL_LOCAL_STATE"]),
        runtime_python=Path(os.environ["RANGEMILL_LOCAL_PYTHON"]),
        nonce=os.environ["RANGEMILL_LOCAL_NONCE"],
        function_environment=json.loads(os.environ.get("RANGEMILL_LOCAL_FUNCTION_ENVIRONMENT") or "{}"),
    )
