"""What may stand under `format:` of CSV, and the dialect that it makes."""

from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from rangemill.formats import _csv_automaton, _csv_scan, _csv_wide, _delimited, _encodings
from rangemill.formats._csv_automaton import Dialect
from rangemill.formats._csv_scan import Scanner
from rangemill.formats._encodings import ByteOrderMark, Encoding
from rangemill.formats.base import Settled
from rangemill.units import parse_bytes

_CHARACTERS: Final = ("quote", "escape", "comment")
_MAX_DELIMITER_BYTES: Final = 32


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand under `format:` beside `type: csv`.

    `delimiter`: characters of any kind, or bytes written as `\\xff`; quote, escape and comment may not be in it.
    `quote`, `escape` and `comment` may be empty: none. `lone_return`: whether a `\\r` without a `\\n`, outside quotes,
    ends a row or is refused. `columns`: name → SQL type, all or some; `null`: what is NULL in SQL. `missing_columns`
    and `extra_columns`: what of an object whose header lacks a column, or has one more. `as`: what a Python record is.
    `validate: all` holds every value of every row against its column's type, not only what the statement reads. `bom`
    is what Plan found in the data.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    comment: str = ""
    header: bool = True
    columns: dict[str, str] = {}
    null: str | list[str] = ""
    lone_return: Literal["row", "refuse"] = "row"
    missing_columns: Literal["refuse", "null"] = "refuse"
    extra_columns: Literal["refuse", "ignore"] = "refuse"
    validate: Literal["used", "all"] = "used"
    record_as: Literal["list", "dict", "bytes"] = msgspec.field(name="as", default="list")
    max_record_bytes: int | str = _delimited.DEFAULT_MAX_RECORD_BYTES
    encoding: Encoding = "utf-8"
    bom: ByteOrderMark = "optional"

    def __post_init__(self) -> None:
        parse_bytes(self.max_record_bytes)
        given: dict[str, str] = {}
        for name in _CHARACTERS:
            value = getattr(self, name)
            if not value:
                continue
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise ValueError(f"expected {name} to be one ASCII character, not {value!r}")
            if value in given and {name, given[value]} != {"quote", "escape"}:
                raise ValueError(f"{given[value]} and {name} must differ")
            given[value] = name
        self._require_delimiter(given)
        if not self.header and (self.missing_columns != "refuse" or self.extra_columns != "refuse"):
            raise ValueError("without a header no column is known to be missing or extra")

    def _require_delimiter(self, given: dict[str, str]) -> None:
        size = len(self._delimiter)
        if not 1 <= size <= _MAX_DELIMITER_BYTES:
            raise ValueError(f"expected a delimiter of 1 to {_MAX_DELIMITER_BYTES} bytes")
        if b"\n" in self._delimiter or b"\r" in self._delimiter:
            raise ValueError("expected a delimiter without line ends, which end rows")
        clash = next((name for value, name in given.items() if value.encode() in self._delimiter), None)
        if clash is not None:
            raise ValueError(f"delimiter and {clash} must differ, and the delimiter must not have the {clash} in it")

    @property
    def _delimiter(self) -> bytes:
        """In UTF-8, unless it is bytes that are not."""
        try:
            return _encodings.delimiter_bytes(self.delimiter, self.encoding)[1]
        except UnicodeEncodeError:
            raise ValueError(f"the delimiter cannot be written in {self.encoding}") from None
        except UnicodeDecodeError:
            raise ValueError(f"the delimiter's bytes are no characters of {self.encoding}") from None

    @property
    def nulls(self) -> list[str]:
        """The texts that are NULL in SQL."""
        return [self.null] if isinstance(self.null, str) else self.null

    @property
    def dialect(self) -> Dialect:
        """What tells cells and rows apart, as they are stored (in UTF-8)."""
        return _csv_automaton.dialect(self._delimiter, self.quote, self.escape, self.comment)

    @property
    def plain_dialect(self) -> Dialect:
        """The same of rows whose delimiter every reader of CSV takes."""
        return _csv_wide.PLAIN if self.dialect.is_wide else self.dialect

    @property
    def block_dialect(self) -> Dialect:
        """The same of the rows in blocks."""
        return self.dialect if self.record_as == "bytes" else self.plain_dialect

    @property
    def scanner(self) -> Scanner:
        """The dialect's fast reading."""
        return _csv_scan.scanner(self.dialect)


def parse(options: dict[str, Any]) -> Options:
    """The options, typed."""
    return msgspec.convert(options, Options)


def of(settled: Settled) -> Options:
    """The settled options, typed."""
    return _of(msgspec.json.encode(settled.options))


@lru_cache(maxsize=16)
def _of(options: bytes) -> Options:
    return msgspec.json.decode(options, type=Options)
