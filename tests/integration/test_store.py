"""The work bucket."""

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, IncompleteReadError

from rangemill.aws import store as store_module
from rangemill.aws.store import S3Store
from rangemill.errors import AccessRefused, Transient


def refused(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")


def test_a_document_comes_back_whole_or_in_part(store: S3Store) -> None:
    store.put("jobs/a b+é.json", b"0123456789")
    assert store.get("jobs/a b+é.json") == b"0123456789"
    assert store.get("jobs/a b+é.json", (0, 1)) == b"0"
    assert store.get("jobs/a b+é.json", (3, 10)) == b"3456789"
    store.put("jobs/a b+é.json", b"new")
    assert store.get("jobs/a b+é.json") == b"new"


def test_a_span_of_no_bytes_cannot_be_asked_for(store: S3Store) -> None:
    """HTTP would read `bytes=5-4` as no range at all and answer with everything."""
    with pytest.raises(ValueError, match="not a span"):
        store.get("k", (5, 5))


def test_what_is_not_there_is_none(store: S3Store) -> None:
    assert store.get("nothing") is None
    assert store.get("nothing", (0, 5)) is None


def test_only_the_first_writer_of_a_once_key_wins(store: S3Store) -> None:
    assert store.put_once("k", b"first") is True
    assert store.put_once("k", b"second") is False
    assert store.get("k") == b"first"


def test_a_full_uri_names_another_bucket(store: S3Store, s3: Any) -> None:
    key = "s3://input-bucket/out put/part-0"
    assert store.uri(key) == key
    assert store.uri("x/y") == "s3://work-bucket/x/y"
    store.put(key, b"part")
    assert s3.get_object(Bucket="input-bucket", Key="out put/part-0")["Body"].read() == b"part"
    assert store.get(key, (1, 3)) == b"ar"
    assert store.put_once(key, b"") is False
    assert store.get("out put/part-0") is None


def test_a_write_that_met_another_is_repeated_until_one_of_them_won(
    s3: Any, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 says that neither need have won: taking it for `somebody was first` would lose the document."""
    monkeypatch.setattr(store_module, "backoff_seconds", lambda *_, **__: 0.0)
    really, answers = s3.put_object, [refused("ConditionalRequestConflict", 409)] * 2

    def put(**arguments: Any) -> Any:
        if answers:
            raise answers.pop()
        return really(**arguments)

    monkeypatch.setattr(s3, "put_object", put)
    assert store.put_once("k", b"mine") is True
    assert store.get("k") == b"mine"
    answers += [refused("ConditionalRequestConflict", 409)] * 9
    with pytest.raises(Transient, match="another write"):
        store.put_once("other", b"")
    assert store.get("other") is None


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (refused("SlowDown", 503), Transient),
        (refused("InternalError", 500), Transient),
        (refused("AccessDenied", 403), AccessRefused),
    ],
)
def test_refusals_are_named_and_say_what_was_refused(
    s3: Any, store: S3Store, monkeypatch: pytest.MonkeyPatch, error: ClientError, raised: type[Exception]
) -> None:
    def refuse(**_: Any) -> None:
        raise error

    monkeypatch.setattr(s3, "put_object", refuse)
    monkeypatch.setattr(s3, "get_object", refuse)
    for call in (lambda: store.put("k", b""), lambda: store.put_once("k", b""), lambda: store.get("k")):
        with pytest.raises(raised, match=r"s3://work-bucket/k"):
            call()


def test_a_service_that_cannot_be_reached_is_transient() -> None:
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        config=Config(retries={"max_attempts": 0}, connect_timeout=0.2, s3={"addressing_style": "path"}),
    )
    with pytest.raises(Transient):
        S3Store(client, "work-bucket").get("k")


class Answers:
    """A client whose GETs answer one after the other: a body, or what reading it raises."""

    def __init__(self, *answers: tuple[str | None, bytes | Exception]) -> None:
        self.answers = list(answers)

    def get_object(self, **_: Any) -> dict[str, Any]:
        content_range, body = self.answers.pop(0)

        def read() -> bytes:
            if isinstance(body, Exception):
                raise body
            return body

        return {"Body": SimpleNamespace(read=read, close=lambda: None), "ContentRange": content_range}


BROKEN = IncompleteReadError(actual_bytes=3, expected_bytes=10)


def test_a_document_that_breaks_off_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rangemill.aws.store.time.sleep", lambda _: None)
    client: Any = Answers((None, BROKEN), (None, BROKEN), (None, b"0123456789"))
    assert S3Store(client, "work").get("k") == b"0123456789"


def test_what_is_not_the_span_is_never_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rangemill.aws.store.time.sleep", lambda _: None)
    wrong = [(None, b"0123456789"), ("bytes 2-3/10", b"23"), ("bytes 3-5/10", b"345")]
    client: Any = Answers(*wrong, ("bytes 3-4/10", b"34"))
    assert S3Store(client, "work").get("k", (3, 5)) == b"34"
    never: Any = Answers(*wrong * 2)
    with pytest.raises(Transient, match="asked for bytes=3-4, S3 answered with"):
        S3Store(never, "work").get("k", (3, 5))


@pytest.mark.parametrize("body", [b"3", b"345"], ids=["less", "more"])
def test_a_span_that_is_not_as_long_as_it_says_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr("rangemill.aws.store.time.sleep", lambda _: None)
    client: Any = Answers(("bytes 3-4/10", body), ("bytes 3-4/10", b"34"))
    assert S3Store(client, "work").get("k", (3, 5)) == b"34"
    never: Any = Answers(*[("bytes 3-4/10", body)] * 6)
    with pytest.raises(Transient, match=f"came with {len(body)} bytes"):
        S3Store(never, "work").get("k", (3, 5))


def test_a_document_without_the_checksum_that_s3_keeps_is_asked_for_again(
    store: S3Store, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rangemill.aws.store.time.sleep", lambda _: None)
    store.put("k", b"0123456789")
    flips = iter([True, True])

    def flip(parsed: Any, **_: Any) -> None:
        if next(flips, False):
            body = parsed["Body"]
            body._raw_stream = BytesIO(body._raw_stream.read().replace(b"5", b"4"))

    s3.meta.events.register("after-call.s3.GetObject", flip)
    assert store.get("k") == b"0123456789"
    assert next(flips, None) is None
