"""The access log in gzip: with restart points by one and two workers, and the first job that makes them."""

from benchmarks import results
from benchmarks.model import Comparison, Line, Side, of
from benchmarks.world import WORKERS, World, job

KEY = "access.log.gz"
_MAWK = "{n[$1]++; if ($9 >= 400) r[$1]++} END {for (a in n) print n[a], r[a] + 0, a}"


def comparisons(world: World) -> list[Comparison]:
    """Ours, one stream of `isal`, and a pipe."""
    server, url, cache = world.lacks(server=True), world.server.url, str(world.folder / "cache")
    kept, alone, first = f"points kept, {WORKERS} workers", "points kept, 1 worker", f"first job, {WORKERS} workers"
    pipe = f"curl -sf {url}/bench/{KEY} | zcat | mawk '{_MAWK}'"
    sides = [
        _ours(world, kept, cache, WORKERS),
        _ours(world, alone, cache, 1),
        _ours(world, first, "{out}/cache", WORKERS),
        _ours(world, "first job, 1 worker", "{out}/cache", 1),
        Side(
            "one isal stream",
            (*world.peers.program("isal_stream"), "{out}", url, KEY),
            results.own,
            missing=world.lacks(server=True, peers=True),
        ),
        Side(
            "curl, zcat, mawk",
            ("sh", "-c", pipe.replace("{", "{{").replace("}", "}}")),
            results.talkers,
            missing=server or world.lacks(tools=("curl", "zcat", "mawk")),
        ),
    ]
    lines = [
        Line(
            f"gzip with points kept, {WORKERS} workers against 1",
            of(f"Rangemill, {kept}", "wall_seconds"),
            of(f"Rangemill, {alone}", "wall_seconds"),
            "s",
            at_least=1.6,
            peer_name="1 worker",
            jobs=(f"Rangemill, {kept}", f"Rangemill, {alone}"),
        ),
        Line(
            "gzip, first job, against one `isal` stream",
            of(f"Rangemill, {first}", "wall_seconds"),
            of("one isal stream", "wall_seconds"),
            "s",
            at_most=1.1,
            peer_name="isal",
            jobs=(f"Rangemill, {first}", "one isal stream"),
        ),
    ]
    what = (
        f"Requests and refusals by address over `{KEY}` (one member, level 6) from nginx. “Points kept”: an earlier, "
        "untimed job over the object left its restart points; “first job”: nothing is known of the object. The isal "
        "stream is one process that fetches, inflates and runs the same class per line; the pipe counts with mawk and "
        "is not asked to prove anything. Equal: the 100 addresses with most requests. Speed is of the unpacked data."
    )
    return [Comparison("gzip", "Access log in gzip", what, sides, lines, world.gib("access.log"))]


def _ours(world: World, name: str, cache: str, workers: int) -> Side:
    return Side(
        f"Rangemill, {name}",
        job("talkers", f"s3://bench/{KEY}", workers=workers),
        results.rows,
        world.s3_environment | {"XDG_CACHE_HOME": cache},
        missing=world.lacks(server=True),
    )
