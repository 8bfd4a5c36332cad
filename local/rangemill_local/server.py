"""Start LocalStack with our patches: `python -m rangemill_local.server`."""

import os
import sys
from importlib.metadata import version

from rangemill_local.settings import LOCALSTACK_VERSION


def main() -> None:
    """Refuse another version, apply the patches, run until told to stop."""
    installed = version("localstack-core")
    if installed != LOCALSTACK_VERSION:
        sys.exit(f"ERROR: the patches are for localstack-core {LOCALSTACK_VERSION}, and {installed} is installed")
    # Everything written by this process is its owner's only.
    os.umask(0o077)
    # After the version is known. The plugins too: LocalStack would only say that it does not know them.
    from rangemill_local import identity, patches, plugins, request_log, store  # noqa: F401, PLC0415

    store.prune()
    patches.apply()
    identity.serve()
    request_log.serve()
    from localstack.runtime.main import main as run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
