"""The pipelines that the simulator deploys, and the Python that they name: it counts lines, some of them poison."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

NAME: Final = "simulated_code"
LINES: Final = f"""name: lines
match: {{prefix: lines/}}
format: {{type: text}}
apply: {{python: "{NAME}:Lines"}}
rejects: {{on_error: quarantine}}
"""
STRICT: Final = LINES.replace("lines", "strict").replace("quarantine", "fail")
ROWS: Final = f"""name: rows
match: {{prefix: rows/}}
format: {{type: csv, header: false}}
apply: {{python: "{NAME}:Rows"}}
"""
BATCH: Final = f"""name: batch
match: {{prefix: batch/}}
trigger: {{batch: {{max_objects: 3, max_wait: 5m}}}}
format: {{type: text}}
apply: {{python: "{NAME}:Lines"}}
"""

ALL: Final = (LINES, STRICT, ROWS, BATCH)

Counts = dict[str, int]


class Lines:
    """Counts each line. `boom` raises, `die` kills the worker, `slow` takes five seconds, until it is mended."""

    world: Any

    def start(self, context: Any) -> Counts:
        return {}

    def apply(self, partial: Counts, record: bytes) -> Counts:
        self._suffer(record)
        text = record.decode()
        partial[text] = partial.get(text, 0) + 1
        return partial

    def merge(self, left: Counts, right: Counts) -> Counts:
        for text, count in right.items():
            left[text] = left.get(text, 0) + count
        return left

    def finish(self, total: Counts) -> Iterator[dict[str, Any]]:
        yield from ({"line": text, "count": total[text]} for text in sorted(total))

    def _suffer(self, record: bytes) -> None:
        world = self.world
        if record.startswith(b"slow") and world.running is not None:
            world.now += 5
            world.running.require_alive()
        if world.mended:
            return
        if record.startswith(b"boom"):
            raise ValueError("this line is not to my taste")
        if record.startswith(b"die") and world.running is not None:
            world.running.die("Runtime.OutOfMemory")


class Rows(Lines):
    """Counts each row, its fields joined by a bar."""

    def apply(self, partial: Counts, record: Any) -> Counts:
        return super().apply(partial, "|".join(record).encode())


def module(world: Any) -> ModuleType:
    """The module as it lies in the pipelines layer, in that world."""
    found: Any = ModuleType(NAME)
    found.Lines = type("Lines", (Lines,), {"world": world})
    found.Rows = type("Rows", (Rows,), {"world": world})
    return found
