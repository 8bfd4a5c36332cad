"""The edge of a Lambda function: its event becomes a typed message, its answer a document of the state machine."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from rangemill.errors import BadRequest, IntegrityError
from rangemill.limits import CONTEXT_MAX_BYTES
from rangemill.messages import Context


def parse[T: Struct](event: Mapping[str, Any], to: type[T]) -> T:
    """The message of an event; fields that it does not know are passed over. Raises `BadRequest`."""
    try:
        return msgspec.convert(event, to)
    except msgspec.ValidationError as error:
        raise BadRequest(f"this is no {to.__name__}: {error}") from None


def document(context: Context) -> dict[str, Any]:
    """What the state machine carries on. Raises `IntegrityError` when it outgrows its bound: it must never grow."""
    size = len(msgspec.json.encode(context))
    if size > CONTEXT_MAX_BYTES:
        raise IntegrityError(f"the context of job {context.job_id} is {size} bytes, more than {CONTEXT_MAX_BYTES}")
    answer: dict[str, Any] = msgspec.to_builtins(context)
    return answer
