"""Runs a comparison: every side once for its result, which must be equal to the others', then in turns for the time."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from benchmarks.model import Comparison, Measured, Results, Side
from benchmarks.programs.reaper import OUT_OF_TIME

_REAPER: Final = Path(__file__).parent / "programs" / "reaper.py"
_ROOT: Final = Path(__file__).parent.parent  # the programs are modules of this package
_RELATIVE: Final = 1e-9  # as promised of floating sums; integers, exact decimals' texts and texts must be the same
_SAID_CHARS: Final = 200

type Say = Callable[[str], None]


class SideFailed(Exception):
    """A side ended badly, took too long, or left another result than the first one."""


def run(comparison: Comparison, folder: Path, rounds: int, say: Say) -> Results:
    """Check, then measure in turns. A side that cannot run is named in `problems`, and the others go on.

    With no rounds the run that was checked is what counts.
    """
    results = Results()
    sides = _checked(comparison, folder, results, say)
    if rounds == 0:  # but a side that does more when it is checked is to be timed without that
        sides = [side for side in sides if "{purpose}" in side.command]
    for side in sides:
        results.runs[side.name] = []
    for turn in range(max(rounds, 1)):
        for side in sides if turn % 2 == 0 else reversed(sides):
            if side.name in results.problems:
                continue
            try:
                measured, _ = _once(side, folder, "time")
            except SideFailed as error:
                results.problems[side.name] = str(error)
                del results.runs[side.name]
                continue
            results.runs[side.name].append(measured)
            say(f"  {side.name}: wall {measured.wall_seconds:.2f} s, CPU {measured.cpu_seconds:.2f} s")
    return results


def _checked(comparison: Comparison, folder: Path, results: Results, say: Say) -> list[Side]:
    """The sides that run and agree."""
    good: list[Side] = []
    firsts: dict[str, tuple[str, Any]] = {}
    for side in comparison.sides:
        try:
            measured, found = _agreeing(side, folder, firsts)
        except SideFailed as error:
            results.problems[side.name] = str(error)
            say(f"  {side.name}: {error}")
            continue
        say(f"  {side.name}: checked in {measured.wall_seconds:.2f} s")
        results.runs[side.name] = [measured]
        results.said[side.name] = found
        good.append(side)
    return good


def _agreeing(side: Side, folder: Path, firsts: dict[str, tuple[str, Any]]) -> tuple[Measured, Any]:
    """One run whose result is that of the first side of its group, or the first one itself."""
    if side.missing is not None:
        raise SideFailed(f"cannot run: {side.missing}")
    measured, found = _once(side, folder, "check")
    if side.compared:
        name, expected = firsts.setdefault(side.group, (side.name, found))
        if not same(expected, found):
            raise SideFailed(f"has another result than “{name}”: {_short(found)} against {_short(expected)}")
    return measured, found


def _once(side: Side, folder: Path, purpose: str) -> tuple[Measured, Any]:
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    figures = out / "figures.json"
    command = [part.format(out=out, purpose=purpose) for part in side.command]
    with (out / "stdout").open("wb") as stdout, (out / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(_REAPER), str(figures), str(side.timeout_seconds), *command],
            stdout=stdout,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            env=_environment({name: value.format(out=out) for name, value in side.environment.items()}),
            cwd=_ROOT,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()  # it ends all that it started
            process.wait()
            raise
    if code == OUT_OF_TIME:
        raise SideFailed(f"did not end within {side.timeout_seconds} s")
    if code != 0:
        said = (out / "stderr").read_text(errors="replace").strip() or (out / "stdout").read_text(errors="replace")
        raise SideFailed(f"failed with exit code {code}: {said.rpartition('\n')[2][-_SAID_CHARS:]}")
    figured = json.loads(figures.read_bytes())
    peak_mib = max(figured["main_kib"], figured["other_kib"]) / 1024
    own = out / "measured.json"
    timed = json.loads(own.read_bytes()) if own.exists() else figured
    try:
        found = side.read(out)
    except (OSError, ValueError, KeyError) as error:
        raise SideFailed(f"left no readable result: {type(error).__name__}: {error}") from error
    return Measured(timed["wall_seconds"], timed["cpu_seconds"], peak_mib), found


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """The same for all sides: this machine's PATH and home, nothing that points at an account or changes Python."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }


def same(left: Any, right: Any) -> bool:
    """Equal, numbers with a fraction to 1e-9 relative."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, float | Decimal) or isinstance(right, float | Decimal):
        try:
            return math.isclose(float(left), float(right), rel_tol=_RELATIVE, abs_tol=0)
        except (TypeError, ValueError):
            return False
    return bool(left == right)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
