"""The fault proxy itself: each fault is what it says, and S3's gateway takes none of them for data."""

import time
from collections.abc import Callable

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.e2e.faults.proxy import Fault, FaultProxy, Rule
from urllib3.exceptions import HTTPError

from rangemill.aws.objects import S3Objects
from rangemill.errors import AccessRefused, ChecksumMismatch, ObjectMissing
from rangemill.messages import ObjectRef
from rangemill_cli.local.cloud import CREDENTIALS, REGION

BODY = bytes(range(256)) * 4000


@pytest.fixture(scope="module")
def client(cloud, proxy: FaultProxy):
    """S3 through the proxy, with a bucket; it repeats nothing by itself."""
    session = boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
    once = Config(retries={"mode": "standard", "total_max_attempts": 1}, s3={"addressing_style": "path"})
    client = session.client("s3", endpoint_url=proxy.url, config=once)
    client.create_bucket(Bucket="proxied")
    client.put_object(Bucket="proxied", Key="a key/ü+%41", Body=BODY)
    return client


def get(client, span: str = "bytes=100-999999"):
    return client.get_object(Bucket="proxied", Key="a key/ü+%41", Range=span)


def test_without_rules_everything_passes_as_it_is(client, proxy):
    before = proxy.requests["GetObject"]
    answer = get(client)
    assert answer["Body"].read() == BODY[100:1_000_000]
    assert answer["ContentRange"] == f"bytes 100-999999/{len(BODY)}"
    assert client.head_object(Bucket="proxied", Key="a key/ü+%41")["ContentLength"] == len(BODY)
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket="proxied")["Contents"]] == ["a key/ü+%41"]
    assert proxy.requests["GetObject"] == before + 1


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [("slow_down", "SlowDown", 503), ("internal_error", "InternalError", 500), ("denied", "AccessDenied", 403)],
)
def test_refusals_are_spelled_as_s3_spells_them(client, proxy, fault: Fault, code, status):
    with proxy.while_adding(Rule(fault, keys="a key/*")) as (rule,), pytest.raises(ClientError) as caught:
        get(client)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert (rule.count, rule.seen) == (1, 1)


@pytest.mark.parametrize("fault", ["reset", "truncated", "dropped", "lost_answer"])
def test_connections_break_off(client, proxy, fault: Fault):
    with proxy.while_adding(Rule(fault)), pytest.raises((BotoCoreError, HTTPError, OSError)):
        get(client)["Body"].read()
    assert get(client)["Body"].read() == BODY[100:1_000_000]


def test_what_was_carried_out_without_an_answer_is_there(client, proxy):
    with proxy.while_adding(Rule("lost_answer", "PutObject")), pytest.raises(BotoCoreError):
        client.put_object(Bucket="proxied", Key="written", Body=b"x")
    with proxy.while_adding(Rule("dropped", "PutObject")), pytest.raises(BotoCoreError):
        client.put_object(Bucket="proxied", Key="not written", Body=b"x")
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="proxied")["Contents"]]
    assert keys == ["a key/ü+%41", "written"]
    client.delete_object(Bucket="proxied", Key="written")


def test_answers_that_are_not_what_was_asked_for(client, proxy):
    with proxy.while_adding(Rule("short")):
        assert get(client)["Body"].read() == BODY[100 : 100 + 999_900 // 2]
    with proxy.while_adding(Rule("other_range")):
        answer = get(client)
        assert answer["ContentRange"] == f"bytes 101-999999/{len(BODY)}"
        assert answer["Body"].read() == BODY[101:1_000_000]
    with proxy.while_adding(Rule("whole_body")):
        answer = get(client)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert answer["Body"].read() == BODY
    with proxy.while_adding(Rule("flipped")):
        body = get(client)["Body"].read()
        assert sum(a != b for a, b in zip(body, BODY[100:1_000_000], strict=True)) == 1
    with proxy.while_adding(Rule("slow", seconds=0.5)):
        began = time.monotonic()
        assert get(client)["Body"].read() == BODY[100:1_000_000]
        assert time.monotonic() - began >= 0.4


def test_shares_and_bounds_are_kept(client, proxy):
    with proxy.while_adding(Rule("slow_down", share=0.3), Rule("missing", keys="nothing/*")) as (rule, other):
        for _ in range(200):
            try:
                client.get_object(Bucket="proxied", Key="a key/ü+%41", Range="bytes=0-0")["Body"].read()
            except ClientError:
                continue
    assert rule.seen == 200
    assert 40 <= rule.count <= 80
    assert other.seen == 0
    with proxy.while_adding(Rule("slow_down", most=1)) as (rule,):
        with pytest.raises(ClientError):
            get(client)
        get(client)["Body"].read()
    assert rule.count == 1


STEP = 130_000


def read(reader: S3Objects) -> bytes:
    """The whole object as workers read it, a range each, cut small."""
    pin = reader.pin(ObjectRef("proxied", "a key/ü+%41"), 0)
    found = bytearray()
    for at in range(0, len(BODY), STEP):
        pieces = reader.read(pin, at, at + STEP)
        for piece in pieces:
            found += piece
            if len(found) >= min(at + STEP, len(BODY)):
                break
        pieces.close()  # type: ignore[attr-defined]  # a generator
        del found[at + STEP :]
    return bytes(found)


@pytest.mark.parametrize("fault", ["reset", "truncated", "short", "slow_down", "dropped", "slow", "late"])
def test_what_passes_by_itself_costs_no_byte(client, proxy, fault: Fault, patient: Callable[[], S3Objects]):
    with proxy.while_adding(Rule(fault, keys="a key/*", share=0.3, seconds=0.05)) as (rule,):
        assert read(patient()) == BODY
    assert rule.count > 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [("denied", AccessRefused), ("missing", ObjectMissing)],
)
def test_what_does_not_pass_is_named(client, proxy, fault: Fault, error, patient: Callable[[], S3Objects]):
    with proxy.while_adding(Rule(fault)), pytest.raises(error):
        read(patient())


@pytest.mark.parametrize("fault", ["other_range", "whole_body"])
def test_other_bytes_than_asked_for_are_never_taken(client, proxy, fault: Fault, patient: Callable[[], S3Objects]):
    with proxy.while_adding(Rule(fault, most=2)) as (rule,):
        assert read(patient()) == BODY
    assert rule.count == 2


def test_a_whole_object_with_a_wrong_byte_is_refused(client, proxy, patient: Callable[[], S3Objects]):
    reader = patient()
    pin = reader.pin(ObjectRef("proxied", "a key/ü+%41"), 0)
    with proxy.while_adding(Rule("flipped")), pytest.raises(ChecksumMismatch):
        b"".join(reader.read_whole(pin)[1])


@pytest.fixture
def patient(cloud, proxy) -> Callable[[], S3Objects]:
    """S3's gateway with the client of a function, led through the proxy."""
    from rangemill.aws import gateways

    def make() -> S3Objects:
        session = boto3.Session(
            CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        made = gateways.make(session, work_bucket="proxied", job_table="none", endpoint_url=proxy.url)
        assert isinstance(made.objects, S3Objects)
        return made.objects

    return make
