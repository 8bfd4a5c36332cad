"""docs/performance.md: the headline table, then each comparison with what was run and what each side took."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.model import Comparison, Figure, Line, Results

_HEAD = """# Performance

Made by `make bench` (`python -m benchmarks`); do not edit. Every comparison ran in one run on one machine, its sides
in turns as fresh processes over the same objects, after all of them had given the same result. Times are medians of
{rounds}, with the least and the most in brackets; CPU is user and system time of all processes of a side; ratios are
of medians. Where the load, below, says that others used the cores, CPU is to be trusted more than wall time. What could
not run says so, and a target that was missed says no; no number comes from elsewhere. Nothing here ran on AWS.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to say."""

    date: str
    rounds: int
    machine: list[str]
    versions: list[str]
    objects: list[tuple[str, float]]
    found: list[tuple[Comparison, Results]]

    def render(self) -> str:
        """The whole document."""
        rounds = "one run" if self.rounds < 2 else f"{self.rounds} runs"
        parts = [_HEAD.format(rounds=rounds), "## Targets\n", headline(self.found), "## Machine and versions\n"]
        objects = ", ".join(f"`{name}` {_gib(gib)}" for name, gib in self.objects)
        facts = [self.date, *self.machine, *self.versions, f"objects: {objects}"]
        parts.append("\n".join(f"- {fact}" for fact in facts) + "\n")
        parts += [_section(comparison, results) for comparison, results in self.found]
        return "\n".join(parts)


def headline(found: Sequence[tuple[Comparison, Results]]) -> str:
    """The targets: ours, the peer's, their ratio, and whether it is met."""
    rows = ["| measure | ours | peer | ratio | target | met? | CPU, ours / peer |", "|---|---|---|---|---|---|---|"]
    rows += [_headline_row(line, results) for comparison, results in found for line in comparison.lines]
    return "\n".join(rows) + "\n"


def _headline_row(line: Line, results: Results) -> str:
    target = f"≤ {line.at_most:g}" if line.at_most is not None else f"≥ {line.at_least:g}"
    target += "×" if line.peer is not None else f" {line.unit}"
    try:
        ours, quotient = line.ours(results), line.quotient(results)
        peer = "" if line.peer is None else f"{_number(line.peer(results), line.unit)} ({line.peer_name})"
    except (KeyError, ZeroDivisionError):
        why = next((f"{side} {problem}" for side, problem in results.problems.items()), "not run")
        return f"| {line.measure} | – | – | – | {target} | {_cell(why)} | |"
    ratio = "" if line.peer is None else f"{quotient:.2f}×"
    cpu = "" if line.jobs is None else f"{_cpu_ratio(results, *line.jobs):.2f}×"
    met = "yes" if line.is_met(results) else "**no**"
    return f"| {line.measure} | {_number(ours, line.unit)} | {peer} | {ratio} | {target} | {met} | {cpu} |"


def _cpu_ratio(results: Results, ours: str, peer: str) -> float:
    return results.median(ours, "cpu_seconds") / results.median(peer, "cpu_seconds")


def _section(comparison: Comparison, results: Results) -> str:
    parts = [f"## {comparison.title}\n", comparison.what + "\n"]
    if comparison.sides:
        columns = ["side", "wall, s", "CPU, s", *(["CPU-s/GiB", "GiB/s"] if comparison.gib else []), "peak, MiB"]
        rows = [columns, ["---"] * len(columns)]
        rows += [_side_row(side.name, comparison.gib, results, len(columns)) for side in comparison.sides]
        parts.append("\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n")
    said = comparison.say(results)
    if said:
        parts.append("\n".join(f"- {line}" for line in said) + "\n")
    return "\n".join(parts)


def _side_row(side: str, gib: float | None, results: Results, columns: int) -> list[str]:
    problem = results.problems.get(side)
    if problem is not None:
        return [side, _cell(problem), *[""] * (columns - 2)]
    row = [side, _spread(results, side, "wall_seconds"), _spread(results, side, "cpu_seconds")]
    if gib:
        wall = results.median(side, "wall_seconds")
        row += [f"{results.median(side, 'cpu_seconds') / gib:.2f}", f"{gib / wall:.2f}" if wall else ""]
    return [*row, f"{results.median(side, 'peak_mib'):.0f}"]


def _spread(results: Results, side: str, figure: Figure) -> str:
    low, high = results.spread(side, figure)
    middle = results.median(side, figure)
    return f"{_seconds(middle)}" if low == high else f"{_seconds(middle)} ({_seconds(low)}–{_seconds(high)})"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _number(value: float, unit: str) -> str:
    if unit == "$":
        return f"${value:.4f}"
    return f"{value:.0f} {unit}" if unit == "MiB" else f"{_seconds(value)} {unit}"


def _gib(gib: float) -> str:
    return f"{gib:.2f} GiB" if gib >= 1 / 16 else f"{gib * 1024:.2f} MiB"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
