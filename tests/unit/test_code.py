"""The identity of code: it changes with what runs, and with nothing else."""

from pathlib import Path

import pytest

from rangemill import code
from rangemill.errors import CodeChanged
from rangemill.messages import CodeIdentity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of the shape of `/opt/python`."""
    files = {
        "rangemill/__init__.py": "core",
        "rangemill/aws/jobs.py": "core too",
        "access_logs.py": "pipeline",
        "logs.yaml": "name: logs",
        "helpers/__init__.py": "",
        "msgspec/__init__.py": "installed",
        "single.py": "installed",
        "bin/tool": "#!/some/machine/python",
        "msgspec-0.19.dist-info/RECORD": "msgspec/__init__.py,sha256=x,9\nmsgspec-0.19.dist-info/RECORD,,\n",
        "single-1.0.dist-info/RECORD": '"single.py",sha256=y,1\n../../bin/tool,sha256=z,9\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def parts_that_change(root: Path, name: str, text: str | None) -> list[str]:
    before = code.identity_of(root)
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        file.rename(file.with_name("renamed_" + file.name))
    else:
        file.write_text(text)
    after = code.identity_of(root)
    return [part for part in CodeIdentity.__struct_fields__ if getattr(before, part) != getattr(after, part)]


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("access_logs.py", "pipeline!", ["pipelines"]),
        ("access_logs.py", None, ["pipelines"]),
        ("logs.yaml", "name: other", ["pipelines"]),
        ("helpers/deep/new.py", "", ["pipelines"]),
        ("rangemill/aws/jobs.py", "changed", ["core"]),
        ("rangemill/new.py", "", ["core"]),
        ("duckdb-1.0.dist-info/RECORD", "duckdb/x.py,,\n", ["dependencies"]),
        ("__pycache__/access_logs.cpython-313.pyc", "x", []),
        ("rangemill/__pycache__/x.pyc", "x", []),
        ("helpers/__pycache__/x.pyc", "x", []),
        (".DS_Store", "x", []),
        ("msgspec/__init__.py", "stands for itself by its version", []),
        ("bin/tool", "#!/another/machine/python", []),
    ],
)
def test_the_identity_changes_with_what_runs(root: Path, name: str, text: str | None, parts: list[str]) -> None:
    assert parts_that_change(root, name, text) == parts


def test_a_copy_elsewhere_is_the_same_code(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    import shutil

    copy = tmp_path_factory.mktemp("elsewhere") / "python"
    shutil.copytree(root, copy)
    assert code.identity_of(copy) == code.identity_of(root)


def test_two_files_that_swap_their_contents_are_other_code(root: Path) -> None:
    (root / "a.py").write_text("1")
    (root / "b.py").write_text("2")
    before = code.identity_of(root)
    (root / "a.py").write_text("2")
    (root / "b.py").write_text("1")
    assert code.identity_of(root).pipelines != before.pipelines


@pytest.mark.parametrize("part", CodeIdentity.__struct_fields__)
def test_each_part_that_differs_is_named_with_both_hashes(part: str) -> None:
    planned = CodeIdentity("1", "2", "3")
    code.require_same(planned, CodeIdentity("1", "2", "3"))
    with pytest.raises(CodeChanged, match=rf"planned with {getattr(planned, part)}, now other"):
        code.require_same(
            planned, CodeIdentity(**{**{p: getattr(planned, p) for p in planned.__struct_fields__}, part: "other"})
        )


def test_this_process_has_an_identity() -> None:
    assert code.identity() == code.identity()
    assert all(len(getattr(code.identity(), part)) == 16 for part in CodeIdentity.__struct_fields__)
