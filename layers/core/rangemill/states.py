"""What every state's function does around its core: an error leaves its data in the job row before it is raised."""

from collections.abc import Callable
from contextlib import suppress

from rangemill.errors import RangemillError, Superseded, shortened
from rangemill.gateways import Gateways
from rangemill.messages import Context


def guarded(step: Callable[[], Context], context: Context, gateways: Gateways) -> Context:
    """Run a step. The state machine sees only an error's name and how it begins; the rest goes into the row."""
    try:
        return step()
    except Superseded:
        raise
    except Exception as error:
        noted = (
            error.to_json()
            if isinstance(error, RangemillError)
            else {"type": type(error).__name__, "message": shortened(str(error)), "object": None, "offset": None}
        )
        with suppress(RangemillError):  # what went wrong first is what people must hear of
            gateways.jobs.note_error(context.job_id, context.generation, noted)
        raise
