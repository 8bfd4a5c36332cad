"""Every pipeline of docs/formats.md runs, on a tiny file of its kind, with the result that it should have."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from backports import zstd

DOCS = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
PIPELINES = {yaml.safe_load(text)["name"]: text for text in re.findall(r"^```yaml\n(.*?)^```", DOCS, re.DOTALL | re.M)}
MODULES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", DOCS, re.DOTALL | re.M))

SALES = b'shop;amount\nx;1.50\ny;2\n"x\ny";3.25\nx;0.5\n'
LOG = b"ok\nERROR one\nok\nERROR two\n"


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def parquet(statement: str) -> bytes:
    import duckdb

    with duckdb.connect() as connection:
        connection.sql(statement).write_parquet("made.parquet")
    return Path("made.parquet").read_bytes()


def avro() -> bytes:
    """An Avro file of three records, written by hand: the specification's own layout."""
    schema = b'{"type":"record","name":"e","fields":[{"name":"kind","type":"string"}]}'
    sync = bytes(range(16))
    body = b"".join(bytes([2 * len(kind)]) + kind for kind in (b"a", b"b", b"a"))

    def long(value: int) -> bytes:
        value, out = value << 1, bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    metadata = long(1) + long(11) + b"avro.schema" + long(len(schema)) + schema + b"\0"
    return b"Obj\x01" + metadata + sync + long(3) + long(len(body)) + body + sync


FILES = {"q1.csv": b"a,b\n1,2\n3,4\n", "old/q2.csv": b"a,b\n5,6\n", "README": b"not meant"}
# pipeline -> (its input files, records, its rows with the folder of the inputs as `{}`)
CASES: dict[str, tuple[Callable[[], dict[str, bytes]], int, list[dict[str, Any]]]] = {
    "whatever-it-is": (lambda: {"x": b'{"a": 1}\n{"a": 2}\n'}, 2, [{"records": 2}]),
    "amounts": (
        lambda: {
            "x.jsonl": b'{"amount":1.10,"note":"a"}\n{"amount":2.20}\n{"amount":"x"}\n{"amount":3,"note":"\\ud800"}\n'
        },
        4,
        [{"n": 2, "total": 3.3}],
    ),
    "binary-lines": (lambda: {"x.txt": b"a\n\xff\xfe\nccc\n"}, 3, [{"lines": 3, "readable": 2, "longest": 3}]),
    "longest-line": (lambda: {"x.txt": b"a\nccc\r\n\nbb"}, 4, [{"longest": 3, "lines": 4}]),
    "stack-traces": (
        lambda: {"x.log": b"2026-11-20 fine\n2026-11-20 bad\nTraceback\n  2026-11-19 x\n2026-11-20 fine\n"},
        3,
        [{"events": 3, "failures": 1}],
    ),
    "slow-requests": (
        lambda: {"x.log": b"/a 200 5\n/b 200 7\n/a 500 99\n/a 200 6\n"},
        4,
        [{"path": "/a", "slowest": 6}, {"path": "/b", "slowest": 7}],
    ),
    "revenue": (lambda: {"x.jsonl": b'{"price": 1.10}\n\n{"price": 2.20}\n'}, 2, [{"revenue": 3.3}]),
    "sales": (
        lambda: {"x.csv": SALES},
        4,
        [{"shop": "x", "total": 2.0}, {"shop": "x\ny", "total": 3.25}, {"shop": "y", "total": 2.0}],
    ),
    "cloudtrail": (
        lambda: {"x.json": json.dumps({"Records": [{"eventName": name} for name in "aba"]}).encode()},
        3,
        [{"event": "a", "n": 2}, {"event": "b", "n": 1}],
    ),
    "trips": (lambda: {"x.parquet": parquet("SELECT i AS km FROM range(5) t(i)")}, 5, [{"trips": 5, "km": 10}]),
    "events": (lambda: {"x.avro": avro()}, 3, [{"kind": "a", "n": 2}, {"kind": "b", "n": 1}]),
    "errors": (
        lambda: {
            "app.log": LOG,
            "app.log.gz": gzip.compress(LOG),
            "app.log.bz2": bz2.compress(LOG),
            "app.log.xz": lzma.compress(LOG),
        },
        16,
        [{"errors": 8}],
    ),
    "requests-by-status": (lambda: {"app.log.gz": gzip.compress(LOG)}, 4, [{"requests": 4}]),
    "monthly-reports": (
        lambda: {"a.zip": zipped(FILES), "b.tar.gz": tarred(FILES), "c.csv": b"a,b\n7,8\n"},
        7,
        [
            {"file": "{}/a.zip!old/q2.csv", "n": 1},
            {"file": "{}/a.zip!q1.csv", "n": 2},
            {"file": "{}/b.tar.gz!old/q2.csv", "n": 1},
            {"file": "{}/b.tar.gz!q1.csv", "n": 2},
            {"file": "{}/c.csv", "n": 1},
        ],
    ),
    "digests": (
        lambda: {"a.png": b"\x89PNG\0", "b.gz": gzip.compress(b"x", mtime=0), "empty": b""},
        3,
        [
            {"uri": "{}/a.png", "size": 5, "sha256": hashlib.sha256(b"\x89PNG\0").hexdigest()},
            {
                "uri": "{}/b.gz",
                "size": len(gzip.compress(b"x", mtime=0)),
                "sha256": hashlib.sha256(gzip.compress(b"x", mtime=0)).hexdigest(),
            },
            {"uri": "{}/empty", "size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
        ],
    ),
}


def readings(*hundredths: int) -> bytes:
    return b"".join(struct.pack(">Qi", sensor % 2, value) for sensor, value in enumerate(hundredths))


READINGS = [{"sensor": 0, "hottest": 21.5}, {"sensor": 1, "hottest": -0.25}]
CASES["hottest"] = (
    lambda: {
        "a.bin": readings(2150, -300, 1),
        "b.bin.gz": gzip.compress(readings(5, -25)),
        "c.bin.zst": zstd.compress(readings(1)[:5]) + zstd.compress(readings(1, -99)[5:]),  # cut within a reading
        "d.zip": zipped({"x.bin": readings(7, -26)}),
        "e.bin": b"",
    },
    9,
    READINGS,
)


def test_every_example_has_a_case() -> None:
    assert PIPELINES.keys() == CASES.keys()


@pytest.mark.parametrize("range_bytes", ["7", "67108864"])
@pytest.mark.parametrize("name", PIPELINES)
def test_an_example_runs(room: Any, name: str, range_bytes: str) -> None:
    make, records, rows = CASES[name]
    for module, code in MODULES.items():
        Path(module).write_text(code)
    Path("p.yaml").write_text(PIPELINES[name])
    folder = Path("in").resolve()
    inputs = [str(folder / key) for key in make()]
    for key, body in make().items():
        room.file(body, f"in/{key}")
    document = room.json("run", "p.yaml", *inputs, "--workers", "0", "--range-bytes", range_bytes)
    expected = json.loads(json.dumps(rows).replace("{}", str(folder)))
    assert room.rows(document) == expected
    assert document["records"] == records
    assert document["proof"]["complete"] is True
