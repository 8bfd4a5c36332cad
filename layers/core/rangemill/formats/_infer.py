"""SQL types from samples: the narrowest type that holds every value seen, VARCHAR when in doubt."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from typing import Any, Final

from rangemill.errors import BadRecord
from rangemill.formats import _lines
from rangemill.formats.base import Sample

_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})")
_DECIMAL: Final = re.compile(r"[+-]?(0|[1-9]\d*)(?:\.(\d*))?")
_DOUBLE: Final = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?")
_BOOLEANS: Final = frozenset({"true", "false"})
_NARROW_DIGITS: Final = 18  # what a DECIMAL in 64 bits holds
_WIDE_DIGITS: Final = 38


def readable[T](samples: Iterable[Callable[[], T]]) -> Iterator[T]:
    """What these give; a bad record among others settles nothing, and is for the engines to refuse.

    Raises the first one's `BadRecord` when no sample can be read.
    """
    first: BadRecord | None = None
    some = False
    for read in samples:
        try:
            value = read()
        except BadRecord as error:
            first = first or error
            continue
        some = True
        yield value
    if first is not None and not some:
        raise first


def whole_lines(sample: Sample) -> Iterator[tuple[bytes, int]]:
    """The lines that the sample holds whole, without their ends, and the offset of each in the object."""
    data, offset = _lines.without_bom(sample.data, sample.offset)
    at = 0 if sample.offset == 0 else data.find(b"\n") + 1
    if at == 0 and sample.offset > 0:
        return
    while at < len(data):
        newline = data.find(b"\n", at)
        if newline < 0:
            if sample.offset + len(sample.data) == sample.object_bytes:
                yield data[at:], offset + at
            return
        yield data[at:newline].removesuffix(b"\r"), offset + at
        at = newline + 1


def text_type(values: Iterable[str]) -> str:
    """The type of a column of texts, none of them null.

    A number with a leading zero is text (a code, not a number); DOUBLE needs an exponent somewhere, so that sums of
    money stay exact.
    """
    distinct = set(values)
    for of, holds in _TESTS.items():
        if distinct and all(map(holds, distinct)):
            return _decimal(distinct) if of == "DECIMAL" else of
    return "VARCHAR"


def _decimal(values: Iterable[str]) -> str:
    whole = scale = 0
    for value in values:
        match = _DECIMAL.fullmatch(value)
        if match is not None:
            whole = max(whole, len(match[1]))
            scale = max(scale, len(match[2] or ""))
    if whole + scale + 3 <= _NARROW_DIGITS:  # room for values a thousand times those that were seen
        return f"DECIMAL({_NARROW_DIGITS}, {scale})"
    return f"DECIMAL({_WIDE_DIGITS}, {scale})" if whole + scale <= _WIDE_DIGITS else "VARCHAR"


def _is_iso(value: str, parse: Any) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


_TESTS: Final[dict[str, Callable[[str], object]]] = {
    "BIGINT": _INTEGER.fullmatch,
    "DECIMAL": lambda v: _DECIMAL.fullmatch(v) and v[-1] != ".",
    "DOUBLE": _DOUBLE.fullmatch,
    "DATE": lambda v: _DATE.fullmatch(v) and _is_iso(v, date.fromisoformat),
    "TIMESTAMP": lambda v: _TIMESTAMP.fullmatch(v) and _is_iso(v, datetime.fromisoformat),
    "BOOLEAN": lambda v: v.lower() in _BOOLEANS,
}


def json_type(values: Iterable[Any]) -> str:
    """The type of a JSON member, given its values; objects and lists become JSON text."""
    present = [v for v in values if v is not None]
    kinds = {type(v) for v in present}
    if kinds == {bool}:
        return "BOOLEAN"
    if kinds == {int}:
        return "BIGINT" if all(-(2**63) <= v < 2**63 for v in present) else "DECIMAL(38, 0)"
    if kinds and kinds <= {int, float}:
        return "DOUBLE"
    if kinds == {str}:
        kind = text_type(present)
        return kind if kind in ("DATE", "TIMESTAMP") else "VARCHAR"
    return "JSON" if kinds & {dict, list} or len(kinds) > 1 else "VARCHAR"
