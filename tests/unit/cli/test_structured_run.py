"""JSON, Parquet and Avro through `rangemill run`: the same however they are cut, in Python and in SQL."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pytest
from backports import zstd

ROWS = [
    {"id": n, "name": f"n {n % 7}", "amount": Decimal(n) / 4, "inner": {"id": -1, "t": ']},{["'}} for n in range(60)
]
CODE = """
class Sums:
    def start(self, context): return [0, 0]
    def apply(self, partial, record): return [partial[0] + 1, partial[1] + record["id"]]
    def merge(self, left, right): return [left[0] + right[0], left[1] + right[1]]
    def finish(self, total): yield {"n": total[0], "ids": total[1]}
"""
SQL = '{sql: "SELECT name, count(*) AS n, sum(id) AS ids, sum(amount) AS amount FROM records GROUP BY name"}'
FOLD = (
    'aggregate: {sql: "SELECT name, sum(n) AS n, sum(ids) AS ids, sum(amount) AS amount FROM partials GROUP BY name"}\n'
    'finish: {sql: "SELECT sum(n)::BIGINT AS n, sum(ids)::BIGINT AS ids, sum(amount)::DOUBLE AS amount FROM result"}\n'
)
AVRO = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {
            "name": "inner",
            "type": {
                "type": "record",
                "name": "I",
                "fields": [{"name": "id", "type": "int"}, {"name": "t", "type": "string"}],
            },
        },
    ],
}


def as_json(rows: list[dict[str, Any]], indent: int | None = None) -> bytes:
    return json.dumps(rows, indent=indent, default=float).encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE r(id BIGINT, name VARCHAR, amount DECIMAL(12, 2), inside STRUCT(id INTEGER))")
        connection.executemany("INSERT INTO r VALUES (?, ?, ?, {'id': -1})", [[*r.values()][:3] for r in rows])
        connection.execute("COPY r TO 'made.parquet' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return Path("made.parquet").read_bytes()


def as_avro(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, AVRO, rows, sync_interval=200)
    return out.getvalue()


CASES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], bytes], str]] = {
    "array": ("{type: json}", as_json, "bytes"),
    "indented": ("{type: json}", lambda rows: as_json(rows, 2), "bytes"),
    "path": (
        "{type: json, path: a.Records}",
        lambda rows: b'{"v": [1], "a": {"Records": ' + as_json(rows) + b'}, "z": {"Records": []}}\n',
        "bytes",
    ),
    "values": ("{type: json}", lambda rows: b"".join(as_json([row])[1:-1] for row in rows), "bytes"),
    "auto": ("{type: auto}", as_json, "bytes"),
    "parquet": ("{type: parquet}", as_parquet, "units"),
    "avro": ("{type: avro}", as_avro, "units"),
    "avro by itself": ("{type: auto}", as_avro, "units"),
}


@pytest.mark.parametrize("range_bytes", ["1", "37", "1000", "1000000"])
@pytest.mark.parametrize("case", CASES)
def test_the_same_however_it_is_cut(room: Any, case: str, range_bytes: str) -> None:
    format_, make, level = CASES[case]
    (room.folder / "sums_code.py").write_text(CODE)
    file = room.file(make(ROWS), "input.bin")
    python = room.pipeline("inpython", "{python: sums_code:Sums}", format_)
    sql = room.pipeline("insql", SQL, format_, FOLD)
    expected = {"n": 60, "ids": 1770}
    for document, more in ((python, {}), (sql, {"amount": 442.5})):
        result = room.json("run", document, file, "--workers", "0", "--range-bytes", range_bytes)
        assert room.rows(result) == [expected | more]
        assert result["records"] == 60
        assert result["proof"] | {"checksum": "any"} == {
            "complete": True,
            "level": level,
            "checksum": "any",
            "matched": True if level == "bytes" else None,
        }


def test_ranges_that_guess_wrong_are_worked_on_again(room: Any) -> None:
    """Elements far longer than what a range looks at, made of what looks like elements."""
    (room.folder / "sums_code.py").write_text(CODE)
    decoys = [{"id": n, "list": [[], {"id": 0}]} for n in range(10_000)]
    rows = [{"id": n, "decoys": decoys} for n in range(4)]
    file = room.file(json.dumps(rows).encode(), "input.json")
    document = room.pipeline("inpython", "{python: sums_code:Sums}", "{type: json}")
    result = room.json("run", document, file, "--workers", "2", "--range-bytes", "50001")
    assert room.rows(result) == [{"n": 4, "ids": 6}]
    assert result["waves"] > 1
    assert result["proof"]["matched"] is True


@pytest.mark.parametrize("case", [case for case in CASES if case != "auto"])  # what is no JSON is text to that
def test_a_file_that_was_cut_off_fails_by_name(room: Any, case: str) -> None:
    format_, make, _ = CASES[case]
    (room.folder / "sums_code.py").write_text(CODE)
    file = room.file(make(ROWS)[:-40], "input.bin")
    document = room.pipeline("inpython", "{python: sums_code:Sums}", format_)
    for range_bytes in ("50", "1000000"):
        result = room.json("run", document, file, "--workers", "0", "--range-bytes", range_bytes, exit_code=1)
        assert result["error"]["type"] in ("BadRecord", "IntegrityError")
        assert result["error"]["object"].endswith("input.bin")
        assert result["error"]["offset"] is not None


@pytest.mark.parametrize("type_name", ["parquet", "avro"])
def test_an_empty_object_is_no_file_of_these(room: Any, type_name: str) -> None:
    (room.folder / "sums_code.py").write_text(CODE)
    document = room.pipeline("inpython", "{python: sums_code:Sums}", f"{{type: {type_name}}}")
    result = room.json("run", document, room.file(b"", "empty.bin"), "--workers", "0", exit_code=1)
    assert result["error"]["type"] == "BadRecord"
    assert "empty.bin: it has no bytes" in result["error"]["message"]


def test_an_empty_json_object_has_no_records(room: Any) -> None:
    (room.folder / "sums_code.py").write_text(CODE)
    document = room.pipeline("inpython", "{python: sums_code:Sums}", "{type: json}")
    result = room.json("run", document, room.file(b"", "empty.json"), "--workers", "0")
    assert room.rows(result) == [{"n": 0, "ids": 0}]


def in_parts(pack: Callable[[bytes], bytes], size: int) -> Callable[[bytes], bytes]:
    """Parts that are packed by themselves, and an empty one at the end."""
    return lambda data: b"".join(pack(data[at : at + size]) for at in range(0, len(data), size)) + pack(b"")


PACKED = {
    "gzip": gzip.compress,
    "gzip members": in_parts(gzip.compress, 7),
    "bzip2": bz2.compress,
    "xz streams, characters cut": in_parts(lzma.compress, 1),
    "zstd frames": in_parts(zstd.compress, 50),
}
ELEMENTS = [{"id": n, "s": "]}"} for n in range(3)]


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("range_bytes", ["1", "13", "1000000"])
@pytest.mark.parametrize(
    ("layout", "before", "after"),
    [
        ("{type: json}", "", " \n\n"),
        ("{type: json, path: Records}", '{"Records": ', "}"),
        ("{type: json, path: Records}", '{"x": [1], "Records": ', ', "z": {"q": ["]"]}}\n'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_follows_the_array_inside_compressed_data_is_no_gap(
    room: Any, packed: str, range_bytes: str, layout: str, before: str, after: str, encoding: str
) -> None:
    body = PACKED[packed]((before + json.dumps(ELEMENTS) + after).encode(encoding))
    (room.folder / "sums_code.py").write_text(CODE)
    document = room.pipeline("inpython", "{python: sums_code:Sums}", layout)
    result = room.json("run", document, room.file(body, "a.json"), "--range-bytes", range_bytes, "--workers", "0")
    assert room.rows(result) == [{"n": 3, "ids": 3}]
    assert result["proof"]["complete"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_damage_to_an_avro_file_inside_compressed_data_names_the_object(
    room: Any, pack: Callable[[bytes], bytes]
) -> None:
    (room.folder / "sums_code.py").write_text(CODE)
    document = room.pipeline("inpython", "{python: sums_code:Sums}", "{type: avro}")
    file = room.file(pack(as_avro(ROWS)[:-3]), "input.packed")
    error = room.json("run", document, file, "--workers", "0", exit_code=1)["error"]
    assert error["type"] == "IntegrityError"
    assert error["object"].endswith("input.packed")
    assert error["object"] in error["message"]
    assert " it: " not in error["message"]
