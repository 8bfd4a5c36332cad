"""A loop over records that lie in memory, and nothing else timed: `loops OUT KIND PIPELINE FILE BYTES`.

KIND: `engine` (ours), or one of the bare loops that do the same work: `records`, `batches`, `json`.
"""

import importlib
import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import msgspec
from benchmarks.programs.timing import leave, timed

from rangemill import formats
from rangemill.blocks import Block
from rangemill.engines import make_engine, make_folder
from rangemill.engines.base import ObjectContext
from rangemill.formats.base import Sample, Settled
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.limits import PIECE_BYTES, RANGE_BYTES
from rangemill.pipeline import Pipeline, parse_pipeline
from rangemill.ranges import ByteRange

PIPELINES: Final = Path(__file__).parent.parent / "pipelines"
SAMPLE_BYTES: Final = 1 << 18

type Blocks = list[Block]


def blocks_of(file: str, size: int, pipeline: Pipeline) -> tuple[Settled, Blocks]:
    """What the format makes of the file's first `size` bytes: the blocks that a worker's engine is given."""
    with Path(file).open("rb") as source:
        data = source.read(size)
    data = data[: data.rfind(b"\n") + 1]
    module = formats.load(pipeline.format.type)
    settled = module.settle([Sample(file, data[:SAMPLE_BYTES], 0, len(data))], pipeline.format.options, False)
    pieces = (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
    run, crc = ByteRange(0, len(data)), CRC_FUNCTIONS["CRC64NVME"][0]
    events = module.align(run, RANGE_BYTES, len(data), pieces, settled, crc, lambda: False)
    return settled, [event for event in events if isinstance(event, Block)]


def engine(out: str, pipeline: Pipeline, settled: Settled, blocks: Blocks) -> list[Any]:
    """The rows, and ours timed."""
    taker = make_engine(pipeline, settled)
    taker.begin_object(ObjectContext("bench", "object", None))
    with timed(out):
        for block in blocks:
            taker.take(block)
        partial, _ = taker.finish()
    folder = make_folder(pipeline, settled)
    return [json.loads(line) for line in folder.finish(folder.fold([partial])).body.splitlines()]


def bare(out: str, pipeline: Pipeline, blocks: Blocks, loop: Callable[[Any, Any, bytes], Any]) -> list[Any]:
    """The rows, and a bare loop timed."""
    module, _, name = (pipeline.apply.python or "").partition(":")
    user = getattr(importlib.import_module(module), name)()
    datas = [bytes(block.data) for block in blocks]
    partial = user.start(None)
    with timed(out):
        for data in datas:
            partial = loop(user, partial, data)
    return list(user.finish(partial))


def records(user: Any, partial: Any, data: bytes) -> Any:
    apply = user.apply
    for line in BytesIO(data):
        partial = apply(partial, line.rstrip(b"\r\n"))
    return partial


def batches(user: Any, partial: Any, data: bytes) -> Any:
    return user.apply_batch(partial, [line.rstrip(b"\r\n") for line in BytesIO(data)])


def by_json(_: Any, partial: Any, data: bytes) -> Any:
    """`json.loads` of each line, and its fields taken from the dict."""
    loads = json.loads
    for line in BytesIO(data):
        value = loads(line)
        seen = partial.get(value["kind"])
        if seen is None:
            seen = partial[value["kind"]] = [0, 0]
        seen[0] += 1
        seen[1] += value["cents"]
    return partial


LOOPS: Final = {"records": records, "batches": batches, "json": by_json}


def main() -> None:
    out, kind, name, file, size = sys.argv[1:]
    sys.path.insert(0, str(PIPELINES))
    document = PIPELINES / f"{name}.yaml"
    pipeline = parse_pipeline(document.read_text(), document.name)
    settled, blocks = blocks_of(file, int(size), pipeline)
    rows = engine(out, pipeline, settled, blocks) if kind == "engine" else bare(out, pipeline, blocks, LOOPS[kind])
    leave(out, {"rows": msgspec.to_builtins(rows), "bytes": sum(len(block.data) for block in blocks)})


if __name__ == "__main__":
    main()
