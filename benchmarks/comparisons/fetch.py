"""Fetch: what it costs to have the bytes of an object, range after range."""

from benchmarks import results
from benchmarks.model import Comparison, Line, Side, per_gib
from benchmarks.world import World, program

KEY = "access.log"


def comparisons(world: World) -> list[Comparison]:
    """Ours against a bare socket; boto3, obstore and curl beside them."""
    size, ranges = str(world.bytes_of(KEY)), str(world.sizes.range_bytes)
    server, port = world.lacks(server=True), world.server.url.rpartition(":")[2]
    s3 = world.s3_environment
    gib = world.gib(KEY)
    sides = [
        Side(
            "raw socket",
            (*program("fetch_raw"), "{out}", "{purpose}", port, f"/bench/{KEY}", size, ranges),
            results.own,
            missing=server,
        ),
        Side("Rangemill", (*program("fetch_ours"), "{out}", "{purpose}", KEY), results.own, s3, missing=server),
        Side(
            "boto3, each range by `read()`",
            (*program("fetch_boto3"), "{out}", "{purpose}", KEY, size, ranges),
            results.own,
            s3,
            missing=server,
        ),
        Side(
            "obstore, 4 × 8 MiB",
            (*world.peers.program("fetch_obstore"), "{out}", "{purpose}", world.server.url, KEY, size),
            results.own,
            missing=world.lacks(server=True, peers=True),
            compared=False,
        ),
        Side(
            "curl",
            ("curl", "--silent", "--fail", "--output", "/dev/null", f"{world.server.url}/bench/{KEY}"),
            lambda _: None,
            missing=world.lacks(server=True, tools=("curl",)),
            compared=False,
        ),
    ]
    line = Line(
        "fetch, CPU-seconds per GiB, against a raw socket",
        per_gib("Rangemill", "cpu_seconds", gib or 1),
        per_gib("raw socket", "cpu_seconds", gib or 1),
        "s/GiB",
        at_most=1.5,
        peer_name="raw socket",
    )
    what = (
        f"The access log in ranges of {world.sizes.range_bytes >> 20} MiB, one after the other, from nginx on loopback "
        "over plain HTTP; ours as a worker reads them, by the GETs and connections that `rangemill/limits.py` sets. "
        "Timed inside the process, after its imports and a first small request; curl as a whole and in one request. "
        "Equal: the CRC-64/NVME of all bytes in order (of obstore the length, of curl nothing)."
    )
    return [Comparison("fetch", "Fetch", what, sides, [line], gib)]
