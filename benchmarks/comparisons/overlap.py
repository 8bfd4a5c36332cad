"""Fetch and apply at the same time against one after the other, where a connection gives what S3's does."""

from benchmarks import results
from benchmarks.model import Comparison, Line, Side, of
from benchmarks.server import LIMIT
from benchmarks.world import World, program

KEY = "access-small.log"


def comparisons(world: World) -> list[Comparison]:
    """One worker's loop, both ways."""
    missing, ranges = world.lacks(server=True), str(world.sizes.range_bytes)
    environment = {"AWS_ENDPOINT_URL": world.server.limited_url}

    def side(name: str, mode: str) -> Side:
        command = (*program("overlap"), "{out}", mode, KEY, ranges)
        return Side(name, command, results.own, environment, missing=missing)

    line = Line(
        "overlap against fetch-then-apply at 85 MB/s a connection",
        of("overlapped", "wall_seconds"),
        of("fetch, then apply", "wall_seconds"),
        "s",
        at_least=1.25,
        peer_name="fetch, then apply",
        jobs=("overlapped", "fetch, then apply"),
    )
    what = (
        f"One worker over the first part of the access log from an nginx that gives {LIMIT[:-1]} MiB/s a connection, "
        f"in ranges of {world.sizes.range_bytes >> 20} MiB. Both sides are the same gateway, format and engine with as "
        "many connections; one holds each range in memory before it applies anything of it. Equal: the 100 addresses "
        "with most requests."
    )
    sides = [side("fetch, then apply", "then"), side("overlapped", "overlapped")]
    return [Comparison("overlap", "Overlap of fetch and apply", what, sides, [line], world.gib(KEY))]
