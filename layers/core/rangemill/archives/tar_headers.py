"""The headers of a tar, one after the other: POSIX ustar and pax, GNU long names, old V7."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rangemill.archives.member import bad, checked_name
from rangemill.errors import BadArchive

BLOCK: Final = 512
MAX_HEADER_BYTES: Final = 2**20  # of one long name or pax header: it is held in memory
_NUMBER: Final = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_KINDS: Final = {
    b"1": "link",
    b"2": "link",
    b"3": "device",
    b"4": "device",
    b"5": "directory",
    b"6": "pipe",
    b"V": "label",
}
_FILES: Final = frozenset({b"0", b"\0", b"7"})
_EXTENSIONS: Final = frozenset({b"L", b"K", b"x", b"g", b"X"})  # they describe the entry that follows them
_PAX_RECORD: Final = re.compile(rb"(\d{1,20}) ")

# (offset, bytes) -> so many bytes of the archive from there, fewer at its end
type ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Header:
    """An entry whose header (with what belongs to it) begins at `at`, and whose data is `[data_at, data_at + size)`."""

    name: str
    kind: str  # file, sparse, directory, link, device, pipe, label
    at: int
    data_at: int
    size_bytes: int

    @property
    def next_at(self) -> int:
        """Where the next header begins: data is filled up to whole blocks."""
        return self.data_at + -(-self.size_bytes // BLOCK) * BLOCK


def read_header(read_at: ReadAt, at: int, uri: str) -> Header | None:
    """The entry at a header's offset; None at the mark of the archive's end. Raises `BadArchive`."""
    begin, long_name = at, None
    pax: dict[str, str] = {}
    while (block := _block(read_at, at, uri)) is not None and block[156:157] in _EXTENSIONS:
        kind, size = block[156:157], _number(block[124:136], uri, at)
        data = _extension(read_at, at, size, uri)
        if kind == b"L":
            long_name = data.rstrip(b"\0")
        elif kind in b"xX":
            pax |= _pax(data, uri, at)
        elif kind == b"g" and {"path", "size"} & _pax(data, uri, at).keys():
            raise _broken(uri, at, "a global header gives all its members one name or size")
        at += BLOCK + -(-size // BLOCK) * BLOCK
    if block is None:
        if at > begin:
            raise _broken(uri, begin, "there is no member after the header that describes it")
        return None
    kind, size = block[156:157], _number(block[124:136], uri, at)
    raw = long_name if long_name is not None else _name(block)
    shown = pax.get("GNU.sparse.name") or pax.get("path") or raw.decode("utf-8", "backslashreplace")
    name = checked_name(shown, uri, begin)
    if kind == b"S":
        return Header(name, "sparse", begin, _after_map(read_at, at, block, uri), size)
    if kind in _FILES and "size" in pax:
        size = _pax_size(pax["size"], name, begin, uri)
    if any(key.startswith("GNU.sparse.") for key in pax):
        return Header(name, "sparse", begin, at + BLOCK, size)
    return _header(name, kind, begin, at + BLOCK, size, uri)


def _pax_size(written: str, name: str, at: int, uri: str) -> int:
    if not written.isdecimal():
        raise bad(uri, name, at, f"has the size {written!r}")
    return int(written)


def require_plain(header: Header, uri: str) -> None:
    """Raise `BadArchive` for a member that is meant and sparse: its bytes in the archive are not the file's."""
    if header.kind == "sparse":
        raise bad(uri, header.name, header.at, "is sparse, which Rangemill does not read; pack it without --sparse")


def _after_map(read_at: ReadAt, at: int, block: bytes, uri: str) -> int:
    """Where the data of an old GNU sparse member begins: after the blocks that its map goes on in."""
    goes_on = block[482]
    at += BLOCK
    while goes_on:
        block = read_at(at, BLOCK)
        if len(block) < BLOCK:
            raise _broken(uri, at, "it ends inside a header: it was cut off")
        goes_on = block[504]
        at += BLOCK
    return at


def _block(read_at: ReadAt, at: int, uri: str) -> bytes | None:
    """The header block there, which has been checked; None for the mark of the end."""
    block = read_at(at, BLOCK)
    if len(block) < BLOCK:
        raise _broken(uri, at, "it ends without the mark of its end: it was cut off")
    if not any(block):
        return None
    _require_checksum(block, uri, at)
    return block


def _header(name: str, kind: bytes, begin: int, data_at: int, size: int, uri: str) -> Header:
    if kind in _FILES:
        return Header(name, "directory" if name.endswith("/") or not name else "file", begin, data_at, size)
    if kind not in _KINDS:
        what = {b"M": "goes on from another volume", b"D": "is a list of a folder"}.get(kind, f"is of type {kind!r}")
        raise bad(uri, name, begin, f"{what}, which Rangemill does not read")
    return Header(name, _KINDS[kind], begin, data_at, 0)  # whatever size they say, they have no data


def looks_like_tar(head: bytes) -> bool:
    """Whether an object's first bytes are a tar's header; tars older than POSIX's have no magic and are not seen."""
    return len(head) >= BLOCK and head[257:262] == b"ustar"


def _require_checksum(block: bytes, uri: str, at: int) -> None:
    expected = _number(block[148:156], uri, at)
    rest = block[:148] + b" " * 8 + block[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in rest) if sum(rest) != expected else expected
    if sum(rest) != expected and signed != expected:
        raise _broken(uri, at, "there is no header of a tar")


def _number(field: bytes, uri: str, at: int) -> int:
    """Octal digits, or GNU's base 256 for what does not fit them."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    match = _NUMBER.match(field)
    if match is None or field[0] == 0xFF or field[match.end() :].strip(b" \0"):
        raise _broken(uri, at, "its header has a number that is none, so it is damaged")
    return int(match[1] or b"0", 8)


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and prefix:  # GNU keeps other things there
        return prefix + b"/" + name
    return name


def _extension(read_at: ReadAt, at: int, size: int, uri: str) -> bytes:
    if size > MAX_HEADER_BYTES:
        raise _broken(uri, at, f"the header there takes {size} bytes, more than {MAX_HEADER_BYTES}")
    data = read_at(at + BLOCK, size)
    if len(data) < size:
        raise _broken(uri, at, "it ends inside a header: it was cut off")
    return data


def _pax(data: bytes, uri: str, at: int) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(data) and data[position]:
        match = _PAX_RECORD.match(data, position)
        length = int(match[1]) if match else 0
        record = data[match.end() : position + length] if match else b""
        keyword, equals, value = record.partition(b"=")
        if not match or not equals or not record.endswith(b"\n") or position + length > len(data):
            raise _broken(uri, at, "the pax header there is broken")
        found[keyword.decode("utf-8", "backslashreplace")] = value[:-1].decode("utf-8", "backslashreplace")
        position += length
    return found


def _broken(uri: str, at: int, problem: str) -> BadArchive:
    return BadArchive(f"{uri}: {problem} (at byte {at})", object_uri=uri, offset=at)
