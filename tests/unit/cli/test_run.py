"""`rangemill run`: the whole core on this machine."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LINES = b"".join(b"line %d\n" % number for number in range(20))
SQL = '{sql: "SELECT count(*) AS records, sum(length(line)) AS bytes FROM records"}'
FOLD = 'aggregate: {sql: "SELECT sum(records) AS records, sum(bytes) AS bytes FROM partials"}\n'


def expected(body: bytes) -> dict[str, int]:
    records = [line.removesuffix(b"\r") for line in body.split(b"\n")]
    if not records[-1]:
        records.pop()
    return {"records": len(records), "bytes": sum(map(len, records))}


def assert_proved(document: dict[str, Any]) -> None:
    assert document["status"] == "SUCCEEDED"
    assert document["error"] is None
    assert document["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC64NVME", "matched": True}


@pytest.mark.parametrize("range_bytes", ["1", "3", "10", "1000000"])
@pytest.mark.parametrize("body", [LINES, LINES[:-1], b"", b"\n", b"a\r\nb", b"x" * 500 + b"\ny\n"])
def test_text_in_python_gives_the_same_however_it_is_cut(room: Any, body: bytes, range_bytes: str) -> None:
    document = room.json("run", room.python("Lines"), room.file(body), "--workers", "0", "--range-bytes", range_bytes)
    assert_proved(document)
    assert room.rows(document) == [expected(body)]
    assert document["bytes"] == len(body)
    assert document["records"] == expected(body)["records"]
    assert document["ranges"] == -(-len(body) // int(range_bytes))


@pytest.mark.parametrize(("form", "outputs"), [("jsonl", 1), ("csv", 1), ("parquet", 0)])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_empty_objects_whose_columns_nobody_knows_succeed_with_no_records(
    room: Any, kind: str, form: str, outputs: int
) -> None:
    more = f'aggregate: {{sql: "SELECT sum(n) AS n FROM partials"}}\noutput: {{format: {form}}}\n'
    pipeline = room.pipeline("empty", '{sql: "SELECT sum(n) AS n FROM records"}', f"{{type: {kind}}}", more)
    document = room.json("run", pipeline, room.file(b"", "a"), room.file(b"", "b"), "--workers", "0")
    assert_proved(document)
    assert (document["objects"], document["records"], len(document["output"])) == (2, 0, outputs)


@pytest.mark.parametrize("body", [LINES, LINES[:-1]])
def test_text_in_sql(room: Any, body: bytes) -> None:
    pipeline = room.pipeline("lines", SQL, more=FOLD)
    document = room.json("run", pipeline, room.file(body), "--workers", "0", "--range-bytes", "16")
    assert_proved(document)
    assert room.rows(document) == [expected(body)]


def test_csv_in_python_and_in_sql(room: Any) -> None:
    data = room.file(b"name,n\n" + b"".join(b"x,%d\n" % number for number in range(100)), "d.csv")
    python = room.json("run", room.python("Columns", "{type: csv}"), data, "--workers", "0", "--range-bytes", "50")
    sql = room.json(
        "run",
        room.pipeline("sql", '{sql: "SELECT count(*) AS records, sum(n) AS bytes FROM records"}', "{type: csv}", FOLD),
        data,
        "--workers",
        "0",
        "--range-bytes",
        "50",
    )
    assert room.rows(python) == room.rows(sql) == [{"records": 100, "bytes": 4950}]
    assert python["records"] == sql["records"] == 100


def test_jsonl_in_python_and_in_sql(room: Any) -> None:
    data = room.file(b"".join(b'{"n": %d}\n' % number for number in range(100)), "d.jsonl")
    python = room.json("run", room.python("Values", "{type: jsonl}"), data, "--workers", "0", "--range-bytes", "50")
    sql = room.json(
        "run",
        room.pipeline(
            "sql", '{sql: "SELECT count(*) AS records, sum(n) AS bytes FROM records"}', "{type: jsonl}", FOLD
        ),
        data,
        "--workers",
        "0",
    )
    assert room.rows(python) == room.rows(sql) == [{"records": 100, "bytes": 4950}]


def test_a_folder_stands_for_all_files_below_it_without_hidden_ones(room: Any) -> None:
    for name in ("in/a.log", "in/deep/b.log", "in/.hidden.log", "in/other.txt"):
        room.file(LINES, name)
    pipeline = room.pipeline("lines", "{python: pipeline_code:Lines}", more="match: {suffix: .log}\n")
    result = room.call("run", pipeline, "in", "--workers", "0", "--json")
    document = json.loads(result.stdout)
    assert document["objects"] == 2
    assert "1 files do not end in .log" in result.stderr


def test_a_small_history_budget_makes_generations(room: Any) -> None:
    document = room.json(
        "run", room.python("Lines"), room.file(LINES), "--workers", "0", "--range-bytes", "1", "--history-budget", "60"
    )
    assert_proved(document)
    assert document["generations"] > 10
    assert room.rows(document) == [expected(LINES)]
    report = json.loads(Path(document["report"]).read_text())
    assert len(report["generation_history"]) == document["generations"]


def test_workers_are_processes_and_their_prints_stay_out_of_the_json(room: Any) -> None:
    room.file(LINES * 1000)
    command = [sys.executable, "-m", "rangemill_cli", "run", room.python("Prints"), "input.txt", "--json"]
    done = subprocess.run(
        [*command, "--workers", "2", "--range-bytes", "20000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert_proved(document)
    assert room.rows(document) == [expected(LINES * 1000)]
    assert "in the way" in done.stderr


def test_a_run_imports_neither_boto3_nor_duckdb(room: Any) -> None:
    room.file(LINES)
    script = (
        "import sys; from rangemill_cli.main import cli\n"
        f"cli.main(['run', {room.python('Lines')!r}, 'input.txt', '--workers', '0'], standalone_mode=False)\n"
        "assert not {'boto3', 'botocore', 'duckdb'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_a_worker_that_dies_once_costs_nothing_but_time(room: Any) -> None:
    document = room.json("run", room.python("DiesOnce"), room.file(LINES), "--workers", "2")
    assert_proved(document)
    assert room.rows(document) == [expected(LINES)]
    assert document["waves"] == 2


def test_a_record_that_kills_every_worker_is_found_and_named(room: Any) -> None:
    document = room.json("run", room.python("Dies"), room.file(LINES), "--workers", "2", exit_code=1)
    assert document["error"]["type"] == "WorkerDied"
    assert document["error"]["offset"] == LINES.index(b"line 7")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_exception_of_the_pipeline_fails_the_job_at_its_record(room: Any, workers: str) -> None:
    result = room.call("run", room.python("Raises"), room.file(LINES), "--workers", workers, "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["type"] == "UserCodeError"
    assert error["object"] == "input.txt"
    assert error["offset"] == LINES.index(b"line 7")
    assert "ValueError: seven" in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("rangemill-out").exists()


def test_a_file_that_changes_under_the_job_fails_it(room: Any) -> None:
    result = room.call("run", room.python("Appends"), room.file(LINES * 200_000), "--workers", "0")
    assert result.exit_code == 1
    assert "input.txt was changed while the job ran" in result.stderr


def test_the_result_goes_where_out_says_and_a_second_run_replaces_it(room: Any) -> None:
    pipeline, data = room.python("Lines"), room.file(LINES)
    first = room.json("run", pipeline, data, "--out", "here", "--workers", "0")
    room.file(LINES * 2)
    second = room.json("run", pipeline, data, "--out", "here", "--workers", "0")
    assert first["output"] == second["output"] == [str(Path("here/result.jsonl").resolve())]
    assert room.rows(second) == [expected(LINES * 2)]
    assert len(list(Path("here/ledger").iterdir())) == 1
    assert json.loads(Path("here/_manifest.json").read_text())["job_id"] == second["job_id"]


def test_a_failed_run_leaves_the_earlier_result(room: Any) -> None:
    room.json("run", room.python("Lines"), room.file(LINES), "--out", "here", "--workers", "0")
    room.json("run", room.python("Raises"), "input.txt", "--out", "here", "--workers", "0", exit_code=1)
    assert Path("here/result.jsonl").exists()


def test_a_file_that_no_run_wrote_is_never_replaced(room: Any) -> None:
    Path("here").mkdir()
    Path("here/result.jsonl").write_text("mine")
    result = room.call("run", room.python("Lines"), room.file(LINES), "--out", "here", "--workers", "0")
    assert result.exit_code == 2
    assert "result.jsonl is in the way" in result.stderr
    assert Path("here/result.jsonl").read_text() == "mine"


def test_the_pipelines_own_output_place_is_not_written_to(room: Any) -> None:
    pipeline = room.pipeline(
        "lines", "{python: pipeline_code:Lines}", more='output: {to: "s3://some-bucket/prefix/"}\n'
    )
    result = room.call("run", pipeline, room.file(LINES), "--workers", "0")
    assert result.exit_code == 0
    assert "s3://some-bucket/prefix/, is not written to" in result.stderr


def test_people_see_rows_counts_proof_and_place(room: Any) -> None:
    result = room.call("run", room.python("Lines"), room.file(LINES), "--workers", "0", "--out", "here")
    assert result.exit_code == 0
    for text in ("records", "20", "150", "SUCCEEDED", "every byte was read exactly once", "result.jsonl"):
        assert text in result.stdout


@pytest.mark.parametrize(("form", "count"), [("csv", 20), ("parquet", 20), ("jsonl", 20)])
def test_unfolded_sql_gives_parts(room: Any, form: str, count: int) -> None:
    pipeline = room.pipeline("parts", "{sql: SELECT line FROM records}", more=f"output: {{format: {form}}}\n")
    result = room.call("run", pipeline, room.file(LINES), "--workers", "0", "--range-bytes", "50", "--out", "here")
    assert result.exit_code == 0, result.output
    manifest = json.loads(Path("here/_manifest.json").read_text())
    assert manifest["records"] == count
    assert all(name.endswith(f".{form}") and Path(name).is_file() for name in manifest["output"])
    assert len(list(Path("here/parts").iterdir())) == len(manifest["output"])
    assert "line 9" in result.stdout


# --- what is asked for wrongly --------------------------------------------------------------------------------------


def test_a_missing_file_is_wrong_usage(room: Any) -> None:
    document = room.json("run", room.python("Lines"), "nowhere.txt", exit_code=2)
    assert "nowhere.txt" in document["error"]["message"]
    assert document["status"] == "FAILED"
    assert document["job_id"] is None


def test_a_folder_without_files_is_wrong_usage(room: Any) -> None:
    Path("void").mkdir()
    assert "no files in void" in room.json("run", room.python("Lines"), "void", exit_code=2)["error"]["message"]


def test_what_is_no_regular_file_is_refused(room: Any) -> None:
    assert "not a regular file" in room.json("run", room.python("Lines"), "/dev/null", exit_code=2)["error"]["message"]


def test_a_missing_pipeline_is_wrong_usage(room: Any) -> None:
    assert room.call("run", "nowhere.yaml", room.file(LINES)).exit_code == 2


def test_a_mistake_in_the_document_is_shown_with_its_line(room: Any) -> None:
    pipeline = room.pipeline("lines", "{python: pipeline_code:Lines}", more="agregate: {}\n")
    result = room.call("run", pipeline, room.file(LINES))
    assert result.exit_code == 2
    assert "lines.yaml:4: agregate: there is no such field; did you mean `aggregate`?" in result.stderr


@pytest.mark.parametrize("reference", ["pipeline_code:Nothing", "no_such_module:Lines"])
def test_a_class_that_is_not_there_is_shown_with_its_line(room: Any, reference: str) -> None:
    result = room.call("run", room.pipeline("lines", f"{{python: {reference}}}"), room.file(LINES))
    assert result.exit_code == 2
    assert "lines.yaml:3: apply.python: " in result.stderr


def test_sql_that_does_not_bind_is_shown_with_its_line(room: Any) -> None:
    pipeline = room.pipeline("lines", '{sql: "SELECT sum(nope) AS n FROM records"}', "{type: csv}", FOLD)
    result = room.call("run", pipeline, room.file(b"a,b\n1,2\n", "d.csv"), "--workers", "0")
    assert result.exit_code == 2
    assert "lines.yaml:3: apply.sql: " in result.stderr
    assert "nope" in result.stderr


def test_a_compressed_file_is_refused_by_name(room: Any) -> None:
    document = room.json("run", room.python("Lines"), room.file(b"\x1f\x8b\x08" + b"x" * 100), exit_code=1)
    assert "gzip" in document["error"]["message"]


def test_s3_without_credentials_is_the_environments_fault(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rangemill_cli import clients

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    clients.session.cache_clear()
    clients.s3_client.cache_clear()
    document = room.json("run", room.python("Lines"), "s3://bucket/key", "--workers", "0", exit_code=3)
    assert "credentials" in document["error"]["message"]
    clients.session.cache_clear()
    clients.s3_client.cache_clear()


@pytest.mark.parametrize("length", [1, 200])
def test_workers_start_whatever_the_length_of_the_path_for_temporary_files(room: Any, length: int) -> None:
    temporary = Path.cwd() / ("t" * length)
    temporary.mkdir()
    command = [sys.executable, "-m", "rangemill_cli", "run", room.python("Lines"), room.file(LINES), "--workers", "2"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 0, done
    assert_proved(json.loads(done.stdout))


@pytest.mark.parametrize(
    "prelude", ["", "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"]
)
def test_workers_are_forked_only_off_a_process_of_one_thread(room: Any, prelude: str) -> None:
    told = "from rangemill_cli.inprocess import processes; print(processes.forking() is not None)"
    done = subprocess.run(
        [sys.executable, "-c", f"{prelude}\n{told}"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == str(sys.platform == "linux" and not prelude)


# --- interrupted ----------------------------------------------------------------------------------------------------


def test_an_interrupt_ends_workers_and_leaves_nothing(room: Any) -> None:
    with slow_run(room) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "CANCELLED"
    assert "interrupted; nothing was published" in err
    assert "Traceback" not in err
    assert not list(Path("tmp").glob("rangemill-*"))
    assert not Path("rangemill-out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a process's children are read from /proc")
def test_no_worker_outlives_a_run_that_was_killed(room: Any) -> None:
    with slow_run(room, seconds=1) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        assert len(children) >= 2
        wait_for(lambda: not any(is_alive(child) for child in children))


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def slow_run(room: Any, seconds: int = 60) -> Iterator[subprocess.Popen[str]]:
    """A run of two workers that need so long for a record, in the middle of its wave."""
    room.file(LINES)
    code = Path("pipeline_code.py")
    apply = f"    def apply(self, partial, record):\n        time.sleep({seconds})\n        return partial\n"
    code.write_text(f"{code.read_text()}class Slow(Lines):\n{apply}")
    command = [sys.executable, "-m", "rangemill_cli", "run", room.python("Slow"), "input.txt", "--workers", "2"]
    Path("tmp").mkdir()
    with subprocess.Popen(
        [*command, "--range-bytes", "16", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        env={**os.environ, "TMPDIR": str(Path("tmp").resolve())},
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as process:
        try:
            waves = "rangemill-*/scratch/*/*/waves/*.json"
            wait_for(lambda: list(Path("tmp").glob(waves)) or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            yield process
        finally:
            process.kill()


def heed_interrupts() -> None:
    """What a shell starts in the background ignores them, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(happened: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- the cache of restart points --------------------------------------------------------------------------------------


def test_a_run_that_keeps_no_points_makes_no_cache(room: Any) -> None:
    room.json("run", room.python("Lines"), room.file(LINES), "--workers", "0")
    assert not Path(os.environ["XDG_CACHE_HOME"]).exists()


def test_points_stay_with_the_run_where_no_cache_can_be(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    body = gzip.compress(LINES)
    document = room.json("run", room.python("Lines"), room.file(body, "a.gz"), "--workers", "0")
    assert document["proof"]["matched"]
    assert room.rows(document) == [expected(LINES)]
