"""What every state's function does around its core: an error leaves its data in the job row before it is raised."""

from collections.abc import Callable

from rangemill.errors import RangemillError, Superseded
from rangemill.gateways import Gateways
from rangemill.messages import Context


def guarded(step: Callable[[], Context], context: Context, gateways: Gateways) -> Context:
    """Run a step. The state machine sees only an error's name and sentence; object and offset go into the row."""
    try:
        return step()
    except Superseded:
        raise
    except RangemillError as error:
        gateways.jobs.note_error(context.job_id, context.generation, error.to_json())
        raise
