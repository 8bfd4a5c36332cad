"""Workers without data: what `apply` would publish for ranges of the pattern, and what becomes of some of them."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from benchmarks.scale.pattern import Tile, first_record
from rangemill import compression, keys, messages, outcomes, pages, partials
from rangemill.blocks import RangeDone
from rangemill.gateways import Gateways
from rangemill.ledger import Segment, merge, segment_of
from rangemill.messages import ApplyMessage, OutcomeHeader, PinnedObject, Run, Slot, Verdict
from rangemill.ranges import ByteRange, tile

PIPELINE: Final = "name: counts\nformat: {type: text}\napply: {python: benchmarks.scale.counts:Counts}\n"
BYTES_PER_SECOND: Final = 80 * 10**6
_GETS_BYTES: Final = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Weather:
    """Of a thousand slots, how many die without a word, fail for a while, and come back with a remainder.

    Whoever works on the byte at `poison` dies as well, until that wave has come.
    """

    deaths: int = 0
    transient: int = 0
    remainders: int = 0
    poison: int = -1
    poison_until_wave: int = 0

    def of(self, wave: int, slot: int) -> int:
        """A number below a thousand that belongs to a slot of a wave."""
        return zlib.crc32(f"{wave}/{slot}".encode()) % 1000


@dataclass
class Workers:
    """Plays the Map: for each item an outcome, a verdict or nothing.

    `has_state`: as of a format whose ranges count only when the range before them has told in which state it ends.
    """

    gateways: Gateways
    weather: Weather = field(default_factory=Weather)
    has_state: bool = False
    deaths: int = 0
    failures: int = 0
    stops: int = 0
    unaligned: set[tuple[int, int]] = field(default_factory=set)  # tiles that begin inside a range

    def work(self, message: ApplyMessage) -> None:
        """One child."""
        store, item, weather = self.gateways.store, message.item, self.weather
        luck = weather.of(message.wave, item.slot)
        if luck < weather.deaths:
            self.deaths += 1
            if luck % 2:  # the others leave no verdict either
                verdict = Verdict(Error="Lambda.Unknown", Cause="The worker was killed")
                store.put(item.verdict_key, messages.encode(verdict))
            return
        luck -= weather.deaths
        if luck < weather.transient:
            self.failures += 1
            verdict = Verdict(error={"type": "Transient", "message": "SlowDown", "retryable": True})
            store.put(item.verdict_key, messages.encode(verdict))
            return
        luck -= weather.transient
        body = pages.required(store, item.slots_key, (item.start, item.end))
        slot = messages.decode(body, Slot, item.slots_key)
        poisoned = any(run.start <= weather.poison < run.end for run in slot.runs)
        if poisoned and message.wave < weather.poison_until_wave:
            self.deaths += 1
            return
        stop_at: Callable[[Run], int] | None = None
        if luck < weather.remainders:
            self.stops += 1
            stop_at = _third
        header, partial = outcome(message, slot, stop_at)
        if self.has_state:
            header = replace(header, rows=[(index, _with_state(segments)) for index, segments in header.rows])
        for index, segments in header.rows:
            for run in slot.runs:
                if run.object_index == index and run.start % run.range_bytes and segments:
                    self.unaligned.add((index, run.start))
        key = keys.outcome(message.job_id, message.wave, item.slot, item.redrives)
        store.put_once(key, outcomes.encode(header, partial))


def _with_state(segments: list[Segment]) -> list[Segment]:
    return [replace(segment, assumed="out", left="out") for segment in segments]


def _third(run: Run) -> int:
    """A record boundary after a third of the run, where a worker could stop."""
    return first_record(run.start + (run.end - run.start) // 3)


def outcome(message: ApplyMessage, slot: Slot, stop_at: Callable[[Run], int] | None) -> tuple[OutcomeHeader, bytes]:
    """Header and partial as `apply.process` makes them. With `stop_at` the worker stops there in its first run."""
    pins = {pin.index: pin for pin in slot.objects}
    rows: list[tuple[int, list[Segment]]] = []
    remaining: list[Run] = []
    later: list[PinnedObject] = []
    record_bytes = 0
    for number, run in enumerate(slot.runs):
        pin, end = pins[run.object_index], run.end
        if stop_at is not None:
            if number > 0:
                remaining.append(run)
                continue
            end = min(stop_at(run), run.end)
            if end < run.end:
                remaining.append(Run(run.object_index, end, run.end, run.range_bytes))
        if pin.crc_later:
            pin = _completed(pin)
            later.append(pin)
        done = [_done(each, pin.size_bytes) for each in tile(run.start, end, run.range_bytes)]
        rows.append((pin.index, merge(map(segment_of, done), pin.crc_name, pin.uri)))
        record_bytes += Tile(run.start, end, pin.size_bytes).record_bytes
    records = sum(segment.records for _, segments in rows for segment in segments)
    worked = sum(segment.end - segment.start for _, segments in rows for segment in segments)
    header = OutcomeHeader(
        message.job_id,
        message.wave,
        slot.slot,
        rows=rows,
        remaining=remaining,
        records=records,
        taken=records,
        rejects=0,
        bytes=worked,
        milliseconds=worked * 1000 // BYTES_PER_SECOND,
        requests=-(-worked // _GETS_BYTES),
        pins=later,
    )
    return header, partials.encode([records, record_bytes])


def _done(each: ByteRange, object_bytes: int) -> RangeDone:
    found = Tile(each.start, each.end_exclusive, object_bytes)
    return RangeDone(each, found.crc, found.first, found.last_end, found.records)


def _completed(pin: PinnedObject) -> PinnedObject:
    """As the GET that reads an object whole completes its pin."""
    crc = Tile(0, pin.size_bytes, pin.size_bytes).crc
    return replace(pin, crc=crc, crc_later=False, compression=compression.NONE)
