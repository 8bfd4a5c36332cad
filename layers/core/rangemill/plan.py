"""Plan: pin the objects in pages, settle the schema once, and write the plan and the first checkpoint."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from rangemill import choosing, decide, formats, keys, messages, pages, pinning, renewal, sharing
from rangemill.archives import foreign
from rangemill.archives.expand import Expander, passed_over_sentence
from rangemill.archives.pages import PageBuilder, reads_archives
from rangemill.archives.sample import logical_head, of_compressed_tar
from rangemill.compression import looking
from rangemill.errors import AccessRefused, BadRequest, RangemillError
from rangemill.formats import auto
from rangemill.formats.base import Sample, Settled
from rangemill.gateways import Gateways, Objects, Store
from rangemill.limits import PLAN_STEP_PAGES, SAMPLE_BYTES, WAVE_OWN_SECONDS
from rangemill.messages import (
    Checkpoint,
    CodeIdentity,
    Context,
    Cursor,
    JobRequest,
    JobRow,
    Next,
    PinnedObject,
    PipelineDocument,
    Plan,
    PlanPage,
    StateMessage,
    now_text,
)
from rangemill.pipeline import FormatSpec, Pipeline
from rangemill.sources import PinnedSource
from rangemill.spans import read_span

_SAMPLED_OBJECTS: Final = 3


@dataclass(frozen=True, slots=True)
class Defaults:
    """The stack's own choices, where neither pipeline nor request makes one."""

    range_bytes: int
    concurrency: int
    history_budget_events: int
    wave_seconds: float = WAVE_OWN_SECONDS  # what a wave costs by itself
    overlaps: bool = False  # whether a worker has a second core to inflate on: no Lambda of 1,769 MB does
    writable_buckets: tuple[str, ...] | None = None  # that the stack may write output to; None: nobody knows


def run(message: StateMessage, gateways: Gateways, defaults: Defaults, code: CodeIdentity) -> Context:
    """One step of planning. Returns `next`: MORE_PLAN, FETCH, or FINISH for a job that was taken over at its end.

    Raises `Superseded`, `BadRequest`, `ObjectMissing`, `ObjectChanged`, `AccessRefused`, `BadRecord`.
    """
    context = message.context
    moment = now_text(gateways.clock())
    row = gateways.jobs.take_generation(context.job_id, context.generation, message.execution_arn, moment)
    if row.pointer is None:
        pager = _Pager(row, gateways, defaults)
        for number in range(context.plan_page, context.plan_page + PLAN_STEP_PAGES):
            page = pager.page(number)
            if page.resume is None:
                break
        else:
            return Context(context.job_id, context.generation, "MORE_PLAN", plan_page=number + 1)
        row = _settle(row, number + 1, page, gateways, defaults, code)
    elif row.plan_number:
        renewal.renew(row, gateways.store, code)
    if row.pointer is None:  # `planned` returns the row as it stands, with a pointer
        raise BadRequest(f"job {context.job_id} has no checkpoint after planning")
    settled = pages.plan(gateways.store, context.job_id, row.plan_number)
    _require_writable(pages.pipeline_of(settled), defaults)
    checkpoint = pages.checkpoint(gateways.store, row.pointer)
    following: Next = "FINISH" if decide.is_complete(checkpoint, settled) else "FETCH"
    return Context(context.job_id, context.generation, following, wave=row.wave)


def _require_writable(pipeline: Pipeline, defaults: Defaults) -> None:
    """Raise `AccessRefused` for an output that no role of the stack may write: before the work, not after."""
    if pipeline.output.to is None or defaults.writable_buckets is None:
        return
    bucket = pipeline.output.to.removeprefix("s3://").partition("/")[0]
    if bucket not in defaults.writable_buckets:
        raise AccessRefused(
            f"the stack may not write to {pipeline.output.to}: the policies `write-output` (Finish) and `write-parts` "
            f"(Apply) grant s3:PutObject for the buckets that its parameter OutputBuckets names, and {bucket} is none "
            "of them; deploy with it, and with its key under OutputKeyArns if it is encrypted with one"
        )


class _Pager:
    """Makes the pages of a job, or finds them made; keeps what one page learns for the next."""

    def __init__(self, row: JobRow, gateways: Gateways, defaults: Defaults) -> None:
        self._row = row
        self._job_id = row.job_id
        self._gateways = gateways
        self._defaults = defaults
        self._builder: PageBuilder | None = None

    def page(self, number: int) -> PlanPage:
        """The page of that number: the one that was put first, whoever put it."""
        store, key = self._gateways.store, keys.plan_page(self._job_id, number)
        if store.get(key) is None:
            store.put_once(key, messages.encode(self._build(number)))
        return self._made(number)

    def _build(self, number: int) -> PlanPage:
        request = requested(self._gateways.store, self._row)
        pipeline = pages.pipeline(request.pipeline_text, request.pipeline_file)
        spec = pipeline.format
        before = self._made(number - 1) if number > 0 else None
        of_archives = None
        if reads_archives(spec):
            objects = self._gateways.objects
            self._builder = self._builder or PageBuilder(
                request, spec, objects, Expander(objects, spec.nesting), self._made
            )
            of_archives = partial(self._builder.build, number)
        range_bytes = _range_bytes(request, self._defaults)
        page = pinning.build_page(request, before, self._gateways.objects, range_bytes, spec, of_archives)
        objects = self._gateways.objects
        pins = looking.look_at_all(page.objects, spec, objects, self._gateways.store)
        job = choosing.Job(
            pipeline,
            _concurrency(request, pipeline, self._defaults),
            self._defaults.wave_seconds,
            self._defaults.overlaps,
            lambda pin: settle_schema(pipeline, [pin], objects),
            objects,
        )
        pins, gzip_way = choosing.choose(pins, before.gzip if before is not None else None, page.bytes_before, job)
        return msgspec.structs.replace(page, objects=pins, level=looking.level(pins, page.level), gzip=gzip_way)

    def _made(self, number: int) -> PlanPage:
        return pages.plan_page(self._gateways.store, self._job_id, number)


def requested(store: Store, row: JobRow) -> JobRequest:
    """What was asked, with the document that counts; one that was only named gets it here, where it is deployed.

    Raises `UnknownPipeline`.
    """
    request = pages.request(store, row.job_id)
    document = renewal.document_for(row, request, store)
    if not document.text:
        # Imported here: jobs of events bring their document along, and reading a whole catalog is not free.
        from rangemill import catalog  # noqa: PLC0415

        entry = catalog.deployed().find(request.pipeline_name)
        document = PipelineDocument(entry.text, entry.file)
    return msgspec.structs.replace(request, pipeline_text=document.text, pipeline_file=document.file)


def _settle(
    row: JobRow, page_count: int, last_page: PlanPage, gateways: Gateways, defaults: Defaults, code: CodeIdentity
) -> JobRow:
    """Everything that is decided once: schema, sizes, code. Put once; a repeat takes the first one's."""
    store, plan_key = gateways.store, keys.plan(row.job_id, row.plan_number)
    request = requested(store, row)
    objects = last_page.objects_before + len(last_page.objects)
    if objects == 0:
        if request.objects:
            passed_over = passed_over_sentence(last_page.passed_over) or "they are empty"
            raise BadRequest(f"the archives hold no file that `format.members` means; {passed_over}")
        where = ", ".join(f"s3://{p.bucket}/{p.prefix}" for p in request.prefixes)
        raise BadRequest(f"no object lies under {where}; there is nothing to run {request.pipeline_name} over")
    if store.get(plan_key) is None:
        pipeline = pages.pipeline(request.pipeline_text, request.pipeline_file)
        sampled = _objects_to_sample(store, row.job_id, page_count)
        settled = settle_schema(pipeline, sampled, gateways.objects)
        # Imported here: a repeat of Plan, and every generation after the first, needs no engine.
        from rangemill.engines import check_pipeline  # noqa: PLC0415

        size_bytes = last_page.bytes_before + sum(o.size_bytes for o in last_page.objects)
        warnings = check_pipeline(pipeline, settled if size_bytes else None)  # of nothing no columns are known
        budget = request.history_budget_events or defaults.history_budget_events
        plan = Plan(
            request.job_id,
            request.pipeline_name,
            request.pipeline_text,
            request.pipeline_file,
            settled,
            code,
            range_bytes=_range_bytes(request, defaults),
            concurrency=_concurrency(request, pipeline, defaults),
            history_budget_events=budget,
            objects=objects,
            bytes=size_bytes,
            pages=page_count,
            warnings=[*_notes(settled, last_page), *looking.notes(sampled, pipeline.format), *warnings],
            level=last_page.level if last_page.level != "bytes" and settled.level != "stream" else "",
            gzip=last_page.gzip,
        )
        store.put_once(plan_key, messages.encode(plan))
    plan = pages.plan(store, row.job_id, row.plan_number)
    pointer = keys.checkpoint(row.job_id, 0, "plan")
    begin = Checkpoint(row.job_id, 0, Cursor())
    store.put_once(pointer, messages.encode(begin))
    return gateways.jobs.planned(
        row.job_id,
        row.generation,
        pointer,
        plan.objects,
        plan.bytes,
        own_workers=plan.concurrency,
        wants=sharing.wants(begin, plan),
    )


def _notes(settled: Settled, last_page: PlanPage) -> list[str]:
    passed_over = passed_over_sentence(last_page.passed_over)
    return settled.notes if passed_over is None else [*settled.notes, passed_over]


def _concurrency(request: JobRequest, pipeline: Pipeline, defaults: Defaults) -> int:
    return request.concurrency or pipeline.limits.concurrency or defaults.concurrency


def _range_bytes(request: JobRequest, defaults: Defaults) -> int:
    limits = pages.pipeline(request.pipeline_text, request.pipeline_file).limits
    return request.range_bytes or (int(limits.range_bytes) if limits.range_bytes is not None else defaults.range_bytes)


def _objects_to_sample(store: Store, job_id: str, page_count: int) -> list[PinnedObject]:
    """The first page that has an object with bytes: a suffix may leave whole pages out."""
    objects: list[PinnedObject] = []
    for number in range(page_count):
        objects = pages.plan_page(store, job_id, number).objects
        if any(o.size_bytes for o in objects):
            break
    return objects


def settle_schema(pipeline: Pipeline, objects: list[PinnedObject], reader: Objects) -> Settled:
    """Names and types of the job's records, from samples of a few objects. Raises `BadRecord`."""
    present = [o for o in objects if o.size_bytes > 0]
    chosen = present[:1] + present[len(present) // 2 :][:1] + present[-1:] if len(present) > 1 else present
    chosen = list(dict.fromkeys(chosen))[:_SAMPLED_OBJECTS]
    spec = pipeline.format
    if spec.type != "auto":
        return _settle_as(spec, chosen, reader, pipeline.is_sql)
    found = auto.resolve(_samples(chosen, spec, reader), spec.options)
    if found is None:
        return Settled("auto", spec.options)
    spec = msgspec.structs.replace(spec, type=found.type, options=found.options)
    settled = _settle_as(spec, chosen, reader, pipeline.is_sql)
    return msgspec.structs.replace(settled, notes=[*found.notes, *settled.notes])


def _settle_as(spec: FormatSpec, chosen: list[PinnedObject], reader: Objects, for_sql: bool) -> Settled:
    module = formats.load(spec.type)
    if formats.is_random_access(spec.type) and not any(looking.is_packed(pin, spec, reader) for pin in chosen):
        sources = [PinnedSource(reader, pin) for pin in chosen]
        return formats.settle_sources(module, sources, spec.options, for_sql)
    samples = _samples(chosen, spec, reader)
    for sample in samples:
        if sample.offset == 0 and spec.type != "object":
            foreign.refuse(sample.data, sample.object_uri, spec.type)
    return module.settle(samples, spec.options, for_sql)


def _samples(chosen: list[PinnedObject], spec: FormatSpec, reader: Objects) -> list[Sample]:
    samples: list[Sample] = []
    for pin in chosen:
        try:
            samples += _samples_of(pin, spec, reader)
        except RangemillError as error:
            error.of_object(pin.uri)
            raise
    return samples


def _samples_of(pin: PinnedObject, spec: FormatSpec, reader: Objects) -> Iterator[Sample]:
    """Head, and of large objects middle and tail; of what must be unpacked the head."""
    if pin.logical_bytes is not None:
        yield logical_head(pin, spec.nesting, reader)
        return
    if pin.archive:
        yield from of_compressed_tar(pin, spec.nesting, reader)
        return
    if pin.crc_later:
        pin = looking.sniffed_in_place(pin, spec, reader)
    if looking.is_mode(pin.compression):
        yield from looking.samples(pin, spec, reader)
        return
    starts = [0]
    if pin.size_bytes > 3 * SAMPLE_BYTES:
        starts += [pin.size_bytes // 2, pin.size_bytes - SAMPLE_BYTES]
    for start in starts:
        end = min(start + SAMPLE_BYTES, pin.size_bytes)
        yield Sample(pin.uri, read_span(reader, pin, start, end), start, pin.size_bytes)
