"""Whole objects as records: one each, however large, empty or many, with a CRC of every byte."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

CODE = """
import hashlib, io

class Digests:
    how_much = -1
    def start(self, context): return []
    def apply(self, partial, record):
        data = record.read(self.how_much)
        return [*partial, (record.key.rpartition("/")[2], record.size_bytes, hashlib.sha256(data).hexdigest())]
    def merge(self, left, right): return left + right
    def finish(self, total):
        for name, size, digest in sorted(total): yield {"name": name, "size": size, "digest": digest}

class Heads(Digests):
    how_much = 3

class Pieces(Digests):
    def apply(self, partial, record):
        digest = hashlib.sha256()
        largest = 0
        for piece in record:
            digest.update(piece)
            largest = max(largest, len(piece))
        assert largest <= 2**20
        return [*partial, (record.key.rpartition("/")[2], record.size_bytes, digest.hexdigest())]

class Lines(Digests):
    def apply(self, partial, record):
        lines = sum(1 for _ in io.TextIOWrapper(record, encoding="latin-1", newline="\\n"))
        return [*partial, (record.key.rpartition("/")[2], lines, "")]

class Batches(Digests):
    def apply_batch(self, partial, records):
        for record in records:
            partial = Digests.apply(self, partial, record)
        return partial

class Swallows(Digests):
    def apply(self, partial, record):
        try:
            with open(record.key, "ab") as file: file.write(b"more")
            record.read()
        except Exception: pass
        return partial

class Raises(Digests):
    def apply(self, partial, record): raise ValueError("no image")

class Keeps(Digests):
    kept = None
    def apply(self, partial, record):
        if self.kept is not None: self.kept.read(1)
        self.kept = record
        return partial
"""


def rows_of(files: dict[str, bytes], how_much: int | None = None) -> list[dict[str, Any]]:
    return [
        {"name": name, "size": len(body), "digest": hashlib.sha256(body[:how_much]).hexdigest()}
        for name, body in sorted(files.items())
    ]


@pytest.fixture
def pipeline(room: Any) -> Any:
    Path("whole.py").write_text(CODE)
    return lambda name, form="{type: object}": room.pipeline(name.lower(), f"{{python: whole:{name}}}", form)


FILES = {
    "a.png": b"\x89PNG" + bytes(range(256)) * 9000,
    "b.gz": b"\x1f\x8b\x08",
    "c": b"",
    "d.txt": b"x\ny\n",
    "e": b".",
}


@pytest.mark.parametrize("range_bytes", ["1", "100", "100000000"])
@pytest.mark.parametrize("form", ["{type: object}", "{type: auto, unit: object}", "{type: object, unit: object}"])
@pytest.mark.parametrize("name", ["Digests", "Pieces", "Batches"])
def test_an_object_is_one_record_with_all_its_bytes(
    room: Any, pipeline: Any, name: str, form: str, range_bytes: str
) -> None:
    files = [room.file(body, f"in/{n}") for n, body in FILES.items()]
    document = room.json("run", pipeline(name, form), *files, "--workers", "0", "--range-bytes", range_bytes)
    assert room.rows(document) == rows_of(FILES)
    assert document["records"] == document["objects"] == 5
    assert document["bytes"] == sum(map(len, FILES.values()))
    assert document["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC64NVME", "matched": True}


def test_what_user_code_leaves_is_read_for_the_proof(room: Any, pipeline: Any) -> None:
    files = [room.file(body, f"in/{n}") for n, body in FILES.items()]
    document = room.json("run", pipeline("Heads"), *files, "--workers", "2")
    assert room.rows(document) == rows_of(FILES, 3)
    assert document["proof"]["matched"] is True


def test_a_record_is_a_binary_file(room: Any, pipeline: Any) -> None:
    document = room.json("run", pipeline("Lines"), room.file(b"a\r\nb\n" * 100_000), "--workers", "0")
    assert room.rows(document) == [{"name": "input.txt", "size": 200_000, "digest": ""}]


def test_a_failure_to_read_cannot_be_swallowed(room: Any, pipeline: Any) -> None:
    document = room.json("run", pipeline("Swallows"), room.file(b"x" * 3_000_000), "--workers", "0", exit_code=1)
    assert document["error"]["type"] == "ObjectChanged"


def test_user_code_that_raises_is_named_with_the_object(room: Any, pipeline: Any) -> None:
    document = room.json("run", pipeline("Raises"), room.file(b"x"), "--workers", "0", exit_code=1)
    assert document["error"]["type"] == "UserCodeError"
    assert "no image" in document["error"]["message"]
    assert document["error"]["object"].endswith("input.txt")


def test_a_record_is_over_when_apply_is(room: Any, pipeline: Any) -> None:
    files = [room.file(b"xyz", n) for n in ("one", "two")]
    document = room.json("run", pipeline("Keeps"), *files, "--workers", "0", exit_code=1)
    assert "only inside `apply`" in document["error"]["message"]


@pytest.mark.parametrize("form", ["{type: object}", "{type: auto, unit: object}"])
def test_sql_is_refused_by_name(room: Any, form: str) -> None:
    result = room.call("run", room.pipeline("sql", '{sql: "SELECT 1 AS a"}', form), room.file(b"x"))
    assert result.exit_code == 2
    assert "a whole object has no columns" in result.output


def test_records_of_another_format_are_no_objects(room: Any) -> None:
    form = "{type: csv, unit: object}"
    result = room.call("run", room.pipeline("csv", "{python: pipeline_code:Lines}", form), room.file(b"x"))
    assert result.exit_code == 2
    assert "whole objects have no csv records" in result.output
