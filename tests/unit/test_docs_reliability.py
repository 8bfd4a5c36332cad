"""docs/reliability.md names tests that exist, and every behaviour that is promised by number."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_exists():
    named = NAMED.findall((ROOT / "docs/reliability.md").read_text())
    assert len(named) >= 20
    for file, function in named:
        assert function in functions_of(file), f"{file}::{function}"


@pytest.mark.parametrize("suite", ["tests/e2e/", "tests/simulator/"])
def test_each_of_the_ten_behaviours_has_a_test_that_is_named(suite):
    named = NAMED.findall((ROOT / "docs/reliability.md").read_text())
    shown = {
        match[1] for file, function in named if file.startswith(suite) and (match := re.match(r"test_(\d+)_", function))
    }
    assert shown == {str(number) for number in range(1, 11)}
