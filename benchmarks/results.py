"""What sides leave behind, read so that two of them can be compared."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.pipelines.talkers import TOP


def own(out: Path) -> Any:
    """What one of our programs wrote."""
    return json.loads((out / "result.json").read_bytes(), parse_float=Decimal)


def document(out: Path) -> dict[str, Any]:
    """What `rangemill run --json` printed. Raises `ValueError` unless the job succeeded with a complete proof."""
    said: dict[str, Any] = json.loads((out / "stdout").read_bytes())
    if said["status"] != "SUCCEEDED" or not said["proof"]["complete"]:
        raise ValueError(f"the job is {said['status']}, its proof {said['proof']}, its error {said['error']}")
    return said


def rows(out: Path) -> list[list[Any]]:
    """The rows of a job that was proved, without their names."""
    document(out)
    body = (out / "job" / "result.jsonl").read_bytes()
    return [list(json.loads(line, parse_float=Decimal).values()) for line in body.splitlines()]


def ranges(out: Path) -> int:
    """How many ranges a proved job had."""
    return int(document(out)["ranges"])


def talkers(out: Path) -> list[list[Any]]:
    """`requests refusals address` lines that a pipe printed, as the rows of the pipeline `talkers`."""
    lines = [line.split() for line in (out / "stdout").read_text().splitlines()]
    rows = ([address, int(requests), int(refusals)] for requests, refusals, address in lines)
    return sorted(rows, key=_most_first)[:TOP]


def _most_first(row: Sequence[Any]) -> tuple[int, str]:
    return -row[1], row[0]
