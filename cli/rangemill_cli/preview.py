"""The first rows of a result, whatever it was written as."""

import csv
import io
import json
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

# Reads the first bytes of an output (None: all of it).
type Reader = Callable[[str, int | None], bytes]

_HEAD_BYTES: Final = 256 * 1024
_CELL_CHARS: Final = 60

type Row = dict[str, Any]


def rows(outputs: list[str], read: Reader, most: int) -> tuple[list[Row], bool]:
    """The first rows over all outputs, and whether there are more."""
    found: list[Row] = []
    for output in outputs:
        if len(found) > most:
            break
        if output.endswith(".parquet"):
            found += _parquet(read(output, None), most + 1)
        else:
            found += _text(output, read(output, _HEAD_BYTES))
    return found[:most], len(found) > most


def _text(output: str, head: bytes) -> list[Row]:
    if len(head) >= _HEAD_BYTES:  # the last line may be cut
        head = head[: head.rfind(b"\n") + 1]
    text = head.decode("utf-8", "replace")
    if output.endswith(".csv"):
        return [dict(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
    values = [json.loads(line, parse_float=Decimal) for line in text.split("\n") if line.strip()]  # digits as written
    return [value if isinstance(value, dict) else {"value": value} for value in values]


def _parquet(body: bytes, most: int) -> list[Row]:
    import duckdb  # noqa: PLC0415 - only for Parquet

    with tempfile.NamedTemporaryFile(suffix=".parquet") as file, duckdb.connect() as connection:
        Path(file.name).write_bytes(body)
        relation = connection.read_parquet(file.name).limit(most)
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text.replace("\n", "⏎")
    return text if len(text) <= _CELL_CHARS else f"{text[: _CELL_CHARS - 1]}…"
