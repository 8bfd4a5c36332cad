"""An object through the gateway that workers read by, range after range: `fetch_ours OUT PURPOSE KEY RANGE_BYTES`."""

import sys

from benchmarks.programs.timing import leave, timed

from rangemill.aws.objects import S3Objects
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.messages import ObjectRef
from rangemill_cli.clients import s3_client


def main() -> None:
    out, purpose, key, range_bytes = sys.argv[1:]
    objects, crc64 = S3Objects(s3_client()), CRC_FUNCTIONS["CRC64NVME"][0]
    pin = objects.pin(ObjectRef("bench", key), 0)
    crc = 0 if purpose == "check" else None
    with timed(out):
        for start in range(0, pin.size_bytes, int(range_bytes)):
            left = min(int(range_bytes), pin.size_bytes - start)
            for piece in objects.read(pin, start, start + left):
                if crc is not None:
                    crc = crc64(piece[:left], crc)
                left -= len(piece)
                if left <= 0:
                    break
    leave(out, crc)


if __name__ == "__main__":
    main()
