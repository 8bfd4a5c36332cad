"""Archives in S3: members are read at their place in a pinned archive, from request to result."""

import io
import json
import tarfile
import zipfile
from typing import Any

import pytest
from msgspec.structs import replace

from rangemill.aws.objects import S3Objects
from rangemill.errors import ObjectChanged
from rangemill.gateways import Gateways
from rangemill.messages import CodeIdentity, JobRequest, ObjectRef, PinnedObject, Prefix
from rangemill.spans import read_span
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryExecutions

BUCKET = "input-bucket"
CODE = CodeIdentity("core", "pipelines", "dependencies")
PIPELINE = """
name: lines
format: {type: text, archive: auto}
apply: {sql: "SELECT _object AS o, count(*) AS n FROM records GROUP BY ALL"}
aggregate: {sql: "SELECT o, sum(n) AS n FROM partials GROUP BY ALL"}
finish: {sql: "SELECT * FROM result ORDER BY o"}
"""
FILES = {"d/a.txt": b"one\ntwo\n" * 300, "b.txt": b"three", "empty": b""}


def zipped(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in FILES.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def tarred(mode: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, body in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def put(s3: Any, key: str, body: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm="CRC32")


def member_of(pin: PinnedObject, base: int, size: int) -> PinnedObject:
    return replace(pin, member="m", base=base, size_bytes=size, container_bytes=pin.size_bytes)


def test_a_member_is_read_at_its_place_and_no_further(s3: Any, objects: S3Objects) -> None:
    body = bytes(range(256)) * 10
    put(s3, "k", body)
    pin = member_of(objects.pin(ObjectRef(BUCKET, "k"), 0), 100, 1000)
    assert b"".join(objects.read(pin, 0, 10)) == body[100:1100]
    assert b"".join(objects.read(pin, 990, 2000)) == body[1090:1100]
    assert read_span(objects, pin, 5, 9) == body[105:109]


def test_an_archive_that_is_overwritten_is_named_with_the_member(s3: Any, objects: S3Objects) -> None:
    put(s3, "k", b"x" * 100)
    pin = member_of(objects.pin(ObjectRef(BUCKET, "k"), 0), 10, 20)
    put(s3, "k", b"y" * 100)
    with pytest.raises(ObjectChanged) as caught:
        list(objects.read(pin, 0, 20))
    assert caught.value.object_uri == f"s3://{BUCKET}/k!m"


def test_archives_under_a_prefix_from_request_to_result(s3: Any, gateways: Gateways) -> None:
    archives = {
        "in/d.zip": zipped(zipfile.ZIP_DEFLATED),
        "in/s.zip": zipped(zipfile.ZIP_STORED),
        "in/t.tar": tarred("w"),
        "in/t.tgz": tarred("w:gz"),
    }
    for key, body in archives.items():
        put(s3, key, body)
    put(s3, "in/plain.txt", b"1\n2\n3\n")
    life = Gateways(
        gateways.jobs, gateways.store, gateways.objects, MemoryExecutions(), gateways.notices, gateways.clock
    )
    request = JobRequest(
        "lines-1", "lines", PIPELINE, "lines.yaml", "submit", prefixes=[Prefix(BUCKET, "in/")], range_bytes=100
    )
    row = run_job(request, life, in_this_process(life, CODE), CODE)
    assert row.status == "SUCCEEDED", row.error
    assert row.result is not None
    result = life.store.get(row.result["output"][0].removeprefix(f"s3://{life.store.bucket}/"))
    expected = [("in/plain.txt", 3)]
    for key in archives:
        expected += [(f"{key}!b.txt", 1), (f"{key}!d/a.txt", 600)]
    assert [(r["o"], r["n"]) for r in map(json.loads, (result or b"").splitlines())] == sorted(expected)
    assert row.result["proof"] == {"complete": True, "level": "stream", "checksum": "CRC32", "matched": None}
    assert row.result["objects"] == 3 * 3 + 2
