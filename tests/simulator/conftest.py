"""The simulator reaches no network, and histories take as long as the machine lets them."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, enable_socket
from tests.simulator import lambdas

lambdas.handler_modules()  # X-Ray opens a socket when it is imported, and sends nothing

# How quickly examples come tells of the machine, not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    """Only within this suite: others may run in the same process."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()
