"""One module per comparison; each has `comparisons(world)`. `every` lists them in the order of the page."""

from collections.abc import Callable, Iterable
from typing import Final

from benchmarks.comparisons import apply, dollars, fetch, gzipped, imports, jobs, lithops, memory, overlap, sql
from benchmarks.model import Comparison
from benchmarks.world import World

_MODULES: Final[tuple[Callable[[World], Iterable[Comparison]], ...]] = (
    fetch.comparisons,
    apply.comparisons,
    jobs.comparisons,
    lithops.comparisons,
    sql.comparisons,
    gzipped.comparisons,
    overlap.comparisons,
    dollars.comparisons,
    memory.comparisons,
    imports.comparisons,
)


def every(world: World) -> list[Comparison]:
    """All comparisons, those that cannot run here among them."""
    return [comparison for make in _MODULES for comparison in make(world)]
