"""The central directory of a zip: what its files are called and where they lie (PKWARE's APPNOTE 6.3, with zip64).

Only the directory is believed, and it is checked: no two files share bytes, no name is there twice or leads out of the
folder, and each file's own header says the same.
"""

import stat
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rangemill.archives.member import ReadSpan, bad, checked_name
from rangemill.errors import BadArchive

_END: Final = struct.Struct("<4s4H2LH")
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
LOCAL: Final = struct.Struct("<4s5H3L2H")
_COMMENT_MAX_BYTES: Final = 2**16 - 1
_FULL16: Final = 2**16 - 1
_FULL32: Final = 2**32 - 1
_UNIX: Final = 3
_ENCRYPTED: Final = 1 << 0 | 1 << 6 | 1 << 13
_PATCH: Final = 1 << 5
_UTF8: Final = 1 << 11
_STORED, _DEFLATED = 0, 8
_METHODS: Final = {
    9: "deflate64", 12: "bzip2", 14: "LZMA", 16: "CMPSC", 20: "zstd", 93: "zstd", 94: "MP3", 95: "xz", 96: "JPEG",
    97: "WavPack", 98: "PPMd", 99: "AES encryption",
}  # fmt: skip
MAX_BYTES: Final = 128 * 2**20  # of a directory: more than a million files; it is held in memory while it is planned


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as the directory describes it at byte `at` of the archive; its own header lies at `offset`."""

    name: str
    raw_name: bytes
    at: int
    offset: int
    stored_bytes: int
    logical_bytes: int
    crc32: int
    method: int
    flags: int
    kind: str  # file, directory or link


@dataclass(frozen=True, slots=True)
class Directory:
    """A checked directory: its bytes, where they begin in the archive, and what must be added to its offsets."""

    uri: str
    body: bytes
    begin: int
    shift: int
    offsets: "array[int]"

    def entries(self, at: int = 0) -> Iterator[tuple[Entry, int]]:
        """The entries from byte `at` of the directory on, each with where the next one begins."""
        yield from _entries(self.uri, self.body, self.begin, self.shift, at)

    def limit(self, entry: Entry) -> int:
        """Where the entry's bytes end at the latest: at the next file's header, or at the directory."""
        following = bisect_right(self.offsets, entry.offset)
        return self.offsets[following] if following < len(self.offsets) else self.begin


def read(uri: str, size_bytes: int, span: ReadSpan) -> Directory:
    """The directory of a zip. Raises `BadArchive`."""
    count, size, offset, end_at = _find(uri, size_bytes, span)
    if size > MAX_BYTES:
        raise BadArchive(
            f"{uri}: its directory takes {size} bytes, more than {MAX_BYTES}; make several archives of it",
            object_uri=uri,
        )
    begin = end_at - size
    shift = begin - offset  # what was put in front of the archive, as in a self-extracting one
    if begin < 0 or shift < 0:
        raise _broken(uri, end_at, "its directory begins before the archive does")
    body = span(begin, end_at)
    if len(body) != size:
        raise _broken(uri, begin, "its directory cannot be read to its end")
    return Directory(uri, body, begin, shift, _checked(uri, body, begin, shift, count))


def require_readable(uri: str, entry: Entry) -> str:
    """The compression of an entry that is to be read. Raises `BadArchive` for what cannot be."""
    problem = None
    if entry.flags & _ENCRYPTED or entry.method == 99:
        problem = "is encrypted, which Rangemill does not read; decrypt it first"
    elif entry.flags & _PATCH:
        problem = "is a patch of other data, which Rangemill does not read"
    elif entry.method not in (_STORED, _DEFLATED):
        method = _METHODS.get(entry.method, f"method {entry.method}")
        problem = f"is compressed with {method}; Rangemill reads stored and deflated members"
    elif entry.method == _STORED and entry.stored_bytes != entry.logical_bytes:
        problem = f"is stored, but said to be {entry.stored_bytes} bytes here and {entry.logical_bytes} unpacked"
    if problem is not None:
        raise bad(uri, entry.name, entry.at, problem)
    return "deflate" if entry.method == _DEFLATED else ""


def data_begin(uri: str, entry: Entry, header: bytes, limit: int) -> int:
    """Where the entry's data begins, by its own header (`LOCAL` and the name). Raises `BadArchive`."""
    if len(header) < LOCAL.size or not header.startswith(b"PK\x03\x04"):
        raise bad(uri, entry.name, entry.at, f"has no header at byte {entry.offset}, where it should lie")
    fields = LOCAL.unpack_from(header)
    flags, method, name_bytes, extra_bytes = fields[2], fields[3], fields[9], fields[10]
    name = header[LOCAL.size : LOCAL.size + name_bytes]
    if name != entry.raw_name or method != entry.method or (flags ^ entry.flags) & 1:
        raise bad(uri, entry.name, entry.at, f"is another one by its own header at byte {entry.offset}")
    begin: int = entry.offset + LOCAL.size + name_bytes + extra_bytes
    if begin + entry.stored_bytes > limit:
        raise bad(uri, entry.name, entry.at, f"reaches beyond byte {limit}, where something else begins")
    return begin


def _find(uri: str, size_bytes: int, span: ReadSpan) -> tuple[int, int, int, int]:
    """Entries, bytes and offset of the directory by its end record, and where the directory ends."""
    tail_at = max(0, size_bytes - _END.size - _COMMENT_MAX_BYTES)
    tail = span(tail_at, size_bytes)
    found = tail.rfind(b"PK\x05\x06")
    while found >= 0:
        if found + _END.size <= len(tail):
            fields = _END.unpack_from(tail, found)
            if found + _END.size + fields[7] == len(tail):
                break
        found = tail.rfind(b"PK\x05\x06", 0, found + 3)
    if found < 0:
        raise _broken(uri, size_bytes, "it does not end as a zip does: it was cut off, or is none")
    end_at = tail_at + found
    _, disk, directory_disk, entries_here, entries, size, offset, _ = fields
    locator_at = end_at - _END64_LOCATOR.size
    locator = span(locator_at, end_at) if locator_at >= 0 else b""
    if locator.startswith(b"PK\x06\x07"):  # also where nothing is too large for the plain record, as `zip -` writes it
        _, _, record_at, disks = _END64_LOCATOR.unpack(locator)
        found64 = _find64(uri, record_at, locator_at, disks, span)
        plain = ((entries, _FULL16), (size, _FULL32), (offset, _FULL32))
        if any(said not in (full, wide) for (said, full), wide in zip(plain, found64, strict=False)):
            raise _broken(uri, end_at, "its two end records say different things")
        return found64
    if disk or directory_disk or entries != entries_here:
        raise _broken(uri, end_at, "it is one of several parts, which Rangemill does not read; join them first")
    return entries, size, offset, end_at


def _find64(uri: str, record_at: int, locator_at: int, disks: int, span: ReadSpan) -> tuple[int, int, int, int]:
    # What was put in front of the archive shifts the record; it is then where it must end: right before its locator.
    for at in dict.fromkeys((record_at, locator_at - _END64.size)):
        record = span(at, at + _END64.size) if 0 <= at <= locator_at - _END64.size else b""
        if record.startswith(b"PK\x06\x06"):
            break
    else:
        raise _broken(uri, locator_at, "its zip64 end record is not where it should be")
    _, _, _, _, disk, directory_disk, entries_here, entries, size, offset = _END64.unpack(record)
    if disk or directory_disk or disks > 1 or entries != entries_here:
        raise _broken(uri, at, "it is one of several parts, which Rangemill does not read; join them first")
    return entries, size, offset, at


def _checked(uri: str, body: bytes, begin: int, shift: int, count: int) -> "array[int]":
    """The offsets of all files, sorted, none twice; all names seen once."""
    offsets = array("Q")
    names: set[str] = set()
    for entry, _ in _entries(uri, body, begin, shift, 0):
        if entry.kind == "file":
            if entry.name in names:
                raise bad(uri, entry.name, entry.at, "is there twice")
            names.add(entry.name)
        offsets.append(entry.offset)
    if len(offsets) & _FULL16 != count & _FULL16 or len(offsets) < count:
        raise _broken(uri, begin, f"its directory has {len(offsets)} entries, not the {count} that its end says")
    in_order = array("Q", sorted(offsets))
    for left, right in pairwise(in_order):
        if left == right:
            raise _broken(uri, left, "two of its files lie at the same place, as in a zip bomb")
    return in_order


def _entries(uri: str, body: bytes, begin: int, shift: int, at: int) -> Iterator[tuple[Entry, int]]:
    while at < len(body):
        if body.startswith(b"PK\x05\x05", at):  # a signature of the directory: nothing follows it
            return
        if at + _ENTRY.size > len(body) or not body.startswith(b"PK\x01\x02", at):
            raise _broken(uri, begin + at, "its directory is broken")
        fields = _ENTRY.unpack_from(body, at)
        made_by, flags, method, crc32 = fields[1] >> 8, fields[3], fields[4], fields[7]
        name_bytes, extra_bytes, comment_bytes = fields[10], fields[11], fields[12]
        name_at = at + _ENTRY.size
        extra_at = name_at + name_bytes
        following = extra_at + extra_bytes + comment_bytes
        if following > len(body):
            raise _broken(uri, begin + at, "its directory is broken")
        raw = body[name_at:extra_at]
        name = checked_name(raw.decode("utf-8", "backslashreplace") if flags & _UTF8 else _plain(raw), uri, begin + at)
        stored, logical, offset = _sizes(body[extra_at : extra_at + extra_bytes], fields)
        offset += shift
        if offset + LOCAL.size > begin or offset + stored > begin:
            raise bad(uri, name, begin + at, "lies outside of the archive")
        kind = "directory" if name.endswith("/") or not name else "file"
        if made_by == _UNIX and stat.S_ISLNK(fields[15] >> 16):
            kind = "link"
        yield Entry(name, raw, begin + at, offset, stored, logical, crc32, method, flags, kind), following
        at = following


def _plain(raw: bytes) -> str:
    """A name without the UTF-8 flag: UTF-8 all the same where it is, as most writers mean it, else code page 437."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _sizes(extra: bytes, fields: tuple[int, ...]) -> tuple[int, int, int]:
    """Stored bytes, logical bytes and offset, from the zip64 field where they do not fit the entry."""
    stored, logical, offset = fields[8], fields[9], fields[16]
    if _FULL32 not in (stored, logical, offset):
        return stored, logical, offset
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{min(size, len(extra) - at - 4) // 8}Q", extra, at + 4))
            logical = next(wide, logical) if logical == _FULL32 else logical
            stored = next(wide, stored) if stored == _FULL32 else stored
            offset = next(wide, offset) if offset == _FULL32 else offset
            break
        at += 4 + size
    return stored, logical, offset


def _broken(uri: str, at: int, problem: str) -> BadArchive:
    return BadArchive(f"{uri}: {problem} (at byte {at})", object_uri=uri, offset=at)
