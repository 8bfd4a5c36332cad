"""What an archive holds as pinned objects, a page at a time, at Plan."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import msgspec

from rangemill.archives import tar_headers, zip_directory
from rangemill.archives.member import Member, bad
from rangemill.archives.zip_directory import LOCAL, Directory, Entry
from rangemill.errors import BadArchive
from rangemill.gateways import Objects
from rangemill.limits import STREAM_MAX_SECONDS
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting
from rangemill.spans import read_span
from rangemill.units import show_bytes

HEAD_BYTES: Final = 512  # what an archive is recognised by: a tar's magic stands at 257
THREADS: Final = 16
_JOINED_BYTES: Final = 256 * 2**10  # headers of a zip's files no further apart are read by one GET
_WINDOW_BYTES: Final = 16 * 2**10  # of a tar, where its headers lie far apart
_WINDOW_MAX_BYTES: Final = 4 * 2**20  # and where they follow one another
_PAGE_READS: Final = 250  # of a tar with large members: a page ends after so many GETs, and Plan after 50 pages
_DEFLATED_BYTES_PER_SECOND: Final = 20 * 10**6  # as of gzip
_PADDING_MAX_BYTES: Final = 2**20  # zeros after a tar's end


@dataclass(frozen=True, slots=True)
class Listed:
    """Some members of an archive, where to go on (None at its end), and what was passed over."""

    members: list[PinnedObject]
    next_at: int | None
    passed_over: dict[str, int] = field(default_factory=dict)


def kind_of(head: bytes) -> str | None:
    """`zip`, `tar` or None, by an object's first bytes."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    return "tar" if tar_headers.looks_like_tar(head) else None


class Expander:
    """Lists archives, keeping the directory of the one at hand between pages."""

    def __init__(self, objects: Objects, nesting: Nesting) -> None:
        self._objects = objects
        self._nesting = nesting
        self._directory: tuple[PinnedObject, Directory] | None = None
        self._names: tuple[PinnedObject, int, set[str]] | None = None  # of a tar's members before an offset

    def members(
        self, archive: PinnedObject, kind: str, at: int, most: int, names_before: Callable[[], set[str]]
    ) -> Listed:
        """At most `most` members from `at` on. `names_before` tells the names of those before it, if asked.

        Raises `BadArchive`.
        """
        if kind == "zip":
            return self._of_zip(archive, at, most)
        if self._names is None or self._names[:2] != (archive, at):
            self._names = (archive, at, names_before() if at else set())
        known = self._names[2]
        listed = self._of_tar(archive, at, most, known)
        self._names = (archive, listed.next_at, known) if listed.next_at is not None else None
        return listed

    def _of_zip(self, archive: PinnedObject, at: int, most: int) -> Listed:
        directory = self._directory_of(archive)
        taken: list[tuple[Entry, str]] = []
        passed: Counter[str] = Counter()
        next_at: int | None = None
        for entry, following in directory.entries(at):
            if entry.kind != "file":
                passed[entry.kind] += 1
            elif not self._nesting.means(entry.name):
                passed["other"] += 1
            else:
                taken.append((entry, _compression(archive, entry)))
                if len(taken) == most:
                    next_at = following
                    break
        begins = self._data_begins(archive, directory, [entry for entry, _ in taken])
        members = [
            Member(e.name, begin, e.stored_bytes, e.logical_bytes, compression, e.crc32)
            for (e, compression), begin in zip(taken, begins, strict=True)
        ]
        return Listed([pinned(archive, m) for m in members], next_at, dict(passed))

    def _directory_of(self, archive: PinnedObject) -> Directory:
        if self._directory is not None and self._directory[0] == archive:
            return self._directory[1]
        found = zip_directory.read(
            archive.uri, archive.size_bytes, lambda start, end: read_span(self._objects, archive, start, end)
        )
        self._require_no_bomb(archive, found)
        self._directory = (archive, found)
        return found

    def _require_no_bomb(self, archive: PinnedObject, directory: Directory) -> None:
        total = 0
        for entry, _ in directory.entries():
            if entry.kind == "file" and self._nesting.means(entry.name):
                total += entry.logical_bytes
                if self._nesting.is_suspect(entry.stored_bytes, entry.logical_bytes):
                    raise bad(
                        archive.uri,
                        entry.name,
                        entry.at,
                        f"unpacks from {entry.stored_bytes} bytes to {entry.logical_bytes}, as a decompression bomb "
                        "does; if it is none, raise `format.max_ratio` or `format.max_logical_bytes`",
                    )
        if total > self._nesting.bound_bytes:
            raise BadArchive(
                f"{archive.uri} unpacks to {total} bytes, more than `format.max_logical_bytes` "
                f"({self._nesting.bound_bytes})",
                object_uri=archive.uri,
            )

    def _data_begins(self, archive: PinnedObject, directory: Directory, entries: list[Entry]) -> list[int]:
        """Where each entry's data begins, by the files' own headers, which lie before their data."""
        groups = list(_groups(sorted(entries, key=lambda e: e.offset)))
        with ThreadPoolExecutor(THREADS) as pool:
            spans = pool.map(lambda g: read_span(self._objects, archive, g[0].offset, _header_end(g[-1])), groups)
            begins: dict[int, int] = {}
            for group, data in zip(groups, spans, strict=True):
                for entry in group:
                    header = data[entry.offset - group[0].offset : _header_end(entry) - group[0].offset]
                    limit = directory.limit(entry)
                    begins[entry.offset] = zip_directory.data_begin(archive.uri, entry, header, limit)
        return [begins[entry.offset] for entry in entries]

    def _of_tar(self, archive: PinnedObject, at: int, most: int, known: set[str]) -> Listed:
        window = _Window(self._objects, archive)
        found: list[PinnedObject] = []
        passed: Counter[str] = Counter()
        while len(found) < most and window.reads < _PAGE_READS:
            header = tar_headers.read_header(window.read_at, at, archive.uri)
            if header is None:
                _require_end(window, at, archive)
                return Listed(found, None, dict(passed))
            if header.next_at > archive.size_bytes:
                raise bad(archive.uri, header.name, header.at, "goes on beyond the archive's end: it was cut off")
            if header.kind not in ("file", "sparse"):
                passed[header.kind] += 1
            elif not self._nesting.means(header.name):
                passed["other"] += 1
            else:
                tar_headers.require_plain(header, archive.uri)
                if header.name in known:
                    raise bad(archive.uri, header.name, header.at, "is there twice; the archive was appended to")
                known.add(header.name)
                member = Member(header.name, header.data_at, header.size_bytes, header.size_bytes)
                found.append(pinned(archive, member))
            at = header.next_at
        return Listed(found, at, dict(passed))


def pinned(archive: PinnedObject, member: Member) -> PinnedObject:
    """A member as an object of its own; its index is given by the page that it comes into.

    A stored member of a zip has a CRC of the bytes that ranges read; what a deflated one unpacks to has one as well.
    """
    is_stored = not member.compression
    crc = member.crc32 if is_stored else None
    return msgspec.structs.replace(
        archive,
        size_bytes=member.stored_bytes,
        crc_name="CRC32" if member.crc32 is not None else "CRC64NVME",
        crc=crc,
        crc_later=False,
        whole=archive.whole or not is_stored,
        compression=member.compression,
        member=member.name,
        base=member.base,
        container_bytes=archive.size_bytes,
        logical_bytes=None if is_stored else member.logical_bytes,
        logical_crc=None if is_stored else member.crc32,
    )


def _compression(archive: PinnedObject, entry: Entry) -> str:
    compression = zip_directory.require_readable(archive.uri, entry)
    if compression and entry.stored_bytes > _DEFLATED_BYTES_PER_SECOND * STREAM_MAX_SECONDS:
        raise bad(
            archive.uri,
            entry.name,
            entry.at,
            f"is {show_bytes(entry.stored_bytes)} of deflate data, more than one worker can unpack in its life; "
            "store it in the zip without compression, or compress it by itself in a way that can be split",
        )
    return compression


def _groups(entries: list[Entry]) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    for entry in entries:
        if group and _header_end(entry) - group[0].offset > _JOINED_BYTES:
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


def _header_end(entry: Entry) -> int:
    return entry.offset + LOCAL.size + len(entry.raw_name)


class _Window:
    """An archive read forwards: in small windows while headers lie far apart, in growing ones while they do not."""

    def __init__(self, objects: Objects, archive: PinnedObject) -> None:
        self.reads = 0
        self._objects = objects
        self._archive = archive
        self._at = 0
        self._data = b""
        self._window_bytes = _WINDOW_BYTES

    def read_at(self, at: int, size: int) -> bytes:
        """So many bytes from there on, fewer at the archive's end."""
        end = min(at + size, self._archive.size_bytes)
        if not self._at <= at <= end <= self._at + len(self._data):
            follows = self.reads > 0 and at - (self._at + len(self._data)) <= self._window_bytes
            self._window_bytes = min(2 * self._window_bytes, _WINDOW_MAX_BYTES) if follows else _WINDOW_BYTES
            until = min(max(end, at + self._window_bytes), self._archive.size_bytes)
            self._data = read_span(self._objects, self._archive, at, until)
            self._at = at
            self.reads += 1
        return self._data[at - self._at : end - self._at]


def _require_end(window: _Window, at: int, archive: PinnedObject) -> None:
    """Nothing but zeros follows a tar's end: what does would be another archive, whose files would be lost."""
    rest = archive.size_bytes - at
    if rest > _PADDING_MAX_BYTES or any(window.read_at(at, rest)):
        raise BadArchive(
            f"{archive.uri}: something follows the mark of the tar's end at byte {at}; "
            "if it is several archives, pack them as one",
            object_uri=archive.uri,
            offset=at,
        )


def passed_over_sentence(passed_over: dict[str, int]) -> str | None:
    """What was left out of archives, for the report."""
    names = {"other": "files that `members` leaves out", "directory": "folders", "link": "links"}
    told = [f"{names.get(kind, f'{kind}s')} ({count})" for kind, count in sorted(passed_over.items())]
    return f"passed over in archives: {', '.join(told)}" if told else None
