"""`GET /_rangemill/identity`: which local cloud this is. Answers 503 until LocalStack is ready."""

from localstack.http import Request, Response, route
from localstack.runtime import events
from localstack.services.edge import ROUTER

from rangemill_local.settings import LOCALSTACK_VERSION, settings


@route("/_rangemill/identity", methods=["GET"])
def identity(_request: Request) -> Response:
    """Return the nonce that `up` gave this server, so that nobody takes another LocalStack for it."""
    if not events.infra_ready.is_set():
        return Response(status=503)
    return Response.for_json({"nonce": settings().nonce, "localstack": LOCALSTACK_VERSION})


def serve() -> None:
    """Add the route to LocalStack's own."""
    ROUTER.add(identity)
