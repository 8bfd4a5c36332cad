"""Every format as a job of its own on the local cloud: what comes out, cut small, and what is proved of it.

All jobs are submitted before the first one is waited for: they run side by side.
"""

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import duckdb
import fastavro
import lz4.frame
import pytest
from backports import zstd

from rangemill.messages import ObjectRef

ROWS = [{"id": n, "name": f'n {n} "q"\n, é', "rest": "x" * (n % 9)} for n in range(90)]
NAMES = [{"id": row["id"], "name": row["name"]} for row in ROWS]
PLAIN = [{"id": n, "name": f"n_{n}é"} for n in range(90)]  # for what has neither quotes nor blanks
RANDOM = random.Random(2)
LINES = b"".join(b"%d %s\n" % (n, RANDOM.randbytes(n % 40).hex().encode()) for n in range(6000))
QUARTERS = [LINES[at : at + len(LINES) // 4 + 1] for at in range(0, len(LINES), len(LINES) // 4 + 1)]
SQL = """\
apply: {sql: "SELECT id, name FROM records"}
aggregate: {sql: "SELECT id, name FROM partials"}
finish: {sql: "SELECT id, name FROM result ORDER BY id"}
"""
PYTHON = "apply: {python: probes:Rows}\n"
COUNT = "apply: {python: probes:Lines}\n"
WHOLE = "apply: {python: probes:Whole}\n"


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def as_parquet(rows: list[dict[str, Any]], folder: Any) -> bytes:
    file = folder / "made.parquet"
    with duckdb.connect() as connection:
        made = "SELECT unnest($ids) AS id, unnest($names) AS name"
        made = f"SELECT id, name, md5(id || '-' || copy) AS unasked FROM range(60) t(copy), ({made})"
        columns = {"ids": [row["id"] for row in rows], "names": [row["name"] for row in rows]}
        connection.execute(f"COPY ({made}) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 2048)", columns)
    return bytes(file.read_bytes())


def as_avro(rows: list[dict[str, Any]]) -> bytes:
    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}, {"name": "rest", "type": "string"}]
    out = io.BytesIO()
    fastavro.writer(out, {"type": "record", "name": "R", "fields": fields}, rows, "deflate", sync_interval=500)
    return out.getvalue()


def as_zip(files: dict[str, bytes], stored: Iterable[str] = ()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body, zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED)
    return out.getvalue()


def as_tar(files: dict[str, bytes], mode: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return out.getvalue()


def as_bgzf(body: bytes) -> bytes:
    """Members of at most 64 KiB that say how long they are, and the empty one at the end."""
    out = bytearray()
    for at in [*range(0, len(body), 30_000), len(body)]:
        part = body[at : at + 30_000]
        packed = zlib.compress(part, wbits=-15)
        out += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(packed) + 25) + packed
        out += struct.pack("<II", zlib.crc32(part), len(part))
    return bytes(out)


def counted(records: Iterable[bytes]) -> list[dict[str, Any]]:
    """What the probe `Lines` finds in these records."""
    kept = list(records)
    digest = sum(int.from_bytes(hashlib.blake2b(r, digest_size=6).digest()) for r in kept)
    return [{"lines": len(kept), "bytes": sum(map(len, kept)), "hash": digest}]


@dataclass(frozen=True)
class Case:
    """A job: its format, what is done, its objects, its rows, and the least number of ranges that they are cut into."""

    form: str
    do: str
    objects: dict[str, bytes]
    rows: list[dict[str, Any]]
    ranges: int = 4
    level: str = "bytes"
    range_bytes: int = 1500
    matched: bool | None = True


THIRDS = [ROWS[:30], ROWS[30:60], ROWS[60:]]
MEMBERS = {f"d/{n}.csv": as_csv(rows) for n, rows in enumerate(THIRDS)} | {"d/read.me": b"not meant"}
EVENTS = [b"2026-11-20 event %d\r\n  at %d\n  2026-11-20 is no beginning" % (n, n) for n in range(90)]
ENTRIES = "".join(f"{row['id']} {row['name']}\r\n" for row in PLAIN)
LOG = "#Version: 1.0\n#Fields: id name\n" + ENTRIES
AUTO = {
    "a.jsonl": as_jsonl(ROWS[:20]),
    "b.jsonl.gz": gzip.compress(as_jsonl(ROWS[20:40])),
    "c": zstd.compress(as_jsonl(ROWS[40:50])),
    "d.zip": as_zip({"x": as_jsonl(ROWS[50:60]), "y": as_jsonl(ROWS[60:70])}, stored=["x"]),
    "e.tar": as_tar({"z": as_jsonl(ROWS[70:80])}, "w"),
    "f.tgz": as_tar({"z": as_jsonl(ROWS[80:])}, "w:gz"),
}
WHOLES = {"x.gz": gzip.compress(b"x"), "empty": b"", "y.png": RANDOM.randbytes(100_000)}
LZ4 = lz4.frame.compress(LINES, block_size=lz4.frame.BLOCKSIZE_MAX64KB, block_linked=False)
PATTERN = r"pattern: '(?P<id>\d+) (?P<name>\S+)', columns: {id: BIGINT}"

CASES = {
    "csv in SQL": Case("{type: csv}", SQL, {"x.csv": as_csv(ROWS)}, NAMES, ranges=9, range_bytes=211),
    "csv in Python": Case("{type: csv}", PYTHON, {"x.csv": as_csv(ROWS)}, NAMES, ranges=9, range_bytes=211),
    "csv of one zstd frame": Case(
        "{type: auto}", SQL, {"x.csv.zst": zstd.compress(as_csv(ROWS))}, NAMES, ranges=1, level="stream"
    ),
    "csv of many zstd frames": Case(
        "{type: csv}", SQL, {"x.csv.zst": b"".join(map(zstd.compress, [as_csv(ROWS)[:1000], as_csv(ROWS)[1000:]]))},
        NAMES, ranges=2, range_bytes=200,
    ),
    "jsonl": Case("{type: jsonl}", PYTHON, {"x.jsonl": as_jsonl(ROWS)}, NAMES),
    "jsonl in gzip": Case(
        "{type: auto}", SQL, {"x.jsonl.gz": gzip.compress(as_jsonl(ROWS))}, NAMES, ranges=1, level="stream"
    ),
    "json array": Case("{type: auto}", SQL, {"x.json": json.dumps(ROWS, indent=1).encode()}, NAMES),
    "json path": Case(
        "{type: json, path: Records}", PYTHON,
        {"x.json": b'{"v": [[]], "Records": ' + json.dumps(ROWS).encode() + b', "n": "]"}'}, NAMES,
    ),
    "avro in SQL": Case(
        "{type: avro}", SQL, {"x.avro": as_avro(ROWS)}, NAMES, ranges=3, level="units", range_bytes=400, matched=None
    ),
    "avro in Python": Case(
        "{type: auto}", PYTHON, {"x.avro": as_avro(ROWS)}, NAMES, ranges=3, level="units", range_bytes=400, matched=None
    ),
    "gzip by member": Case(
        "{type: text}", COUNT,
        {"x.gz": b"".join(gzip.compress(part, 0) for part in QUARTERS * 5), "bgzf.gz": as_bgzf(LINES * 5)},
        counted(LINES.splitlines() * 10), range_bytes=300_000,
    ),
    "zstd and LZ4": Case(
        "{type: text}", COUNT, {"x": b"".join(map(zstd.compress, QUARTERS)), "x.lz4": LZ4},
        counted(LINES.splitlines() * 2), ranges=6, range_bytes=60_000,
    ),
    "bzip2 and xz": Case(
        "{type: text}", COUNT, {"x.bz2": bz2.compress(LINES, 1), "x.xz": b"".join(map(lzma.compress, QUARTERS))},
        counted(LINES.splitlines() * 2), ranges=5, range_bytes=50_000,
    ),
    "zip": Case(
        "{type: csv, archive: zip, members: '*.csv'}", SQL, {"x.zip": as_zip(MEMBERS, stored=["d/0.csv"])},
        NAMES, level="units", range_bytes=400,
    ),
    "tar": Case(
        "{type: csv, archive: tar, members: '*.csv'}", PYTHON, {"x.tar": as_tar(MEMBERS, "w")},
        NAMES, ranges=6, level="units", range_bytes=400, matched=None,
    ),
    "tar.gz": Case(
        "{type: csv, archive: auto, members: '*.csv'}", SQL, {"x.tgz": as_tar(MEMBERS, "w:gz")},
        NAMES, ranges=1, level="stream",
    ),
    "auto over all kinds": Case("{type: auto}", SQL, AUTO, NAMES, ranges=7, level="stream", matched=None),
    "log in UTF-16": Case(
        f"{{type: text, {PATTERN}}}", SQL, {"x.log": ("\ufeff" + ENTRIES).encode("utf-16-le")}, PLAIN, range_bytes=250
    ),
    "preset": Case(
        "{type: text, preset: w3c, columns: {id: BIGINT}}", SQL, {"x.log": LOG.encode()}, PLAIN, range_bytes=250
    ),
    "lengths": Case(
        "{type: text, record_bytes: 37}", COUNT, {"x.bin": LINES[: 37 * 900]},
        counted(LINES[at : at + 37] for at in range(0, 37 * 900, 37)), range_bytes=8000,
    ),
    "record_start": Case(
        r"{type: text, record_start: '2026-\d\d-\d\d '}", COUNT, {"x.log": b"\n".join(EVENTS)},
        counted(EVENTS),
    ),
    "whole objects": Case(
        "{type: object}", WHOLE, WHOLES,
        [{"key": k, "size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for k, b in sorted(WHOLES.items())],
        ranges=2,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def jobs(app) -> dict[str, str]:
    """The job of each case, all of them submitted."""
    ids = {}
    for position, (name, case) in enumerate(CASES.items()):
        refs = [ObjectRef(app.bucket, f"formats/{position}/{key}") for key in case.objects]
        for ref, body in zip(refs, case.objects.values(), strict=True):
            app.upload(ref.key, body)
        document = f"name: format-{position}\nformat: {case.form}\n{case.do}"
        ids[name] = app.submit_document(document, refs, range_bytes=case.range_bytes, concurrency=2)
    return ids


@pytest.mark.parametrize("name", CASES)
def test_a_job_over_it_is_right_and_proved(app, jobs, name):
    case = CASES[name]
    row = app.wait(jobs[name], 180)
    assert [{**r, "key": r["key"].rsplit("/")[-1]} if "key" in r else r for r in app.rows(row)] == case.rows
    proof = row.result["proof"]
    assert (proof["complete"], proof["level"], proof["matched"]) == (True, case.level, case.matched)
    assert row.result["ranges"] >= case.ranges
    assert row.result["rejects"] == 0


@pytest.mark.parametrize("do", [SQL, PYTHON])
def test_of_parquet_only_what_is_asked_for_is_read(app, tmp_path, do):
    body = as_parquet(NAMES, tmp_path)
    app.upload("formats/x.parquet", body)
    form = "{type: parquet}" if do == SQL else "{type: parquet, columns: [id, name]}"
    ref = ObjectRef(app.bucket, "formats/x.parquet")
    document = f"name: of-parquet\nformat: {form}\n{do}"
    row = app.wait(app.submit_document(document, [ref], range_bytes=50_000, concurrency=2))
    assert sorted(map(str, app.rows(row))) == sorted(map(str, NAMES * 60))
    assert row.result["ranges"] >= 3
    assert row.result["proof"]["level"] == "units"
    report = json.loads(app.world.store.get(row.result["report"]))
    assert report["totals"]["bytes"] == len(body)


def test_the_second_job_over_a_gzip_is_parallel(app):
    page = b"".join(b"%d %s\n" % (n, RANDOM.randbytes(50).hex().encode() * 20) for n in range(1000))
    body = page * 20  # 40 MB of text: points every 16 MiB
    app.upload("formats/big.gz", gzip.compress(body, 1))
    before = index(app)
    document = f"name: big-gzip\nformat: {{type: text}}\n{COUNT}"
    ref = ObjectRef(app.bucket, "formats/big.gz")
    first, second = (
        app.wait(app.submit_document(document, [ref], range_bytes=100_000, concurrency=2)) for _ in range(2)
    )
    assert app.rows(first) == app.rows(second) == counted(body.splitlines())
    assert first.result["proof"]["matched"] is second.result["proof"]["matched"] is True
    made = sorted(key.split("/")[1] for key in index(app) - before)
    assert made[0] == "directories"
    assert made.count("points") >= 2
    assert second.result["proof"]["level"] == "bytes"
    assert second.result["ranges"] >= 3


def index(app) -> set[str]:
    """The keys of restart points in the work bucket."""
    pages = app.cloud.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=app.outputs["WorkBucket"], Prefix="index/")
    return {entry["Key"] for page in found for entry in page.get("Contents", [])}
