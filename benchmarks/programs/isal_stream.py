"""The job over a gzip object by one `isal` stream: `isal_stream OUT ENDPOINT KEY`; in the peers' environment."""

import sys
from io import BytesIO

from benchmarks.pipelines.talkers import Talkers
from benchmarks.programs import ranged
from benchmarks.programs.timing import leave
from isal import isal_zlib


def main() -> None:
    out, endpoint, key = sys.argv[1:]
    user = Talkers()
    partial, apply = user.start(None), user.apply
    stream, rest = isal_zlib.decompressobj(31), b""
    for piece in ranged.client(endpoint).get_object(Bucket="bench", Key=key)["Body"].iter_chunks(ranged.PIECE_BYTES):
        packed = piece
        while packed:
            data = rest + stream.decompress(packed, ranged.PIECE_BYTES)
            packed = stream.unconsumed_tail
            if stream.eof:  # the next member of a file that was compressed in parallel
                packed, stream = stream.unused_data, isal_zlib.decompressobj(31)
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            for line in BytesIO(data[:cut]):
                partial = apply(partial, line.rstrip(b"\r\n"))
    if rest:
        partial = apply(partial, rest)
    leave(out, [list(row.values()) for row in user.finish(partial)])


if __name__ == "__main__":
    main()
