"""An object by boto3, each range read whole as most code does: `fetch_boto3 OUT PURPOSE KEY SIZE RANGE_BYTES`."""

import sys
from typing import Any

from awscrt import checksums
from benchmarks.programs.timing import leave, timed

from rangemill_cli.clients import s3_client


def main() -> None:
    out, purpose, key, size, range_bytes = sys.argv[1:]
    client: Any = s3_client()
    client.head_object(Bucket="bench", Key=key)
    crc = 0 if purpose == "check" else None
    with timed(out):
        for start in range(0, int(size), int(range_bytes)):
            end = min(start + int(range_bytes), int(size)) - 1
            data = client.get_object(Bucket="bench", Key=key, Range=f"bytes={start}-{end}")["Body"].read()
            crc = crc if crc is None else checksums.crc64nvme(data, crc)
    leave(out, crc)


if __name__ == "__main__":
    main()
