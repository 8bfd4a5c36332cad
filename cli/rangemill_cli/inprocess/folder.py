"""The work bucket as a folder of this machine, shared by processes; results go to the folder that the user named."""

import contextlib
import os
import secrets
from pathlib import Path

from rangemill.errors import AccessRefused


class FolderStore:
    """`gateways.Store` over two folders: `work`, which goes when the job ends, and `out`, which stays.

    What the core writes below the job's output root (wherever the pipeline says that it lies) goes to `out`: a run on
    this machine never writes to the place that deployed jobs write to.
    """

    def __init__(self, work: Path, out: Path, job_id: str) -> None:
        self._work = work
        self._out = out
        self._job = f"/{job_id}/"

    @property
    def bucket(self) -> str:
        """The work folder."""
        return str(self._work)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
        """The bytes under a key, or those of `[start, end)`; None when there is nothing."""
        try:
            with self._path(key).open("rb") as file:
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

    def uri(self, key: str) -> str:
        """The file's path."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        if key.startswith(("results/", "s3://")):
            _, _, name = key.partition(self._job)
            return self._out / name
        return self._work / key

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


def _refused(path: Path, error: OSError) -> AccessRefused:
    return AccessRefused(f"cannot write {path}: {error.strerror or os.strerror(error.errno or 0)}")
