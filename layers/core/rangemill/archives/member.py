"""What an archive says of one of its files, and the rules that a file's name must obey."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rangemill.errors import BadArchive

# `[start, end)` of an archive -> those bytes
type ReadSpan = Callable[[int, int], bytes]

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SEPARATORS: Final = re.compile(r"[/\\]")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its stored bytes are `[base, base + stored_bytes)` of the archive.

    `crc32` is that of the logical bytes (a zip's); None where the archive keeps none (tar).
    """

    name: str
    base: int
    stored_bytes: int
    logical_bytes: int
    compression: str = ""
    crc32: int | None = None


def checked_name(name: str, archive_uri: str, at: int) -> str:
    """The name without a leading `./`. Raises `BadArchive` for one that leads out of the folder it is unpacked in."""
    problem = None
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        problem = "is an absolute path"
    elif ".." in _SEPARATORS.split(name):
        problem = "has `..` in its path"
    elif "\0" in name:
        problem = "has a NUL in its name"
    if problem is not None:
        raise bad(archive_uri, name, at, f"{problem}; such an archive is not read")
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def bad(archive_uri: str, name: str, at: int, problem: str) -> BadArchive:
    """The error of a member: `archive!member`, and the byte of the archive where it is described."""
    uri = f"{archive_uri}!{name}"
    return BadArchive(f"{uri}, described at byte {at} of the archive, {problem}", object_uri=uri, offset=at)
