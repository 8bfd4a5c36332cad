"""Avro blocks as Python values, exactly the file's: fastavro, with readers of our own where its change values."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context
from functools import cache
from io import BytesIO
from typing import Any, Final
from uuid import UUID

from rangemill.errors import BadRecord

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BROKEN: Final = (ValueError, EOFError, LookupError, TypeError, ArithmeticError, RecursionError, AttributeError)


def rows(data: bytes) -> Iterator[Any]:
    """The values of a small Avro file, each block of it read to its last byte. Raises `BadRecord`."""
    try:
        for block in _fastavro().block_reader(BytesIO(data)):
            yield from block
            if left := len(block.bytes_.read()):
                raise BadRecord(f"{left} bytes are left over behind a block's {block.num_records} records")
    except _BROKEN as error:
        raise BadRecord(f"it cannot be read as its schema says: {type(error).__name__}: {error}") from None


@cache
def _fastavro() -> Any:
    """fastavro, once per process: it rounds decimals that are longer than their precision, and knows no nanoseconds."""
    import fastavro  # noqa: PLC0415 - only Avro pays for it
    from fastavro.read import LOGICAL_READERS  # noqa: PLC0415

    LOGICAL_READERS["bytes-decimal"] = LOGICAL_READERS["fixed-decimal"] = _decimal
    LOGICAL_READERS["fixed-uuid"] = lambda data, *_: UUID(bytes=data)
    LOGICAL_READERS["long-timestamp-nanos"] = lambda data, *_: _moment(data)
    LOGICAL_READERS["long-local-timestamp-nanos"] = lambda data, *_: _moment(data).replace(tzinfo=None)
    return fastavro


def _decimal(data: bytes, writer_schema: Any = None, reader_schema: Any = None) -> Any:  # noqa: ARG001 - its interface
    precision, scale = writer_schema["precision"], writer_schema.get("scale", 0)
    unscaled = int.from_bytes(data, "big", signed=True)
    if abs(unscaled) >= 10**precision:
        raise BadRecord(f"a decimal has more than the {precision} digits of its schema")
    context = Context(prec=precision + 1)
    return context.create_decimal(unscaled).scaleb(-scale, context)


def _moment(nanoseconds: int) -> datetime:
    microseconds, rest = divmod(nanoseconds, 1000)
    if rest:
        raise BadRecord("a time has nanoseconds, which Python times have not; use SQL, or leave it out by `columns`")
    return _EPOCH + timedelta(microseconds=microseconds)
