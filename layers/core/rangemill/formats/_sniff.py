"""What an object is by its first bytes, and what its name says: the bytes win."""

import csv
import io
import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from rangemill.formats.base import Sample

_SPACE: Final = b" \t\r\n"
SNIFFED_BYTES: Final = 64 * 2**10
MAGIC: Final = {b"PAR1": "parquet", b"Obj\x01": "avro"}
# What is compressed in a way that is not read; each begins as no text does.
UNREAD: Final = {
    b"\x02\x21\x4c\x18": "LZ4's legacy format",
    b"\x1f\x9d\x90": "compress (.Z)",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"\xff\x06\x00\x00sNaPpY": "framed Snappy",
    b"\x89LZO\x00\r\n\x1a\n": "lzop",
}
_MARKS: Final = (  # UTF-32's little-endian one begins with that of UTF-16
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_DELIMITERS: Final = (",", "\t", ";", "|")
_COMPRESSIONS: Final = (".gz", ".gzip", ".bgz", ".bgzf", ".zst", ".zstd", ".bz2", ".xz", ".lz4")
_SPOKEN_OF: Final = {
    ".csv": ("csv",),
    ".tsv": ("csv",),
    ".tab": ("csv",),
    ".json": ("json", "jsonl"),
    ".jsonl": ("jsonl",),
    ".ndjson": ("jsonl",),
    ".parquet": ("parquet",),
    ".avro": ("avro",),
    ".txt": ("text",),
    ".log": ("text",),
}
_NUMBER: Final = re.compile(r"[+-]?\d[\d.,_]*(?:[eE][+-]?\d+)?")
_MOST_LINES: Final = 100
_EVENTS: Final = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"Records"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*[{\]]')  # as CloudTrail's
_FIRST_MEMBER: Final = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"(?:[^"\\\r\n]|\\.)*"[ \t\r\n]*:')
_FIRST_ELEMENT: Final = re.compile(r"[ \t\r\n]*\[[ \t\r\n]*[{\[]")


@dataclass(frozen=True, slots=True)
class Guess:
    """A format and its options; not `sure` where there is too little to tell. `name` None: nothing that is known."""

    name: str | None
    options: dict[str, Any] = field(default_factory=dict)
    sure: bool = True

    def __str__(self) -> str:
        delimiter = self.options.get("delimiter")
        return f"{self.name} with delimiter {delimiter!r}" if delimiter else self.name or "of no known format"


def guess(head: bytes, is_whole: bool, object_name: str) -> tuple[Guess, str | None]:
    """What an object is, and a sentence where its name says something else."""
    by_bytes = _by_bytes(head[:SNIFFED_BYTES], is_whole and len(head) <= SNIFFED_BYTES)
    suffix = _suffix(object_name)
    spoken = _SPOKEN_OF.get(suffix, ())
    if not spoken or by_bytes.name in spoken or by_bytes.name is None:
        return by_bytes, None
    if by_bytes.name == "text" and spoken == ("csv",):  # one column, or one row: the bytes have nothing against it
        delimiter = "," if suffix == ".csv" else "\t"
        return Guess("csv", {"delimiter": delimiter, "header": True}, by_bytes.sure), None
    if by_bytes.name == "text":
        return by_bytes, f"{object_name} is called {suffix}, but its first bytes are not; it is read as text"
    return by_bytes, f"{object_name} is called {suffix}, but is {by_bytes} by its first bytes, and is read as that"


def is_blank(head: Sample) -> bool:
    """Whether an object is white space and nothing else, which says nothing of its format."""
    return len(head.data) == head.object_bytes and not head.data.removeprefix(_MARKS[2][0]).strip(_SPACE)


def _suffix(object_name: str) -> str:
    name = object_name.lower()
    for compression in _COMPRESSIONS:
        name = name.removesuffix(compression)
    return name[name.rfind(".") :] if "." in name else ""


def _by_bytes(head: bytes, is_whole: bool) -> Guess:
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return Guess(name)
    unread = next((name for magic, name in UNREAD.items() if head.startswith(magic)), None)
    if unread is not None:
        return Guess(f"compressed with {unread}")
    mark, encoding = next((pair for pair in _MARKS if head.startswith(pair[0])), (b"", "utf-8"))
    if not mark and b"\0" in head:
        return Guess(None)
    text = head[len(mark) :].decode(encoding, "replace")
    lines = text.split("\n")[:_MOST_LINES]
    if (not is_whole or len(lines) == _MOST_LINES) and len(lines) > 1:
        lines.pop()  # it may have been cut
    found = _json(text, lines, is_whole)
    if found is None:
        found = _csv("\n".join(lines))
    return found or Guess("text", sure=sum(bool(line.strip()) for line in lines) > 1)


def _json(text: str, lines: list[str], is_whole: bool) -> Guess | None:
    """JSON lines where each line is an array or an object; JSON where only more than a line is."""
    begin = text.lstrip(" \t\r\n")[:1]
    if begin not in ("[", "{") or not begin:
        return None
    wholes = [line for line in lines if line.strip(" \t\r")]
    values = [_value(line) for line in wholes]
    if _EVENTS.match(text) and (_value(text) if is_whole else not all(values[:1])):
        # On one line it may as well be the only record of a file of JSON lines, whose neighbours then tell.
        return Guess("json", {"path": "Records"}, sure=not all(values))
    if all(values):
        # One line of an array is an array of records; one of an object is a record.
        return Guess("json" if begin == "[" and len(wholes) == 1 else "jsonl")
    if len(values) > 1 and values[0] and 2 * sum(values) >= len(values):
        return Guess("jsonl")  # of which some lines are broken
    return Guess("json") if _begins_as_json(text) and (not is_whole or _is_meant_as_json(text)) else None


def _begins_as_json(text: str) -> bool:
    begin = text.lstrip(" \t\r\n")
    second = begin[1:].lstrip(" \t\r\n")[:1]
    if begin[:1] == "{":
        return second in ('"', "}") and bool(second)
    return bool(second) and (second in '"]{[-tfn' or second.isdigit())


def _value(text: str) -> bool:
    """Whether a text is a JSON array or object."""
    if text.lstrip()[:1] not in ("[", "{"):
        return False
    try:
        msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_meant_as_json(text: str) -> bool:
    """Whether a text is JSON, or cannot be meant as anything else: it was cut off, or is broken further on."""
    if _value(text) or _values(text):
        return True
    import json  # noqa: PLC0415 - msgspec does not say where a value ends

    try:
        json.JSONDecoder().raw_decode(text.lstrip(" \t\r\n"))
    except json.JSONDecodeError as error:
        return error.pos >= len(text.strip(" \t\r\n")) or bool(_FIRST_MEMBER.match(text)) or _has_element(text)
    except (ValueError, RecursionError):
        return True
    return False  # a whole value, and something else behind it


def _has_element(text: str) -> bool:
    """Whether a text begins with an array whose first element is a whole array or object."""
    import json  # noqa: PLC0415 - msgspec does not say where a value ends

    begin = _FIRST_ELEMENT.match(text)
    if begin is None:
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin.end() - 1)
    except (ValueError, RecursionError):
        return False
    return text[end:].lstrip(" \t\r\n")[:1] in (",", "]")


def _values(text: str) -> bool:
    """Whether a text is JSON values one after the other."""
    import json  # noqa: PLC0415 - msgspec does not say where a value ends

    decoder, at = json.JSONDecoder(), 0
    try:
        while at < len(text):
            _, at = decoder.raw_decode(text, at)
            while at < len(text) and text[at] in " \t\r\n":
                at += 1
    except (ValueError, RecursionError):
        return False
    return True


def _csv(text: str) -> Guess | None:
    """CSV where two rows and more have the same number of columns, more than one, by one of the usual delimiters."""
    best: tuple[int, str, list[list[str]]] | None = None
    for delimiter in _DELIMITERS:
        if delimiter not in text:
            continue
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
        except csv.Error:
            continue
        columns = {len(row) for row in rows}
        if len(rows) > 1 and len(columns) == 1 and (width := columns.pop()) > 1 and (best is None or width > best[0]):
            best = (width, delimiter, rows)
    if best is None:
        return None
    first = [cell.strip() for cell in best[2][0]]
    is_header = all(first) and len(set(first)) == len(first) and not any(map(_NUMBER.fullmatch, first))
    return Guess("csv", {"delimiter": best[1], "header": is_header})
