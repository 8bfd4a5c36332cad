"""`python -m benchmarks.scale [NAME…]`: the jobs at the limits, and docs/limits.md of them."""

import argparse
import sys

from benchmarks import machine
from benchmarks.scale import jobs, page

_PLAN_SECONDS = 10.0
_PLAN_MIB = 200.0


def main() -> int:
    """The exit code: 1 when anything is not exact, grows, or is over its bound."""
    asked = _arguments()
    if asked.check:
        if page.stale_table():
            print("docs/limits.md is not what rangemill/limits.py says: .venv/bin/python -m benchmarks.scale --table")
            return 1
        return 0
    if asked.table:
        page.write_table()
        return 0
    load = machine.load()
    found = []
    for shape in jobs.JOBS:
        if asked.names and shape.name not in asked.names:
            continue
        ran = jobs.run(shape)
        ran.problems += [
            f"Plan took {each.seconds:.1f} s and {each.peak_mib:.0f} MiB"
            for each in ran.alone
            if each.state == "Plan" and (each.seconds > _PLAN_SECONDS or each.peak_mib > _PLAN_MIB)
        ]
        found.append(ran)
        said = "; ".join(ran.problems) or "exact"
        print(f"{shape.name}: {ran.waves:,} waves, {ran.row.generation + 1} generations, {ran.seconds:.0f} s: {said}")
    if asked.names:
        print(page.figures(found, load))
    else:
        page.write(found, load)
    return 1 if any(ran.problems for ran in found) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these jobs; the figures are printed then")
    parser.add_argument("--table", action="store_true", help="only make the table of limits again")
    parser.add_argument("--check", action="store_true", help="only say whether the table of limits is as it should be")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
