"""The codec of partials: msgpack with own types for what Python programs fold with. Never pickle.

Exact: None, bool, int of any size, float (NaN and infinities too), str (lone surrogates too), bytes, list, tuple, dict,
set, frozenset, Counter, defaultdict with a plain built-in factory, Decimal, date, datetime (naive, with an offset or a
ZoneInfo), time, timedelta. Keys of a dict may be any of these that can be hashed. Anything else is refused, subclasses
too: what comes back must be what went in.
"""

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgpack  # type: ignore[import-untyped]

from rangemill.errors import IntegrityError, UnsupportedPartial

_CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset, Counter, defaultdict})
_FACTORIES: Final = {f.__name__: f for f in (int, float, str, bool, list, dict, set, tuple, Counter)}
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})


def encode(partial: Any) -> bytes:
    """The partial as bytes; equal sets give equal bytes. Raises `UnsupportedPartial`, naming the path inside."""
    try:
        try:
            packed = _pack(partial)
        except UnicodeEncodeError:
            packed = _pack(partial, "surrogatepass")  # slower, so only where a text needs it
    except _Refused:
        path, problem = _find_refused(partial, "$") or ("$", type(partial).__name__)
        raise UnsupportedPartial(
            f"the partial holds a value that cannot be kept exactly: {path}: {problem}; "
            "use None, bool, int, float, str, bytes, list, tuple, dict, set, Counter, defaultdict, Decimal or datetime"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UnsupportedPartial(f"the partial is nested too deeply or contains itself ({error})") from None
    _refuse_buffers(partial)
    return packed


def decode(data: bytes) -> Any:
    """What `encode` was given. Raises `IntegrityError` for bytes that it did not make."""
    try:
        return _unpack(data)
    except Exception as error:
        raise IntegrityError(f"these {len(data)} bytes are not a partial: {type(error).__name__}: {error}") from error


class _Refused(Exception):
    """A value of a type that has no exact encoding."""


def _pack(value: Any, unicode_errors: str | None = None) -> bytes:
    def own_type(value: Any) -> msgpack.ExtType:
        encoder = _ENCODERS.get(type(value))
        if encoder is None:
            raise _Refused
        code, to_plain = encoder
        if type(value) in (set, frozenset):
            parts = sorted(_pack(member, unicode_errors) for member in value)
            return msgpack.ExtType(code, b"".join(parts))
        return msgpack.ExtType(code, _pack(to_plain(value), unicode_errors))

    packed = msgpack.packb(value, default=own_type, strict_types=True, unicode_errors=unicode_errors)
    return bytes(packed)


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, ext_hook=_own_type, strict_map_key=False, unicode_errors="surrogatepass")


def _own_type(code: int, data: bytes) -> Any:
    if code in (_SET, _FROZENSET):
        unpacker = msgpack.Unpacker(
            ext_hook=_own_type, strict_map_key=False, unicode_errors="surrogatepass", max_buffer_size=len(data) or 1
        )
        unpacker.feed(data)
        return set(unpacker) if code == _SET else frozenset(unpacker)
    return _DECODERS[code](_unpack(data))


def _zone_to_plain(zone: tzinfo | None) -> list[Any] | None:
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key is not None:
        return [zone.key]
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        return [_delta_to_plain(offset), None if name == timezone(offset).tzname(None) else name]
    raise _Refused


def _zone(plain: list[Any] | None) -> tzinfo | None:
    if plain is None:
        return None
    if len(plain) == 1:
        return ZoneInfo(plain[0])
    offset = timedelta(*plain[0])
    if plain[1] is not None:
        return timezone(offset, plain[1])
    return timezone(offset) if offset else UTC


def _delta_to_plain(delta: timedelta) -> list[int]:
    return [delta.days, delta.seconds, delta.microseconds]


def _int_to_plain(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _datetime_to_plain(v: datetime) -> list[Any]:
    return [v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.fold, _zone_to_plain(v.tzinfo)]


def _time_to_plain(v: time) -> list[Any]:
    return [v.hour, v.minute, v.second, v.microsecond, v.fold, _zone_to_plain(v.tzinfo)]


def _defaultdict_to_plain(value: defaultdict[Any, Any]) -> list[Any]:
    factory = value.default_factory
    if factory is None:
        return [None, dict(value)]
    name = getattr(factory, "__name__", "")
    if _FACTORIES.get(name) is not factory:
        raise _Refused
    return [name, dict(value)]


def _defaultdict(plain: list[Any]) -> defaultdict[Any, Any]:
    factory: Callable[[], Any] | None = None if plain[0] is None else _FACTORIES[plain[0]]
    return defaultdict(factory, plain[1])


# The codes are part of what lies in S3: never renumber, only add.
_TUPLE, _SET, _FROZENSET, _DECIMAL, _INT, _DATE, _DATETIME, _TIME, _DELTA, _COUNTER, _DEFAULTDICT = range(1, 12)
_ENCODERS: Final[dict[type, tuple[int, Callable[[Any], Any]]]] = {
    tuple: (_TUPLE, list),
    set: (_SET, list),
    frozenset: (_FROZENSET, list),
    Decimal: (_DECIMAL, str),
    int: (_INT, _int_to_plain),
    date: (_DATE, lambda v: [v.year, v.month, v.day]),
    datetime: (_DATETIME, _datetime_to_plain),
    time: (_TIME, _time_to_plain),
    timedelta: (_DELTA, _delta_to_plain),
    Counter: (_COUNTER, dict),
    defaultdict: (_DEFAULTDICT, _defaultdict_to_plain),
}
_DECODERS: Final[dict[int, Callable[[Any], Any]]] = {
    _TUPLE: tuple,
    _DECIMAL: Decimal,
    _INT: lambda plain: int.from_bytes(plain, "big", signed=True),
    _DATE: lambda plain: date(*plain),
    _DATETIME: lambda plain: datetime(*plain[:7]).replace(fold=plain[7], tzinfo=_zone(plain[8])),  # noqa: DTZ001 - as it was
    _TIME: lambda plain: time(*plain[:4]).replace(fold=plain[4], tzinfo=_zone(plain[5])),
    _DELTA: lambda plain: timedelta(*plain),
    _COUNTER: Counter,
    _DEFAULTDICT: _defaultdict,
}


def _refuse_buffers(partial: Any) -> None:
    """Raise for bytearray and memoryview, which msgpack packs as bytes without asking.

    Level by level over the containers' members, as fast as the collector walks them; `partial` has no cycle, since it
    was encoded.
    """
    level = [partial]
    while level:
        types = set(map(type, level))
        if bytearray in types or memoryview in types:
            path, problem = _find_refused(partial, "$") or ("$", "bytearray")
            raise UnsupportedPartial(
                f"the partial holds a value that cannot be kept exactly: {path}: {problem}; use bytes instead"
            )
        if types.isdisjoint(_CONTAINERS):
            return
        level = gc.get_referents(*[value for value in level if type(value) in _CONTAINERS])


def _find_refused(value: Any, path: str) -> tuple[str, str] | None:
    """The path and the type of the first value inside `value` that `encode` refuses."""
    kind = type(value)
    if kind in _PLAIN:
        return None
    if kind in _CONTAINERS:
        found = next(filter(None, (_find_refused(member, at) for member, at in _members(value, path))), None)
        if found is not None or kind is not defaultdict:
            return found
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        try:
            encoder[1](value)
        except _Refused:
            return path, f"{kind.__name__} {value!r:.80}"
        return None
    return path, f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _members(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield key, f"{path}.keys()[{key!r:.80}]"
            plain = isinstance(key, str) and key.isidentifier()
            yield member, f"{path}.{key}" if plain else f"{path}[{key!r:.80}]"
    elif isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            yield member, f"{path}[{index}]"
    else:
        for member in value:
            yield member, f"{path}{{{member!r:.80}}}"
