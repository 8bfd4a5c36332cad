"""Which way a plain gzip without restart points goes: one pass by one worker, or waves behind an indexer.

Plan times a sample of the first such object: inflating it, and applying the pipeline to what comes out. That is a guess
about speed and about nothing else: results and proof are the same either way.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from rangemill import compression, formats
from rangemill.blocks import Block
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Unit
from rangemill.engines.base import ObjectContext
from rangemill.errors import IncompleteProof
from rangemill.formats.base import Settled
from rangemill.gateways import Objects
from rangemill.limits import GZIP_SAMPLE_BYTES, GZIP_SAMPLE_MAX_OUTPUT_BYTES, INDEX_MIN_BYTES, KIB, MIB
from rangemill.messages import GzipWay, PinnedObject
from rangemill.pipeline import Pipeline
from rangemill.ranges import ByteRange
from rangemill.spans import read_span

_log: Final = logging.getLogger(__name__)  # in a function below the one Logger
UNKNOWN_END: Final = 2**62
# Applied one after the other, each with an engine of its own, until one takes long enough to be believed.
_STEPS_BYTES: Final = (64 * KIB, MIB, 8 * MIB)
_LONG_SECONDS: Final = 0.25

Settle = Callable[[PinnedObject], Settled]


@dataclass(frozen=True, slots=True)
class Job:
    """What the choice depends on beside the objects."""

    pipeline: Pipeline
    concurrency: int
    wave_seconds: float  # what a wave costs by itself
    overlaps: bool  # whether a worker has a second core, on which it inflates ahead
    settle: Settle  # the schema as it follows from one object
    objects: Objects
    seconds: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, slots=True)
class _Timing:
    """Decompressed bytes that a stored byte gives, and seconds that a decompressed one takes."""

    ratio: float
    inflate: float
    apply: float


def choose(
    pins: list[PinnedObject], before: GzipWay | None, bytes_before: int, job: Job
) -> tuple[list[PinnedObject], GzipWay | None]:
    """The pins of a page with how to read them, and the way that the job goes: as an earlier page has it, or as chosen.

    Objects that one of many workers has read before the others have done their share are streamed either way.
    """
    asked = job.pipeline.format.nesting.gzip
    total = bytes_before + sum(pin.size_bytes for pin in pins)
    if job.pipeline.format.type == "object":
        return pins, before
    worth = [pin for pin in pins if _is_plain(pin) and (asked == "index" or _is_large(pin, total, job.concurrency))]
    if not worth:
        return pins, before
    if before is None:
        way = _choose(worth[0], asked, job)
        _log.info("plain gzip: %s", way.way, extra={"gzip": msgspec.to_builtins(way)})
    else:
        way = before
    if way.way == "stream":
        return pins, way
    chosen = {pin.index for pin in worth}
    behind = {"compression": compression.BEHIND_INDEXER, "whole": False}
    return [replace(pin, **behind) if pin.index in chosen else pin for pin in pins], way


def _is_plain(pin: PinnedObject) -> bool:
    return pin.compression == compression.STREAM and not pin.archive and pin.size_bytes > 0


def _is_large(pin: PinnedObject, total_bytes: int, concurrency: int) -> bool:
    return pin.size_bytes >= INDEX_MIN_BYTES and pin.size_bytes * concurrency > total_bytes


def _choose(pin: PinnedObject, asked: str, job: Job) -> GzipWay:
    chosen = partial(GzipWay, first_seconds=job.wave_seconds, object=pin.uri)
    if asked == "index":
        return chosen("index", "`format.gzip` is `index`")
    if asked == "stream":
        return chosen("stream", "`format.gzip` is `stream`")
    try:
        timing = _timed(pin, job)
    except Exception as error:  # noqa: BLE001 - of a guess; whoever does the work will meet it and name it
        return chosen("stream", f"a sample of it could not be timed: {type(error).__name__}: {error!s:.200}")
    way, why = _judged(timing, pin.size_bytes, job)
    speeds = (1 / each if each else None for each in (timing.inflate, timing.apply))
    inflate, apply = (round(speed) if speed is not None else None for speed in speeds)
    return chosen(way, why, inflate_bytes_per_second=inflate, apply_bytes_per_second=apply)


def _judged(timing: _Timing, size_bytes: int, job: Job) -> tuple[Any, str]:
    apply_ms, inflate_ms = (each * MIB * 1000 for each in (timing.apply, timing.inflate))
    told = f"applying takes {apply_ms:.2f} ms a decompressed MiB, inflating {inflate_ms:.2f} ms"
    if timing.apply <= timing.inflate:
        return "stream", f"{told}: one worker does both in one pass"
    logical = size_bytes * timing.ratio
    both = logical * (timing.inflate + timing.apply)
    alone = logical * max(timing.inflate, timing.apply) if job.overlaps else both
    shared = (logical * timing.inflate + both) / job.concurrency
    behind = max(logical * timing.inflate, shared) + 2 * job.wave_seconds
    told = f"{told}; about {alone:.1f} s for one worker, {behind:.1f} s behind an indexer"
    if behind >= alone:
        return "stream", f"{told}: one pass is over as soon"
    return "index", f"{told}: waves follow behind an indexer"


def _timed(pin: PinnedObject, job: Job) -> _Timing:
    """Raises whatever format, engine and user code raise over the beginning of the object."""
    data = read_span(job.objects, pin, 0, min(GZIP_SAMPLE_BYTES, pin.size_bytes))
    settled = job.settle(pin)
    began = job.seconds()
    pieces = list(_inflated(data, pin))
    inflate = job.seconds() - began
    sample_bytes = sum(map(len, pieces))
    apply = 0.0
    for step in _STEPS_BYTES:
        # What follows the step is for the record that goes on behind it.
        end = min(step, sample_bytes - sample_bytes // 4)
        taken = _applied(pieces, end, pin, settled, job)
        apply = taken / end
        if taken >= _LONG_SECONDS or end < step:
            break
    return _Timing(sample_bytes / len(data), inflate / sample_bytes, apply)


def _inflated(data: bytes, pin: PinnedObject) -> Iterator[bytes]:
    stored = Stored(iter((data,)), ByteRange(0, pin.size_bytes), pin.size_bytes, pin.size_bytes, _no_crc)
    around = Around(pin, lambda start, end: data[start:end])
    given = 0
    try:
        for event in compression.load("gzip").session(stored, "gzip:small", around).decode():
            if not isinstance(event, Unit):
                yield event
                given += len(event)
            if given >= GZIP_SAMPLE_MAX_OUTPUT_BYTES:
                return
    except IncompleteProof:  # the sample ends; damage is something else
        return


def _applied(pieces: list[bytes], end: int, pin: PinnedObject, settled: Settled, job: Job) -> float:
    """Seconds that the pipeline takes over the records that begin before `end`."""
    # Imported here: Plan needs no engine where there is nothing to time.
    from rangemill.engines import make_engine  # noqa: PLC0415

    engine = make_engine(job.pipeline, settled)
    began = job.seconds()
    engine.begin_object(ObjectContext(pin.bucket, pin.key, pin.version_id, pin.member))
    module = formats.load(settled.format)
    events = module.align(ByteRange(0, end), end, UNKNOWN_END, iter(pieces), settled, _no_crc, lambda: False)
    for event in events:
        if isinstance(event, Block):
            engine.take(event)
    engine.finish()
    return job.seconds() - began


def _no_crc(_: bytes, value: int) -> int:
    return value
