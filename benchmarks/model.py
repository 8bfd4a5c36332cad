"""What a comparison is: sides that run as fresh processes, and the lines of the headline table drawn from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

type Figure = Literal["wall_seconds", "cpu_seconds", "peak_mib"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one side. `cpu_seconds` is user and system time of all its processes, `peak_mib` of the largest one.

    A program that times a part of itself (what is compared is a loop, not an interpreter's start) has written its own
    `wall_seconds` and `cpu_seconds`, and those stand here.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Side:
    """A command that leaves a result in a folder; `{out}` in it stands for that folder, new for every run.

    `read` takes the result from the folder; all sides of a comparison must have equal ones, unless `compared` is
    false; `group` parts them where there are several objects. `missing` says why the side cannot run on this machine.
    """

    name: str
    command: tuple[str, ...]
    read: Callable[[Path], Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    missing: str | None = None
    compared: bool = True
    group: str = ""
    timeout_seconds: int = 600


@dataclass(slots=True)
class Results:
    """What came of a comparison's sides: runs by side, what each side's process said, and why others have none."""

    runs: dict[str, list[Measured]] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def median(self, side: str, figure: Figure) -> float:
        """Raises `KeyError` when the side did not run."""
        return float(median(getattr(run, figure) for run in self.runs[side]))

    def spread(self, side: str, figure: Figure) -> tuple[float, float]:
        """The least and the most."""
        values = [getattr(run, figure) for run in self.runs[side]]
        return min(values), max(values)


type Value = Callable[[Results], float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the headline table: ours, a peer's, and their quotient held against a bound.

    The quotient is ours / peer for `at_most`, peer / ours for `at_least` (how many times faster). Without a peer the
    bound is for ours itself, in `unit`. `jobs` names the two sides where wall time is compared: their CPU is told too.
    """

    measure: str
    ours: Value
    peer: Value | None
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    peer_name: str = ""
    jobs: tuple[str, str] | None = None

    def quotient(self, results: Results) -> float:
        """What the bound is held against. Raises `KeyError` when a side did not run."""
        ours = self.ours(results)
        if self.peer is None:
            return ours
        peer = self.peer(results)
        return peer / ours if self.at_least is not None else ours / peer

    def is_met(self, results: Results) -> bool:
        """Whether the bound holds, as measured and not as rounded."""
        value = self.quotient(results)
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sides over the same data. `what` says what was run, `gib` how much data each of them handles."""

    name: str
    title: str
    what: str
    sides: list[Side]
    lines: list[Line] = field(default_factory=list)
    gib: float | None = None
    say: Callable[[Results], list[str]] = lambda _: []  # further lines for the page, from `Results.said`


def of(side: str, figure: Figure) -> Value:
    """The median of a side's figure."""
    return lambda results: results.median(side, figure)


def per_gib(side: str, figure: Figure, gib: float) -> Value:
    """The median of a side's figure by the data that it handles."""
    return lambda results: results.median(side, figure) / gib


def slope(small: str, big: str, gib: float, figure: Figure = "wall_seconds") -> Value:
    """What each further GiB costs: the difference of two sizes' medians; `gib` is the difference of the sizes."""
    return lambda results: (results.median(big, figure) - results.median(small, figure)) / gib
