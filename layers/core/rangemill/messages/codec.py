"""How documents become bytes and are read again: a reader takes the version before its own as well."""

from datetime import datetime
from typing import Any, Final

import msgspec

from rangemill.errors import BadRequest

VERSION: Final = 1
READABLE_VERSIONS: Final = frozenset({VERSION - 1, VERSION})


def encode(message: Any) -> bytes:
    """The JSON bytes of a document; the same document gives the same bytes."""
    return msgspec.json.encode(message)


def decode[T](body: bytes, to: type[T], what: str) -> T:
    """A document of the work bucket. Raises `BadRequest` when it is none, or of a version this code does not know."""
    try:
        message = msgspec.json.decode(body, type=to)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"{what} cannot be read: {error}") from None
    version = getattr(message, "v", VERSION)
    if version not in READABLE_VERSIONS:
        raise BadRequest(f"{what} has version {version}; this code reads {sorted(READABLE_VERSIONS)}")
    return message


def now_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds: sorts as text."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
