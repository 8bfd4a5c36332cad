"""Corrupt input of every format: the job fails at once, by a name, with the object, the place and what is wrong."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from typing import Any

import duckdb
import fastavro
import lz4.frame
import pytest
from backports import zstd

LINES = b"".join(b"%d some text of line %d\n" % (n, n * n) for n in range(300))
JSON = json.dumps([{"a": n, "s": "x]}"} for n in range(60)]).encode()
JSONL = b"".join(b'{"a": %d}\n' % n for n in range(60))
CSV = b"id,name\n" + b"".join(b'%d,"na ""me\n%d"\n' % (n, n) for n in range(60))
TEXT = "{type: text}"
ARCHIVES = "{type: text, archive: auto}"


def flipped(body: bytes, at: int) -> bytes:
    at %= len(body)
    return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]


def zipped(name: str, method: int, body: bytes = LINES) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, body)
    return out.getvalue()


def tarred(name: str, mode: Any = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(LINES)
        archive.addfile(info, io.BytesIO(LINES))
    return out.getvalue()


def avro() -> bytes:
    out = io.BytesIO()
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "long"}]}
    fastavro.writer(out, schema, [{"a": n} for n in range(300)], sync_interval=100)
    return out.getvalue()


def parquet(folder: Any) -> bytes:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT i AS a FROM range(9000) t(i)) TO '{folder}/made.parquet' (FORMAT parquet)")
    return bytes((folder / "made.parquet").read_bytes())


GZIP = gzip.compress(LINES)
AVRO = avro()
# what -> (format, object, error, words of its message)
CASES: dict[str, tuple[str, bytes, str, str]] = {
    "gzip cut off": (TEXT, GZIP[:-200], "BadCompression", "the data ends inside a member: it is truncated"),
    "gzip with a wrong CRC": (TEXT, flipped(GZIP, -6), "BadCompression", "CRC-32 of a member's output"),
    "gzip with a wrong length": (TEXT, flipped(GZIP, -2), "BadCompression", "not as long as its trailer says"),
    "gzip with something behind": (TEXT, GZIP + b"garbage", "BadCompression", f"stored byte {len(GZIP)}"),
    "zstd cut off": (TEXT, zstd.compress(LINES)[:-9], "BadCompression", "ends inside a frame: it is truncated"),
    "bzip2 cut off": (TEXT, bz2.compress(LINES)[:-30], "BadCompression", "it is truncated"),
    "bzip2 damaged": (TEXT, flipped(bz2.compress(LINES), 600), "BadCompression", "a block's data is damaged"),
    "xz cut off": (TEXT, lzma.compress(LINES)[:-9], "BadCompression", "it is truncated"),
    "xz damaged": (TEXT, flipped(lzma.compress(LINES), 600), "BadCompression", "Corrupt input data"),
    "lz4 cut off": (TEXT, lz4.frame.compress(LINES)[:-9], "BadCompression", "it is truncated"),
    "lz4 damaged": (
        TEXT, flipped(lz4.frame.compress(LINES, content_checksum=True), -1), "BadCompression", "contentChecksum",
    ),
    "a bomb": (
        "{type: text, max_logical_bytes: 1 MiB}", gzip.compress(b"\n" * 2**22), "BadCompression",
        "`format.max_logical_bytes` 1 MiB",
    ),
    "a bomb in a zip": (
        "{type: text, archive: zip, max_logical_bytes: 1 MiB}", zipped("a", 8, b"\n" * 2**22), "BadArchive",
        "as a decompression bomb does",
    ),
    "avro cut off": ("{type: avro}", AVRO[:-40], "IntegrityError", "but the file at"),
    "avro without its marker": ("{type: avro}", flipped(AVRO, -3), "IntegrityError", "not followed by the file's sync"),
    "csv with an open quote": ("{type: csv}", CSV[:-2], "BadRecord", "inside a quote that is never closed"),
    "csv with a cell too many": ("{type: csv}", CSV + b"1,2,3\n", "BadRecord", "it has 3 columns, not 2"),
    "csv that is no UTF-8": ("{type: csv}", CSV + b"1,\xff\n", "BadRecord", "is not UTF-8"),
    "csv in half a character": (
        "{type: csv}", "\ufeffa,b\n1,2\n".encode("utf-16-le") + b"x", "BadRecord", "byte 18 is not utf-16-le",
    ),
    "json cut off": ("{type: json}", JSON[:-9], "BadRecord", "before its array is closed"),
    "json with a comma too many": ("{type: json}", JSON.replace(b"}, ", b"},, ", 1), "BadRecord", "expected a JSON"),
    "json without the path": ("{type: json, path: Records}", b'{"a": [1]}', "BadRecord", "no member 'Records'"),
    "jsonl with a broken line": ("{type: jsonl}", JSONL + b'{"a": \n' + JSONL, "BadRecord", "it is not JSON"),
    "jsonl with a NUL": ("{type: jsonl}", JSONL + b"\0\n", "BadRecord", "it is not JSON"),
    "a zip cut off": (ARCHIVES, zipped("a", 8)[:-30], "BadArchive", "it was cut off"),
    "a zip that climbs": (ARCHIVES, zipped("../a", 8), "BadArchive", "has `..` in its path"),
    "a zip damaged": (ARCHIVES, flipped(zipped("a", 8), 300), "BadArchive", "that its directory says"),
    "a tar that climbs": (ARCHIVES, tarred("../a"), "BadArchive", "has `..` in its path"),
    "a tar.gz that climbs": (ARCHIVES, tarred("../a", "w:gz"), "BadArchive", "has `..` in its path"),
    "a tar cut off": (ARCHIVES, tarred("a")[:3000], "BadArchive", "beyond the archive's end: it was cut off"),
    "a tar with a broken header": (ARCHIVES, flipped(tarred("a"), 150), "BadArchive", "so it is damaged"),
    "fixed lengths with a rest": ("{type: text, record_bytes: 7}", LINES[:38], "BadRecord", "has 3 bytes, not 7"),
    "a line too long": ("{type: text, max_record_bytes: 9}", b"a\n" + LINES, "RecordTooLarge", "byte 2 is longer than"),
    "nothing that is known": ("{type: auto}", b"\0\1\2binary", "BadRecord", "is of no format that is known"),
}  # fmt: skip


@pytest.mark.parametrize("range_bytes", ["500", "67108864"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_corrupt_is_named(room: Any, case: str, range_bytes: str) -> None:
    form, body, error, words = CASES[case]
    fails(room, form, body, error, words, range_bytes)


def test_a_parquet_file_that_is_damaged_is_named(room: Any) -> None:
    whole = parquet(room.folder)
    fails(room, "{type: parquet}", whole[:-10], "IntegrityError", "it may have been cut off", "500")
    fails(room, "{type: parquet}", b"", "BadRecord", "it has no bytes", "500")
    fails(room, "{type: parquet}", flipped(whole, -5), "IntegrityError", "is longer than the file", "500")
    broken = whole[:200] + bytes(900) + whole[1100:]
    found = fails(room, "{type: parquet}", broken, "BadRecord", "DuckDB cannot read it", "500")
    assert "rangemill://" not in found


def test_a_member_of_a_zip_that_is_not_what_its_directory_says_is_named(room: Any) -> None:
    file = room.file(flipped(zipped("a.txt", zipfile.ZIP_STORED), 600), "x.zip")
    found = room.json("run", room.python("Lines", ARCHIVES), file, "--workers", "0", exit_code=1)["error"]
    assert (found["type"], found["object"].rsplit("/")[-1]) == ("ChecksumMismatch", "x.zip!a.txt")
    assert "the bytes read have CRC32" in found["message"]


def fails(room: Any, form: str, body: bytes, error: str, words: str, range_bytes: str) -> str:
    """The message of a run that must fail so."""
    arguments = (room.file(body, "in/the.object"), "--workers", "0", "--range-bytes", range_bytes)
    found = room.json("run", room.python("Lines", form), *arguments, exit_code=1)["error"]
    assert found["type"] == error, found
    assert words in found["message"]
    assert "in/the.object" in found["object"]
    assert isinstance(found["offset"], int)
    return str(found["message"])
