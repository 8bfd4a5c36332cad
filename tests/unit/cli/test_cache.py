"""Restart points that runs on this machine keep: bounded, the oldest go first, none that a run may be using."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from rangemill_cli.inprocess import cache
from rangemill_cli.inprocess.folder import FolderStore

ROWS = """
class Rows:
    def start(self, context): return 0
    def apply(self, partial, record): return partial + 1
    def merge(self, left, right): return left + right
    def finish(self, total): yield {"n": total}
"""
DAY = 86_400.0
NOW = 1_700_000_000.0  # long ago, whenever the tests run


def kept(root: Path, identity: str, age_seconds: float, size_bytes: int) -> None:
    """The points of one file, last used so long ago."""
    points, directories = root / "index/points" / identity, root / "index/directories"
    (points / "pages").mkdir(parents=True)
    directories.mkdir(exist_ok=True)
    (points / "0001").write_bytes(bytes(size_bytes // 2))
    (points / "pages/0").write_bytes(bytes(size_bytes - size_bytes // 2))
    (directories / identity).write_bytes(b"")
    for place in (points, directories / identity):
        os.utime(place, (NOW - age_seconds,) * 2)


def left(root: Path) -> tuple[set[str], set[str]]:
    return {each.name for each in (root / "index/points").iterdir()}, {
        each.name for each in (root / "index/directories").iterdir()
    }


def test_what_was_longest_not_used_goes_until_the_rest_fits(tmp_path: Path) -> None:
    for identity, days in {"old": 9, "older": 30, "new": 1}.items():
        kept(tmp_path, identity, days * DAY, 100)
    cache.prune(tmp_path, 300, NOW)
    assert left(tmp_path) == ({"old", "older", "new"},) * 2
    cache.prune(tmp_path, 250, NOW)
    assert left(tmp_path) == ({"old", "new"},) * 2
    cache.prune(tmp_path, 0, NOW)
    assert left(tmp_path) == (set(), set())


def test_what_a_run_may_be_using_stays(tmp_path: Path) -> None:
    kept(tmp_path, "used", 60, 100)
    kept(tmp_path, "done", DAY, 100)
    cache.prune(tmp_path, 0, NOW)
    assert left(tmp_path) == ({"used"}, {"used"})


def test_reading_that_points_are_there_is_using_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = tmp_path / "rangemill"
    kept(root, "wanted", 30 * DAY, 100)
    kept(root, "other", 20 * DAY, 100)
    FolderStore(tmp_path / "work", tmp_path / "out", "job").get("index/directories/wanted")
    cache.prune(root, 100)
    assert left(root) == ({"wanted"}, {"wanted"})


def test_without_a_cache_there_is_nothing_to_do(tmp_path: Path) -> None:
    cache.prune(None)
    cache.prune(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_two_workers_goes_in_waves_and_says_so_and_the_next_one_uses_the_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from click.testing import CliRunner

    from rangemill_cli.main import cli

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lines = b"".join(b"%d,%x\n" % (number, number * 2654435761 % 2**64) for number in range(50_000))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(lines, 1))
    (tmp_path / "p.yaml").write_text(
        "name: rows\nformat: {type: text, gzip: index}\napply: {python: cached_rows:Rows}\n"
    )
    (tmp_path / "cached_rows.py").write_text(ROWS)
    command = ["run", str(tmp_path / "p.yaml"), str(tmp_path / "a.csv.gz"), "--range-bytes", "64 KiB", "--json"]
    answers: list[Any] = []
    for _ in range(2):
        done = CliRunner().invoke(cli, [*command, "--workers", "2", "--out", str(tmp_path / "out")])
        assert done.exit_code == 0, done.output
        assert ("`format.gzip` is `index`" in done.stderr) == (not answers)
        answers.append(json.loads(done.stdout))
        assert json.loads((tmp_path / "out/result.jsonl").read_text()) == {"n": 50_000}
    assert [answer["waves"] for answer in answers] == [2, 1]
    assert answers[0]["proof"] == answers[1]["proof"]
    assert answers[0]["proof"]["level"] == "bytes"
