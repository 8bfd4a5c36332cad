"""docs/limits.md: the table of limits, and the figures of the jobs that ran at them."""

import platform
import subprocess
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks import machine
from benchmarks.scale import limits_table
from benchmarks.scale.jobs import Ran
from rangemill import limits

PAGE: Final = Path(__file__).parents[2] / "docs" / "limits.md"
_HEAD: Final = """# Limits

What a job may be, and what was seen of jobs at that size. The first part is made from `rangemill/limits.py` and the
state machine; `make check` fails when it is not what they say. The second part is written by `make scale`.

## What bounds a job

"""
_FIGURES: Final = "## Jobs at the limits"
_WHAT: Final = """
Written by `make scale` (`python -m benchmarks.scale`); do not edit. Each job went through the real Plan, Fetch,
Aggregate, Decide and Finish, walked in the order of `statemachines/job.asl.yaml`, over a store in memory; every message
between states was encoded and decoded. Nobody stores 50 TB for a test: the objects are one line of 97 bytes over and
over, and the workers publish the outcome that follows from it, in the same encoding as real ones (a test compares it
with what `apply` publishes over such an object). So the proof is a real one: the CRCs of all tiles combine to the
object's own. The run fails unless objects, bytes, records, ranges, result and proof are exact, every execution kept its
budget, no message passed 1 KiB, and no document that a state reads or writes was larger in the last third of the waves
than in the second (by more than a tenth and 4 KiB).
"""


def stale_table() -> bool:
    """Whether the page's table is not what `rangemill/limits.py` says."""
    return limits_table.table() not in PAGE.read_text()


def write_table() -> None:
    """Make the table of the page again and leave its figures as they are."""
    text = PAGE.read_text() if PAGE.exists() else _HEAD + f"{limits_table.BEGIN}{limits_table.END}\n"
    before, _, rest = text.partition(limits_table.BEGIN)
    PAGE.write_text(before + limits_table.table() + rest.partition(limits_table.END)[2])


def write(found: list[Ran], load: str) -> None:
    """The whole page."""
    PAGE.write_text(_HEAD + limits_table.table() + f"\n\n{_FIGURES}\n{_WHAT}\n" + figures(found, load))


def figures(found: list[Ran], load: str) -> str:
    """The second part."""
    parts = [
        _machine(load),
        _results(found),
        _history(found),
        _documents(found),
        _pace(found),
        _alone(found),
    ]
    return "\n\n".join(parts) + "\n"


def _machine(load: str) -> str:
    command = ["git", "-C", str(PAGE.parent), "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [date, *machine.describe(), f"load when the run began: {load}; when it ended: {machine.load()}"]
    lines.append(f"Rangemill {version('rangemill')} ({commit}), Python {platform.python_version()}")
    return "\n".join(f"- {line}" for line in lines)


def _results(found: list[Ran]) -> str:
    counts = ["bytes", "objects", "ranges", "records", "slots", "waves", "generations", "deaths", "failures", "stops"]
    names = ["job", *counts, "exact", "took"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for ran in found:
        totals, row = ran.row.totals, ran.row
        lines.append(
            f"| {ran.shape.name} | {totals.bytes:,} | {totals.objects:,} | {totals.ranges:,} | {totals.records:,} | "
            f"{totals.slots:,} | {totals.waves:,} | {row.generation + 1} | "
            f"{ran.workers.deaths:,} | {ran.workers.failures:,} | {ran.workers.stops:,} | "
            f"{'yes' if not ran.problems else '**no**: ' + '; '.join(ran.problems)} | {ran.seconds:.0f} s |"
        )
    lines += ["", *(f"- *{ran.shape.name}*: {ran.shape.what}." for ran in found)]
    note = (
        f"S3's largest object has {limits.S3_OBJECT_MAX_BYTES:,} bytes. Where slots were stopped or divided inside a "
        "range there are more ranges than it was cut into at first: as many as tiles begin inside of one. Deaths, "
        "failures for a while and stops before the end are shares of the slots, drawn by their numbers."
    )
    return "\n".join([*lines, "", note])


def _history(found: list[Ran]) -> str:
    lines = [
        "### History and payload",
        "",
        "| job | budget | events of the longest execution | waves of it | largest message between states |",
        "|---|---|---|---|---|",
    ]
    for ran in found:
        waves = max(_waves_by_generation(ran).values())
        lines.append(
            f"| {ran.shape.name} | {ran.shape.budget_events:,} | {max(ran.walker.events):,} | {waves:,} | "
            f"{ran.walker.largest_payload_bytes} bytes |"
        )
    return "\n".join(lines)


def _waves_by_generation(ran: Ran) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for wave in ran.walker.gateways.jobs.waves(ran.row.job_id):
        counts[wave.generation] += 1
    return counts


def _documents(found: list[Ran]) -> str:
    """Largest documents by thirds of the waves: flat means that the last third is no larger."""
    lines = [
        "### Documents",
        "",
        "The largest of a kind in each third of a job's waves, in bytes, read or written by any state.",
        "",
        "| document | " + " | ".join(ran.shape.name for ran in found) + " |",
        "|---|" + "---|" * len(found),
    ]
    kinds = sorted({kind for ran in found for _, _, kind in ran.store.seen})
    for kind in kinds:
        cells = [" / ".join(f"{size:,}" for size in _thirds(ran, kind)) for ran in found]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    note = (
        "The report is written once, by Finish, and has a line for each wave and each generation. A page of the plan, "
        "a list of proved objects and the slots of a wave have one for each of their objects."
    )
    return "\n".join([*lines, "", note])


def _thirds(ran: Ran, kind: str) -> list[int]:
    largest = [0, 0, 0]
    for (_, _, each), seen in ran.store.seen.items():
        for wave, size in seen.largest.items():
            if each == kind:
                third = min(2, max(0, wave - 1) * 3 // ran.waves)
                largest[third] = max(largest[third], size)
    return largest


def _pace(found: list[Ran]) -> str:
    lines = [
        "### Fetch and Aggregate, CPU milliseconds a wave",
        "",
        "Medians of each fifth of the waves: flat, however much is done already.",
        "",
        "| job | Fetch | Aggregate | requests of both to S3, of a wave's middle third |",
        "|---|---|---|---|",
    ]
    for ran in found:
        cells = [
            " / ".join(f"{ran.walker.timings[state].part(n, 5) * 1000:.1f}" for n in range(5))
            for state in ("Fetch", "Aggregate")
        ]
        middle = range(ran.waves // 3 + 1, ran.waves * 2 // 3 + 1)
        requests = sum(
            seen.counts.get(wave, 0)
            for (state, _, _), seen in ran.store.seen.items()
            for wave in middle
            if state in ("Fetch", "Aggregate")
        )
        lines.append(f"| {ran.shape.name} | {cells[0]} | {cells[1]} | {requests / max(1, len(middle)):.1f} |")
    return "\n".join(lines)


def _alone(found: list[Ran]) -> str:
    what = (
        "Each in a fresh process over the same documents on disk: memory is the process's peak, interpreter and "
        "imports included; CPU is from the process's start, wall from when it had been imported. Plan of a million "
        f"objects is one step of {limits.PLAN_STEP_PAGES} pages; on AWS its listings and HEADs come on top."
    )
    lines = [
        "### A state by itself",
        "",
        what,
        "",
        "| job | state | at wave | wall | CPU | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {ran.shape.name} | {each.state} | {each.wave:,} | {each.seconds:.2f} s | {each.cpu_seconds:.2f} s | "
        f"{each.peak_mib:.0f} MiB |"
        for ran in found
        for each in ran.alone
    ]
    return "\n".join(lines)
