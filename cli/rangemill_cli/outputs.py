"""What a job published, as its manifest lists it, read with the caller's own permissions."""

from pathlib import Path
from typing import Any

import msgspec

from rangemill.errors import ObjectMissing
from rangemill.messages import JobRow
from rangemill_cli.clients import s3_client
from rangemill_cli.errors import CliError
from rangemill_cli.locations import split_uri

_MANIFEST = "_manifest.json"
_REPORT = "report.json"


class _Manifest(msgspec.Struct):
    output: list[str]


def listed(row: JobRow) -> list[str]:
    """The URIs of all outputs. Raises `CliError` for a job that has not succeeded, `ObjectMissing`."""
    return msgspec.json.decode(read(f"{root(row)}{_MANIFEST}", None), type=_Manifest).output


def root(row: JobRow) -> str:
    """Where the job's output lies, with its final slash."""
    result: dict[str, Any] = row.result or {}
    if row.status != "SUCCEEDED" or not result.get("report"):
        raise CliError(
            f"Job {row.job_id} is {row.status} and has no result.", f"`rangemill status {row.job_id}` says more."
        )
    return str(result["report"]).removesuffix(_REPORT)


def read(uri: str, most: int | None) -> bytes:
    """The first bytes of an object, or all of it. Raises `ObjectMissing`."""
    bucket, key = split_uri(uri)
    client = s3_client()
    try:
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
    except client.exceptions.NoSuchKey:
        raise ObjectMissing(uri, "published by the job") from None
    try:
        return body.read(most) if most is not None else body.read()
    finally:
        body.close()


def download(row: JobRow, outputs: list[str], folder: Path) -> list[Path]:
    """All outputs, the report and, last, the manifest, into a folder; their paths."""
    from boto3.s3.transfer import S3Transfer  # noqa: PLC0415 - boto3 is slow to import, and only this needs it

    start = root(row)
    transfer = S3Transfer(s3_client())
    paths: list[Path] = []
    for uri in (*outputs, f"{start}{_REPORT}", f"{start}{_MANIFEST}"):
        path = folder / (uri.removeprefix(start) if uri.startswith(start) else uri.rpartition("/")[2])
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket, key = split_uri(uri)
        transfer.download_file(bucket, key, str(path))
        paths.append(path)
    return paths
