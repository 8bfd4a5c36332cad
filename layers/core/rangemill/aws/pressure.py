"""Counting what AWS answers, below boto3's own retries: these hide throttling from whoever made the request."""

from typing import Any, Final

from rangemill.aws.failures import TRANSIENT_CODES
from rangemill.pressure import Pressure

_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500


def watch(client: Any, pressure: Pressure) -> None:
    """Let every answer that a client gets be counted, those too that it answers itself by asking again."""

    def note(response: tuple[Any, dict[str, Any]] | None, **_: Any) -> None:
        if response is not None:  # else the connection broke: no word from the service
            http, parsed = response
            pressure.note(throttled=is_throttling(http.status_code, parsed.get("Error", {}).get("Code", "")))

    # Emitted for every attempt, before the client decides whether to make another one. Our answer is none.
    client.meta.events.register(f"needs-retry.{client.meta.service_model.service_id.hyphenize()}", note)


def is_throttling(status: int, code: str) -> bool:
    """Whether an answer means that less should be asked of the service. DynamoDB says so with 400."""
    return status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR or code in TRANSIENT_CODES
