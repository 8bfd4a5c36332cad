"""`GET /_rangemill/requests?since=N`: the requests that services were asked since the one of number N, oldest first.

Each is [number, service, operation, HTTP status, whether a service of this cloud asked, what it named].
The last 200,000 are kept.
"""

import json
import threading
from collections import deque
from itertools import count
from typing import Any

from localstack.aws import handlers
from localstack.aws.api import RequestContext
from localstack.aws.chain import HandlerChain
from localstack.http import Request, Response, route
from localstack.services.edge import ROUTER

_KEPT = 200_000
_NAMED_MAX_CHARS = 500
_lock = threading.Lock()
_numbers = count(1)
_seen: deque[tuple[int, str, str, int, bool, str]] = deque(maxlen=_KEPT)


def note(_chain: HandlerChain, context: RequestContext, response: Response) -> None:
    """Keep one; what no service was meant by is left out."""
    if context.service is None or context.operation is None:
        return
    entry = (
        context.service.service_name,
        context.operation.name,
        response.status_code,
        context.is_internal_call,
        _named(context.service_request or {}),
    )
    with _lock:
        _seen.append((next(_numbers), *entry))


def _named(request: Any) -> str:
    """The request's own words without its body: names, keys, conditions."""
    short = {name: value for name, value in request.items() if name not in ("Body", "Payload") and value is not None}
    return json.dumps(short, default=str)[:_NAMED_MAX_CHARS]


@route("/_rangemill/requests", methods=["GET"])
def requests(request: Request) -> Response:
    """Return what was kept."""
    since = int(request.args.get("since", 0))
    with _lock:
        found = [entry for entry in _seen if entry[0] > since]
    return Response.for_json({"requests": found})


def serve() -> None:
    """Begin to count, and add the route to LocalStack's own."""
    handlers.run_custom_response_handlers.append(note)
    ROUTER.add(requests)
