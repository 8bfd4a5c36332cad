"""Inputs as people name them: files, folders, `s3://bucket/key` and `s3://bucket/prefix/`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from rangemill.messages import ObjectRef, Prefix
from rangemill_cli.errors import UsageProblem


@dataclass(slots=True)
class Inputs:
    """What a job is to read. `known_bytes`: None where S3 must be asked. `left_out`: files of other suffixes."""

    objects: list[ObjectRef] = field(default_factory=list)
    prefixes: list[Prefix] = field(default_factory=list)
    known_bytes: int | None = 0
    left_out: int = 0


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI. Raises `UsageProblem`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise UsageProblem(f"{uri} is not an S3 URI.", "Say s3://bucket/key, or s3://bucket/prefix/ for all below it.")
    return bucket, key


def collect(inputs: tuple[str, ...], suffix: str, leave_out: Path | None = None) -> Inputs:
    """The inputs of a run on this machine. `suffix` is the pipeline's own, for what lies in folders and prefixes."""
    found = Inputs()
    for name in inputs:
        if name.startswith("s3://"):
            bucket, key = split_uri(name)
            found.known_bytes = None
            if not key or key.endswith("/"):
                found.prefixes.append(Prefix(bucket, key, suffix))
            else:
                found.objects.append(ObjectRef(bucket, key))
        else:
            _add_path(Path(name), suffix, found, leave_out)
    if not found.objects and not found.prefixes:
        what = f" that end in {suffix}" if suffix and found.left_out else ""
        raise UsageProblem(f"There are no files{what} in {', '.join(inputs)}.")
    return found


def _add_path(path: Path, suffix: str, found: Inputs, leave_out: Path | None) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}.") from None
    if path.is_dir():
        for file in _files(path, leave_out):
            if file.name.endswith(suffix):
                _add_file(file, file.stat().st_size, found)
            else:
                found.left_out += 1
    elif S_ISREG(status.st_mode):
        _add_file(path, status.st_size, found)
    else:
        raise UsageProblem(
            f"{path} is not a regular file.", "Save what it gives to a file: it must be read more than once."
        )


def _add_file(path: Path, size_bytes: int, found: Inputs) -> None:
    found.objects.append(ObjectRef("", str(path)))
    if found.known_bytes is not None:
        found.known_bytes += size_bytes


def _files(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    """All files below a folder, sorted, without hidden ones and without earlier results."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or (leave_out is not None and entry.resolve() == leave_out):
            continue
        if entry.is_dir():
            yield from _files(entry, leave_out)
        elif entry.is_file():
            yield entry
