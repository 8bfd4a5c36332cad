"""`python -m benchmarks [NAME…]`: data, server, peers, then the comparisons, and docs/performance.md of them."""

import argparse
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import comparisons, data, machine, peers, running, server
from benchmarks.model import Comparison
from benchmarks.page import Page, headline
from benchmarks.world import FULL, ROOT, SMOKE, World

_ROUNDS = 5


def main() -> int:
    """The exit code: 0 when every comparison that could run did, whatever its figures are."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server and a running side end as well
    sizes = SMOKE if asked.smoke else FULL
    if asked.sf10:
        sizes = replace(sizes, large_scale=sizes.scale * 10)
    folder = asked.folder.resolve() / ("smoke" if asked.smoke else "full")
    data.make(folder / "objects" / "bench", sizes, _say)
    found_peers = peers.without("left out by --no-peers") if asked.no_peers else peers.synced()
    load = machine.load()
    with server.serving(folder / "objects", folder / "server") as serving:
        world = World(folder, sizes, serving, found_peers)
        versions = machine.versions(world)  # now: the tree may change while this runs
        found = []
        for comparison in _chosen(world, asked.names):
            _say(comparison.title)
            found.append((comparison, running.run(comparison, folder, 0 if asked.smoke else asked.rounds, _say)))
    loads = f"load (1, 5, 15 minutes) when the run began: {load}; when it ended: {machine.load()}"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = Page(
        date,
        1 if asked.smoke else asked.rounds,
        [*machine.describe(), loads],
        versions,
        data.describe(world.objects),
        found,
    )
    target = asked.page or (None if asked.smoke or asked.names else ROOT / "docs" / "performance.md")
    if target is None:
        print(page.render())
    else:
        target.write_text(page.render())
        print(headline(found))
    failed = [problem for _, results in found for problem in results.problems.values() if "cannot run" not in problem]
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these comparisons; the page is printed then")
    parser.add_argument(
        "--rounds",
        type=int,
        default=_ROUNDS,
        help="how often each side is timed; 0: only as it is checked [%(default)s]",
    )
    parser.add_argument("--sf10", action="store_true", help="TPC-H at scale factor 10 as well (7.7 GB)")
    parser.add_argument("--smoke", action="store_true", help="tiny data, each side once: does it all work?")
    parser.add_argument("--no-peers", action="store_true", help="without the peers' environment")
    parser.add_argument("--folder", type=Path, default=ROOT / ".benchmarks", help="where data lies [%(default)s]")
    parser.add_argument("--page", type=Path, help="write the page there")
    return parser.parse_args()


def _chosen(world: World, names: list[str]) -> list[Comparison]:
    every = comparisons.every(world)
    unknown = set(names) - {comparison.name for comparison in every}
    if unknown:
        known = ", ".join(comparison.name for comparison in every)
        print(f"no comparison is called {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        raise SystemExit(2)
    return [comparison for comparison in every if not names or comparison.name in names]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
