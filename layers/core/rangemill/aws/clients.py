"""Clients of AWS services that are made quickly: a cold start and a short `rangemill run` wait for them.

`boto3.Session` costs what its transfer manager and resources take to import, which nothing here uses. botocore looks
into the folder of each of its 400 services for the name of one, and reads models into ordered dictionaries: of 110 ms
for an S3 client these were 75. The clients themselves are those that boto3 makes.
"""

import gzip
import os
from pathlib import Path
from typing import Any, Final

import botocore.session
import msgspec
from botocore.config import Config
from botocore.loaders import JSONFileLoader, Loader

_FILES: Final[tuple[tuple[str, Any], ...]] = ((".json.gz", gzip.open), (".json", open))


class Clients:
    """What makes clients, with the credentials of the environment, its profile or its role, as boto3 finds them.

    `region_name` of None leaves the Region to the environment and the profile.
    """

    def __init__(self, region_name: str | None = None) -> None:
        self._session = botocore.session.get_session()
        self._session.register_component("data_loader", _Models(self._session.get_config_variable("data_path")))
        self._region_name = region_name

    def client(self, service: str, config: Config | None = None, endpoint_url: str | None = None) -> Any:
        """A client of the service, as `boto3.Session.client` makes it."""
        return self._session.create_client(service, self._region_name, config=config, endpoint_url=endpoint_url)


class _File(JSONFileLoader):
    """A model by the decoder that is here anyway. A dictionary keeps the order as well."""

    def load_file(self, file_path: str) -> Any:
        for suffix, opened in _FILES:
            try:
                with opened(file_path + suffix, "rb") as file:
                    return msgspec.json.decode(file.read())
            except FileNotFoundError:
                continue
        return None


class _Models(Loader):
    """Where the models are: botocore's own, the user's, and those of `AWS_DATA_PATH`."""

    FILE_LOADER_CLASS = _File

    def __init__(self, data_path: str | None) -> None:
        paths = data_path.split(os.pathsep) if data_path else []
        super().__init__(extra_search_paths=[str(Path(os.path.expandvars(path)).expanduser()) for path in paths])

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        """All services that have any model; one that lacks this type is noticed where it is read."""
        folders = [Path(path) for path in self.search_paths if Path(path).is_dir()]
        return sorted({service.name for folder in folders for service in folder.iterdir()})
