"""Input objects: pinned, listed, and read without ever taking S3 at its word."""

import base64
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError, FlexibleChecksumError, ReadTimeoutError
from botocore.response import StreamingBody

from rangemill.aws import objects as module
from rangemill.aws.ahead import Ahead
from rangemill.aws.objects import S3Objects
from rangemill.errors import AccessRefused, ChecksumMismatch, ObjectChanged, ObjectMissing, Transient
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.messages import ObjectRef, PinnedObject

BUCKET = "input-bucket"
BODY = bytes(range(256)) * 40  # 10,240 bytes, no two neighbours alike
HARD_KEYS = [
    "plain.log",
    "with blank and + plus.log",
    "100%/%20%2B.log",
    "ünïcode/日本語/🙂.log",
    "a//b/./../c",
    "'\"<>&;=?#[]{}|\\^~`",
    "x" * 1024,
    "é" * 512,
]


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "backoff_seconds", lambda *_, **__: 0.0)


@pytest.fixture
def small_reads(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small object takes many requests, one after the other."""
    objects._ahead = Ahead(connections=1)
    monkeypatch.setattr(module, "GET_BYTES", 1000)
    monkeypatch.setattr(module, "PIECE_BYTES", 300)
    monkeypatch.setattr(module, "TAIL_FIRST_BYTES", 64)


def crc(name: str, body: bytes) -> int:
    return CRC_FUNCTIONS[name][0](body, 0)


def text(value: int, width: int) -> str:
    return base64.b64encode(value.to_bytes(width, "big")).decode()


def put(s3: Any, key: str = "k", body: bytes = BODY, **more: Any) -> str:
    return str(s3.put_object(Bucket=BUCKET, Key=key, Body=body, **more)["ETag"]).strip('"')


def pin_of(objects: S3Objects, key: str = "k", version_id: str | None = None) -> PinnedObject:
    return objects.pin(ObjectRef(BUCKET, key, version_id), 0)


def spy(monkeypatch: pytest.MonkeyPatch, s3: Any, operation: str = "get_object") -> list[dict[str, Any]]:
    """The arguments of each call, which still goes through."""
    calls: list[dict[str, Any]] = []
    really = getattr(s3, operation)

    def call(**arguments: Any) -> Any:
        calls.append(arguments)
        return really(**arguments)

    monkeypatch.setattr(s3, operation, call)
    return calls


# --- pin -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(CRC_FUNCTIONS))
def test_a_pin_carries_the_objects_own_crc(s3: Any, objects: S3Objects, name: str) -> None:
    etag = put(s3, ChecksumAlgorithm=name)
    assert pin_of(objects) == PinnedObject(0, BUCKET, "k", etag, len(BODY), None, name, crc(name, BODY))


def test_an_empty_object_is_pinned_with_the_crc_of_nothing(s3: Any, objects: S3Objects) -> None:
    put(s3, body=b"", ChecksumAlgorithm="CRC64NVME")
    pin = pin_of(objects)
    assert (pin.size_bytes, pin.crc) == (0, 0)


def test_an_object_whose_checksum_cannot_be_combined_is_pinned_without_one(s3: Any, objects: S3Objects) -> None:
    put(s3, ChecksumAlgorithm="SHA256")
    pin = pin_of(objects)
    assert (pin.crc_name, pin.crc) == ("CRC64NVME", None)


class Multipart:
    """What S3 answers about a multipart object; moto keeps no parts' checksums."""

    def __init__(self, name: str, sizes: list[int], *, typed: bool, page: int = 2, without: int | None = None) -> None:
        self.name, self.page, self.typed = name, page, typed
        width = 8 if name == "CRC64NVME" else 4
        bounds = [0]
        for size in sizes:
            bounds.append(bounds[-1] + size)
        self.body = (BODY * 3)[: bounds[-1]]
        tiles = [self.body[a:b] for a, b in pairwise(bounds)]
        self.parts: list[dict[str, Any]] = [
            {"PartNumber": n, "Size": len(t), f"Checksum{name}": text(crc(name, t), width)}
            for n, t in enumerate(tiles, 1)
        ]
        if without is not None:
            del self.parts[without][f"Checksum{name}"]
        self.asked: list[int] = []

    def head_object(self, **_: Any) -> dict[str, Any]:
        known: dict[str, Any] = {"ChecksumType": "COMPOSITE"} if self.typed else {}
        return {
            "ETag": '"e-3"',
            "ContentLength": len(self.body),
            f"Checksum{self.name}": f"AAAAAA==-{len(self.parts)}",
            "VersionId": "v1",
            **known,
        }

    def get_object_attributes(self, **arguments: Any) -> dict[str, Any]:
        assert arguments["VersionId"] == "v1"
        marker = arguments["PartNumberMarker"]
        self.asked.append(marker)
        page = [p for p in self.parts if p["PartNumber"] > marker][: self.page]
        last = page[-1]["PartNumber"] if page else marker
        more = last < len(self.parts)
        return {"ObjectParts": {"Parts": page, "IsTruncated": more, "NextPartNumberMarker": last}}


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("name", list(CRC_FUNCTIONS))
def test_the_checksums_of_parts_combine_to_that_of_the_object(name: str, typed: bool) -> None:
    client: Any = Multipart(name, [700, 5000, 1, 4000, 333], typed=typed)
    pin = S3Objects(client).pin(ObjectRef(BUCKET, "k"), 0)
    assert (pin.crc_name, pin.crc) == (name, crc(name, client.body))
    assert client.asked == [0, 2, 4]  # page by page


def test_parts_without_checksums_pin_without_a_crc() -> None:
    client: Any = Multipart("CRC32", [700, 500, 10], typed=True, without=2)
    pin = S3Objects(client).pin(ObjectRef(BUCKET, "k"), 0)
    assert (pin.crc_name, pin.crc) == ("CRC64NVME", None)


def test_parts_that_do_not_cover_the_object_pin_without_a_crc() -> None:
    client: Any = Multipart("CRC32", [700, 500, 10], typed=True)
    client.parts.pop()
    assert S3Objects(client).pin(ObjectRef(BUCKET, "k"), 0).crc is None


def test_an_object_that_is_gone_is_named(objects: S3Objects, s3: Any) -> None:
    with pytest.raises(ObjectMissing, match=r"s3://input-bucket/k is gone: it was pinned as e1") as caught:
        objects.pin(ObjectRef(BUCKET, "k", etag="e1"), 0)
    assert caught.value.object_uri == "s3://input-bucket/k"


def test_an_object_that_is_another_by_now_is_named_with_both_etags(objects: S3Objects, s3: Any) -> None:
    now = put(s3)
    with pytest.raises(ObjectChanged) as caught:
        objects.pin(ObjectRef(BUCKET, "k", etag='"before"'), 0)
    assert (caught.value.expected_etag, caught.value.actual_etag) == ("before", now)


def test_a_versioned_object_is_pinned_by_the_version_of_its_event(objects: S3Objects, s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=BUCKET, Key="k", Body=b"first")
    put(s3, body=b"second!")
    pin = objects.pin(ObjectRef(BUCKET, "k", first["VersionId"], first["ETag"].strip('"')), 0)
    assert (pin.version_id, pin.size_bytes) == (first["VersionId"], 5)
    assert pin_of(objects).size_bytes == 7


def test_head_tells_what_is_there_and_none_for_what_is_not(objects: S3Objects, s3: Any) -> None:
    etag = put(s3)
    found = objects.head(BUCKET, "k", None)
    assert found is not None
    assert found.ref == ObjectRef(BUCKET, "k", None, etag, len(BODY))
    assert found.last_modified.tzinfo is not None
    assert objects.head(BUCKET, "other", None) is None


def test_a_bucket_that_refuses_is_named(objects: S3Objects, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

    for operation in ("head_object", "list_objects_v2", "get_object"):
        monkeypatch.setattr(s3, operation, refuse)
    pin = PinnedObject(0, BUCKET, "k", "e", 5)
    for call in (
        lambda: objects.head(BUCKET, "k", None),
        lambda: objects.list_page(BUCKET, "", None),
        lambda: list(objects.read(pin, 0, 5)),
        lambda: objects.read_whole(pin),
    ):
        with pytest.raises(AccessRefused, match="input-bucket"):
            call()


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", HARD_KEYS, ids=range(len(HARD_KEYS)))
def test_any_key_is_pinned_listed_and_read(objects: S3Objects, s3: Any, key: str) -> None:
    put(s3, key)
    pin = pin_of(objects, key)
    assert pin.key == key
    assert b"".join(objects.read(pin, 3, len(BODY))) == BODY[3:]
    assert [ref.key for ref, _ in objects.list_page(BUCKET, key[:3], None).objects] == [key]
    assert objects.list_page(BUCKET, "", key).objects == []


# --- list ------------------------------------------------------------------------------------------------------------


def test_a_listing_goes_on_after_its_last_key(objects: S3Objects, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    really = s3.list_objects_v2
    monkeypatch.setattr(s3, "list_objects_v2", lambda **a: really(**a, MaxKeys=2))
    etags = {key: put(s3, key, key.encode()) for key in ("in/a", "in/b +%", "in/c", "in/d", "in/é", "out/z")}
    found: list[str] = []
    after: str | None = None
    pages = 0
    while True:
        page = objects.list_page(BUCKET, "in/", after)
        pages += 1
        for ref, modified in page.objects:
            assert (ref.bucket, ref.etag, ref.size_bytes) == (BUCKET, etags[ref.key], len(ref.key.encode()))
            assert ref.version_id is None
            assert modified.tzinfo is not None
            assert page.crc_names[ref.key] in CRC_FUNCTIONS
        found += [ref.key for ref, _ in page.objects]
        after = page.after
        if after is None:
            break
    assert found == sorted(key for key in etags if key.startswith("in/"))
    assert pages == 3


def test_a_page_without_keys_is_not_the_end(objects: S3Objects, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put(s3)
    really = s3.list_objects_v2
    answers: list[dict[str, Any]] = [{"IsTruncated": True, "NextContinuationToken": "t"}]

    def answer(**arguments: Any) -> Any:
        if answers:
            return answers.pop()
        assert arguments.pop("ContinuationToken") == "t"
        return really(**arguments)

    monkeypatch.setattr(s3, "list_objects_v2", answer)
    page = objects.list_page(BUCKET, "", "a")
    assert [ref.key for ref, _ in page.objects] == ["k"]


def test_an_empty_prefix_of_a_bucket_lists_nothing(objects: S3Objects, s3: Any) -> None:
    page = objects.list_page(BUCKET, "none/", None)
    assert (page.objects, page.after) == ([], None)


# --- read ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "stop"), [(0, 10_240), (0, 1), (999, 1001), (5000, 5000), (9_000, 50_000), (0, 0)])
def test_a_read_goes_to_the_objects_end_whatever_it_was_expected_to_need(
    objects: S3Objects, s3: Any, small_reads: None, start: int, stop: int
) -> None:
    put(s3)
    assert b"".join(objects.read(pin_of(objects), start, stop)) == BODY[start:]


def test_a_read_is_large_up_to_the_hint_and_then_small_and_growing(
    objects: S3Objects, s3: Any, small_reads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = put(s3)
    pin = pin_of(objects)
    calls = spy(monkeypatch, s3)
    assert b"".join(objects.read(pin, 100, 2500)) == BODY[100:]
    assert {call["IfMatch"] for call in calls} == {f'"{etag}"'}
    spans = [tuple(map(int, call["Range"].removeprefix("bytes=").split("-"))) for call in calls]
    sizes = [end - start + 1 for start, end in spans]
    assert sizes[:3] == [1000, 1000, 400]
    assert sizes[3:8] == [64, 128, 256, 512, 1000]
    assert objects.requests == len(calls) + 1


def test_what_is_not_taken_is_not_asked_for(
    objects: S3Objects, s3: Any, small_reads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3)
    pin = pin_of(objects)
    calls = spy(monkeypatch, s3)
    pieces = objects.read(pin, 0, 1000)
    assert [len(next(pieces)) for _ in range(4)] == [300, 300, 300, 100]
    assert len(calls) == 1


def test_an_object_that_is_overwritten_while_it_is_read_is_named_with_both_etags(
    objects: S3Objects, s3: Any, small_reads: None
) -> None:
    before = put(s3)
    pieces = objects.read(pin_of(objects), 0, len(BODY))
    next(pieces)
    now = put(s3, body=BODY[::-1])
    with pytest.raises(ObjectChanged) as caught:
        list(pieces)
    assert (caught.value.expected_etag, caught.value.actual_etag) == (before, now)
    assert caught.value.object_uri == "s3://input-bucket/k"


def test_an_object_that_is_deleted_while_it_is_read_is_missing(objects: S3Objects, s3: Any, small_reads: None) -> None:
    put(s3)
    pieces = objects.read(pin_of(objects), 0, len(BODY))
    next(pieces)
    s3.delete_object(Bucket=BUCKET, Key="k")
    with pytest.raises(ObjectMissing, match="404"):
        list(pieces)


@pytest.mark.parametrize("change", ["overwritten", "delete-marker"])
def test_a_pinned_version_is_read_to_its_end_whatever_comes_after_it(
    objects: S3Objects, s3: Any, small_reads: None, change: str
) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    put(s3)
    pin = pin_of(objects)
    assert pin.version_id is not None
    pieces = objects.read(pin, 0, len(BODY))
    got = [next(pieces)]
    if change == "overwritten":
        put(s3, body=b"new")
    else:
        s3.delete_object(Bucket=BUCKET, Key="k")
        assert objects.head(BUCKET, "k", None) is None
    assert b"".join([*got, *pieces]) == BODY


def test_a_pinned_version_that_was_removed_is_missing(objects: S3Objects, s3: Any, small_reads: None) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    put(s3)
    pin = pin_of(objects)
    s3.delete_object(Bucket=BUCKET, Key="k", VersionId=pin.version_id)
    put(s3, body=b"new")
    with pytest.raises(ObjectMissing):
        list(objects.read(pin, 0, len(BODY)))


def test_a_version_called_null_pins_nothing(monkeypatch: pytest.MonkeyPatch, s3: Any, objects: S3Objects) -> None:
    """With versioning suspended the next write replaces it: only the ETag protects."""
    put(s3)
    really = s3.head_object
    monkeypatch.setattr(s3, "head_object", lambda **a: {**really(**a), "VersionId": "null"})
    assert pin_of(objects).version_id is None


# --- broken answers --------------------------------------------------------------------------------------------------


class Breaking:
    """A stream that ends early or breaks after some bytes."""

    def __init__(self, body: bytes, good_bytes: int, error: Exception | None) -> None:
        self._body, self._good, self._error = BytesIO(body[:good_bytes]), good_bytes, error

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        while piece := self._body.read(min(size, 7)):
            yield piece
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        pass


def breaking(
    monkeypatch: pytest.MonkeyPatch, s3: Any, breaks: Callable[[int], tuple[int, Exception | None] | None]
) -> None:
    """Let the n-th GET break after so many bytes."""
    really = s3.get_object
    count = iter(range(10**6))

    def get(**arguments: Any) -> Any:
        response = really(**arguments)
        how = breaks(next(count))
        if how is not None:
            response["Body"] = Breaking(response["Body"].read(), *how)
        return response

    monkeypatch.setattr(s3, "get_object", get)


ERRORS: list[Exception | None] = [None, ReadTimeoutError(endpoint_url="x"), ConnectionResetError()]


@pytest.mark.parametrize("error", ERRORS, ids=["short", "timeout", "reset"])
def test_a_short_body_is_resumed_from_the_byte_reached(
    objects: S3Objects, s3: Any, small_reads: None, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    put(s3)
    pin = pin_of(objects)
    breaking(monkeypatch, s3, lambda n: (111, error) if n % 3 else None)
    assert b"".join(objects.read(pin, 5, len(BODY))) == BODY[5:]


class Longer(Breaking):
    """A body with bytes behind those of the range."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data + b"more", len(data) + 4, None)


def test_what_comes_behind_the_range_is_never_taken_for_what_follows(
    objects: S3Objects, s3: Any, small_reads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3)
    pin = pin_of(objects)
    monkeypatch.setattr("rangemill.aws.objects.time.sleep", lambda _: None)
    really, count = s3.get_object, iter(range(10**6))

    def get(**arguments: Any) -> Any:
        response = really(**arguments)
        if next(count) % 3:
            response["Body"] = Longer(response["Body"].read())
        return response

    monkeypatch.setattr(s3, "get_object", get)
    assert b"".join(objects.read(pin, 5, len(BODY))) == BODY[5:]
    count = iter([1] * 100)
    with pytest.raises(Transient, match="sent more than"):
        list(objects.read_whole(pin)[1])


def test_a_read_that_makes_no_progress_ends_as_transient_and_says_where(
    objects: S3Objects, s3: Any, small_reads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3)
    pin = pin_of(objects)
    breaking(monkeypatch, s3, lambda n: (0, None) if n else (250, None))
    got: list[bytes] = []
    with pytest.raises(Transient) as caught:
        got.extend(objects.read(pin, 0, len(BODY)))
    assert b"".join(got) == BODY[:250]
    assert caught.value.offset == 250
    assert objects.requests < 12


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 200, "range": None},
        {"status": 206, "range": "bytes 0-9/10240"},
        {"status": 206, "range": "bytes 100-199/99999"},
        {"status": 206, "range": None},
    ],
)
def test_an_answer_that_is_not_the_range_is_refused(
    objects: S3Objects, s3: Any, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
) -> None:
    put(s3)
    pin = pin_of(objects)

    def get(**_: Any) -> Any:
        return {
            "Body": StreamingBody(BytesIO(BODY), len(BODY)),
            "ContentRange": answer["range"],
            "ResponseMetadata": {"HTTPStatusCode": answer["status"]},
        }

    monkeypatch.setattr(s3, "get_object", get)
    got: list[bytes] = []
    with pytest.raises(Transient, match="asked for bytes 100-10239/10240"):
        got.extend(objects.read(pin, 100, len(BODY)))
    assert got == []


# --- whole -----------------------------------------------------------------------------------------------------------


def listed(s3: Any, objects: S3Objects, **more: Any) -> PinnedObject:
    etag = put(s3, **more)
    return PinnedObject(4, BUCKET, "k", etag, len(BODY), crc_later=True)


@pytest.mark.parametrize("name", list(CRC_FUNCTIONS))
def test_a_small_object_comes_with_one_request_that_completes_its_pin(s3: Any, objects: S3Objects, name: str) -> None:
    pin, pieces = objects.read_whole(listed(s3, objects, ChecksumAlgorithm=name))
    assert b"".join(pieces) == BODY
    assert (pin.index, pin.crc_later, pin.crc_name, pin.crc) == (4, False, name, crc(name, BODY))
    assert objects.requests == 1


def test_a_small_object_brings_its_version(s3: Any, objects: S3Objects) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    pin, pieces = objects.read_whole(listed(s3, objects))
    assert b"".join(pieces) == BODY
    assert pin.version_id is not None


def test_a_small_object_that_changed_since_the_listing_is_named(s3: Any, objects: S3Objects) -> None:
    before = listed(s3, objects)
    now = put(s3, body=b"other")
    with pytest.raises(ObjectChanged) as caught:
        objects.read_whole(before)
    assert (caught.value.expected_etag, caught.value.actual_etag) == (before.etag, now)


def test_a_small_object_that_is_gone_since_the_listing_is_missing(s3: Any, objects: S3Objects) -> None:
    before = listed(s3, objects)
    s3.delete_object(Bucket=BUCKET, Key="k")
    with pytest.raises(ObjectMissing):
        objects.read_whole(before)


@pytest.mark.parametrize("error", ERRORS, ids=["short", "timeout", "reset"])
def test_a_small_object_whose_body_breaks_is_resumed(
    s3: Any, objects: S3Objects, small_reads: None, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    before = listed(s3, objects)
    breaking(monkeypatch, s3, lambda n: (1234, error) if n == 0 else None)
    _, pieces = objects.read_whole(before)
    assert b"".join(pieces) == BODY


def test_a_body_that_does_not_have_its_checksum_is_refused(
    s3: Any, objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listed(s3, objects)
    breaking(monkeypatch, s3, lambda n: (len(BODY), FlexibleChecksumError(error_msg="no match")))
    _, pieces = objects.read_whole(before)
    with pytest.raises(ChecksumMismatch, match="s3://input-bucket/k"):
        list(pieces)
