"""Each mechanism that protects data, taken away: the simulator notices within a few histories."""

import pytest
from tests.simulator.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_simulator_notices(mutation: Mutation):
    assert mutation.noticed() is not None
