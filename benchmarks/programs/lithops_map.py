"""The job by Lithops on this machine: `lithops_map OUT ENDPOINT KEY SIZE RANGE_BYTES`; in the peers' environment.

Without a key: as many tasks as there are ranges, which do nothing.
"""

import sys
from functools import reduce
from typing import Any

import lithops
from benchmarks.pipelines.talkers import Talkers
from benchmarks.programs import ranged
from benchmarks.programs.timing import leave

CONFIG = {"lithops": {"backend": "localhost", "storage": "localhost", "log_level": "WARNING", "telemetry": False}}


def work(endpoint: str, key: str, start: int, end: int, size: int) -> dict[bytes, list[int]]:
    from benchmarks.programs import ranged as here  # noqa: PLC0415 - imported in Lithops' worker, not sent to it

    return here.count(endpoint, key, start, end, size)


def nothing(_endpoint: str, _key: str, _start: int, _end: int, _size: int) -> int:
    return 0


def main() -> None:
    out, endpoint, key, size, range_bytes = sys.argv[1:]
    tasks = [
        {"endpoint": endpoint, "key": key, "start": start, "end": end, "size": int(size)}
        for start, end in ranged.ranges(int(size), int(range_bytes))
    ]
    if not key:
        tasks = [{f"_{name}": value for name, value in task.items()} for task in tasks]
    executor: Any = lithops.FunctionExecutor(config=CONFIG)
    executor.map(work if key else nothing, tasks, exclude_modules=["benchmarks"])
    found = executor.get_result()
    user = Talkers()
    leave(out, [list(row.values()) for row in user.finish(reduce(user.merge, found, {}))] if key else len(found))


if __name__ == "__main__":
    main()
