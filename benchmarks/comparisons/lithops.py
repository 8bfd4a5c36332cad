"""The whole job against Lithops on this machine: what each GiB costs, and what a job costs that does nothing."""

from benchmarks import results
from benchmarks.model import Comparison, Line, Side, of, slope
from benchmarks.world import ROOT, World, job

SMALL, BIG, SEVENTEEN = "access-small.log", "access.log", "seventeen.log"


def comparisons(world: World) -> list[Comparison]:
    """Two sizes each for the slope, 17 ranges for the latency."""
    difference = (world.gib(BIG) - world.gib(SMALL)) or 1.0
    slopes = Comparison(
        "lithops",
        "Whole job against Lithops",
        "The same job over the whole access log and over its beginning; Lithops on its localhost backend and storage "
        "maps the bare pool's function over the same ranges. The slope is the difference of the two sizes' medians per "
        "GiB. Equal: the 100 addresses with most requests, of each size.",
        [*_sides(world, SMALL), *_sides(world, BIG)],
        [_slope_line("whole job against Lithops, slope per GiB", difference)],
    )
    nothing = Comparison(
        "no-op",
        "A job of 17 ranges that does nothing",
        "Ours reads and proves 17 ranges of 64 KiB with a class that does nothing; Lithops maps a function that does "
        "nothing, and reads nothing, over 17 tasks. Equal: the number of ranges.",
        [
            Side(
                "Lithops",
                _lithops(world, "", 17 * 2**16, 2**16),
                results.own,
                _environment(world),
                missing=world.lacks(peers=True),
            ),
            Side(
                "Rangemill",
                job("nothing", f"s3://bench/{SEVENTEEN}", range_bytes=2**16),
                results.ranges,
                world.s3_environment,
                missing=world.lacks(server=True),
            ),
        ],
        [
            Line(
                "no-op job of 17 ranges against Lithops, latency",
                of("Rangemill", "wall_seconds"),
                of("Lithops", "wall_seconds"),
                "s",
                at_most=0.2,
                peer_name="Lithops",
                jobs=("Rangemill", "Lithops"),
            )
        ],
    )
    return [slopes, nothing]


def _name(who: str, key: str) -> str:
    return f"{who}, {'part' if key == SMALL else 'whole'}"


def _sides(world: World, key: str) -> list[Side]:
    """Ours and theirs over an object."""
    return [
        Side(
            _name("Lithops", key),
            _lithops(world, key, world.bytes_of(key), world.sizes.range_bytes),
            results.own,
            _environment(world),
            missing=world.lacks(server=True, peers=True),
            group=key,
        ),
        Side(
            _name("Rangemill", key),
            job("talkers", f"s3://bench/{key}"),
            results.rows,
            world.s3_environment,
            missing=world.lacks(server=True),
            group=key,
        ),
    ]


def _lithops(world: World, key: str, size: int, range_bytes: int) -> tuple[str, ...]:
    return (*world.peers.program("lithops_map"), "{out}", world.server.url, key, str(size), str(range_bytes))


def _environment(world: World) -> dict[str, str]:
    """Its folders go with the run."""
    return {"PATH": world.peers.search_path, "TMPDIR": "{out}", "HOME": "{out}", "PYTHONPATH": str(ROOT)}


def _slope_line(measure: str, gib: float) -> Line:
    return Line(
        measure,
        slope(_name("Rangemill", SMALL), _name("Rangemill", BIG), gib),
        slope(_name("Lithops", SMALL), _name("Lithops", BIG), gib),
        "s/GiB",
        at_most=1.0,
        peer_name="Lithops",
        jobs=(_name("Rangemill", BIG), _name("Lithops", BIG)),
    )
