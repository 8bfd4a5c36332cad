"""Peak memory of one worker at the defaults, at two sizes of object."""

from benchmarks import results
from benchmarks.model import Comparison, Line, Side, of
from benchmarks.world import World, job


def comparisons(world: World) -> list[Comparison]:
    """The Python engine over text, the SQL engine over CSV."""
    return [
        _of(world, "memory-python", "Python engine on text", "talkers", ("access-small.log", "access.log"), 256),
        _of(world, "memory-sql", "SQL engine on CSV", "lineitem-q1", ("lineitem-small.csv", "lineitem.csv"), 512),
    ]


def _of(world: World, name: str, title: str, pipeline: str, keys: tuple[str, str], most_mib: int) -> Comparison:
    small, big = (f"`{key}`, {world.bytes_of(key) >> 20} MiB" for key in keys)
    sides = [
        Side(
            size,
            job(pipeline, f"s3://bench/{key}", workers=1, range_bytes=world.sizes.range_bytes),
            results.rows,
            world.s3_environment,
            missing=world.lacks(server=True),
            compared=False,
        )
        for key, size in zip(keys, (small, big), strict=True)
    ]
    lines = [
        Line(f"peak memory of a worker, {title}", of(big, "peak_mib"), None, "MiB", at_most=most_mib),
        Line(
            f"the same, {_size(big)} object against {_size(small)}: flat in its size",
            of(big, "peak_mib"),
            of(small, "peak_mib"),
            "MiB",
            at_most=1.1,
            peer_name=_size(small),
        ),
    ]
    what = (
        f"`rangemill run` with one worker over nginx, in ranges of {world.sizes.range_bytes >> 20} MiB as on AWS; the "
        "largest resident set of any of its processes, which is the worker's. It does not hold what the handler "
        "of a function has beside it (Powertools, the tracer)."
    )
    return Comparison(name, f"Peak memory, {title}", what, sides, lines)


def _size(side: str) -> str:
    return side.rpartition(", ")[2]
