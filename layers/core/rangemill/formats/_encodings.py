"""Encodings other than UTF-8: told by the byte order mark, aligned in code units, made UTF-8 after alignment.

Offsets stay those of the stored bytes: `Places` leads from a record of the transcoded block back to where it is stored.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

from rangemill.errors import BadRecord
from rangemill.formats.base import Head, Sample

Encoding = Literal[
    "utf-8",
    "utf-16",
    "utf-32",
    "utf-16-le",
    "utf-16-be",
    "utf-32-le",
    "utf-32-be",
    "latin-1",
    "windows-1252",
]
ByteOrderMark = Literal["optional", "required"]

_BOMS: Final = (  # UTF-32's little-endian one begins with that of UTF-16
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_UNDECIDED: Final = frozenset({"utf-16", "utf-32"})
_WITHOUT_BOM: Final = frozenset({"latin-1", "windows-1252"})  # every byte may begin such a text
_LENIENT: Final = {"windows-1252": "surrogateescape"}  # of the others only surrogates may stand alone
_REMEDY: Final = "declare its `format.encoding`, and run objects of different encodings in jobs of their own"


def delimiter_bytes(delimiter: str, encoding: str) -> tuple[bytes, bytes]:
    """A delimiter as it is stored, and as it is once the data was made UTF-8.

    One that is written `\\xff`, with no more than that, is these bytes; any other is its characters. Raises
    `UnicodeEncodeError` and `UnicodeDecodeError` for what the encoding does not have.
    """
    if re.fullmatch(r"(?:\\x[0-9a-fA-F]{2})+", delimiter) is None:
        return delimiter.encode(encoding), delimiter.encode()
    raw = bytes.fromhex(delimiter.replace("\\x", ""))
    return raw, raw if encoding == "utf-8" else raw.decode(encoding).encode()


def unit_bytes(encoding: str) -> int:
    """The size of a code unit: records begin at multiples of it."""
    return 4 if encoding.startswith("utf-32") else 2 if encoding.startswith("utf-16") else 1


def sniff(data: bytes, declared: str) -> tuple[str, int] | None:
    """The encoding that the byte order mark at an object's start tells, and the mark's length.

    A mark of UTF-32 is also one of UTF-16 and a NUL: then what is declared decides.
    """
    found = [(encoding, len(bom)) for bom, encoding in _BOMS if data.startswith(bom)]
    return next((mark for mark in found if mark[0].startswith(declared)), found[0] if found else None)


def settle(samples: list[Sample], declared: str) -> tuple[dict[str, Any], list[str]]:
    """The options to read the job's objects with where they are not as declared (`encoding`, `bom`), and notes.

    The bytes win over what is declared, except over Latin-1, where every byte is text. Raises `BadRecord` for UTF-16
    and UTF-32 without a mark, and for objects that differ.
    """
    heads = [sample for sample in samples if sample.offset == 0 and sample.data]
    if declared in _WITHOUT_BOM or not heads:
        return {}, []
    told = [(head.object_uri, found[0] if (found := sniff(head.data, declared)) else declared) for head in heads]
    unmarked = next((uri for uri, encoding in told if encoding in _UNDECIDED), None)
    if unmarked is not None:
        raise _no_mark(declared, unmarked)
    first, encoding = told[0]
    other = next(((uri, of) for uri, of in told if of != encoding), None)
    if other is not None:
        raise BadRecord(
            f"by their first bytes {first} is {encoding} and {other[0]} is {other[1]}; {_REMEDY}",
            object_uri=other[0],
            offset=0,
        )
    if encoding == declared:
        return {}, []
    notes = []
    if not encoding.startswith(declared):
        notes = [f"{first} is {encoding} by its byte order mark, not {declared}; it is read as {encoding}"]
    return {"encoding": encoding, "bom": "optional" if encoding == "utf-8" else "required"}, notes


def _no_mark(encoding: str, object_uri: str | None) -> BadRecord:
    where = f"{object_uri}: it" if object_uri else "it"
    return BadRecord(
        f"{where} has no byte order mark, so that the byte order of {encoding} is not known; "
        f"declare `format.encoding: {encoding}-le` or `{encoding}-be`",
        object_uri=object_uri,
        offset=0,
    )


def without_bom(data: bytes, offset: int, encoding: str, bom: str) -> tuple[bytes, int]:
    """A block without the mark that may begin the object, and where it begins then.

    Raises `BadRecord` for an object that is marked as another encoding than the job's, or is not marked but should be.
    """
    if offset != 0 or encoding in _WITHOUT_BOM:
        return data, offset
    found = sniff(data, encoding)
    if found is None:
        if encoding in _UNDECIDED:
            raise _no_mark(encoding, None)
        if bom == "required":
            raise BadRecord(
                f"it has no byte order mark, but the job's first object is {encoding} by its mark; {_REMEDY}", offset=0
            )
        return data, offset
    if found[0] != encoding:
        raise BadRecord(
            f"it is {found[0]} by its byte order mark, but the job's objects are read as {encoding}; {_REMEDY}",
            offset=0,
        )
    return data[found[1] :], found[1]


def to_utf8(data: bytes, encoding: str) -> bytes:
    """Text in UTF-8; a sequence that the encoding does not have (a lone surrogate is one) becomes three bytes that
    UTF-8 does not have either, so that the record that holds it is refused by whoever decodes it.

    Raises UnicodeDecodeError for what is no sequence at all: a half code unit, a number beyond Unicode.
    """
    try:
        return data.decode(encoding).encode()
    except UnicodeDecodeError:
        return data.decode(encoding, _LENIENT.get(encoding, "surrogatepass")).encode("utf-8", "surrogatepass")


def from_utf8(data: bytes) -> str:
    """The text of what `to_utf8` gave."""
    return data.decode("utf-8", "surrogatepass")


def stored(data: bytes, encoding: str) -> bytes:
    """The bytes of which `to_utf8` made these."""
    if encoding == "utf-8":
        return data
    return from_utf8(data).encode(encoding, _LENIENT.get(encoding, "surrogatepass"))


def decode(data: bytes, offset: int, encoding: str, start_of: Callable[[bytes, int], int]) -> bytes:
    """The bytes of a block that begins at `offset`, by `to_utf8`.

    Raises `BadRecord` for what is no sequence at all, with the offset of the record: `start_of(data, at)` is where in
    the block the record begins that has byte `at`.
    """
    try:
        return to_utf8(data, encoding)
    except UnicodeDecodeError as error:
        at = offset + start_of(data, error.start)
        raise BadRecord(
            f"the record at byte {at} is not {encoding}: {error.reason} at byte {offset + error.start}", offset=at
        ) from None


def lengths(texts: list[str], encoding: str) -> Iterator[int]:
    """How many stored bytes each of these texts takes."""
    if unit_bytes(encoding) == 4:
        return (4 * len(text) for text in texts)
    if encoding in _WITHOUT_BOM or all(map(str.isascii, texts)):
        size = unit_bytes(encoding)
        return map(len, texts) if size == 1 else (size * len(text) for text in texts)
    return (len(text.encode(encoding, "surrogatepass")) for text in texts)


def utf8_sample(of: Sample, encoding: str) -> Sample:
    """The sample in UTF-8, as far as it holds whole characters, for whoever only asks whether it is head or end."""
    unit = unit_bytes(encoding)
    data = of.data[-of.offset % unit :]
    is_end = of.offset + len(of.data) == of.object_bytes
    text = data[: len(data) if is_end else len(data) // unit * unit].decode(encoding, "replace")
    if not is_end and text.endswith("\ufffd"):
        text = text[:-1]  # half a pair
    body = text.encode()
    return Sample(of.object_uri, body, of.offset, of.offset + len(body) + (not is_end))


def utf8_head(of: Head, encoding: str) -> Head:
    """The head's bytes in UTF-8."""

    def recoded() -> Iterator[bytes]:
        raw, unit = b"", unit_bytes(encoding)
        for piece in of():
            raw += piece
            whole = len(raw) // unit * unit
            if unit == 2 and whole and is_half(raw[whole - 2 : whole], encoding, 0xD8):
                whole -= 2
            yield raw[:whole].decode(encoding, "replace").encode()
            raw = raw[whole:]
        if raw:
            yield raw.decode(encoding, "replace").encode()

    return recoded


def is_half(unit: bytes, encoding: str, first: int) -> bool:
    """Whether a unit of UTF-16 is a high (`first` 0xD8) or a low (0xDC) surrogate."""
    return unit[1 if encoding == "utf-16-le" else 0] & 0xFC == first


class Places(Sequence[int]):
    """Where the records of a block are stored; computed when the first is asked for, which is rare."""

    def __init__(self, records: int, compute: Callable[[], Sequence[int]]) -> None:
        self._records = records
        self._compute = compute
        self._computed: Sequence[int] | None = None

    def __len__(self) -> int:
        return self._records

    def __getitem__(self, index: Any) -> Any:
        if self._computed is None:
            self._computed = self._compute()
        return self._computed[index]
