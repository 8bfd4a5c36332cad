"""Well-known logs and patterns through `rangemill run`, in Python and in SQL, however they are cut."""

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

CODE = """
class Sums:
    def start(self, context): return {}
    def apply(self, partial, record):
        n, size = partial.get(record[KEY], (0, 0))
        return {**partial, record[KEY]: (n + 1, size + int(record[SIZE] or 0))}
    def merge(self, left, right):
        return left | {k: (v[0] + left.get(k, (0, 0))[0], v[1] + left.get(k, (0, 0))[1]) for k, v in right.items()}
    def finish(self, total):
        for key, (n, size) in sorted(total.items()): yield {"k": key, "n": n, "size": size}
"""
ALB = (
    "http 2018-07-02T22:23:00.186641Z app/lb/50dc 192.168.131.39:{n} 10.0.0.1:80 0.000 0.001 0.000 200 200 34 {n} "
    '"{verb} http://www.example.com:80/?a="b" c HTTP/1.1" "curl/7.46.0" - - arn:aws:x "Root=1-58" "-" "-" 0 '
    '2018-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1\n'
)
S3 = (
    '79a5 bucket [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a5 3E57 REST.{verb}.OBJECT key "{verb} /b/my"key HTTP/1.1" '
    '200 - {n} - 7 - "-" "S3Console/0.4" - s9lz= SigV4 ECDHE AuthHeader b.s3.amazonaws.com TLSV1.2 - -\n'
)
VERBS = [("GET", "PUT", "DELETE")[n % 3] for n in range(60)]
EXPECTED = [
    {"k": verb, "n": 20, "size": sum(n for n in range(60) if VERBS[n] == verb)} for verb in ("DELETE", "GET", "PUT")
]


def lines(pattern: str) -> bytes:
    return "".join(pattern.format(n=n, verb=verb) for n, verb in enumerate(VERBS)).encode()


def fields(names: str, separator: str, pattern: str, rows: range) -> bytes:
    head = f"#Version: 1.0\n#Fields: {names}\n"
    return (head + "".join(pattern.format(n=n, verb=VERBS[n]).replace("|", separator) for n in rows)).encode()


CLOUDFRONT = "date time sc-bytes cs-method cs-uri-stem"
LOGS: dict[str, tuple[str, str, str, dict[str, bytes]]] = {
    "alb": ("preset: alb", "request_verb", "sent_bytes", {"a.log": lines(ALB)}),
    "s3": ("preset: s3", "operation", "bytes_sent", {"a.log": lines(S3)}),
    "cloudfront": (
        "preset: cloudfront",
        "cs-method",
        "sc-bytes",
        {  # other fields, in another order, one more, one less; the header once more in the middle of an object
            "a.log": fields(CLOUDFRONT, "\t", "2026-01-02|03:04:05|{n}|{verb}|/#x\n", range(15))
            + fields(CLOUDFRONT, "\t", "2026-01-02|03:04:05|{n}|{verb}|/#x\n", range(15, 20)),
            "b.log": fields("cs-method c-ip sc-bytes date time", "\t", "{verb}|::1|{n}|2026-01-02|-\n", range(20, 40)),
            "c.log.gz": gzip.compress(
                fields("sc-bytes cs-uri-stem cs-method", "\t", "{n}|/|{verb}\n", range(40, 60)), mtime=0
            ),
        },
    ),
    "w3c": (
        "preset: w3c",
        "cs-method",
        "sc-bytes",
        {
            "a.log": fields("date cs-method sc-bytes", " ", "2026-01-02|{verb}|{n}\n", range(30)),
            "b.log": fields("sc-bytes cs-method", " ", "{n}|{verb}\n", range(30, 60)),
        },
    ),
    "pattern": (
        r"pattern: '(?P<verb>[A-Z]+) (?P<path>\S+) (?P<size>\d+)', columns: {size: BIGINT}",
        "verb",
        "size",
        {"a.log": lines("{verb} /é/{n} {n} rest\n")},
    ),
}


def written(files: dict[str, bytes]) -> list[str]:
    Path("in").mkdir()
    for name, body in files.items():
        (Path("in") / name).write_bytes(body)
    return [f"in/{name}" for name in files]


@pytest.mark.parametrize("range_bytes", ["7", "100000"])
@pytest.mark.parametrize("language", ["python", "sql"])
@pytest.mark.parametrize("log", LOGS)
def test_a_log_is_rows_in_both_engines(room: Any, log: str, language: str, range_bytes: str) -> None:
    options, key, size, files = LOGS[log]
    paths, spec = written(files), f"{{type: text, {options}}}"
    Path("sums.py").write_text(f"KEY, SIZE = {key!r}, {size!r}\n{CODE}")
    if language == "python":
        pipeline = room.pipeline("log", "{python: sums:Sums}", spec)
    else:
        statement = f'SELECT \\"{key}\\" AS k, count(*) AS n, sum(\\"{size}\\") AS size FROM records GROUP BY ALL'
        fold = "SELECT k, sum(n)::BIGINT AS n, sum(size)::BIGINT AS size FROM"
        more = f'aggregate: {{sql: "{fold} partials GROUP BY ALL"}}\n'
        more += f'finish: {{sql: "{fold} result GROUP BY ALL ORDER BY k"}}\n'
        pipeline = room.pipeline("log", f'{{sql: "{statement}"}}', spec, more)
    document = room.json("run", pipeline, *paths, "--workers", "0", "--range-bytes", range_bytes)
    assert document["proof"]["complete"] is True
    assert document["records"] == 60
    found = [{**row, "k": row["k"].removeprefix("REST.").removesuffix(".OBJECT")} for row in room.rows(document)]
    assert found == EXPECTED


@pytest.mark.parametrize("language", ["python", "sql"])
def test_what_an_object_does_not_log_is_no_value_at_its_place(room: Any, language: str) -> None:
    _, _, _, files = LOGS["cloudfront"]
    paths = written(files)
    Path("rows.py").write_text(
        "class Rows:\n"
        "    def start(self, context): return []\n"
        "    def apply(self, partial, record):\n"
        "        return [*partial, [int(record['sc-bytes']), record['date'], record['time'], list(record)]]\n"
        "    def merge(self, left, right): return left + right\n"
        "    def finish(self, total):\n"
        "        for n, date, time, names in sorted(total):\n"
        f"            assert names == {CLOUDFRONT.split()!r}\n"
        "            yield {'n': n, 'date': date, 'time': time}\n"
    )
    sql = 'SELECT \\"sc-bytes\\" AS n, date::VARCHAR AS date, time::VARCHAR AS time FROM records'
    apply = "{python: rows:Rows}" if language == "python" else f'{{sql: "{sql}"}}'
    document = room.json(
        "run", room.pipeline("rows", apply, "{type: text, preset: cloudfront}"), *paths, "--workers", "0"
    )
    found = sorted((row["n"], row["date"], row["time"]) for row in room.rows(document))
    day = "2026-01-02"
    expected = [(n, day if n < 40 else None, "03:04:05" if n < 20 else None) for n in range(60)]
    assert found == expected


@pytest.mark.parametrize("range_bytes", ["9", "100000"])
def test_bad_lines_and_fields_that_change_within_an_object_are_named(room: Any, range_bytes: str) -> None:
    good = fields("a b", " ", "{n}|{verb}\n", range(5))
    other = fields("b a", " ", "{verb}|{n}\n", range(5))
    run = ("run", room.pipeline("p", "{sql: SELECT a FROM records}", "{type: text, preset: w3c}"))
    more = ("--workers", "0", "--range-bytes", range_bytes)
    paths = written({"a.log": good, "b.log": other + b"too few many\n", "c.log": good + b"#Fields: a c\n1 2\n"})
    document = room.json(*run, paths[0], paths[1], *more, exit_code=1)
    assert "does not have the 2 fields" in document["error"]["message"]
    assert (document["error"]["object"][-5:], document["error"]["offset"]) == ("b.log", len(other))
    document = room.json(*run, paths[0], paths[2], *more, exit_code=1)
    assert "names 'a c', but the one before it 'a b'" in document["error"]["message"]
    assert (document["error"]["object"][-5:], document["error"]["offset"]) == ("c.log", len(good))


def test_members_of_a_compressed_tar_have_their_own_fields(room: Any, tmp_path: Path) -> None:
    _, key, size, files = LOGS["w3c"]
    Path("sums.py").write_text(f"KEY, SIZE = {key!r}, {size!r}\n{CODE}")
    with tarfile.open("t.tar.gz", "w:gz") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    pipeline = room.pipeline("log", "{python: sums:Sums}", "{type: text, preset: w3c, archive: auto}")
    document = room.json("run", pipeline, "t.tar.gz", "--workers", "0")
    assert json.loads(json.dumps(room.rows(document))) == EXPECTED
