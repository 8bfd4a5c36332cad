"""The one Logger, Tracer and Metrics, and what every handler is wrapped in.

Logs carry job and generation, never record bytes. Metrics have the pipeline as their only dimension, so that their
number grows with the pipelines and not with the jobs.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, cast

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from rangemill.errors import shortened
from rangemill.limits import JOB_TOKEN_CHARS

__all__ = ["LambdaContext", "logger", "measure", "metrics", "observed", "pipeline_of", "tracer"]

SERVICE: Final = "rangemill"
NAMESPACE: Final = "Rangemill"
_CAUSE_MAX_CHARS: Final = 120  # escaped twice and with its frame still a few hundred bytes

type Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]

logger = Logger(service=SERVICE)
# No automatic patching: a worker's reads run in threads, which have no segment to hang theirs on.
tracer = Tracer(service=SERVICE, auto_patch=False)
# Without a service, which Powertools would add as a second dimension.
metrics = Metrics(namespace=NAMESPACE)

_UNITS: Final = {"Bytes": MetricUnit.Bytes, "Milliseconds": MetricUnit.Milliseconds}


def observed(handler: Handler) -> Handler:
    """Logs with the Lambda context and nothing left from the invocation before; one trace segment, without payloads."""

    @wraps(handler)
    def with_keys(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        carried = event.get("context", event)
        logger.append_keys(**{name: carried[name] for name in ("job_id", "generation", "wave") if name in carried})
        answer = handler(event, context)
        logger.info("done", extra={"answer": answer})
        return answer

    def brief(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        try:
            return logged(event, context)
        except Exception as error:
            logger.exception("failed")
            raise in_brief(error) from None

    traced = tracer.capture_lambda_handler(with_keys, capture_response=False)
    logged: Handler = logger.inject_lambda_context(traced, clear_state=True)
    return wraps(handler)(brief)


def in_brief(error: Exception) -> Exception:
    """An error of the same name with the beginning of its text and no stack, as it passes through the state machine.

    An error's cause travels in the state's payload, which is to stay within a kilobyte; the log has all of it, and the
    job's row what people need.
    """
    kind = type(error)
    text = shortened(str(error), _CAUSE_MAX_CHARS)
    # A class of the same name whose instances need nothing of what the original's constructor asks for.
    brief: Any = type(kind.__name__, (kind,), {"__init__": lambda _: None, "__str__": lambda _: text})
    return cast("Exception", brief.__new__(brief))


def pipeline_of(job_id: str) -> str:
    """The pipeline in a job id: `<pipeline>-<token>`."""
    return job_id[: -JOB_TOKEN_CHARS - 1] or job_id


def measure(pipeline: str, **values: float) -> None:
    """Publish metrics of a pipeline; a name that ends in `Bytes` or `Milliseconds` has that unit, others count."""
    metrics.add_dimension("pipeline", pipeline)
    for name, value in values.items():
        unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), MetricUnit.Count)
        metrics.add_metric(name, unit, value)
    metrics.flush_metrics()
