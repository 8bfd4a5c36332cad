"""One worker's fetch and apply, together or one after the other: `overlap OUT MODE KEY RANGE_BYTES`.

Both are the same gateway, format and engine; `then` has each range in memory before it applies anything of it.
"""

import json
import sys
from collections.abc import Iterator

from benchmarks.programs.loops import PIPELINES, SAMPLE_BYTES
from benchmarks.programs.timing import leave, timed

from rangemill import formats
from rangemill.aws.objects import S3Objects
from rangemill.blocks import Block
from rangemill.engines import make_engine, make_folder
from rangemill.engines.base import ObjectContext
from rangemill.formats.base import Sample
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.messages import ObjectRef, PinnedObject
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import ByteRange, tile
from rangemill_cli.clients import s3_client


def held(objects: S3Objects, pin: PinnedObject, range_bytes: int) -> Iterator[bytes]:
    """All of a range's pieces once the last one is here, range after range. What is held is copied: it must last."""
    for each in tile(0, pin.size_bytes, range_bytes):
        pieces, left = [], each.size_bytes
        for piece in objects.read(pin, each.start, each.end_exclusive):
            pieces.append(bytes(piece))
            left -= len(piece)
            if left <= 0:
                break
        yield from pieces


def main() -> None:
    out, mode, key, range_bytes = sys.argv[1:]
    sys.path.insert(0, str(PIPELINES))
    pipeline = parse_pipeline((PIPELINES / "talkers.yaml").read_text(), "talkers.yaml")
    objects, module = S3Objects(s3_client()), formats.load("text")
    pin = objects.pin(ObjectRef("bench", key), 0)
    head = next(iter(objects.read(pin, 0, min(SAMPLE_BYTES, pin.size_bytes))))
    settled = module.settle([Sample(pin.uri, bytes(head), 0, pin.size_bytes)], pipeline.format.options, False)
    engine, crc = make_engine(pipeline, settled), CRC_FUNCTIONS["CRC64NVME"][0]
    engine.begin_object(ObjectContext(pin.bucket, pin.key, None))
    run = ByteRange(0, pin.size_bytes)
    with timed(out):
        stream = held(objects, pin, int(range_bytes)) if mode == "then" else objects.read(pin, 0, pin.size_bytes)
        for event in module.align(run, int(range_bytes), pin.size_bytes, stream, settled, crc, lambda: False):
            if isinstance(event, Block):
                engine.take(event)
        partial, _ = engine.finish()
    folder = make_folder(pipeline, settled)
    leave(out, [list(json.loads(line).values()) for line in folder.finish(folder.fold([partial])).body.splitlines()])


if __name__ == "__main__":
    main()
