"""Pipeline documents: what is accepted, and how a mistake is shown."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangemill.errors import BadPipeline
from rangemill.pipeline import match_all, parse_pipeline
from rangemill.units import parse_bytes, parse_seconds, show_bytes

NAME = "name: any\n"
FORMAT = "format: {type: text}\n"
APPLY = "apply: {python: module:Class}\n"
BASE = NAME + FORMAT + APPLY
SQL = NAME + FORMAT + "apply: {sql: SELECT 1}\n"


def test_a_whole_document() -> None:
    pipeline = parse_pipeline(
        """
name: top-talkers
match:     {bucket: logs, prefix: access-logs/, suffix: .log}
trigger:   {batch: {max_objects: 10, max_bytes: 1 GiB, max_wait: 2m}}
format:
  type: csv
  null: [NA, ""]
  columns: {yes: BIGINT, 2026: DATE}
  as: dict
apply:     {sql: SELECT 1 FROM records}
aggregate: {sql: SELECT 1 FROM partials}
finish:    {sql: SELECT 1 FROM result}
output:    {format: parquet, to: s3://results/top/}
rejects:   {on_error: fail}
limits:    {range_bytes: 64 MiB, concurrency: 3, cost_usd: 0.5, max_partial_bytes: 1024}
parameters: {top: 20, since: 2026-01-02}
""",
        "any.yaml",
    )
    assert pipeline.trigger.batch is not None
    assert (pipeline.trigger.batch.bound_bytes, pipeline.trigger.batch.wait_seconds) == (2**30, 120)
    assert (pipeline.limits.range_bytes, pipeline.limits.max_partial_bytes) == (2**26, 1024)
    assert pipeline.format.options["columns"] == {"yes": "BIGINT", "2026": "DATE"}
    assert pipeline.format.options["null"] == ["NA", ""]
    assert pipeline.is_sql
    assert pipeline.is_folded
    assert pipeline.parameters["top"] == 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.yaml:1: expected a mapping"),
        ("- a\n", "f.yaml:1: expected a mapping"),
        ("name: [\n", "f.yaml:2: this is not YAML"),
        ("name: \x00\n", "f.yaml: this is not YAML: .*control characters"),
        (FORMAT, "f.yaml: name: is required and missing"),
        (NAME + FORMAT, "f.yaml: apply: is required and missing"),
        (BASE + "name: other\n", "f.yaml:4: name: this key stands here twice"),
        (BASE + "match: {prefix: a, prefix: b}\n", r"f.yaml:4: match\.prefix: this key stands here twice"),
        (BASE + "lmits: {}\n", "f.yaml:4: lmits: there is no such field; did you mean `limits`"),
        (BASE + "limits:\n  concurency: 3\n", r"f.yaml:5: limits\.concurency: .*did you mean `concurrency`"),
        (BASE + "limits: {range_bytes: -5}\n", "f.yaml:4: limits: expected a size of at least 1 byte"),
        (BASE + "limits: {range_bytes: true}\n", r"f.yaml:4: limits\.range_bytes: expected"),
        (BASE + "trigger: {}\n", "f.yaml:4: trigger: expected either `each: true` or `batch"),
        (BASE + "trigger: {each: true, batch: {}}\n", "f.yaml:4: trigger: expected either"),
        (BASE + "trigger: {batch: {max_wait: 5x}}\n", r"f.yaml:4: trigger\.batch: expected a duration such as 30s"),
        (BASE + "output: {format: xml}\n", r"f.yaml:4: output\.format: .*'xml'; expected one of jsonl, csv, parquet"),
        (BASE + "output: {to: logs}\n", "f.yaml:4: output: expected `to: s3://bucket/prefix/`"),
        (BASE + "2: 3\n", "f.yaml:4: 2: there is no such field"),
        (BASE + "x: !!python/object:os.system x\n", "f.yaml:4: this is not YAML"),
        (BASE + "finish: {sql: SELECT 1}\n", r"f.yaml:4: finish\.sql: a Python pipeline"),
        (SQL + "finish: {sql: SELECT 1}\n", r"f.yaml:4: finish\.sql: .*`aggregate.sql` is needed"),
        ('name: "any\\n"\n' + FORMAT + APPLY, "f.yaml:1: name:"),
        ("name: Any_x\n" + FORMAT + APPLY, "f.yaml:1: name:"),
        (NAME + "format: text\n" + APPLY, "f.yaml:2: format: expected `object`"),
        (NAME + "format: {}\n" + APPLY, r"f.yaml:2: format\.type: expected one of .*csv, .*text"),
        (NAME + "format: {type: tex}\n" + APPLY, r"f.yaml:2: format\.type: unknown format 'tex'"),
        (NAME + "format: {type: csv, delimeter: ;}\n" + APPLY, r"format\.delimeter: .*did you mean `delimiter`"),
        (NAME + "format: {type: csv, delimiter: ''}\n" + APPLY, "f.yaml:2: format: expected a delimiter of 1 to 32"),
        (NAME + "format: {type: csv, quote: ','}\n" + APPLY, "f.yaml:2: format: delimiter and quote must differ"),
        (NAME + "format: {type: csv, as: tuple}\n" + APPLY, r"format\.as: .*expected one of list, dict, bytes"),
        (NAME + "format: {type: text, max_record_bytes: lots}\n" + APPLY, "f.yaml:2: format: expected a size"),
        (NAME + FORMAT + "apply: {python: module.Class}\n", "f.yaml:3: apply: expected `python: module:Class`"),
        (NAME + FORMAT + "apply: {}\n", "f.yaml:3: apply: expected either"),
    ],
)
def test_a_mistake_is_shown_with_file_line_field_and_what_would_be_right(text: str, expected: str) -> None:
    with pytest.raises(BadPipeline, match=expected):
        parse_pipeline(text, "f.yaml")


@pytest.mark.parametrize(
    ("match", "to", "refused"),
    [
        ("{prefix: in/}", "s3://any/in/out/", True),
        ("{prefix: in/deep/}", "s3://any/in/", True),
        ("{prefix: ''}", "s3://any/out/", True),
        ("{prefix: '', suffix: .jsonl}", "s3://any/out/", True),
        ("{prefix: '', suffix: .log}", "s3://any/out/", False),
        ("{prefix: in/}", "s3://any/out/", False),
        ("{bucket: other, prefix: in/}", "s3://any/in/", False),
        ("{bucket: any, prefix: in/}", "s3://any/in/", True),
    ],
)
def test_an_output_that_would_start_its_own_pipeline_is_refused(match: str, to: str, refused: bool) -> None:
    text = f"{BASE}match: {match}\noutput: {{to: '{to}'}}\n"
    if not refused:
        parse_pipeline(text, "f.yaml")
        return
    with pytest.raises(BadPipeline, match=r"output\.to: the output would match"):
        parse_pipeline(text, "f.yaml")


def test_an_object_starts_the_pipelines_that_match_it_by_name() -> None:
    documents = {"b": "{prefix: in/}", "a": "{suffix: .log}", "c": "{bucket: other}", "d": "null"}
    pipelines = [parse_pipeline(f"name: {n}\n{FORMAT}{APPLY}match: {m}\n", "f") for n, m in documents.items()]
    assert [p.name for p in match_all(pipelines, "any", "in/x.log")] == ["a", "b"]


@pytest.mark.parametrize(
    ("written", "count"),
    [(1, 1), ("1", 1), ("64 MiB", 2**26), ("10GB", 10**10), ("1.5 KiB", 1536), (" 2 k ", 2000), ("3TiB", 3 * 2**40)],
)
def test_sizes_as_people_write_them(written: int | str, count: int) -> None:
    assert parse_bytes(written) == count


@pytest.mark.parametrize("written", ["", "x", "-1", "0", 0, "1 mb2", "1 XiB", True, "1e3"])
def test_other_sizes_are_refused_with_what_would_be_right(written: int | str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_bytes(written)


@pytest.mark.parametrize(("written", "seconds"), [(300, 300), ("30s", 30), ("5m", 300), ("2 h", 7200), ("1d", 86400)])
def test_durations_as_people_write_them(written: int | str, seconds: int) -> None:
    assert parse_seconds(written) == seconds


@pytest.mark.parametrize("written", ["", "5", "5x", "0s", 0, "-1m", True])
def test_other_durations_are_refused(written: int | str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_seconds(written)


@given(st.integers(1, 2**50))
def test_a_size_that_is_shown_can_be_read(count: int) -> None:
    shown = parse_bytes(show_bytes(count))
    assert abs(shown - count) <= max(1, count // 100)


def test_parsing_a_pipeline_imports_no_engine() -> None:
    code = "import sys, rangemill.pipeline, rangemill.formats as f; [f.load(n) for n in f.names()]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"duckdb", "msgpack", "fsspec", "boto3", "botocore", "numpy"} & set(loaded)
