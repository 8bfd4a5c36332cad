"""The first code in a function's process, where namespaces are not allowed."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from rangemill_cli.local.paths import find_project


@pytest.fixture
def worker_main() -> ModuleType:
    """Loaded by its path: it runs in another environment, and uses the standard library only."""
    spec = importlib.util.spec_from_file_location(
        "worker_main", find_project() / "local/rangemill_local/worker_main.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_namespaces_a_function_keeps_the_hosts_tmp(
    worker_main: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_: int) -> None:
        raise PermissionError("unshare: operation not permitted")

    monkeypatch.setattr(os, "unshare", refuse)
    assert worker_main.private_tmp(str(tmp_path), 512, []) is False


def test_elsewhere_than_on_linux_nothing_is_tried(worker_main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(os, "unshare", None)
    assert worker_main.private_tmp("/nowhere", 512, []) is False
