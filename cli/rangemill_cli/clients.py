"""Clients with the environment's credentials, Region and endpoint. Imported only where a command talks to AWS."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from rangemill.aws.clients import Clients

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@cache
def session() -> Clients:
    """The session of this process. botocore itself does not look at AWS_REGION, which Lambda and the CLI v2 set."""
    return Clients(os.environ.get("AWS_REGION"))


def client(service: str) -> Any:
    """A client that gives up early: a person waits."""
    config = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=30)
    return session().client(service, config)


@cache
def s3_client() -> "S3Client":
    """S3. A local endpoint is asked by path, since its host has no name for each bucket."""
    local = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    client: S3Client = session().client(
        "s3",
        Config(
            retries={"mode": "standard", "max_attempts": 6},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if local else {},
        ),
    )
    return client
