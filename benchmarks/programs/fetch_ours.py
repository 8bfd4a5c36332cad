"""An object through the gateway that workers read by, as one run of ranges: `fetch_ours OUT PURPOSE KEY`."""

import sys

from benchmarks.programs.timing import leave, timed

from rangemill.aws.objects import S3Objects
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.messages import ObjectRef
from rangemill_cli.clients import s3_client


def main() -> None:
    out, purpose, key = sys.argv[1:]
    objects, crc64 = S3Objects(s3_client()), CRC_FUNCTIONS["CRC64NVME"][0]
    pin = objects.pin(ObjectRef("bench", key), 0)
    crc = 0 if purpose == "check" else None
    with timed(out):
        for piece in objects.read(pin, 0, pin.size_bytes):
            if crc is not None:
                crc = crc64(piece, crc)
    leave(out, crc)


if __name__ == "__main__":
    main()
