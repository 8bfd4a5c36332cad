"""What all programs of the benchmarks share: where they leave their result, and how they time a part of themselves."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def leave(out: str, result: Any) -> None:
    """The result that the sides of a comparison are compared by."""
    Path(out, "result.json").write_text(json.dumps(result))


@contextmanager
def timed(out: str) -> Iterator[None]:
    """The block's wall and CPU seconds, all threads of this process, instead of those of the whole process."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    Path(out, "measured.json").write_text(json.dumps({"wall_seconds": wall, "cpu_seconds": cpu}))
