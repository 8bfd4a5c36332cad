"""One worker's fetch and apply, together or one after the other: `overlap OUT MODE KEY RANGE_BYTES`.

Both are the same gateway, format and engine; `then` has each range in memory before it applies anything of it.
"""

import itertools
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
from rangemill.ranges import tile
from rangemill_cli.clients import s3_client


def pieces(objects: S3Objects, pin: PinnedObject, start: int, end: int, mode: str) -> Iterator[bytes]:
    """As a worker gets them, or all of the range's first."""
    stream = iter(objects.read(pin, start, end))
    if mode == "then":
        held, left = [], end - start
        for piece in stream:
            held.append(bytes(piece))
            left -= len(piece)
            if left <= 0:
                break
        stream = itertools.chain(held, stream)
    return stream


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
    behind = module.look_behind(settled)
    with timed(out):
        for each in tile(0, pin.size_bytes, int(range_bytes)):
            stream = pieces(objects, pin, max(0, each.start - behind), each.end_exclusive, mode)
            for event in module.align(each, int(range_bytes), pin.size_bytes, stream, settled, crc, lambda: False):
                if isinstance(event, Block):
                    engine.take(event)
        partial, _ = engine.finish()
    folder = make_folder(pipeline, settled)
    leave(out, [list(json.loads(line).values()) for line in folder.finish(folder.fold([partial])).body.splitlines()])


if __name__ == "__main__":
    main()
