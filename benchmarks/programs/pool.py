"""The whole job by a bare pool of processes: `pool OUT ENDPOINT KEY SIZE RANGE_BYTES WORKERS`."""

import multiprocessing
import sys
from functools import reduce
from itertools import starmap

from benchmarks.pipelines.talkers import Counts, Talkers
from benchmarks.programs import ranged
from benchmarks.programs.timing import leave

type Task = tuple[str, str, int, int, int]


def work(task: Task) -> Counts:
    return ranged.count(*task)


def tasks(endpoint: str, key: str, size: int, range_bytes: int) -> list[Task]:
    return [(endpoint, key, start, end, size) for start, end in ranged.ranges(size, range_bytes)]


def main() -> None:
    out, endpoint, key, size, range_bytes, workers = sys.argv[1:]
    todo = tasks(endpoint, key, int(size), int(range_bytes))
    if workers == "1":
        found = list(starmap(ranged.count, todo))
    else:
        with multiprocessing.get_context("fork").Pool(int(workers)) as pool:
            found = list(pool.imap_unordered(work, todo))
            pool.close()
            pool.join()
    user = Talkers()
    leave(out, [list(row.values()) for row in user.finish(reduce(user.merge, found, {}))])


if __name__ == "__main__":
    main()
