"""The benchmarks' command from data to page, on tiny data: it must not rot. Nothing here looks at a time."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import server
from benchmarks.world import ROOT

# One of each kind: bytes over nginx, loops in memory, jobs over nginx and over a file, a slow server, arithmetic.
NAMES = ("fetch", "engine", "jsonl", "pool", "q1-sf0.002", "overlap", "dollars")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("benchmarks")
    target = folder / "page.md"
    command = [sys.executable, "-m", "benchmarks", "--smoke", "--no-peers", "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--page", str(target), *NAMES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target.read_text()


def test_every_comparison_gives_a_figure_where_no_peer_is_wanted(page: str) -> None:
    rows = re.findall(r"^\| ([^|]*) \| ([^|]*) \|.*\| (yes|\*\*no\*\*) \| [^|]* \|$", page, re.MULTILINE)
    assert len(rows) == (5 if server.binary() is None else 8)
    assert all(re.search(r"[1-9]", ours) for _, ours, _ in rows)


def test_what_was_left_out_says_so(page: str) -> None:
    problems = re.findall(r"^\| ([^|]*) \| cannot run: ([^|]*) \|", page, re.MULTILINE)
    assert {"Polars, 2 threads"} <= {side for side, why in problems if why == "left out by --no-peers"}
    assert {why for _, why in problems} <= {"left out by --no-peers", "nginx is not installed"}
    assert "failed" not in page


def test_the_server_knows_ranges_and_conditions(tmp_path: Path) -> None:
    if server.binary() is None or shutil.which("curl") is None:
        pytest.skip("nginx or curl is not installed")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "key").write_bytes(b"0123456789")
    with server.serving(tmp_path, tmp_path / "server") as serving:
        assert serving.problem is None

        def ask(*options: str) -> str:
            command = ["curl", "-s", "-i", f"{serving.url}/bench/key", *options]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        assert ask("-H", "Range: bytes=2-4").endswith("\n234")
        etag = re.search(r'ETag: (".*")', ask())
        assert etag is not None
        assert " 206 " in ask("-H", "Range: bytes=2-4", "-H", f"If-Match: {etag[1]}").partition("\n")[0]
        assert " 412 " in ask("-H", "Range: bytes=2-4", "-H", 'If-Match: "another"').partition("\n")[0]
