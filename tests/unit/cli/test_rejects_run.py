"""Rejects through `rangemill run`: what a person gets, sees and is told."""

import json
from pathlib import Path
from typing import Any

import pytest

LINES = b"".join(b"line %d\n" % number for number in range(20))
QUARANTINE = "rejects: {on_error: quarantine}\n"
CSV = b"id,amount\n1,10\n2,ten\n3\n4,40\n\xff,50\n"
SUM = '{sql: "SELECT count(*) AS n, sum(amount) AS s FROM records"}'
SUMS = 'aggregate: {sql: "SELECT sum(n) AS n, sum(s) AS s FROM partials"}\n'

BY_ROW = """
class Sums:
    def start(self, context): return {"sum": 0}
    def apply(self, partial, record):
        partial["sum"] += 1000
        partial["sum"] += int(record.pop("t")) - 1000
        return partial
    def merge(self, left, right): return {"sum": left["sum"] + right["sum"]}
    def finish(self, total): yield total

class Batches(Sums):
    def apply_batch(self, partial, records):
        for record in records: partial = self.apply(partial, record)
        return partial
"""


def kept(out: Path) -> list[dict[str, Any]]:
    lines = (line for file in sorted((out / "rejects").iterdir()) for line in file.read_text().splitlines())
    return sorted(map(json.loads, lines), key=lambda reject: reject["offset"])


@pytest.mark.parametrize(("workers", "range_bytes"), [("0", "1"), ("0", "7"), ("2", "64")])
def test_a_record_that_raises_is_kept_and_the_others_are_right(room: Any, workers: str, range_bytes: str) -> None:
    pipeline = room.pipeline("raises", "{python: pipeline_code:Raises}", more=QUARANTINE)
    document = room.json(
        "run", pipeline, room.file(LINES), "--workers", workers, "--range-bytes", range_bytes, "--out", "out"
    )
    assert (document["records"], document["rejects"]) == (20, 1)
    assert document["proof"]["complete"]
    (reject,) = kept(Path("out"))
    assert (reject["object"], reject["offset"], reject["bytes"]) == ("input.txt", LINES.index(b"line 7"), "line 7\n")
    assert reject["message"].startswith("ValueError: seven (")
    report = json.loads(Path("out/report.json").read_text())
    assert [Path(file).parent for file in report["reject_files"]] == [Path("out/rejects").resolve()]
    assert Path(report["rejects_in"]) == Path("out/rejects").resolve()
    (group,) = report["reject_groups"]
    assert (group["count"], group["offset"]) == (1, LINES.index(b"line 7"))
    assert "seven" not in group["problem"]


def test_values_that_do_not_fit_are_kept_with_their_offsets(room: Any) -> None:
    form = "{type: csv, columns: {amount: BIGINT}}"
    pipeline = room.pipeline("sums", SUM, form, SUMS + QUARANTINE)
    document = room.json("run", pipeline, room.file(CSV, "in.csv"), "--workers", "0", "--out", "out")
    assert room.rows(document) == [{"n": 2, "s": 50}]
    assert [(reject["offset"], reject["encoding"]) for reject in kept(Path("out"))] == [
        (15, "utf-8"),
        (21, "utf-8"),
        (28, "base64"),
    ]


@pytest.mark.parametrize("apply", [SUM, "{python: pipeline_code:Columns}"])
def test_without_a_word_of_it_a_bad_record_fails_the_job(room: Any, apply: str) -> None:
    more = SUMS if "sql" in apply else ""
    pipeline = room.pipeline("sums", apply, "{type: csv, columns: {amount: BIGINT}}", more)
    document = room.json("run", pipeline, room.file(CSV, "in.csv"), "--workers", "0", exit_code=1)
    assert document["status"] == "FAILED"
    assert document["error"]["offset"] in (15, 21, 28)


def test_a_second_run_takes_the_first_ones_rejects_away(room: Any) -> None:
    pipeline = room.pipeline("raises", "{python: pipeline_code:Raises}", more=QUARANTINE)
    room.json("run", pipeline, room.file(LINES), "--workers", "0", "--out", "out")
    room.json("run", pipeline, room.file(b"line 1\n"), "--workers", "0", "--out", "out")
    assert list(Path("out/rejects").glob("*")) == []


def test_a_limit_fails_the_job_with_the_worst_errors(room: Any) -> None:
    limits = "rejects: {on_error: quarantine, max_count: 1}\n"
    pipeline = room.pipeline("raises", "{python: pipeline_code:Raises}", more=limits)
    document = room.json("run", pipeline, room.file(LINES * 2), "--workers", "0", exit_code=1)
    assert document["error"]["type"] == "TooManyRejects"
    assert "2 of UserCodeError (ValueError at " in document["error"]["message"]
    assert document["error"]["object"] == "input.txt"


def test_people_see_how_many_were_rejected_and_where_they_are(room: Any) -> None:
    pipeline = room.pipeline("raises", "{python: pipeline_code:Raises}", more=QUARANTINE)
    result = room.call("run", pipeline, room.file(LINES), "--workers", "0", "--out", "out")
    assert f"Rejects    1 record, kept in {Path('out/rejects').resolve()}" in result.stdout
    assert "every record rejected or handed over exactly once" in result.stdout
    pipeline = room.pipeline("raises", "{python: pipeline_code:Raises}", more="rejects: {on_error: skip}\n")
    result = room.call("run", pipeline, room.file(LINES), "--workers", "0", "--out", "other")
    assert "Rejects    1 record\n" in result.stdout
    assert not Path("other/rejects").exists()


@pytest.mark.parametrize("packed", ["gzip", "bz2", "zip"])
def test_rejects_inside_compression_and_archives_are_named_by_their_place_in_the_file(room: Any, packed: str) -> None:
    import bz2
    import gzip
    import io
    import zipfile

    more, form, name = QUARANTINE, "{type: text}", "input.txt"
    body = gzip.compress(LINES) if packed == "gzip" else bz2.compress(LINES)
    if packed == "zip":
        with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("in.txt", LINES)
        body, form, name = buffer.getvalue(), "{type: text, archive: zip}", "input.txt!in.txt"
    pipeline = room.pipeline("raises", "{python: pipeline_code:Raises}", form, more)
    room.json("run", pipeline, room.file(body), "--workers", "0", "--out", "out")
    assert [(reject["object"], reject["offset"]) for reject in kept(Path("out"))] == [(name, LINES.index(b"line 7"))]


@pytest.mark.parametrize("form", ["parquet", "avro"])
def test_an_expression_that_fails_on_a_row_rejects_it_by_its_place(room: Any, form: str) -> None:
    import io

    import duckdb
    import fastavro

    rows = [{"n": number, "t": "x" if number == 3 else str(number)} for number in range(6)]
    if form == "parquet":
        values = ", ".join(f"({row['n']}, '{row['t']}')" for row in rows)
        duckdb.connect().execute(f"COPY (SELECT * FROM (VALUES {values}) v(n, t)) TO 'in.bin' (FORMAT parquet)")
    else:
        schema = {
            "type": "record",
            "name": "r",
            "fields": [{"name": "n", "type": "int"}, {"name": "t", "type": "string"}],
        }
        fastavro.writer(buffer := io.BytesIO(), fastavro.parse_schema(schema), rows)
        room.file(buffer.getvalue(), "in.bin")
    sql = '{sql: "SELECT sum(CAST(t AS INTEGER)) AS s FROM records"}'
    pipeline = room.pipeline(
        "sums", sql, f"{{type: {form}}}", 'aggregate: {sql: "SELECT sum(s) AS s FROM partials"}\n' + QUARANTINE
    )
    document = room.json("run", pipeline, "in.bin", "--workers", "0", "--out", "out")
    assert room.rows(document) == [{"s": 12}]
    (reject,) = kept(Path("out"))
    assert (reject["type"], reject["length"]) == ("BadStatement", None)
    if form == "parquet":
        assert reject["offset"] == 3
    room.folder.joinpath("by_row.py").write_text(BY_ROW)
    for name in ("Sums", "Batches"):
        pipeline = room.pipeline("rows", f"{{python: by_row:{name}}}", f"{{type: {form}}}", QUARANTINE)
        document = room.json("run", pipeline, "in.bin", "--workers", "0", "--out", f"out-{name}")
        assert room.rows(document) == [{"sum": 12}]
        assert [each["message"].partition(" (")[0] for each in kept(Path(f"out-{name}"))] == [
            "ValueError: invalid literal for int() with base 10: 'x'"
        ]
