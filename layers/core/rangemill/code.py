"""Which code runs: hashes of the layers as they lie on this machine, computed once per cold start.

On Lambda all layers are merged under `/opt/python`, on the local cloud under a folder of the same shape; it is wherever
this package lies. Installed distributions stand for their files by name and version; the rest is read and hashed:
`rangemill/` is the core, everything else is the pipelines' room.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import rangemill
from rangemill.errors import CodeChanged
from rangemill.messages import CodeIdentity

_DIGEST_CHARS: Final = 16
_NOT_CODE: Final = frozenset({"__pycache__", ".DS_Store"})


@cache
def identity() -> CodeIdentity:
    """The identity of the code that this process runs."""
    return identity_of(Path(rangemill.__file__).parent.parent)


def identity_of(root: Path) -> CodeIdentity:
    """The identity of the code under a folder of the shape of `/opt/python`."""
    distributions = sorted(entry.name for entry in root.glob("*.dist-info"))
    owned = {name for distribution in distributions for name in _top_level(root / distribution)}
    own = [
        entry
        for entry in sorted(root.iterdir())
        if entry.name not in owned and entry.name not in _NOT_CODE and entry.name not in distributions
    ]
    return CodeIdentity(
        core=_hash_files(root, [entry for entry in own if entry.name == "rangemill"]),
        pipelines=_hash_files(root, [entry for entry in own if entry.name != "rangemill"]),
        dependencies=hashlib.sha256("\n".join(distributions).encode()).hexdigest()[:_DIGEST_CHARS],
    )


def require_same(planned: CodeIdentity, running: CodeIdentity) -> None:
    """Raise `CodeChanged` when the running code is not the planned one."""
    for part, name in (
        ("core", "Rangemill library"),
        ("pipelines", "pipelines layer"),
        ("dependencies", "set of installed packages"),
    ):
        before, now = getattr(planned, part), getattr(running, part)
        if before != now:
            raise CodeChanged(name, before, now)


def _top_level(distribution: Path) -> set[str]:
    record = distribution / "RECORD"
    if not record.exists():
        return set()
    # Scripts stand as `../../bin/name`; their first line names the machine that built the layer.
    paths = (line.strip('"').replace("../", "") for line in record.read_text(encoding="utf-8").splitlines())
    return {path.split("/", 1)[0].split(",", 1)[0] for path in paths}


def _hash_files(root: Path, entries: list[Path]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        files = [entry] if entry.is_file() else sorted(p for p in entry.rglob("*") if p.is_file())
        for file in files:
            if _NOT_CODE.isdisjoint(file.relative_to(root).parts):
                digest.update(file.relative_to(root).as_posix().encode() + b"\0")
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:_DIGEST_CHARS]
