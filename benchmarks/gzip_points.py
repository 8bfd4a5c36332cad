"""A plain gzip object read as text lines: one pass, the same pass recording restart points, and between points.

    .venv/bin/python benchmarks/gzip_points.py FILE.gz

Prints CPU seconds (what the work costs on any machine) and wall seconds (which mean something on an idle one only).
"""

import multiprocessing
import sys
import time
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rangemill import compression, formats
from rangemill.blocks import Block
from rangemill.compression.base import Around
from rangemill.compression.reading import Reading
from rangemill.formats.base import Settled
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting
from rangemill.ranges import ByteRange
from rangemill_cli.inprocess.memory import MemoryStore

PIECE_BYTES = 1 << 20
RANGE_BYTES = 8 << 20
TEXT = Settled("text", {})


def pieces(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        yield from iter(partial(file.read, PIECE_BYTES), b"")


def read(path: Path, mode: str, store: MemoryStore, start: int, end: int) -> int:
    """The lines of a run, each of them made a Python object."""
    size = path.stat().st_size

    def span(low: int, high: int) -> bytes:
        with path.open("rb") as file:
            file.seek(low)
            return file.read(high - low)

    whole = mode != "gzip:points"
    around = Around(PinnedObject(0, "", str(path), "benchmark", size, whole=whole), span, store)
    reading = Reading(compression.load(mode), mode, formats.load("text"), TEXT, Nesting())
    crc = CRC_FUNCTIONS["CRC64NVME"][0]
    lines = 0
    for event in reading.align(
        ByteRange(start, end), size if whole else RANGE_BYTES, pieces(path, start), around, crc, lambda: False
    ):
        if isinstance(event, Block):
            lines += sum(1 for _ in formats.load("text").records(event.data, TEXT, None))
    return lines


def measured(name: str, path: Path, mode: str, store: MemoryStore, start: int, end: int) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    lines = read(path, mode, store, start, end)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{name:40} cpu {cpu:6.2f} s   wall {wall:6.2f} s   {lines:,} lines", flush=True)


def main() -> None:
    path = Path(sys.argv[1])
    size, store = path.stat().st_size, MemoryStore()
    cpu, machine = time.process_time(), zlib.decompressobj(31)
    logical = sum(len(machine.decompress(piece)) for piece in pieces(path, 0))
    print(f"{'zlib alone (first member)':40} cpu {time.process_time() - cpu:6.2f} s   {logical:,} bytes")
    measured("one pass", path, "gzip:small", store, 0, size)
    measured("one pass that records points", path, "gzip", store, 0, size)
    measured("between points, one worker", path, "gzip:points", store, 0, size)
    wall = time.perf_counter()
    halves = [
        multiprocessing.get_context("fork").Process(
            target=measured, args=("between points, half", path, "gzip:points", store, *half)
        )
        for half in ((0, size // 2), (size // 2, size))
    ]
    for worker in halves:
        worker.start()
    for worker in halves:
        worker.join()
    print(f"{'between points, two workers':40} wall {time.perf_counter() - wall:.2f} s")


if __name__ == "__main__":
    main()
