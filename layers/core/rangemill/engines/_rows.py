"""The rows of a Python `finish`, written as JSONL, CSV or Parquet."""

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from rangemill.engines.base import FinishedRows
from rangemill.errors import UserCodeError, shortened

_JSON: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def write(rows: list[Any], output_format: str) -> FinishedRows:
    """The body of these rows.

    A row is a dict, a msgspec struct or a dataclass; of a list or tuple the columns are `c0`, `c1`, …, and a number
    or another plain value is a row of one column `c0`. Bytes become text (what is not UTF-8 in them as `\\xff`),
    decimals JSON numbers of exactly their digits. Raises `UserCodeError`.
    """
    writers: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}
    try:
        return FinishedRows(writers[output_format]([_row(row) for row in rows]), len(rows))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserCodeError(f"the rows of `finish` cannot be written as {output_format}: {error}") from error


def _row(row: Any) -> dict[str, Any]:
    if isinstance(row, msgspec.Struct):
        return {name: _plain(getattr(row, name)) for name in row.__struct_fields__}
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {f.name: _plain(getattr(row, f.name)) for f in dataclasses.fields(row)}
    if isinstance(row, Mapping):
        return {str(_plain(name)): _plain(value) for name, value in row.items()}
    if hasattr(row, "_asdict"):
        return _row(row._asdict())
    if isinstance(row, str | bytes):
        raise TypeError(
            f"a row is a dict, a struct, a list or a number, not the text {shortened(repr(row), 40)}; "
            "`finish` must return or `yield` rows, and a dict of rows wants `yield from rows.values()`"
        )
    values = row if isinstance(row, (list, tuple)) else [row]
    return {f"c{index}": _plain(value) for index, value in enumerate(values)}


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(member) for member in value), key=repr)
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(member) for key, member in value.items()}
    return value


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return _JSON.encode_lines(rows)


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: list[dict[str, Any]]) -> bytes:
    columns = _columns(rows)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if columns:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return _JSON.encode(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    from rangemill.engines import _parquet_rows  # noqa: PLC0415 - DuckDB only where Parquet is written

    return _parquet_rows.write(rows, _columns(rows))
