"""What may stand under `format:` beside `type: text`."""

import re
from typing import Any, Final, Literal

import msgspec

from rangemill.formats import _delimited, _encodings, _log_lines
from rangemill.formats._encodings import ByteOrderMark, Encoding
from rangemill.formats._log_lines import Preset
from rangemill.units import parse_bytes

_MAX_DELIMITER_BYTES: Final = 1024
_BYTE_ENCODINGS: Final = frozenset(
    {"utf-8", "latin-1", "windows-1252"}
)  # whose characters, or raw bytes, have a length


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"nulls": "null"}):
    """How records are told apart (by lines where nothing is said), what they are encoded in, and what becomes columns.

    `fields` and `bom` are what Plan found in the data; who knows better may say so. `validate: all` holds the values of
    all columns against their types, not only of those that an SQL statement reads.
    """

    delimiter: str | None = None
    record_bytes: int | str | None = None
    record_start: str | None = None
    pattern: str | None = None
    preset: Preset | None = None
    columns: dict[str, str] = {}
    nulls: str | list[str] | None = None
    fields: list[str] = []
    encoding: Encoding = "utf-8"
    bom: ByteOrderMark = "optional"
    validate: Literal["used", "all"] = "used"
    max_record_bytes: int | str = _delimited.DEFAULT_MAX_RECORD_BYTES

    def __post_init__(self) -> None:
        ways = [name for name in ("delimiter", "record_bytes", "record_start", "preset") if self._is_given(name)]
        if len(ways) > 1:
            raise ValueError(f"expected only one of {' and '.join(ways)}: each says where records begin")
        if self.delimiter is not None:
            self._require_delimiter(self.delimiter)
        if self.record_start is not None:
            _require_pattern(self.record_start)
        if self.record_bytes is not None and self.length > self.limit_bytes:
            raise ValueError("expected record_bytes to be at most max_record_bytes")
        if self.record_bytes is not None and self.encoding not in _BYTE_ENCODINGS:
            raise ValueError(f"record_bytes counts stored bytes; in {self.encoding} they are no number of characters")
        self._require_columns()
        parse_bytes(self.max_record_bytes)

    def _is_given(self, name: str) -> bool:
        value: Any = getattr(self, name)
        return value is not None

    def _require_columns(self) -> None:
        if self.pattern is not None and self.preset is not None:
            raise ValueError("expected only one of pattern and preset: each says what the columns are")
        if self.columns and self.pattern is None and self.preset is None:
            raise ValueError("expected columns only beside a pattern or a preset; text has the one column `line`")
        names = _log_lines.group_names(self.pattern) if self.pattern is not None else [*self.columns]
        unknown = next((name for name in self.columns if name not in names), None)
        if unknown is not None:
            raise ValueError(f"expected columns that the pattern has groups for; it has none named {unknown}")

    def _require_delimiter(self, delimiter: str) -> None:
        try:
            size = len(_encodings.delimiter_bytes(delimiter, self.encoding)[0])
        except UnicodeEncodeError:
            raise ValueError(f"the delimiter cannot be written in {self.encoding}") from None
        except UnicodeDecodeError:
            raise ValueError(f"the delimiter's bytes are no characters of {self.encoding}") from None
        if not 1 <= size <= _MAX_DELIMITER_BYTES:
            raise ValueError(f"expected a delimiter of 1 to {_MAX_DELIMITER_BYTES} bytes")

    @property
    def limit_bytes(self) -> int:
        """`max_record_bytes` in bytes."""
        return parse_bytes(self.max_record_bytes)

    @property
    def length(self) -> int:
        """`record_bytes` in bytes."""
        return parse_bytes(self.record_bytes or 1)

    @property
    def null_texts(self) -> frozenset[str]:
        """The texts that stand for no value: by default the dash of the well-known logs."""
        if self.nulls is None:
            return frozenset("-") if self.preset is not None else frozenset()
        return frozenset([self.nulls] if isinstance(self.nulls, str) else self.nulls)


def _require_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"expected a regular expression of Python's `re`: {error}") from None
