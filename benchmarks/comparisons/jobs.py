"""The whole job of the Python engine against a bare pool of processes."""

from benchmarks import results
from benchmarks.model import Comparison, Line, Side, of
from benchmarks.world import WORKERS, World, job, program

KEY = "access.log"


def comparisons(world: World) -> list[Comparison]:
    """Two workers each."""
    size, ranges = str(world.bytes_of(KEY)), str(world.sizes.range_bytes)
    server, url = world.lacks(server=True), world.server.url
    pool, ours = f"bare pool of {WORKERS}", f"Rangemill, {WORKERS} workers"
    sides = [
        Side(
            pool,
            (*program("pool"), "{out}", url, KEY, size, ranges, str(WORKERS)),
            results.own,
            missing=server,
        ),
        Side(ours, job("talkers", f"s3://bench/{KEY}"), results.rows, world.s3_environment, missing=server),
    ]
    line = Line(
        f"whole job, Python engine, {WORKERS} workers, against a bare pool",
        of(ours, "wall_seconds"),
        of(pool, "wall_seconds"),
        "s",
        at_most=1.1,
        peer_name=f"pool of {WORKERS}",
        jobs=(ours, pool),
    )
    what = (
        "Requests and refusals by address over the access log from nginx, the same class on both sides. Ours is "
        "`rangemill run` from start to published result, plan and proof included. The pool streams each range by "
        "boto3's `iter_chunks(1 MiB)` (the cheapest way we know), reads on to the end of its last line, and checks "
        "nothing. Equal: the 100 addresses with most requests."
    )
    return [Comparison("pool", "Whole job against a bare pool", what, sides, [line], world.gib(KEY))]
