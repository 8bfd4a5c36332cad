"""The restart points of gzip files that runs on this machine keep for later ones: in the user's cache, and bounded.

The folder may be deleted at any time when no run is going on.
"""

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Final

INDEX: Final = "index/"  # keys of the work bucket that lie in the cache
MAX_BYTES: Final = 2**30  # points of half a TiB of gzip files
_IN_USE_SECONDS: Final = 3600  # of a run that may be going on


def folder() -> Path | None:
    """The user's cache, or None where there is none to write to."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~").expanduser() / ".cache"
    found = Path(home) / "rangemill"
    existing = next(place for place in (found, *found.parents) if place.exists())
    return found if existing.is_dir() and os.access(existing, os.W_OK) else None


def used(path: Path) -> None:
    """Note that what a directory of points speaks of is wanted: it goes last."""
    with contextlib.suppress(OSError):
        os.utime(path)


def has_grown(root: Path | None, since: float) -> bool:
    """Whether points were kept since that moment: without any there is nothing to prune."""
    places = [root / INDEX / name for name in ("points", "directories")] if root is not None else []
    return any(place.stat().st_mtime >= since for place in places if place.is_dir())


def prune(root: Path | None, most_bytes: int = MAX_BYTES, now: float | None = None) -> None:
    """Delete the points that were longest not used until the rest fits; those of the last hour stay.

    First what says that they are there, then they. What cannot be deleted stays.
    """
    if root is None or not (points := root / INDEX / "points").is_dir():
        return
    moment = time.time() if now is None else now
    found = sorted((_age(root, each.name, moment), _bytes(each), each) for each in points.iterdir())
    total = sum(size for _, size, _ in found)
    for age, size, each in reversed(found):
        if total <= most_bytes or age < _IN_USE_SECONDS:
            return
        for name in _spoken_of(root, each.name):
            name.unlink(missing_ok=True)
        shutil.rmtree(each, ignore_errors=True)
        total -= size


def _spoken_of(root: Path, identity: str) -> tuple[Path, Path]:
    directories = root / INDEX / "directories"
    return directories / identity, directories / f"{identity}-progress"


def _age(root: Path, identity: str, now: float) -> float:
    """Seconds since it was last written or used."""
    places = (*_spoken_of(root, identity), root / INDEX / "points" / identity)
    return now - max((place.stat().st_mtime for place in places if place.exists()), default=0.0)


def _bytes(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
