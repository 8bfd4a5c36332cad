"""The lines of a range of an S3 object, as a careful person without a library reads them; what the peers' tasks run."""

from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import Any

import boto3
from botocore.config import Config

PIECE_BYTES = 1 << 20
TAIL_BYTES = 1 << 16


@cache
def client(endpoint: str) -> Any:
    """One client a process."""
    config = Config(s3={"addressing_style": "path"}, response_checksum_validation="when_required")
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=config,
    )


def blocks(endpoint: str, key: str, start: int, end: int, size: int) -> Iterator[bytes]:
    """Whole lines that begin in `[start, end)`: streamed in small pieces, which is the fastest way that there is."""
    first = max(0, start - 1)
    body = client(endpoint).get_object(Bucket="bench", Key=key, Range=f"bytes={first}-{end - 1}")["Body"]
    rest, skipping = b"", start > 0
    for piece in body.iter_chunks(PIECE_BYTES):
        data = rest + piece
        if skipping:
            newline = data.find(b"\n")
            if newline < 0:
                continue
            data, skipping = data[newline + 1 :], False
        cut = data.rfind(b"\n") + 1
        rest = data[cut:]
        if cut:
            yield data[:cut]
    while rest and end < size and not rest.endswith(b"\n"):
        stop = min(end + TAIL_BYTES, size)
        more = client(endpoint).get_object(Bucket="bench", Key=key, Range=f"bytes={end}-{stop - 1}")["Body"].read()
        newline = more.find(b"\n") + 1
        rest += more[:newline] if newline else more
        end = stop
    if rest:
        yield rest


def count(endpoint: str, key: str, start: int, end: int, size: int) -> dict[bytes, list[int]]:
    """The function of the comparison over a range: `Talkers.apply` for each line."""
    from benchmarks.pipelines.talkers import Talkers  # noqa: PLC0415 - Lithops imports it in its worker

    user = Talkers()
    partial, apply = user.start(None), user.apply
    for data in blocks(endpoint, key, start, end, size):
        for line in BytesIO(data):
            partial = apply(partial, line.rstrip(b"\r\n"))
    return partial


def ranges(size: int, range_bytes: int) -> list[tuple[int, int]]:
    """The tiles of an object."""
    return [(start, min(start + range_bytes, size)) for start in range(0, size, range_bytes)]
