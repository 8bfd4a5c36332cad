"""What a worker leaves beside its outcome, and which counts once the outcome names it: rejects and output parts."""

import secrets

from rangemill import keys
from rangemill.gateways import Gateways
from rangemill.messages import ApplyMessage
from rangemill.pipeline import Pipeline


def put_rejects(message: ApplyMessage, gateways: Gateways, body: bytes) -> str | None:
    """The rejected records under a name of this attempt's own: only the outcome that names it makes them count."""
    if not body:
        return None
    key = keys.rejects(message.job_id, message.wave, message.item.slot, secrets.token_hex(4))
    gateways.store.put(key, body)
    return key


def publish_part(message: ApplyMessage, pipeline: Pipeline, gateways: Gateways, body: bytes) -> str:
    """An output part under a name of this attempt's own: only the manifest makes it count."""
    name = f"parts/w{message.wave:06d}-s{message.item.slot:05d}-{secrets.token_hex(4)}.{pipeline.output.format}"
    key = output_root(pipeline, message.job_id) + name
    gateways.store.put(key, body)
    return key


def output_root(pipeline: Pipeline, job_id: str) -> str:
    """Where the job's output goes: a key of the work bucket, or `s3://bucket/prefix/<job id>/` as the pipeline says."""
    if pipeline.output.to is None:
        return keys.results(pipeline.name, job_id)
    return f"{pipeline.output.to.rstrip('/')}/{job_id}/"
