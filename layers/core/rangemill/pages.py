"""Reading a job's settled documents: request, plan, pages, checkpoint. Each is written once and never changed."""

from functools import lru_cache

from rangemill import keys, messages
from rangemill.errors import IntegrityError
from rangemill.gateways import Store
from rangemill.messages import Checkpoint, JobRequest, Plan, PlanPage
from rangemill.pipeline import Pipeline, parse_pipeline


def required(store: Store, key: str, span: tuple[int, int] | None = None) -> bytes:
    """The bytes of a document that must be there. Raises `IntegrityError` naming it."""
    body = store.get(key, span)
    if body is None:
        raise IntegrityError(f"{store.uri(key)} is missing: it was deleted while its job still needed it")
    return body


def request(store: Store, job_id: str) -> JobRequest:
    """What was asked."""
    key = keys.request(job_id)
    return messages.decode(required(store, key), JobRequest, key)


def plan(store: Store, job_id: str, number: int = 0) -> Plan:
    """The settled plan; by its number the one that a redrive renewed."""
    key = keys.plan(job_id, number)
    return messages.decode(required(store, key), Plan, key)


def newest_plan(store: Store, job_id: str, number: int) -> Plan:
    """The plan of that number, or the newest before it: a redrive that was never planned has left none."""
    while number and store.get(keys.plan(job_id, number)) is None:
        number -= 1
    return plan(store, job_id, number)


def plan_page(store: Store, job_id: str, page: int) -> PlanPage:
    """A page of pinned objects."""
    key = keys.plan_page(job_id, page)
    return messages.decode(required(store, key), PlanPage, key)


def checkpoint(store: Store, pointer: str) -> Checkpoint:
    """The checkpoint that the row points at."""
    return messages.decode(required(store, pointer), Checkpoint, pointer)


@lru_cache(maxsize=8)
def pipeline(text: str, file: str) -> Pipeline:
    """The pipeline as the job was planned with, parsed once per process."""
    return parse_pipeline(text, file)


def pipeline_of(settled: Plan) -> Pipeline:
    """The plan's pipeline."""
    return pipeline(settled.pipeline_text, settled.pipeline_file)
