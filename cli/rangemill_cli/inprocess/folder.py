"""The work bucket as a folder of this machine, shared by processes; results go to the folder that the user named."""

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

import msgspec

from rangemill import redo
from rangemill.errors import AccessRefused
from rangemill_cli.inprocess import cache

MANIFEST: Final = "_manifest.json"
REPORT: Final = "report.json"
_STAGED: Final = "published"
_REJECTS: Final = "rejects"
_DIRECTORIES: Final = f"{cache.INDEX}directories/"


class FolderStore:
    """`gateways.Store` over a work folder that goes when the job ends; `publish` moves what stays to `out`.

    What stays is what the core writes below the job's output root, wherever the pipeline says that it lies: a run on
    this machine never writes to the place that deployed jobs write to. `index` is where restart points are kept: the
    user's cache if none is named, or the work folder where none can be.
    """

    def __init__(self, work: Path, out: Path, job_id: str, index: Path | None = None) -> None:
        self._work = work
        self._out = out
        self._job = f"/{job_id}/"
        self.index = index or cache.folder() or work

    @property
    def bucket(self) -> str:
        """The work folder."""
        return str(self._work)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
        """The bytes under a key, or those of `[start, end)`; None when there is nothing."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                if key.startswith(_DIRECTORIES):
                    cache.used(path)
                if span is None:
                    return file.read()
                file.seek(span[0])
                return file.read(span[1] - span[0])
        except FileNotFoundError:
            return None

    def put(self, key: str, body: bytes) -> None:
        """Put, over whatever was there; readers see the old file or the new one."""
        path = self._path(key)
        try:
            self._written_aside(path, body).replace(path)
        except OSError as error:
            raise _refused(path, error) from error

    def put_once(self, key: str, body: bytes) -> bool:
        """Put if nothing is there; False when somebody was first."""
        path = self._path(key)
        try:
            aside = self._written_aside(path, body)
            try:
                path.hardlink_to(aside)
            except FileExistsError:
                return False
            finally:
                aside.unlink()
        except OSError as error:
            raise _refused(path, error) from error
        return True

    def delete_below(self, prefix: str) -> int:
        """Delete every document of the work folder whose key begins so; how many there were."""
        found = [
            file
            for file in self._work.rglob("*")
            if file.is_file() and file.relative_to(self._work).as_posix().startswith(prefix)
        ]
        for file in found:
            file.unlink()
        return len(found)

    def uri(self, key: str) -> str:
        """The file's path, of a result the one that it is going to have."""
        name = self._published_name(key)
        return str(self._work / key if name is None else self._out / name)

    def publish(self) -> list[str]:
        """Move result, rejects, ledger, report and, last, the manifest to `out`; what an earlier run left there goes.

        The paths of all outputs. Raises `AccessRefused`.
        """
        staged = self._work / _STAGED
        outputs = msgspec.json.decode((staged / MANIFEST).read_bytes(), type=_Manifest).output
        kept = [Path(output).relative_to(self._out) for output in outputs]
        ledger = sorted(path.relative_to(staged) for path in (staged / "ledger").glob("*.json"))
        rejects = _rejects_in([staged / path for path in ledger])
        try:
            withdraw(self._out)
            for name in (*kept, *rejects, *ledger, Path(REPORT), Path(MANIFEST)):
                target = self._out / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(staged / name, target)
        except OSError as error:
            raise _refused(self._out, error) from error
        return outputs

    def _path(self, key: str) -> Path:
        if key.startswith(cache.INDEX):
            return self.index / key
        name = self._published_name(key)
        return self._work / key if name is None else self._work / _STAGED / name

    def _published_name(self, key: str) -> str | None:
        if key.startswith(("results/", "s3://")):
            return key.partition(self._job)[2]
        if key.startswith((f"jobs{self._job}ledger/", f"jobs{self._job}rejects/")):
            return key.removeprefix(f"jobs{self._job}")
        return None

    def _written_aside(self, path: Path, body: bytes) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            aside.write_bytes(body)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        return aside


def withdraw(out: Path) -> None:
    """Remove what an earlier run published there, the manifest first: without it there is no result."""
    manifest = out / MANIFEST
    if not manifest.is_file():
        return
    outputs = msgspec.json.decode(manifest.read_bytes(), type=_Manifest).output
    manifest.unlink()
    for name in (*(Path(output).name for output in outputs), REPORT):
        for file in (out / name, out / "parts" / name):
            file.unlink(missing_ok=True)
    for file in (*(out / "ledger").glob("*.json"), *(out / _REJECTS).glob("*.jsonl")):
        file.unlink()


def foreign_file(out: Path, output_format: str) -> Path | None:
    """A file that publishing would overwrite although no run wrote it; None when there is none."""
    if (out / MANIFEST).is_file():
        return None
    names = (f"result.{output_format}", REPORT, "parts", "ledger", _REJECTS)
    return next((out / name for name in names if (out / name).exists()), None)


def _rejects_in(ledger: list[Path]) -> list[Path]:
    """The files of rejected records that committed waves name: others are of workers that were not the first."""
    lists = [path for path in ledger if path.name.startswith(f"{_REJECTS}-")]
    keys = {file.key for path in lists for file in redo.reject_files(path.read_bytes())}
    return [Path(_REJECTS, key.rpartition("/")[2]) for key in sorted(keys)]


class _Manifest(msgspec.Struct):
    output: list[str]


def _refused(path: Path, error: OSError) -> AccessRefused:
    return AccessRefused(f"cannot write {path}: {error.strerror or os.strerror(error.errno or 0)}")
