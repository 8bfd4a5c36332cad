"""A folder with pipelines in Python and SQL, and the command as a person would call it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rangemill_cli.main import cli

CODE = """
import os, time
from pathlib import Path

class Lines:
    def start(self, context): return [0, 0]
    def apply(self, partial, record):
        partial[0] += 1
        partial[1] += len(record)
        return partial
    def merge(self, left, right): return [left[0] + right[0], left[1] + right[1]]
    def finish(self, total): yield {"records": total[0], "bytes": total[1]}

class Columns(Lines):
    def apply(self, partial, record):
        return [partial[0] + 1, partial[1] + int(record[1])]

class Values(Lines):
    def apply(self, partial, record):
        return [partial[0] + 1, partial[1] + record["n"]]

class Raises(Lines):
    def apply(self, partial, record):
        if record == b"line 7": raise ValueError("seven")
        return partial

class Dies(Lines):
    def apply(self, partial, record):
        if record == b"line 7": os._exit(3)
        return super().apply(partial, record)

class DiesOnce(Lines):
    def apply(self, partial, record):
        mark = Path(__file__).with_name("died")
        if record == b"line 7" and not mark.exists():
            mark.touch()
            os._exit(3)
        return super().apply(partial, record)

class Prints(Lines):
    def apply(self, partial, record):
        print("in the way")
        return super().apply(partial, record)

class Appends(Lines):
    def apply(self, partial, record):
        with open("input.txt", "a") as file: file.write("more\\n")
        return super().apply(partial, record)
"""


@dataclass(frozen=True)
class Room:
    """The folder, and what tests do in it."""

    folder: Path

    def pipeline(self, name: str, apply: str, format: str = "{type: text}", more: str = "") -> str:  # noqa: A002
        """Write a document; its name."""
        file = self.folder / f"{name}.yaml"
        file.write_text(f"name: {name}\nformat: {format}\napply: {apply}\n{more}")
        return file.name

    def python(self, name: str, format: str = "{type: text}") -> str:  # noqa: A002
        """A document of one of the classes."""
        return self.pipeline(name.lower(), f"{{python: pipeline_code:{name}}}", format)

    def file(self, body: bytes, name: str = "input.txt") -> str:
        """Write an input; its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return name

    def call(self, *arguments: str) -> Result:
        """`rangemill ARGUMENTS`."""
        return CliRunner().invoke(cli, arguments)

    def json(self, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
        """The one object of `rangemill ARGUMENTS --json`."""
        result = self.call(*arguments, "--json")
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout)

    def rows(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows of a JSONL result."""
        return [json.loads(line) for name in document["output"] for line in Path(name).read_text().splitlines()]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    (tmp_path / "pipeline_code.py").write_text(CODE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # restart points of gzip files
    monkeypatch.chdir(tmp_path)
    return Room(tmp_path)
