"""Whole jobs over one plain gzip, with a function that does real work per line, against one stream in a bare loop.

    .tools/bin/uv run --with isal python benchmarks/gzip_jobs.py [FILE.gz] [--rounds N]

Without FILE an access log of 1 GiB is made and kept in the folder for temporary files. `rangemill run` is timed as a
command, start-up and all: the first job (nothing known of the file) with two workers, each way; then with points kept,
one worker and two. Results are compared before anything is timed. Rounds are interleaved; medians and their ratios are
told, of wall time and of the CPU time of all processes: on a busy machine only the latter says much.

`--loop FILE.gz` is the bare loop in a process of its own: isal where it is installed, else Python's gzip.
"""

import argparse
import ctypes
import gzip
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CODE = '''"""Requests and bytes by status and kind: the work that is timed."""


class ByStatus:
    def start(self, context):
        return {}

    def apply(self, partial, record):
        parts = record.split(b" ")
        key = parts[8], parts[6].split(b"/")[2]
        found = partial.get(key)
        if found is None:
            partial[key] = [1, int(parts[9])]
        else:
            found[0] += 1
            found[1] += int(parts[9])
        return partial

    def merge(self, left, right):
        for key, (count, size) in right.items():
            found = left.setdefault(key, [0, 0])
            found[0] += count
            found[1] += size
        return left

    def finish(self, total):
        for (status, kind), (count, size) in sorted(total.items()):
            yield {"status": status.decode(), "kind": kind.decode(), "requests": count, "bytes": size}
'''
type Case = Callable[[], tuple[float, str]]  # seconds, and what came out

LOG_BYTES = 2**30
PR_SET_CHILD_SUBREAPER = 36
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) Firefox/131.0", "curl/8.5.0", "Googlebot/2.1 (+http://google.com/bot.html)")


def make_log(path: Path) -> None:
    """An access log of a GiB, as gzip -6 packs it."""
    rng, written = random.Random(7), 0
    paths = [f"/shop/{kind}/{number}" for number in range(300) for kind in ("item", "cart", "image")]
    with gzip.open(path.with_suffix(".part"), "wb", 6) as out:
        while written < LOG_BYTES:
            lines = [
                f"{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)} - - "
                f"[{rng.randrange(1, 31):02}/Nov/2026:{rng.randrange(24):02}:{rng.randrange(60):02}:00 +0000] "
                f'"GET {rng.choice(paths)} HTTP/1.1" {rng.choice((200, 200, 200, 304, 404, 500))} '
                f'{rng.randrange(50_000)} "-" "{rng.choice(AGENTS)}"\n'
                for _ in range(20_000)
            ]
            data = "".join(lines).encode()
            written += len(data)
            out.write(data)
    path.with_suffix(".part").replace(path)


def loop(path: str) -> None:
    """One stream, one process, the same function: what the first job is held against."""
    try:
        from isal import igzip as reader  # noqa: PLC0415 - a peer, which the project itself does not have
    except ImportError:
        reader = gzip
    scope: dict[str, Any] = {}
    exec(CODE, scope)
    user = scope["ByStatus"]()
    partial = user.start(None)
    apply = user.apply
    with reader.open(path) as lines:
        for line in lines:
            partial = apply(partial, line[:-1])
    print("\n".join(json.dumps(row, separators=(",", ":")) for row in user.finish(partial)))


def become_reaper() -> None:
    """On Linux: workers whose parents are gone are waited for here, so that their CPU time is counted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def cpu_seconds() -> float:
    """CPU time of all processes that were begun from here and have ended; waits for those that are ending."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


class Bench:
    """Commands over one file, in a folder of their own."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        (folder / "work.py").write_text(CODE)
        for way in ("auto", "stream", "index"):
            text = f"name: by-status\nformat: {{type: text, gzip: {way}}}\napply: {{python: work:ByStatus}}\n"
            (folder / f"{way}.yaml").write_text(text)

    def job(self, way: str, workers: int, *, first: bool) -> tuple[float, str]:
        """Seconds and result of `rangemill run`; `first` forgets the points before."""
        cache, out = self.folder / "cache", self.folder / "out"
        for place in (cache, out) if first else (out,):
            shutil.rmtree(place, ignore_errors=True)
        command = [str(Path(sys.prefix) / "bin" / "rangemill"), "run", str(self.folder / f"{way}.yaml"), str(self.path)]
        options = ["--workers", str(workers), "--out", str(out), "--json"]
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        began = time.perf_counter()
        done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return seconds, (out / "result.jsonl").read_text()

    def loop(self) -> tuple[float, str]:
        """Seconds and result of the bare loop."""
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, "--loop", str(self.path)], capture_output=True, text=True, check=True
        )
        return time.perf_counter() - began, done.stdout

    def way(self) -> str:
        """Which way the last job went and why."""
        return str(json.loads((self.folder / "out" / "report.json").read_text())["gzip"])


def rows(text: str) -> list[Any]:
    return sorted(json.dumps(json.loads(line), sort_keys=True) for line in text.splitlines())


def measure(bench: Bench, rounds: int) -> None:
    cases: dict[str, Case] = {
        "one stream in a bare loop": bench.loop,
        "first job, 2 workers, as Plan settles it": lambda: bench.job("auto", 2, first=True),
        "points kept, 1 worker": lambda: bench.job("auto", 1, first=False),
        "points kept, 2 workers": lambda: bench.job("auto", 2, first=False),
        "first job, 2 workers, one pass": lambda: bench.job("stream", 2, first=True),
    }
    expected = rows(bench.loop()[1])
    for name, case in cases.items():
        if rows(case()[1]) != expected:
            raise SystemExit(f"{name}: another result than the bare loop's")
        if "as Plan" in name:
            print(bench.way())
    walls: dict[str, list[float]] = {name: [] for name in cases}
    cpus: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, case in cases.items():
            before = cpu_seconds()
            walls[name].append(case()[0])
            cpus[name].append(cpu_seconds() - before)
        told = ", ".join(f"{each[-1]:.2f}" for each in walls.values())
        print(f"round {number + 1}: {told} s (load {os.getloadavg()[0]:.1f})", flush=True)
    wall, cpu = ({name: statistics.median(each) for name, each in all_.items()} for all_ in (walls, cpus))
    for name, value in wall.items():
        print(f"{name:45} wall {value:6.2f} s   cpu {cpu[name]:6.2f} s")
    bare, first, one, two, _ = wall.values()
    print(f"points kept, 2 workers against 1: {one / two:.2f} times as fast")
    print(f"first job against one stream: {first / bare:.2f} of its time")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", metavar="FILE")
    options = parser.parse_args()
    if options.loop:
        loop(options.loop)
        return
    become_reaper()
    path = options.file or Path(tempfile.gettempdir()) / "rangemill-access.log.gz"
    if not path.exists():
        make_log(path)
    with tempfile.TemporaryDirectory() as folder:
        measure(Bench(path.resolve(), Path(folder)), options.rounds)


if __name__ == "__main__":
    main()
