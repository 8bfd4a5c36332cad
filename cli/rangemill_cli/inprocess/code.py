"""Which code a run on this machine has: the library, and the Python files of the pipeline's folder."""

import hashlib
from pathlib import Path

import rangemill
from rangemill.messages import CodeIdentity


def identity_of(pipeline_folder: Path) -> CodeIdentity:
    """The identity of the code as it lies there now."""
    core = Path(rangemill.__file__).parent
    return CodeIdentity(_digest(core, sorted(core.rglob("*.py"))), pipelines_of(pipeline_folder), "this environment")


def pipelines_of(folder: Path) -> str:
    """The pipelines' part of it: what a user may change while a run goes on. Only packages are looked into."""
    return _digest(folder, sorted(_modules(folder)))


def _modules(folder: Path) -> list[Path]:
    found = list(folder.glob("*.py"))
    for package in folder.glob("*/__init__.py"):
        found += package.parent.rglob("*.py")
    return found


def _digest(root: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
