"""Archives from request to result: members in SQL and in Python, at any range, with their own checksums."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from backports import zstd

FILES = {f"d/{n}.csv": b"a,b\n" + b"".join(b"%d,%d\n" % (n, m) for m in range(300 * n)) for n in range(4)}
OTHERS = {"empty.csv": b"", "README": b"no csv"}
SQL = (
    '{sql: "SELECT _object AS o, count(*) AS n, sum(b) AS s FROM records GROUP BY ALL"}',
    "{type: csv, archive: auto, members: '*.csv'}",
    """
aggregate: {sql: "SELECT o, sum(n) AS n, sum(s) AS s FROM partials GROUP BY ALL"}
finish: {sql: "SELECT * FROM result ORDER BY o"}
""",
)
PYTHON = """
class Sums:
    def start(self, context): return {context.object: [0, 0]}
    def apply(self, partial, record):
        ((name, (n, s)),) = partial.items()
        return {name: [n + 1, s + int(record[1])]}
    def merge(self, left, right):
        return left | {k: [v[0] + left.get(k, [0, 0])[0], v[1] + left.get(k, [0, 0])[1]] for k, v in right.items()}
    def finish(self, total):
        for name, (n, s) in sorted(total.items()):
            if n: yield {"o": name, "n": n, "s": s}

class Digests:
    def start(self, context): return []
    def apply(self, partial, record):
        import hashlib
        return [*partial, (record.member, record.uri, hashlib.sha256(record.read()).hexdigest())]
    def merge(self, left, right): return left + right
    def finish(self, total):
        for member, uri, digest in sorted(total): yield {"member": member, "uri": uri, "digest": digest}
"""


def zipped(path: str, method: int, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("d")
        for name, body in files.items():
            archive.writestr(name, body)
    return str(Path(path).resolve())


def tarred(path: str, files: dict[str, bytes], mode: Any = "w") -> str:
    with tarfile.open(path, mode) as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return str(Path(path).resolve())


@pytest.fixture
def archives(room: Any) -> dict[str, str]:
    Path("sums.py").write_text(PYTHON)
    files = FILES | OTHERS
    return {
        "stored": zipped("s.zip", zipfile.ZIP_STORED, files),
        "deflated": zipped("d.zip", zipfile.ZIP_DEFLATED, files),
        "tar": tarred("t.tar", files),
    }


def expected(path: str) -> list[dict[str, Any]]:
    return [{"o": f"{path}!d/{n}.csv", "n": 300 * n, "s": sum(range(300 * n))} for n in range(1, 4)]


@pytest.mark.parametrize("range_bytes", ["1000", "64", "100000000"])
@pytest.mark.parametrize("kind", ["stored", "deflated", "tar"])
def test_members_in_sql_and_in_python(room: Any, archives: dict[str, str], kind: str, range_bytes: str) -> None:
    path = archives[kind]
    for pipeline in (room.pipeline("sql", *SQL), room.pipeline("sums", "{python: sums:Sums}", SQL[1])):
        document = room.json("run", pipeline, path, "--workers", "0", "--range-bytes", range_bytes)
        assert room.rows(document) == expected(path)
        assert document["objects"] == 5
        assert document["records"] == 1800
        matched = None if kind == "tar" else True
        checksum = "CRC64NVME" if kind == "tar" else "CRC32"
        assert document["proof"] == {"complete": True, "level": "units", "checksum": checksum, "matched": matched}
        assert (document["ranges"] > 100) == (range_bytes == "64" and kind != "deflated")
    report = json.loads(Path(document["report"]).read_text())
    assert any("files that `members` leaves out (1)" in warning for warning in report["warnings"])


@pytest.mark.parametrize("kind", ["stored", "deflated", "tar"])
def test_members_as_whole_objects(room: Any, archives: dict[str, str], kind: str) -> None:
    pipeline = room.pipeline("digests", "{python: sums:Digests}", "{type: object, archive: auto}")
    document = room.json("run", pipeline, archives[kind], "--workers", "0", "--range-bytes", "10")
    files = FILES | OTHERS
    assert room.rows(document) == [
        {"member": name, "uri": f"{archives[kind]}!{name}", "digest": hashlib.sha256(files[name]).hexdigest()}
        for name in sorted(files)
    ]
    assert document["records"] == document["objects"] == len(files)


def test_archives_and_plain_files_in_one_job(room: Any, archives: dict[str, str]) -> None:
    plain = str(Path(room.file(b"a,b\n7,7\n", "plain.csv")).resolve())
    document = room.json("run", room.pipeline("sql", *SQL), plain, *archives.values(), "--workers", "2")
    rows = [{"o": plain, "n": 1, "s": 7}, *(row for path in archives.values() for row in expected(path))]
    assert room.rows(document) == sorted(rows, key=lambda row: row["o"])


def test_an_archive_is_not_read_as_text(room: Any, archives: dict[str, str]) -> None:
    document = room.json("run", room.python("Lines"), archives["stored"], "--workers", "0", exit_code=1)
    assert "archive: zip" in document["error"]["message"]


def test_an_archive_without_a_member_that_is_meant_is_refused(room: Any, archives: dict[str, str]) -> None:
    pipeline = room.pipeline("none", "{python: sums:Sums}", "{type: csv, archive: zip, members: '*.tsv'}")
    document = room.json("run", pipeline, archives["stored"], "--workers", "0", exit_code=1)
    assert "no file that `format.members` means" in document["error"]["message"]


@pytest.mark.parametrize(("kind", "at"), [("stored", 60), ("deflated", 500)])
def test_a_member_with_a_wrong_checksum_fails_by_its_name(
    room: Any, archives: dict[str, str], kind: str, at: int
) -> None:
    path = Path(archives[kind])
    body = path.read_bytes()
    place = body.find(b"d/2.csv") + at
    path.write_bytes(body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :])
    pipeline = room.pipeline("lines", "{python: pipeline_code:Lines}", "{type: text, archive: zip}")
    document = room.json("run", pipeline, str(path), "--workers", "0", exit_code=1)
    assert document["error"]["type"] in ("ChecksumMismatch", "BadArchive")
    assert document["error"]["object"] == f"{path}!d/2.csv"


def test_no_zip_where_a_zip_was_promised(room: Any) -> None:
    pipeline = room.pipeline("lines", "{python: pipeline_code:Lines}", "{type: text, archive: zip}")
    for body in (b"", b"PK", b"just text\n" * 100):
        document = room.json("run", pipeline, room.file(body), "--workers", "0", exit_code=1)
        assert document["error"]["type"] == "BadArchive"
        assert "it was cut off, or is none" in document["error"]["message"]


# --- compressed tars ------------------------------------------------------------------------------------------------


@pytest.fixture
def compressed(archives: dict[str, str]) -> str:
    return tarred("t.tar.gz", FILES | OTHERS, "w:gz")


STREAMED = {"complete": True, "level": "stream", "checksum": "CRC64NVME", "matched": True}


@pytest.mark.parametrize(
    "form", ["{type: csv, archive: tar, members: '*.csv'}", "{type: auto, members: 'd/*'}", SQL[1]]
)
@pytest.mark.parametrize("range_bytes", ["50", "100000000"])
def test_a_compressed_tar_is_streamed_in_one_pass(room: Any, compressed: str, form: str, range_bytes: str) -> None:
    for pipeline in (room.pipeline("sql", SQL[0], form, SQL[2]), room.pipeline("sums", "{python: sums:Sums}", form)):
        document = room.json("run", pipeline, compressed, "--workers", "0", "--range-bytes", range_bytes)
        assert room.rows(document) == expected(compressed)
        assert (document["objects"], document["ranges"], document["records"]) == (1, 1, 1800)
        assert document["proof"] == STREAMED


def test_members_of_a_compressed_tar_as_whole_objects(room: Any, compressed: str) -> None:
    pipeline = room.pipeline("digests", "{python: sums:Digests}", "{type: object, archive: auto}")
    document = room.json("run", pipeline, compressed, "--workers", "0")
    files = FILES | OTHERS
    assert room.rows(document) == [
        {"member": name, "uri": f"{compressed}!{name}", "digest": hashlib.sha256(files[name]).hexdigest()}
        for name in sorted(files)
    ]
    assert document["records"] == len(files)


@pytest.mark.parametrize("cut", [30, 400, -9, -1])
def test_a_compressed_tar_that_was_cut_off_is_refused(room: Any, compressed: str, cut: int) -> None:
    path = Path(compressed)
    path.write_bytes(path.read_bytes()[:cut])
    pipeline = room.pipeline("sums", "{python: sums:Sums}", SQL[1])
    document = room.json("run", pipeline, compressed, "--workers", "0", exit_code=1)
    assert document["error"]["type"] in ("BadCompression", "BadArchive")
    assert document["error"]["object"].startswith(compressed)


@pytest.mark.parametrize("archive", ["tar", "tar.gz"])
@pytest.mark.parametrize(
    ("names", "problem"),
    [(["../a.csv"], "has `..`"), (["/a.csv"], "absolute path"), (["a.csv", "a.csv"], "is there twice")],
)
def test_a_tar_that_is_not_to_be_trusted_is_refused(room: Any, archive: str, names: list[str], problem: str) -> None:
    with tarfile.open(f"t.{archive}", "w:gz" if archive == "tar.gz" else "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"a\n1\n"))
    document = room.json(
        "run", room.python("Lines", "{type: text, archive: auto}"), f"t.{archive}", "--workers", "0", exit_code=1
    )
    assert document["error"]["type"] == "BadArchive"
    assert problem in document["error"]["message"]
    assert document["error"]["object"].endswith(f"t.{archive}!{names[-1]}")


PACKED = {
    "a.csv.gz": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
    "b.csv.bz2": bz2.compress,
    "c.csv.xz": lzma.compress,
    "d.csv.zst": lambda data: zstd.compress(data[:1000]) + zstd.compress(data[1000:]),
    "e.csv.lz4": lz4.frame.compress,
    "f.csv": bytes,
}


@pytest.mark.parametrize("language", ["sql", "python"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_what_is_compressed_twice_is_unpacked_twice(room: Any, kind: str, language: str) -> None:
    Path("sums.py").write_text(PYTHON)
    bodies = {name: b"a,b\n" + b"".join(b'"%d\n",%d\n' % (n, at) for n in range(900)) for at, name in enumerate(PACKED)}
    files = {name: pack(bodies[name]) for name, pack in PACKED.items()} | {"empty.csv.gz": gzip.compress(b"")}
    path = zipped("t.zip", zipfile.ZIP_DEFLATED, files) if kind == "zip" else tarred("t.tar.gz", files, "w:gz")
    spec = "{type: csv, archive: auto}"
    pipeline = room.pipeline("s", *((SQL[0], spec, SQL[2]) if language == "sql" else ("{python: sums:Sums}", spec)))
    document = room.json("run", pipeline, path, "--workers", "0")
    assert (document["proof"]["complete"], document["records"]) == (True, 900 * len(PACKED))
    assert room.rows(document) == [{"o": f"{path}!{name}", "n": 900, "s": 900 * at} for at, name in enumerate(PACKED)]
    assert not [note for note in json.loads(Path(document["report"]).read_text())["warnings"] if "by its name" in note]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_what_is_damaged_inside_is_named(room: Any, kind: str) -> None:
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 200_000)
    files = {"a.csv.gz": packed[:-8] + b"wrong CRC"[:4] + packed[-4:]}
    path = zipped("t.zip", zipfile.ZIP_DEFLATED, files) if kind == "zip" else tarred("t.tar.gz", files, "w:gz")
    document = room.json(
        "run", room.python("Lines", "{type: text, archive: auto}"), path, "--workers", "0", exit_code=1
    )
    assert document["error"]["type"] == "BadCompression"
    assert document["error"]["object"] == f"{path}!a.csv.gz"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_stored_member_may_be_compressed_itself(room: Any, kind: str) -> None:
    files = {"a.csv.gz": gzip.compress(b"a,b\n1,2\n" * 500), "b.csv": b"a,b\n3,4\n"}
    path = tarred("t.tar", files) if kind == "tar" else zipped("t.zip", zipfile.ZIP_STORED, files)
    document = room.json("run", room.python("Lines", "{type: text, archive: auto}"), path, "--workers", "0")
    assert document["records"] == 1002
    assert document["objects"] == 2


# --- auto -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stored", "deflated", "tar"])
def test_auto_looks_into_archives_and_sniffs_what_is_in_them(room: Any, archives: dict[str, str], kind: str) -> None:
    form = "{type: auto, members: 'd/*'}"
    path = archives[kind]
    for pipeline in (room.pipeline("sql", SQL[0], form, SQL[2]), room.pipeline("sums", "{python: sums:Sums}", form)):
        document = room.json("run", pipeline, path, "--workers", "0", "--range-bytes", "100")
        assert room.rows(document) == expected(path)
        assert document["proof"]["level"] == "units"


def test_auto_says_when_a_name_lies(room: Any) -> None:
    pipeline = room.pipeline("values", "{python: pipeline_code:Values}", "{type: auto}")
    document = room.json("run", pipeline, room.file(b'{"n": 4}\n{"n": 5}\n', "d.csv"), "--workers", "0")
    assert room.rows(document) == [{"records": 2, "bytes": 9}]
    report = json.loads(Path(document["report"]).read_text())
    assert "is jsonl by its first bytes" in report["warnings"][0]
    assert report["settled"]["format"] == "jsonl"


def test_auto_refuses_a_job_of_two_formats_naming_both(room: Any) -> None:
    files = [room.file(b"a,b\n1,2\n", "one"), room.file(b'{"n": 4}\n{"n": 5}\n', "two")]
    document = room.json("run", room.python("Lines", "{type: auto}"), *files, "--workers", "0", exit_code=1)
    assert document["error"]["type"] == "BadRequest"
    assert "one is csv" in document["error"]["message"]
    assert "two is jsonl" in document["error"]["message"]


def test_auto_of_empty_objects(room: Any) -> None:
    document = room.json("run", room.python("Lines", "{type: auto}"), room.file(b""), "--workers", "0")
    assert room.rows(document) == [{"records": 0, "bytes": 0}]


# --- Parquet in archives --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{type: parquet, archive: auto}", "{type: auto}"])
@pytest.mark.parametrize("kind", ["stored", "deflated", "tar", "tar.gz"])
def test_parquet_members(room: Any, kind: str, form: str) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.sql("SELECT i AS a, 'x' || i AS b FROM range(5000) t(i)").write_parquet("in.parquet")
    files = {f"{n}.parquet": Path("in.parquet").read_bytes() for n in range(2)}
    path = {
        "stored": lambda: zipped("s.zip", zipfile.ZIP_STORED, files),
        "deflated": lambda: zipped("d.zip", zipfile.ZIP_DEFLATED, files),
        "tar": lambda: tarred("t.tar", files),
        "tar.gz": lambda: tarred("t.tar.gz", files, "w:gz"),
    }[kind]()
    sql = '{sql: "SELECT _object AS o, count(*) AS n, sum(a) AS s FROM records GROUP BY ALL"}'
    document = room.json("run", room.pipeline("sql", sql, form, SQL[2]), path, "--workers", "0")
    assert room.rows(document) == [{"o": f"{path}!{n}.parquet", "n": 5000, "s": 12_497_500} for n in range(2)]
    assert document["records"] == 10_000
    assert document["proof"]["level"] == ("stream" if kind == "tar.gz" else "units")


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("kind", ["stored", "tar"])
def test_an_archive_among_many_texts_is_not_read_as_one_of_them(
    room: Any, archives: dict[str, str], kind: str, workers: str
) -> None:
    files = [room.file(b"some text\n", f"in/{n}") for n in range(8)]
    files[2] = archives[kind]  # no sample is taken of it
    document = room.json("run", room.python("Lines"), *files, "--workers", workers, exit_code=1)
    assert document["error"]["type"] == "BadRecord"
    assert document["error"]["object"] == archives[kind]
    assert "by its first bytes" in document["error"]["message"]


def test_a_member_that_is_compressed_without_saying_so_is_no_text(room: Any) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("lines", gzip.compress(b"1\n2\n"))
    file = room.file(packed.getvalue(), "lines.zip")
    silent = room.pipeline("silent", "{python: pipeline_code:Lines}", "{type: text, archive: zip}")
    error = room.json("run", silent, file, "--workers", "0", exit_code=1)["error"]
    assert "is gzip by its first bytes, but not by its name; say `compression: gzip`" in error["message"]
    assert error["object"].endswith("lines.zip!lines")
    said = room.pipeline("said", "{python: pipeline_code:Lines}", "{type: text, archive: zip, compression: gzip}")
    assert room.rows(room.json("run", said, file, "--workers", "0")) == [{"records": 2, "bytes": 2}]
