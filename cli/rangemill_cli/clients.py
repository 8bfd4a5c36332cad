"""boto3 with the environment's credentials, Region and endpoint. Imported only where a command talks to AWS."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@cache
def session() -> boto3.Session:
    """The session of this process. boto3 itself does not look at AWS_REGION, which Lambda and the CLI v2 set."""
    return boto3.Session(region_name=os.environ.get("AWS_REGION"))


def client(service: str) -> Any:
    """A client that gives up early: a person waits."""
    config = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=30)
    return session().client(service, config=config)  # type: ignore[call-overload]  # any service


@cache
def s3_client() -> "S3Client":
    """S3. A local endpoint is asked by path, since its host has no name for each bucket."""
    local = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return session().client(
        "s3",
        config=Config(
            retries={"mode": "standard", "max_attempts": 6},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if local else {},
        ),
    )
