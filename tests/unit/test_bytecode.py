"""Bytecode of what `sam build` made."""

import subprocess
import sys
from pathlib import Path

import pytest

from rangemill_cli import bytecode


def build(folder: Path) -> Path:
    package = folder / "CoreLayer" / "python" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def fails():\n    raise ValueError\n")
    (package / "template.py").write_text("{{ no python }}\nclass")
    (folder / "template.yaml").write_text("Resources: {}\n")
    return package


def compiled(package: Path) -> bytes:
    (found,) = (package / "__pycache__").glob("*.pyc")
    return found.read_bytes()


def test_bytecode_is_the_same_wherever_and_whenever_it_was_made(tmp_path: Path) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "the second")
    assert bytecode.compile_build(tmp_path / "first")
    assert bytecode.compile_build(tmp_path / "the second")
    assert compiled(first) == compiled(second)
    assert str(tmp_path).encode() not in compiled(first)


def test_bytecode_is_taken_although_the_source_has_another_time(tmp_path: Path) -> None:
    package = build(tmp_path)
    bytecode.compile_build(tmp_path)
    (package / "__init__.py").write_text("never = read\n")  # as no deployment does: it shows what is imported
    code = "import package; package.fails()"
    ran = subprocess.run([sys.executable, "-c", code], cwd=package.parent, capture_output=True, text=True, check=False)
    assert "ValueError" in ran.stderr
    assert str(package / "__init__.py") in ran.stderr  # the traceback names the file as it lies there


def test_another_python_makes_no_bytecode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = build(tmp_path)
    monkeypatch.setattr(bytecode, "_RUNTIME", (3, 99))
    assert not bytecode.compile_build(tmp_path)
    assert not (package / "__pycache__").exists()
