"""Clients made quickly are the clients that botocore makes."""

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader

from rangemill.aws.clients import Clients, _Models

SERVICES = ("s3", "dynamodb", "stepfunctions", "sns", "lambda", "cloudformation", "logs")
TYPES = ("service-2", "paginators-1", "waiters-2", "endpoint-rule-set-1")


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def read(loader: Loader, service: str, kind: str) -> Any:
    try:
        return json.dumps(loader.load_service_model(service, kind))
    except botocore.exceptions.DataNotFoundError:  # UnknownServiceError is one as well
        return None


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("kind", TYPES)
def test_models_are_what_botocore_reads_in_its_order(service: str, kind: str) -> None:
    assert read(_Models(None), service, kind) == read(Loader(), service, kind)


def test_what_is_no_model_of_a_service_is_read_as_well() -> None:
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        assert json.dumps(_Models(None).load_data(name)) == json.dumps(Loader().load_data(name))


@pytest.mark.parametrize("service", SERVICES)
def test_a_client_asks_where_and_what_botocores_own_does(service: str) -> None:
    ours, theirs = Clients().client(service), botocore.session.Session().create_client(service)
    assert ours.meta.endpoint_url == theirs.meta.endpoint_url
    assert ours.meta.region_name == theirs.meta.region_name == "eu-west-1"
    assert ours.meta.method_to_api_mapping == theirs.meta.method_to_api_mapping


def test_the_region_and_the_endpoint_can_be_said() -> None:
    client = Clients("us-west-2").client("s3", endpoint_url="http://127.0.0.1:4566")
    assert (client.meta.region_name, client.meta.endpoint_url) == ("us-west-2", "http://127.0.0.1:4566")


def test_models_of_aws_data_path_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "rocket" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps({"metadata": {"endpointPrefix": "rocket"}}))
    monkeypatch.setenv("ROCKETS", str(tmp_path))
    assert _Models("$ROCKETS").load_service_model("rocket", "service-2")["metadata"] == {"endpointPrefix": "rocket"}


def test_a_service_that_does_not_exist_is_unknown() -> None:
    with pytest.raises(UnknownServiceError):
        Clients().client("rocket")
