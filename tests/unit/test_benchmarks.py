"""The benchmarks' harness: what it counts, what it holds to be equal, and what it says of what is missing."""

import importlib.util
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from benchmarks import comparisons, peers, running
from benchmarks.comparisons import dollars
from benchmarks.model import Comparison, Line, Measured, Results, Side, of, slope
from benchmarks.page import headline
from benchmarks.server import Server
from benchmarks.world import HERE, SMOKE, World

BURN_SECONDS = 0.3
MEMORY_MIB = 60

# A grandchild that outlives its parent and its grandparent, as workers of a fork server do.
ORPHAN = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        held = b"x" * ({MEMORY_MIB} << 20)
        until = time.process_time() + {BURN_SECONDS}
        while time.process_time() < until: pass
    os._exit(0)
"""


def reaped(out: Path, seconds: int, program: str) -> tuple[int, dict[str, float]]:
    figures = out / "figures.json"
    reaper = HERE / "programs" / "reaper.py"
    command = [sys.executable, "-S", "-E", str(reaper), str(figures), str(seconds), sys.executable, "-c", program]
    code = subprocess.run(command, check=False).returncode
    return code, json.loads(figures.read_bytes())


def test_processes_that_outlive_a_side_are_counted(tmp_path: Path) -> None:
    code, figures = reaped(tmp_path, 30, ORPHAN)
    assert code == 0
    assert figures["cpu_seconds"] >= BURN_SECONDS
    assert figures["other_kib"] >= MEMORY_MIB << 10 > figures["main_kib"]


def test_a_side_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = f"""
import os, time
child = os.fork()
open({str(pids)!r}, "a").write(f"{{os.getpid()}} ")
time.sleep(60)
"""
    code, figures = reaped(tmp_path, 1, program)
    assert code == 124
    assert figures["wall_seconds"] < 30
    assert len(found := pids.read_text().split()) == 2
    assert not any(Path("/proc", pid).exists() for pid in found)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([["a", 1]], [("a", 1)], True),
        ([["a", 1]], [["a", 2]], False),
        ([["a", 1]], [["a", 1], ["b", 1]], False),
        ([10**17], [10**17 + 1], False),
        ([Decimal("0.1")], [0.1], True),
        ([Decimal("25.5222")], [25.5223], False),
        ([Decimal(1)], ["1.x"], False),
        ({"rows": [1]}, {"rows": [1], "more": 1}, False),
    ],
)
def test_results_are_the_same_but_for_the_last_bits_of_fractions(left: object, right: object, expected: bool) -> None:
    assert running.same(left, right) is expected


def side(name: str, result: str, **more: object) -> Side:
    program = f"import sys; open(sys.argv[1] + '/r', 'w').write({result!r})"
    return Side(name, (sys.executable, "-c", program, "{out}"), lambda out: (out / "r").read_text(), **more)  # type: ignore[arg-type]


def test_a_side_with_another_result_is_not_timed(tmp_path: Path) -> None:
    sides = [
        side("right", "1"),
        side("wrong", "2"),
        side("broken", "1", timeout_seconds=9),
        side("absent", "1", missing="it is not installed"),
        side("other object", "3", group="another"),
    ]
    sides[2] = Side("broken", (sys.executable, "-c", "raise SystemExit('oh no')"), sides[0].read)
    sides.append(Side("slow", (sys.executable, "-c", "import time; time.sleep(60)"), sides[0].read, timeout_seconds=1))
    found = running.run(Comparison("c", "C", "", sides), tmp_path, 2, lambda _: None)
    assert {name: len(runs) for name, runs in found.runs.items()} == {"right": 2, "other object": 2}
    assert "another result than “right”" in found.problems["wrong"]
    assert "exit code 1: oh no" in found.problems["broken"]
    assert found.problems["slow"] == "did not end within 1 s"
    assert found.problems["absent"] == "cannot run: it is not installed"


def results(**walls: list[float]) -> Results:
    return Results({name: [Measured(wall, wall, wall) for wall in found] for name, found in walls.items()})


def test_a_target_is_held_against_medians_and_a_miss_is_shown() -> None:
    line = Line("it", of("ours", "wall_seconds"), of("peer", "wall_seconds"), "s", at_most=1.5, peer_name="them")
    assert "| it | 1.40 s | 1.00 s (them) | 1.40× | ≤ 1.5× | yes |  |" in headline(
        [(Comparison("c", "", "", [], [line]), results(ours=[1.0, 1.4, 9.0], peer=[1.0]))]
    )
    assert "| 1.51× | ≤ 1.5× | **no** |  |" in headline(
        [(Comparison("c", "", "", [], [line]), results(ours=[1.51], peer=[1.0]))]
    )


def test_a_target_of_times_faster_turns_the_ratio() -> None:
    line = Line("it", of("ours", "wall_seconds"), of("peer", "wall_seconds"), "s", at_least=5)
    assert line.quotient(results(ours=[1.0], peer=[4.9])) == pytest.approx(4.9)
    assert not line.is_met(results(ours=[1.0], peer=[4.9]))
    assert line.is_met(results(ours=[1.0], peer=[5.0]))


def test_a_slope_is_of_the_difference_of_two_sizes() -> None:
    found = results(small=[3.0], big=[6.0])
    assert slope("small", "big", 0.75)(found) == pytest.approx(4.0)


def test_a_peer_that_did_not_run_says_so_in_the_table() -> None:
    line = Line("it", of("ours", "wall_seconds"), of("peer", "wall_seconds"), "s", at_most=1.5)
    found = results(ours=[1.0])
    found.problems["peer"] = "cannot run: no | peer"
    assert "| it | – | – | – | ≤ 1.5× | peer cannot run: no \\| peer |" in headline(
        [(Comparison("c", "", "", [], [line]), found)]
    )


def test_every_side_names_programs_and_pipelines_that_exist(tmp_path: Path) -> None:
    world = World(tmp_path, SMOKE, Server(problem="not here"), peers.without("not here"))
    found = comparisons.every(world)
    assert len({comparison.name for comparison in found}) == len(found)
    for comparison in found:
        names = [side.name for side in comparison.sides]
        assert len(set(names)) == len(names)
        for command in (side.command for side in comparison.sides):
            if "-m" in command:
                assert importlib.util.find_spec(command[command.index("-m") + 1]) is not None
            assert all(Path(part).exists() for part in command if part.endswith(".yaml"))
    told = headline([(comparison, Results()) for comparison in found])
    assert told.count("not run") == len(told.splitlines()) - 2 - 1  # the heads, and the dollars, which are computed


@pytest.mark.parametrize("tebibytes", [1, 2, 10, 48])
def test_requests_and_transitions_stay_below_a_tenth_of_compute(tebibytes: int) -> None:
    made = dollars.bill(tebibytes * dollars.BYTES)
    assert made.totals.ranges == 16_384 * tebibytes
    assert made.compute_usd == pytest.approx(0.3166 * tebibytes, rel=0.003)
    assert made.control_usd <= made.compute_usd / 10


def test_the_bill_of_a_terabyte_names_every_kind_of_request() -> None:
    made = dollars.bill()
    for name in made.requests.__slots__:
        assert getattr(made.requests, name) > 0
    assert made.requests.transitions == 2 * made.totals.slots + 4 * made.totals.waves + 4
    # A worker looks at its job's row when it begins and every five seconds.
    assert made.requests.table_reads >= made.totals.slots + made.totals.worker_milliseconds / 5_000
