"""Code and layers on disk, by content: unzipped once, merged once, shared by every worker.

code/<sha256>/            an archive, unzipped
opt/<hash of the list>/   the layers of a function, merged in their order as Lambda merges them into /opt
"""

import base64
import hashlib
import os
import shutil
import tempfile
import threading
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from localstack.services.lambda_.invocation.lambda_models import ArchiveCode, S3Code

from rangemill_local.settings import UNZIPPED_MAX_BYTES, settings

_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


class TooLargeError(Exception):
    """A function with its layers is larger than AWS would take."""


def code_folder(code: ArchiveCode) -> Path:
    """Return the folder of the unzipped archive, unzipping it when it is new."""
    if not isinstance(code, S3Code):
        return code.get_unzipped_code_location()
    digest = base64.b64decode(code.code_sha256).hex()

    def unzip(folder: Path) -> None:
        with tempfile.TemporaryFile() as archive:
            code._download_archive_to_file(archive)
            _unzip(archive, folder)

    return _once(settings().state / "code" / digest, unzip)


def opt_folder(layers: Sequence[ArchiveCode]) -> Path:
    """Return the folder that stands for /opt: later layers write over earlier ones."""
    folders = [code_folder(layer) for layer in layers]
    name = hashlib.sha256("\n".join(map(str, folders)).encode()).hexdigest()

    def merge(target: Path) -> None:
        for folder in folders:
            _link_tree(folder, target)

    return _once(settings().state / "opt" / name, merge)


def check_size(folders: Sequence[Path]) -> None:
    """Raise TooLargeError where AWS would refuse the function."""
    size_bytes = sum(map(_size_bytes, folders))
    if size_bytes > UNZIPPED_MAX_BYTES:
        raise TooLargeError(f"Code and layers take {size_bytes} bytes unzipped; AWS takes {UNZIPPED_MAX_BYTES}")


@cache
def _size_bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`, made by `make` under a temporary name unless it is there."""
    with _locks[folder]:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
            try:
                make(unfinished)
                unfinished.chmod(0o755)
                unfinished.rename(folder)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
        os.utime(folder)  # pruning keeps what was used last
        return folder


def _unzip(archive: object, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            path = Path(zipped.extract(info, folder))
            if not info.is_dir():
                path.chmod(((info.external_attr >> 16) & 0o777) | 0o600)


def _link_tree(source: Path, target: Path) -> None:
    for file in source.rglob("*"):
        place = target / file.relative_to(source)
        if file.is_dir():
            place.mkdir(exist_ok=True)
            continue
        place.unlink(missing_ok=True)
        try:
            os.link(file, place)
        except OSError:  # another file system, or one without hard links
            shutil.copy2(file, place)


def prune(keep_bytes: int = 600_000_000) -> None:
    """Remove the oldest unzipped trees beyond `keep_bytes`: at start, when the account is empty and nothing uses them.

    A merged tree is links to the others, so it costs nothing and goes when it is older than all that is kept.
    """
    code = sorted((settings().state / "code").glob("*"), key=_used_at, reverse=True)
    kept_bytes, oldest = 0, 0.0
    for folder in code:
        kept_bytes += _size_bytes(folder)
        if kept_bytes > keep_bytes:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            oldest = _used_at(folder)
    for folder in (settings().state / "opt").glob("*"):
        if _used_at(folder) < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def _used_at(folder: Path) -> float:
    return folder.stat().st_mtime
