"""Rows of Python values as one Parquet file, written by DuckDB."""

import tempfile
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec

_JSON: Final = msgspec.json.Encoder(enc_hook=str)  # decimals as text: DuckDB casts text to DECIMAL exactly
_DUCKDB_DIGITS: Final = 38


def write(rows: list[dict[str, Any]], columns: list[str]) -> bytes:
    """The file's bytes. A column's type is the narrowest that keeps all its values; what has none is JSON text.

    Raises ValueError for rows without columns and for values that fit no type.
    """
    if not columns:
        raise ValueError("there is no row that shows the columns' names")
    types = {name: _type([row[name] for row in rows if row.get(name) is not None]) for name in columns}
    nested = {name for name, of in types.items() if of == "JSON"}
    with tempfile.TemporaryDirectory(prefix="rangemill-") as folder, duckdb.connect() as connection:
        source, target = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        source.write_bytes(_JSON.encode_lines([_as_text(row, nested) for row in rows]))
        quoted = {name: of if of != "JSON" else "VARCHAR" for name, of in types.items()}
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 1")
        try:
            relation = connection.read_json(str(source), columns=quoted, format="newline_delimited")
            relation.write_parquet(str(target), compression="zstd")
        except duckdb.Error as error:
            raise ValueError(str(error)) from error
        return target.read_bytes()


def _as_text(row: dict[str, Any], nested: set[str]) -> dict[str, Any]:
    return {
        name: _JSON.encode(value).decode() if name in nested and not isinstance(value, str) else value
        for name, value in row.items()
    }


_TYPES: Final[dict[frozenset[type], str]] = {
    frozenset({bool}): "BOOLEAN",
    frozenset({float}): "DOUBLE",
    frozenset({int, float}): "DOUBLE",
    frozenset({date}): "DATE",
    frozenset({time}): "TIME",
    frozenset({str}): "VARCHAR",
    frozenset(): "VARCHAR",
}


def _type(values: list[Any]) -> str:
    kinds = frozenset(type(value) for value in values)
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return "BIGINT"
    if kinds and kinds <= {int, Decimal}:
        return _decimal([Decimal(value) for value in values])
    if kinds == {datetime}:
        return "TIMESTAMPTZ" if all(value.tzinfo for value in values) else "TIMESTAMP"
    return _TYPES.get(kinds, "JSON")


def _decimal(values: list[Decimal]) -> str:
    scale = digits = 0
    for value in values:
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int):
            return "DOUBLE"  # NaN or an infinity
        scale = max(scale, -exponent)
        digits = max(digits, value.adjusted() + 1)
    if digits + scale > _DUCKDB_DIGITS:
        raise ValueError(f"a decimal of {digits} digits before and {scale} after the point is wider than DECIMAL(38)")
    return f"DECIMAL({digits + scale or 1}, {scale})"
