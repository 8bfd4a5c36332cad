"""What an object is by its first bytes, and what its name says: the bytes win."""

import csv
import io
import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

SNIFFED_BYTES: Final = 64 * 2**10
MAGIC: Final = {b"PAR1": "parquet", b"Obj\x01": "avro"}
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


def _suffix(object_name: str) -> str:
    name = object_name.lower()
    for compression in _COMPRESSIONS:
        name = name.removesuffix(compression)
    return name[name.rfind(".") :] if "." in name else ""


def _by_bytes(head: bytes, is_whole: bool) -> Guess:
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return Guess(name)
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
    if all(values):
        # One line of an array is an array of records; one of an object is a record.
        return Guess("json" if begin == "[" and len(wholes) == 1 else "jsonl")
    if is_whole and not _value(text) and not _values(text):
        return None  # it only begins like JSON
    second = text.lstrip(" \t\r\n")[1:].lstrip(" \t\r\n")[:1]
    if begin == "{" and second not in ('"', "}"):
        return None
    if begin == "[" and second not in ('"', "]", "{", "[", "-", "t", "f", "n") and not second.isdigit():
        return None
    return Guess("json")


def _value(text: str) -> bool:
    """Whether a text is a JSON array or object."""
    if text.lstrip()[:1] not in ("[", "{"):
        return False
    try:
        msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


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
