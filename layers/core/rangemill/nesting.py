"""What a format's records lie in: archives, whole objects, and the bounds of what may come out of compressed data.

These fields stand under `format:` beside the format's own options, whichever format it is.
"""

import re
from fnmatch import translate
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from rangemill.units import parse_bytes

# Below this much output no ratio is suspect: a small file of one repeated line is no bomb.
RATIO_FLOOR_BYTES: Final = 64 * 2**20
COMPRESSIONS: Final = ("bzip2", "gzip", "lz4", "xz", "zstd")  # the modules of `rangemill.compression`


class Nesting(Struct, frozen=True, forbid_unknown_fields=True):
    """`unit: object` hands over whole objects; `archive` and `members` say which files inside archives are meant.

    `compression` is sniffed by each object's first bytes (`auto`), or one codec's name, or `none`.

    `archive` None is `auto` for `type: auto` and `none` for every other format. `members` are patterns with `*`, `?`
    and `[…]`; a `*` goes over slashes as well. `max_ratio` (logical bytes of one stored byte, beyond 64 MiB of output)
    and `max_logical_bytes` (of one object or archive) bound what decompression may give. `gzip` says how plain gzip
    objects without restart points are read: in one pass, behind an indexer, or as a sample's timing says.
    """

    unit: Literal["record", "object"] = "record"
    compression: str = "auto"
    archive: Literal["none", "auto", "zip", "tar"] | None = None
    members: str | list[str] = "*"
    gzip: Literal["auto", "stream", "index"] = "auto"
    max_ratio: Annotated[int, Meta(ge=1)] = 1000
    max_logical_bytes: int | str = "1 TiB"

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "max_logical_bytes", parse_bytes(self.max_logical_bytes))
        if self.compression not in ("auto", "none", *COMPRESSIONS):
            raise ValueError(
                f"expected `compression` to be auto, none or one of {', '.join(COMPRESSIONS)}, not {self.compression!r}"
            )
        if not self.members:
            raise ValueError("expected `members` to be a pattern or a list of patterns, not nothing")

    @property
    def bound_bytes(self) -> int:
        """`max_logical_bytes` in bytes."""
        return parse_bytes(self.max_logical_bytes)

    def means(self, member: str) -> bool:
        """Whether the file of that name inside an archive is to be read."""
        patterns = (self.members,) if isinstance(self.members, str) else tuple(self.members)
        return _compiled(patterns).match(member) is not None

    def is_suspect(self, stored_bytes: int, logical_bytes: int) -> bool:
        """Whether so much out of so little is a decompression bomb."""
        if logical_bytes > self.bound_bytes:
            return True
        return logical_bytes > RATIO_FLOOR_BYTES and logical_bytes > stored_bytes * self.max_ratio


FIELDS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(Nesting))


@lru_cache(maxsize=16)
def _compiled(patterns: tuple[str, ...]) -> "re.Pattern[str]":
    return re.compile("|".join(map(translate, patterns)))
