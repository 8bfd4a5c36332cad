"""The simulator itself: a job's life through the real functions and the real state machine when nothing goes wrong."""

from tests.simulator.oracle import at_rest, outcome_of, rows
from tests.simulator.world import World

LINES = b"".join(b"line %03d\n" % n for n in range(60))


def test_an_upload_becomes_a_proved_result():
    with World() as world:
        world.upload("versioned", "lines/a.txt", LINES)
        world.settle()
        (job,) = rows(world)
        assert job.status == "SUCCEEDED"
        assert outcome_of(world, job.job_id).is_exact
        at_rest(world)
