"""TPC-H Q1 over `lineitem` as CSV, plain and in gzip, against DuckDB alone."""

from benchmarks import results
from benchmarks.model import Comparison, Line, Side, of
from benchmarks.world import WORKERS, World, job, program


def comparisons(world: World) -> list[Comparison]:
    """At scale factor 1, and at 10 when asked for; then over gzip."""
    sizes = world.sizes
    found = [_plain(world, "lineitem.csv", sizes.scale, 1.4)]
    if sizes.large_scale is not None:
        found.append(_plain(world, "lineitem-large.csv", sizes.large_scale, 1.25))
    return [*found, _packed(world, "lineitem.csv.gz", sizes.scale)]


def _plain(world: World, key: str, scale: float, at_most: float) -> Comparison:
    file = world.path(key)
    ours, peer = f"Rangemill, {WORKERS} workers", f"DuckDB, {WORKERS} threads"
    line = Line(
        f"whole job, TPC-H Q1, SF{scale:g} CSV, {WORKERS} workers, against DuckDB alone",
        of(ours, "wall_seconds"),
        of(peer, "wall_seconds"),
        "s",
        at_most=at_most,
        peer_name=f"DuckDB, {WORKERS} threads",
        jobs=(ours, peer),
    )
    return Comparison(
        f"q1-sf{scale:g}",
        f"TPC-H Q1 over CSV, SF{scale:g}",
        "All read the same local file with declared types. Ours is `rangemill run`, plan and proof included (a local "
        "file is read once more for its own CRC); also over nginx. DuckDB is the same build as ours. Polars computes "
        "in floating point. Equal: all ten columns, integers exactly, the rest to 1e-9.",
        [
            _duckdb(peer, file),
            Side(ours, job("lineitem-q1", file), results.rows),
            _served(world, f"{ours}, from nginx", key),
            Side(
                f"Polars, {WORKERS} threads",
                (*world.peers.program("polars_q1"), "{out}", file),
                results.own,
                {"POLARS_MAX_THREADS": str(WORKERS)},
                missing=world.lacks(peers=True),
            ),
        ],
        [line],
        world.gib(key),
    )


def _packed(world: World, key: str, scale: float) -> Comparison:
    file = world.path(key)
    return Comparison(
        "q1-gzip",
        f"TPC-H Q1 over gzip, SF{scale:g}",
        f"The same query over `{key}`. DuckDB inflates with one thread. Ours without restart points is a first job "
        "over the object; with them a later one.",
        [
            _duckdb(f"DuckDB, {WORKERS} threads", file),
            _served(world, f"Rangemill, {WORKERS} workers, first job", key, cache="{out}/cache"),
            _served(world, f"Rangemill, {WORKERS} workers, points kept", key, cache=str(world.folder / "cache")),
        ],
        [],
        world.gib("lineitem.csv"),
    )


def _duckdb(name: str, file: str) -> Side:
    return Side(name, (*program("duckdb_q1"), "{out}", file, str(WORKERS)), results.own)


def _served(world: World, name: str, key: str, cache: str | None = None) -> Side:
    environment = world.s3_environment | ({} if cache is None else {"XDG_CACHE_HOME": cache})
    return Side(
        name,
        job("lineitem-q1", f"s3://bench/{key}"),
        results.rows,
        environment,
        missing=world.lacks(server=True),
    )
