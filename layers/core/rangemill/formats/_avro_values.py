"""Avro values as texts that are exactly one value of an SQL type."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Context
from typing import Any, Final

from rangemill.errors import BadRecord

# A value as it is read without its logical type -> what stands for it in JSON; None stays None.
ToJson = Callable[[Any], Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_PER_SECOND: Final = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}


def blob(value: bytes | bytearray) -> str:
    """Bytes as DuckDB casts a text to a BLOB."""
    digits = value.hex()
    return "".join([f"\\x{digits[at : at + 2]}" for at in range(0, len(digits), 2)])


def as_json(value: Any) -> Any:
    """A value of a type that SQL has not: JSON, its bytes as `\\xFF`."""
    if isinstance(value, (bytes, bytearray)):
        return blob(value)
    if isinstance(value, dict):
        return {name: as_json(member) for name, member in value.items()}
    if isinstance(value, list):
        return [as_json(member) for member in value]
    if isinstance(value, float) and value - value != 0:  # JSON has no words for these
        return str(value)
    return value


def decimal(precision: int, scale: int) -> ToJson:
    """Unscaled bytes as a decimal's digits. What that gives raises `BadRecord` for digits too many."""
    context = Context(prec=precision + 2)

    def text(value: bytes) -> str:
        unscaled = int.from_bytes(value, "big", signed=True)
        if abs(unscaled) >= 10**precision:
            raise BadRecord(f"a decimal has more than the {precision} digits of its schema")
        return format(context.create_decimal(unscaled).scaleb(-scale, context), "f")

    return text


def day(value: int) -> str:
    """Days since 1970. Raises `BadRecord` for one that Python has not either."""
    try:
        return date.fromordinal(_EPOCH_DAY + value).isoformat()
    except (ValueError, OverflowError):
        raise BadRecord("a day lies beyond the years 1 to 9999") from None


def _clock(unit: str) -> ToJson:
    per_second = _PER_SECOND[unit]
    digits = len(str(per_second)) - 1

    def text(value: int) -> str:
        seconds, parts = divmod(value, per_second)
        if not 0 <= seconds < 24 * 3600:
            raise BadRecord("a time of day lies outside the day")
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{parts:0{digits}}"

    return text


def _moment(unit: str, zone: str) -> ToJson:
    per_second = _PER_SECOND[unit]
    digits = len(str(per_second)) - 1

    def text(value: int) -> str:
        seconds, parts = divmod(value, per_second)
        try:
            moment = _EPOCH + timedelta(seconds=seconds)
        except OverflowError:
            raise BadRecord("a time lies beyond the years 1 to 9999") from None
        return f"{moment:%H:%M:%S}.{parts:0{digits}}{zone}".join((f"{moment.date().isoformat()} ", ""))

    return text


def _times() -> Iterator[tuple[tuple[str, str], tuple[str, ToJson]]]:
    yield ("time-millis", "int"), ("TIME", _clock("millis"))
    yield ("time-micros", "long"), ("TIME", _clock("micros"))
    for unit in _PER_SECOND:
        with_zone = ("TIMESTAMP WITH TIME ZONE", _moment(unit, "+00"))
        plain_time = ("TIMESTAMP_NS" if unit == "nanos" else "TIMESTAMP", _moment(unit, ""))
        # SQL has no type for nanoseconds with a zone: they are UTC.
        yield (f"timestamp-{unit}", "long"), plain_time if unit == "nanos" else with_zone
        yield (f"local-timestamp-{unit}", "long"), plain_time


TIMES: Final = dict(_times())
