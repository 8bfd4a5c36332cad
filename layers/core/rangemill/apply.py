"""Apply: one worker, one slot, one outcome. The first writer wins; whoever comes second has succeeded as well."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from rangemill import code, formats, keys, messages, outcomes, pages, parts, redo, retries
from rangemill.archives import deflated, foreign, tar_stream
from rangemill.archives.tar_stream import MemberBegins
from rangemill.blocks import Block, RangeDone, Remaining, Whole
from rangemill.compression import indexing, looking
from rangemill.engines import make_engine
from rangemill.engines.base import Engine, NotAsPresumed, ObjectContext
from rangemill.errors import (
    AggregateTooLarge,
    BadStatement,
    CountMismatch,
    IntegrityError,
    RangemillError,
    UnsupportedPartial,
    UserCodeError,
)
from rangemill.formats.base import Event, FormatModule
from rangemill.gateways import Gateways, Objects, Store
from rangemill.ledger import CRC_FUNCTIONS, Segment, merge, segment_of
from rangemill.limits import SAMPLE_BYTES
from rangemill.messages import (
    ApplyMessage,
    CodeIdentity,
    IndexTurn,
    ObjectRef,
    OutcomeHeader,
    PinnedObject,
    Plan,
    Run,
    Slot,
    Verdict,
)
from rangemill.pipeline import Pipeline
from rangemill.ranges import ByteRange
from rangemill.rejects import RejectLog, with_rejects
from rangemill.sources import PinnedSource

ShouldStop = Callable[[], bool]
_OF_RECORDS: Final = (IntegrityError, UserCodeError, UnsupportedPartial, AggregateTooLarge, BadStatement)


def run(
    message: ApplyMessage, gateways: Gateways, running: CodeIdentity, should_stop: ShouldStop
) -> OutcomeHeader | None:
    """Work on a slot and publish its outcome; None when it ended in a verdict (published too) or was done before.

    Never raises a `RangemillError`: it is the verdict, which Aggregate judges.
    """
    store, item = gateways.store, message.item
    plan: Plan | None = None
    slot: Slot | None = None
    outcome_key = keys.outcome(message.job_id, message.wave, item.slot, item.redrives)
    met_before = gateways.pressure.read()
    try:
        plan = pages.plan(store, message.job_id, item.plan_number)
        code.require_same(plan.code, running)
        slot = messages.decode(pages.required(store, item.slots_key, (item.start, item.end)), Slot, item.slots_key)
        header, partial = process(message, slot, plan, gateways, should_stop)
    except RangemillError as error:
        guessed = _guessed(error, slot, plan)
        noted = {**error.to_json(), "retryable": error.retryable}
        verdict = Verdict(error=noted, guessed=guessed, **gateways.pressure.since(met_before))
        store.put(item.verdict_key, messages.encode(verdict))
        return None
    header = msgspec.structs.replace(header, **gateways.pressure.since(met_before))
    published = store.put_once(outcome_key, outcomes.encode(header, partial))
    return header if published else None


def _guessed(error: RangemillError, slot: Slot | None, plan: Plan | None) -> list[tuple[int, int]]:
    """The runs whose assumed states may be why it was raised: under a wrong one records are not what they are."""
    if slot is None or slot.redo or plan is None or not isinstance(error, _OF_RECORDS):
        return []
    return retries.assuming(slot.runs) if formats.has_state(plan.settled) else []


def process(
    message: ApplyMessage, slot: Slot, plan: Plan, gateways: Gateways, should_stop: ShouldStop
) -> tuple[OutcomeHeader, bytes]:
    """The outcome of a slot: its header and its partial. Raises what format, engine and gateways raise."""
    try:
        return _process(message, slot, plan, gateways, should_stop, presumes=True)
    except NotAsPresumed:
        return _process(message, slot, plan, gateways, should_stop, presumes=False)


def _process(
    message: ApplyMessage, slot: Slot, plan: Plan, gateways: Gateways, should_stop: ShouldStop, *, presumes: bool
) -> tuple[OutcomeHeader, bytes]:
    started, requests_before = time.monotonic(), gateways.objects.requests
    pipeline = pages.pipeline_of(plan)
    rejects = RejectLog(pipeline.rejects)
    work = _Work(plan, pipeline, gateways.objects, gateways.store, lambda: rejects.is_full or should_stop(), rejects)
    work.condemned, work.presumes = slot.condemned, presumes
    indexed = work.index(slot.objects[0], slot.index) if slot.index is not None else None
    if slot.redo:
        redo.work(slot, work)
    else:
        work.slot(slot)
    partial, taken = work.engine.finish() if work.engine is not None else (b"", 0)
    records = sum(segment.records for _, segments in work.rows for segment in segments)
    if records != taken + work.rejects.count:
        raise CountMismatch(
            f"slot {slot.slot} of wave {message.wave}: the format found {records} records, the engine took {taken} "
            f"and rejected {work.rejects.count}"
        )
    rejects_key = parts.put_rejects(message, gateways, work.rejects.body)
    part = None
    if not pipeline.is_folded and partial:
        part = parts.publish_part(message, pipeline, gateways, partial)
        partial = b""
    return OutcomeHeader(
        message.job_id,
        message.wave,
        slot.slot,
        rows=(redo.with_rejects if slot.redo else with_rejects)(work.rows, work.rejects),
        remaining=work.remaining,
        records=records,
        taken=taken,
        rejects=work.rejects.count,
        bytes=sum(segment.end - segment.start for _, segments in work.rows for segment in segments),
        milliseconds=int((time.monotonic() - started) * 1000),
        requests=gateways.objects.requests - requests_before,
        pins=work.pins,
        part=part,
        rejects_key=rejects_key,
        reject_groups=work.rejects.groups,
        indexed=indexed,
    ), partial


@dataclass(slots=True)
class _Work:
    """What a slot adds up to while its runs are worked on."""

    plan: Plan
    pipeline: Pipeline
    reader: Objects
    store: Store
    should_stop: ShouldStop
    rejects: RejectLog
    presumes: bool = False  # lines may be taken for records where the engine proves it
    engine: Engine | None = None  # made for the first object that has bytes
    rows: list[tuple[int, list[Segment]]] = field(default_factory=list)
    remaining: list[Run] = field(default_factory=list)
    pins: list[PinnedObject] = field(default_factory=list)
    stopped: bool = False
    condemned: str = ""  # why the slot's record is rejected without being applied

    def index(self, pin: PinnedObject, turn: IndexTurn) -> int:
        """An indexer's turn; how far the object is indexed after it."""
        return indexing.index(pin, turn, self.reader, self.store, self.pipeline.format.nesting, self.should_stop)

    def slot(self, slot: Slot) -> None:
        """All runs, one after the other, until it is time to stop."""
        pins = {pin.index: pin for pin in slot.objects}
        for run in slot.runs:
            if self.stopped:
                self.remaining.append(run)
            else:
                self._run(pins[run.object_index], run)
                self.stopped = self.stopped or self.should_stop()

    def _run(self, pin: PinnedObject, run: Run) -> None:
        module = formats.load(self.plan.settled.format)
        if run.start == run.end:
            self._nothing(pin, module)
            return
        engine = self.begin(pin)
        pin, pieces = self._pieces(pin, run, module)
        segments: list[Segment] = []
        try:
            for event in self._events(pin, run, module, pieces):
                match event:
                    case Block() | Whole():
                        engine.take(event)
                    case MemberBegins():
                        engine.begin_object(ObjectContext(pin.bucket, pin.key, pin.version_id, event.name, pin.index))
                    case RangeDone():
                        segments.append(segment_of(event))
                    case Remaining(tile, state):
                        rest = Run(run.object_index, tile.start, tile.end_exclusive, run.range_bytes, state)
                        self.remaining.append(rest)
                        self.stopped = True
        except RangemillError as error:
            error.of_object(pin.uri)
            raise
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        self.rows.append((pin.index, merge(segments, pin.crc_name, pin.uri)))

    def _events(
        self, pin: PinnedObject, run: Run, module: FormatModule, pieces: Iterator[bytes]
    ) -> Iterator[Event | MemberBegins]:
        settled, crc = self.plan.settled, CRC_FUNCTIONS[pin.crc_name][0]
        if pin.compression == deflated.NAME:
            return deflated.align(pin, pieces, settled, self.pipeline.format.nesting, crc)
        tile = ByteRange(run.start, run.end)
        if formats.is_random_access(settled.format) and not pin.compression:
            return self._of_source(pin, run, tile)
        if pin.archive:
            around = looking.around_of(pin, self.reader, self.store)
            return tar_stream.events(pin, pieces, settled, self.pipeline.format.nesting, around, crc)
        if looking.is_mode(pin.compression):
            reading = looking.reading(pin, settled, self.pipeline.format, self.reader, self.plan.objects > 1)
            around = looking.around_of(pin, self.reader, self.store)
            return reading.align(tile, run.range_bytes, pieces, around, crc, self.should_stop, run.state)
        if run.start == 0 and settled.format != "object":
            is_plain = self.pipeline.format.nesting.compression != "auto"
            pieces = foreign.refused(pieces, pin.uri, settled.format, is_plain=is_plain)
        more: dict[str, Any] = {}
        if formats.align_takes(settled.format, "state"):
            more["state"] = run.state
        if self.presumes and self.engine is not None and formats.align_takes(settled.format, "presumes"):
            more["presumes"] = self.engine.presumes
        if formats.align_takes(settled.format, "head") and self.plan.objects > 1:
            more["head"] = lambda: self.reader.read(pin, 0, min(SAMPLE_BYTES, pin.size_bytes))
        return module.align(tile, run.range_bytes, pin.size_bytes, pieces, settled, crc, self.should_stop, **more)

    def _of_source(self, pin: PinnedObject, run: Run, tile: ByteRange) -> Iterator[Event]:
        settled, source = self.plan.settled, PinnedSource(self.reader, pin)
        columns = self.engine.columns if self.engine is not None else None
        module: Any = formats.load(settled.format)
        more: dict[str, Any] = {"state": run.state} if formats.has_state(settled) else {}
        if self.engine is not None and formats.align_takes(settled.format, "take_unread", "align_source"):
            more["take_unread"] = self.engine.take_unread
        events: Iterator[Event] = module.align_source(
            tile, run.range_bytes, source, settled, columns, self.should_stop, **more
        )
        return events

    def _nothing(self, pin: PinnedObject, module: FormatModule) -> None:
        """An object without bytes: one row with nothing in it, so that the ledger closes it."""
        if pin.crc_later:
            self._complete(pin)
        records = 0
        try:
            for event in getattr(module, "empty", lambda _: iter(()))(self.plan.settled):
                if isinstance(event, Whole):
                    self.begin(pin).take(event)
                    records += 1
        except RangemillError as error:
            error.of_object(pin.uri)
            raise
        self.rows.append((pin.index, [Segment(0, 0, 0, 0, 0, records, 0)]))

    def read(self, pin: PinnedObject, run: Run) -> int:
        """Apply the records that begin in a run of an object that is proved already; how many they are."""
        rows, self.rows = self.rows, []
        self._run(pin, run)
        rows, self.rows = self.rows, rows
        return sum(segment.records for _, segments in rows for segment in segments)

    def begin(self, pin: PinnedObject, member: str | None = None) -> Engine:
        """The engine, told of the object whose records follow; made for the first one that has any."""
        if self.engine is None:
            self.engine = make_engine(self.pipeline, self.plan.settled, rejects=self.rejects, condemned=self.condemned)
        self.engine.begin_object(ObjectContext(pin.bucket, pin.key, pin.version_id, member or pin.member, pin.index))
        return self.engine

    def _pieces(self, pin: PinnedObject, run: Run, module: FormatModule) -> tuple[PinnedObject, Iterator[bytes]]:
        if formats.is_random_access(self.plan.settled.format) and not pin.compression:
            sniffed = looking.sniffed_in_place(pin, self.pipeline.format, self.reader) if pin.crc_later else pin
            if not looking.is_mode(sniffed.compression):
                return pin, iter(())  # it reads by itself; of what is read in parts no CRC is compared
        if pin.crc_later and run.start == 0 and run.end == pin.size_bytes:
            pin, pieces = looking.sniffed(*self.reader.read_whole(pin), self.pipeline.format)
            self.pins.append(pin)
            return pin, pieces
        if pin.crc_later:  # a part of it, after a stop or a halving: the parts must agree on the checksum
            pin = self._complete(pin)
        behind = 0 if looking.is_mode(pin.compression) else module.look_behind(self.plan.settled)
        return pin, self.reader.read(pin, max(0, run.start - behind), run.end)

    def _complete(self, pin: PinnedObject) -> PinnedObject:
        """The pin with the version and the CRC that HEAD tells. Raises `ObjectChanged`, `ObjectMissing`."""
        found = self.reader.pin(ObjectRef(pin.bucket, pin.key, pin.version_id, pin.etag), pin.index)
        pin = msgspec.structs.replace(
            pin, version_id=found.version_id, crc_name=found.crc_name, crc=found.crc, crc_later=False
        )
        pin = looking.sniffed_in_place(pin, self.pipeline.format, self.reader)
        self.pins.append(pin)
        return pin
