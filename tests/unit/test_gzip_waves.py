"""Plain gzip behind its indexer: the same results and proof as in one pass, in turns that end and go on."""

import csv
import gzip
import io
import itertools
import json
import sys
import types
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import choosing, control, fetch, keys, messages, pages
from rangemill.compression import _points, _split
from rangemill.compression import indexing as indexer
from rangemill.compression._points import PointStore
from rangemill.errors import BadCompression, Transient
from rangemill.formats.base import Settled
from rangemill.gateways import Gateways
from rangemill.indexing import Behind
from rangemill.limits import INDEXER_MAX_DEATHS, WAVE_TARGET_SECONDS
from rangemill.messages import (
    ApplyMessage,
    Checkpoint,
    CodeIdentity,
    Cursor,
    GzipWay,
    Indexing,
    IndexTurn,
    JobRequest,
    JobRow,
    ObjectRef,
    PinnedObject,
    Plan,
    PlanPage,
    Slot,
    Verdict,
)
from rangemill.nesting import Nesting
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import WaveRunner, in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryObjects, MemoryStore, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
TEXT = b"".join(b"line %d %s\n" % (number, b"z" * (number % 50)) for number in range(4000))
ALL = {"records": 4000, "bytes": len(TEXT)}


class Lines:
    """Counts lines and bytes."""

    def start(self, context: Any) -> list[int]:
        return [0, 0]

    def apply(self, partial: list[int], record: bytes) -> list[int]:
        return [partial[0] + 1, partial[1] + len(record) + 1]

    def merge(self, left: list[int], right: list[int]) -> list[int]:
        return [left[0] + right[0], left[1] + right[1]]

    def finish(self, total: list[int]) -> Iterator[dict[str, int]]:
        yield {"records": total[0], "bytes": total[1]}


class Cells(Lines):
    """Counts rows and what stands in their cells."""

    def apply(self, partial: list[int], record: Any) -> list[int]:
        return super().apply(partial, b"".join(cell.encode() for cell in record))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """User code, points every 3,000 bytes of output, pages of 1,000 stored bytes, a turn that is over after each."""
    module = types.ModuleType("wave_lines")
    module.Lines, module.Cells = Lines, Cells  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wave_lines", module)
    pages.pipeline.cache_clear()
    monkeypatch.setattr(_points, "SPACING_BYTES", 3_000)
    monkeypatch.setattr(_points, "PAGE_BYTES", 1_000)
    monkeypatch.setattr(_split, "SUB_RUN_BYTES", 2_000)


def run(
    gateways: Gateways,
    job_id: str,
    refs: list[ObjectRef],
    *,
    gzip_way: str = "index",
    range_bytes: int = 1000,
    stops: bool = False,
    turn_seconds: float = 1e-9,
    work: WaveRunner | None = None,
) -> JobRow:
    text = f"name: lines\nformat: {{type: text, gzip: {gzip_way}}}\napply: {{python: wave_lines:Lines}}\n"
    request = JobRequest(job_id, "lines", text, "p.yaml", "submit", refs)
    often = itertools.cycle([False, True])
    here = in_this_process(gateways, CODE, lambda: stops and next(often))
    defaults = Defaults(range_bytes, 4, 20_000, wave_seconds=turn_seconds)
    return run_job(request, gateways, work or here, CODE, defaults=defaults)


def result(gateways: Gateways, row: JobRow) -> dict[str, int]:
    assert row.status == "SUCCEEDED", row.error
    assert row.result is not None
    assert row.result["proof"]["complete"]
    answer: dict[str, int] = json.loads(gateways.store.get(f"results/lines/{row.job_id}/result.jsonl") or b"")
    return answer


def blocks_of(data: bytes, block_bytes: int = 700) -> bytes:
    """One member of many deflate blocks."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    cuts = range(0, len(data), block_bytes)
    body = b"".join(packer.compress(data[at : at + block_bytes]) + packer.flush(zlib.Z_BLOCK) for at in cuts)
    return body + packer.flush()


def members_of(data: bytes, member_bytes: int = 11_000) -> bytes:
    """Members that end in the middle of lines, with zeros between some."""
    cuts = range(0, len(data), member_bytes)
    return b"".join(blocks_of(data[at : at + member_bytes]) + bytes(at // member_bytes % 3) for at in cuts)


@pytest.mark.parametrize("pack", [blocks_of, members_of])
@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("range_bytes", [137, 1000, 1 << 20])
def test_waves_behind_an_indexer_and_one_pass_give_the_same(
    pack: Callable[[bytes], bytes], stops: bool, range_bytes: int
) -> None:
    packed = pack(TEXT)
    rows = {}
    for way in ("stream", "index"):
        gateways = in_memory(objects := MemoryObjects())
        rows[way] = run(
            gateways,
            "lines-1",
            [objects.put("in", "a.log.gz", packed)],
            gzip_way=way,
            range_bytes=range_bytes,
            stops=stops,
        )
        assert result(gateways, rows[way]) == ALL
    assert rows["index"].totals.bytes == rows["stream"].totals.bytes == len(packed)
    assert rows["index"].result is not None
    assert rows["index"].result["proof"] == {
        "complete": True,
        "level": "bytes",
        "checksum": "CRC64NVME",
        "matched": True,
    }
    if range_bytes <= 1000:
        assert rows["index"].wave > 10, "waves followed behind the indexer"


@pytest.mark.parametrize("range_bytes", [137, 1000])
def test_formats_with_states_go_behind_an_indexer_too(range_bytes: int) -> None:
    rows = b"".join(b'%d,"%s"\n' % (number, b"y\n," * (number % 9)) for number in range(2000))
    gateways = in_memory(objects := MemoryObjects())
    text = "name: lines\nformat: {type: csv, header: false, gzip: index}\napply: {python: wave_lines:Cells}\n"
    refs = [objects.put("in", "a.csv.gz", blocks_of(rows))]
    request = JobRequest("lines-1", "lines", text, "p.yaml", "submit", refs)
    defaults = Defaults(range_bytes, 4, 20_000, wave_seconds=1e-9)
    row = run_job(request, gateways, in_this_process(gateways, CODE), CODE, defaults=defaults)
    cells = sum(len(cell) for each in csv.reader(io.StringIO(rows.decode(), newline="")) for cell in each)
    assert result(gateways, row) == {"records": 2000, "bytes": cells + 2000}
    assert row.wave > 5


def test_the_report_says_which_way_was_taken_and_why() -> None:
    gateways = in_memory(objects := MemoryObjects())
    row = run(gateways, "lines-1", [objects.put("in", "a.log.gz", blocks_of(TEXT))])
    assert row.result is not None
    report = json.loads(gateways.store.get("results/lines/lines-1/report.json") or b"")
    assert report["gzip"]["way"] == "index"
    assert report["gzip"]["object"] == "s3://in/a.log.gz"
    assert report["gzip"]["why"] == "`format.gzip` is `index`"
    assert pages.plan(gateways.store, "lines-1").gzip == msgspec.convert(report["gzip"], GzipWay)


# --- the indexer -----------------------------------------------------------------------------------------------------


def points_of(store: MemoryStore) -> dict[str, bytes]:
    """The documents that later jobs read."""
    kept = {uri: body for uri, body in store._bodies.items() if "/index/" in uri}
    assert kept
    return {uri: body for uri, body in kept.items() if not uri.endswith(("-so-far", "-progress"))}


def indexed(
    objects: MemoryObjects, ref: ObjectRef, store: MemoryStore, is_over: Callable[[], bool], start: int = 0
) -> list[int]:
    """How far each turn gets, until the last one gets to the end. `is_over` is the clock that ends turns."""
    pin, reached = objects.pin(ref, 0), [start]
    while reached[-1] < pin.size_bytes:
        ticks = itertools.count()

        def seconds(ticks: Iterator[int] = ticks) -> float:
            return 0.0 if next(ticks) == 0 or not is_over() else 1e9

        turn = IndexTurn(reached[-1], 10.0)
        reached.append(indexer.index(pin, turn, objects, store, Nesting(), lambda: False, seconds))
        assert reached[-1] > reached[-2], "every turn gets further"
    return reached


@settings(max_examples=60, deadline=None)
@given(
    block_bytes=st.integers(20, 3000),
    member_bytes=st.sampled_from([500, 7_000, 10**9]),
    piece_bytes=st.sampled_from([1 << 20, 997]),
    overs=st.lists(st.booleans(), min_size=1, max_size=9),
)
def test_the_index_is_the_same_however_often_the_indexer_ends(
    block_bytes: int, member_bytes: int, piece_bytes: int, overs: list[bool]
) -> None:
    text = TEXT[:60_000]
    cuts = range(0, len(text), member_bytes)
    packed = b"".join(blocks_of(text[at : at + member_bytes], block_bytes) for at in cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_points, "SPACING_BYTES", 3_000)
        patch.setattr(_points, "PAGE_BYTES", 1_000)
        objects = MemoryObjects(piece_bytes=piece_bytes)
        ref = objects.put("in", "a.gz", packed)
        at_once, in_turns = MemoryStore(), MemoryStore()
        assert indexed(objects, ref, at_once, lambda: False) == [0, len(packed)]
        often = itertools.cycle(overs)
        indexed(objects, ref, in_turns, lambda: next(often))
        assert points_of(in_turns) == points_of(at_once)


def test_a_stream_makes_the_index_that_an_indexer_makes_wherever_it_is_stopped() -> None:
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", "a.gz", members_of(TEXT))
    row = run(gateways, "lines-1", [ref], gzip_way="stream", stops=True)
    assert row.wave > 3
    assert isinstance(gateways.store, MemoryStore)
    store = MemoryStore()
    indexed(objects, ref, store, lambda: False)
    by_stream, by_indexer = points_of(gateways.store), points_of(store)
    assert {key: by_stream[key] for key in by_indexer} == by_indexer


def test_no_document_grows_with_the_object_and_turns_go_on_from_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shape of 200 GB in small: thousands of points, each in its own document, named by pages of a few each."""
    monkeypatch.setattr(_points, "SPACING_BYTES", 200)
    monkeypatch.setattr(_points, "PAGE_BYTES", 256)
    text = b"".join(b"%x\n" % (number * 2654435761 % 2**32) for number in range(60_000))
    packed = blocks_of(text, 100)
    objects, store = MemoryObjects(), MemoryStore()
    ref = objects.put("in", "a.gz", packed)
    ticks = itertools.count()
    reached = indexed(objects, ref, store, lambda: next(ticks) % 300 == 299)
    assert len(reached) > 4, "turns ended and went on"
    documents = points_of(store)
    named = [key for key in documents if "/pages/" in key]
    assert len(documents) - len(named) > 2000, "points"
    assert len(named) == -(-len(packed) // 256)
    assert max(len(documents[key]) for key in named) < 200
    (directory,) = (body for key, body in documents.items() if "/directories/" in key)
    assert len(directory) < 20


class Counting(MemoryStore):
    """Notes what is read of the index."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
        if key.startswith("index/"):
            self.read.append(key)
        return super().get(key, span)


def test_a_worker_reads_one_point_and_the_pages_of_its_run() -> None:
    from rangemill.compression import gzip as codec
    from rangemill.compression._stored import Stored
    from rangemill.compression.base import Around, Unit
    from rangemill.ranges import ByteRange

    packed = blocks_of(TEXT * 8)
    objects, store = MemoryObjects(), Counting()
    ref = objects.put("in", "a.gz", packed)
    indexed(objects, ref, store, lambda: False)
    pin = msgspec.structs.replace(objects.pin(ref, 0), compression="gzip:points")
    store.read.clear()
    run_ = ByteRange(len(packed) // 2, len(packed) // 2 + 3_000)
    stored = Stored(objects.read(pin, run_.start, len(packed)), run_, 1000, len(packed), lambda _, value: value)
    session = codec.session(stored, "gzip:points", Around(pin, lambda low, high: packed[low:high], store))
    units = [event.stored for event in session.decode() if isinstance(event, Unit)]
    assert units
    assert max(units) >= run_.end_exclusive, "decoded on, as for a record that goes on"
    assert len([key for key in store.read if "/pages/" not in key]) == 1
    assert len([key for key in store.read if "/pages/" in key]) <= 4


# --- Fetch and Aggregate ---------------------------------------------------------------------------------------------


def plan_of(pins: list[PinnedObject], *, workers: int = 10, range_bytes: int = 1 << 20) -> tuple[Plan, PlanPage]:
    total = sum(pin.size_bytes for pin in pins)
    way = GzipWay("index", "", 10.0)
    plan = Plan(
        "j", "p", "t", "f", Settled("text", {}), CODE, range_bytes, workers, 20_000, len(pins), total, 1, gzip=way
    )
    return plan, PlanPage(pins, 0, 0, None)


def test_200_gb_take_few_waves_and_a_checkpoint_that_does_not_grow() -> None:
    """On the core alone: an indexer of 100 MB/s, 50 workers of 20 MB/s, points every 16 MiB of 1.4 TB."""
    size = 200 * 10**9
    pin = PinnedObject(0, "b", "k.gz", "e", size, compression="gzip:waves")
    plan, page = plan_of([pin], workers=50, range_bytes=64 << 20)
    checkpoint = Checkpoint("j", 0, Cursor(), bytes_per_second=20e6)
    waves, handed, largest = 0, 0, 0
    while checkpoint.cursor.page == 0 or checkpoint.indexing:
        slots, handout = fetch.plan_wave(checkpoint, plan, lambda _: page)
        waves += 1
        entries = handout.indexing
        for slot in slots:
            if slot.index is not None:
                assert (slot.index.start, slot.runs) == (entries[0].indexed, [])
                assert slot.index.seconds <= WAVE_TARGET_SECONDS
                reached = min(size, slot.index.start + int(slot.index.seconds * 100e6) // (8 << 20) * (8 << 20))
            for run_ in slot.runs:
                assert run_.start == handed
                assert run_.end <= checkpoint.indexing[0].indexed, "nothing beyond what earlier waves indexed"
                handed = run_.end
        if any(slot.index for slot in slots):
            entries = [msgspec.structs.replace(entries[0], indexed=reached)]
        checkpoint = msgspec.structs.replace(
            checkpoint, wave=handout.wave, cursor=handout.cursor, retry=handout.retry, indexing=entries
        )
        largest = max(largest, len(messages.encode(checkpoint)), len(messages.encode(handout)))
    assert handed == size
    assert waves < 25
    assert largest < 2_000


def test_several_objects_each_have_an_indexer_and_what_is_not_gzip_goes_on_beside_them() -> None:
    pins = [PinnedObject(n, "b", f"k{n}", "e", 50 << 20, compression="gzip:waves" if n % 2 else "") for n in range(6)]
    plan, page = plan_of(pins)
    slots, handout = fetch.plan_wave(Checkpoint("j", 0, Cursor()), plan, lambda _: page)
    assert sorted(slot.objects[0].index for slot in slots if slot.index) == [1, 3, 5]
    assert {run_.object_index for slot in slots for run_ in slot.runs} == {0, 2, 4}
    assert [entry.pin.index for entry in handout.indexing] == [1, 3, 5]
    assert handout.cursor.page == 1
    assert [slot.slot for slot in slots] == list(range(len(slots)))


def test_a_first_turn_is_short_and_later_ones_double() -> None:
    entries = [Indexing(PinnedObject(0, "b", "k", "e", 1 << 40))]
    plan, _ = plan_of([entries[0].pin])
    seconds = []
    for _ in range(7):
        behind = Behind(entries, plan)
        (slot,) = behind.turns(0, 5)
        assert slot.index is not None
        seconds.append(slot.index.seconds)
        entries = behind.left()
    assert seconds == [10, 20, 40, 80, 160, 180, 180]


def failing(gateways: Gateways, fails: Callable[[Slot], bool], verdict: Verdict) -> WaveRunner:
    """Workers of whom some leave no outcome but that verdict."""
    work = in_this_process(gateways, CODE)

    def wave(items: list[messages.ApplyMessage]) -> None:
        for message in items:
            item = message.item
            slot = messages.decode(gateways.store.get(item.slots_key, (item.start, item.end)) or b"", Slot, "slot")
            if fails(slot):
                gateways.store.put(item.verdict_key, messages.encode(verdict))
            else:
                work([message])

    return wave


DIED = Verdict(Error="Runtime.ExitError", Cause="killed")


def test_an_indexer_that_died_goes_on_where_it_was_and_one_that_always_dies_ends_the_job_by_name() -> None:
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", "a.gz", blocks_of(TEXT))
    turns = itertools.count()
    row = run(
        gateways, "lines-1", [ref], work=failing(gateways, lambda s: s.index is not None and next(turns) % 3 > 0, DIED)
    )
    assert result(gateways, row) == ALL
    assert row.totals.deaths > 4
    other = objects.put("in", "b.gz", blocks_of(TEXT))
    row = run(gateways, "lines-2", [other], work=failing(gateways, lambda s: s.index is not None, DIED))
    assert row.error is not None
    assert (row.error["type"], row.error["object"]) == ("WorkerDied", "s3://in/b.gz")
    assert row.totals.deaths == INDEXER_MAX_DEATHS


def test_an_indexer_that_fails_for_a_while_is_tried_again_and_nothing_is_handed_out_twice() -> None:
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", "a.gz", members_of(TEXT))
    passing = Verdict(error={**Transient("slow down").to_json(), "retryable": True})
    turns = itertools.count()
    row = run(
        gateways,
        "lines-1",
        [ref],
        work=failing(gateways, lambda s: s.index is not None and next(turns) % 5 > 0, passing),
    )
    assert result(gateways, row) == ALL
    turns = itertools.count()
    row = run(
        gateways,
        "lines-2",
        [objects.put("in", "b.gz", members_of(TEXT))],
        work=failing(gateways, lambda s: s.index is None and next(turns) % 5 == 3, DIED),
    )
    assert result(gateways, row) == ALL, "workers who died were replaced"


@pytest.mark.parametrize("expired", [[], ["scratch/"], ["scratch/", "index/"]])
def test_a_job_that_rested_behind_its_indexer_goes_on_whatever_has_expired(expired: list[str]) -> None:
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", "a.gz", blocks_of(TEXT))
    here = in_this_process(gateways, CODE)

    def work(messages: list[ApplyMessage]) -> None:
        if messages[0].wave == 4:
            control.pause("lines-1", gateways)
        here(messages)

    row = run(gateways, "lines-1", [ref], work=work)
    assert (row.status, row.wave) == ("PAUSED", 4)
    (entry,) = pages.checkpoint(gateways.store, row.pointer or "").indexing
    assert 0 < entry.handed < entry.indexed < ref.size_bytes  # type: ignore[operator]
    for prefix in expired:
        assert isinstance(gateways.store, MemoryStore)
        assert gateways.store.delete_below(prefix) > 0
    control.resume("lines-1", gateways)
    assert result(gateways, run(gateways, "lines-1", [ref])) == ALL


def test_what_a_failed_job_has_indexed_is_not_indexed_again() -> None:
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", "a.gz", blocks_of(TEXT))
    turns = itertools.count()
    row = run(
        gateways, "lines-1", [ref], work=failing(gateways, lambda s: s.index is not None and next(turns) > 5, DIED)
    )
    assert row.status == "FAILED"
    pin = objects.pin(ref, 0)
    left = PointStore(gateways.store, pin).progress()
    assert 3_000 < left < pin.size_bytes
    starts: list[int] = []
    read = objects.read

    def noted(pin: PinnedObject, start: int, stop_hint: int) -> Iterator[bytes]:
        starts.append(start)
        return read(pin, start, stop_hint)

    objects.read = noted  # type: ignore[method-assign]
    assert indexer.index(pin, IndexTurn(0, 1e9), objects, gateways.store, Nesting(), lambda: False) == pin.size_bytes
    assert starts == [left]
    assert result(gateways, run(gateways, "lines-2", [ref])) == ALL


@pytest.mark.parametrize("damage", ["truncated", "flipped", "trailer"])
def test_damage_ends_the_job_by_name_whoever_meets_it(damage: str) -> None:
    body = bytearray(blocks_of(TEXT))
    if damage == "truncated":
        del body[-20:]
    else:
        body[len(body) // 2 if damage == "flipped" else -6] ^= 0x10
    gateways = in_memory(objects := MemoryObjects())
    row = run(gateways, "lines-1", [objects.put("in", "a.gz", bytes(body))])
    assert row.error is not None
    assert (row.error["type"], row.error["object"]) == ("BadCompression", "s3://in/a.gz")
    assert row.error["offset"] > 0


def test_a_bomb_is_refused_by_the_indexer() -> None:
    objects = MemoryObjects()
    pin = objects.pin(objects.put("in", "a.gz", gzip.compress(bytes(80 << 20))), 0)
    with pytest.raises(BadCompression, match="max_ratio"):
        indexer.index(pin, IndexTurn(0, 99), objects, MemoryStore(), Nesting(max_ratio=100), lambda: False)


def test_output_that_is_not_what_the_indexer_saw_is_refused() -> None:
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", "a.gz", blocks_of(TEXT))
    run(gateways, "lines-1", [ref])
    pin = objects.pin(ref, 0)
    key = keys.gzip_page(_points.identity(pin), 3)
    page = PointStore(gateways.store, pin).page(3)
    wrong = msgspec.structs.replace(page.marks[0], crc=page.marks[0].crc ^ 1)
    gateways.store.put(key, msgspec.msgpack.encode(msgspec.structs.replace(page, marks=[wrong, *page.marks[1:]])))
    row = run(gateways, "lines-2", [ref])
    assert row.error is not None
    assert "not what the first pass over the object gave" in row.error["message"]
    gateways.store.delete_below(key)
    row = run(gateways, "lines-3", [ref])
    assert row.error is not None
    assert "delete" in row.error["message"]
    assert key.rsplit("/", 3)[1] in row.error["message"]


# --- the choice ------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that goes on by what is told: inflating first, then each step of applying."""

    def __init__(self, *spent: float) -> None:
        self._spent = iter(spent)
        self._now = 0.0
        self._begins = True

    def __call__(self) -> float:
        if not self._begins:
            self._now += next(self._spent)
        self._begins = not self._begins
        return self._now


def chosen(
    clock: Callable[[], float],
    *,
    sizes: tuple[int, ...] = (1 << 30,),
    workers: int = 4,
    overlaps: bool = False,
    settled: Settled | None = None,
) -> tuple[list[PinnedObject], GzipWay | None]:
    text = "name: lines\nformat: {type: text}\napply: {python: wave_lines:Lines}\n"
    objects = MemoryObjects()
    objects.put("in", "a.gz", gzip.compress(TEXT * 100))
    real = objects.pin(ObjectRef("in", "a.gz"), 0)
    pins = [
        msgspec.structs.replace(real, index=index, size_bytes=size, compression="gzip", whole=True)
        for index, size in enumerate(sizes)
    ]
    job = choosing.Job(
        pages.pipeline(text, "p"), workers, 1.0, overlaps, lambda _: settled or Settled("text", {}), objects, clock
    )
    return choosing.choose(pins, None, 0, job)


def test_waves_follow_an_indexer_where_applying_costs_more_than_inflating(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rangemill.choosing")
    pins, way = chosen(Clock(0.1, 1.0))
    assert [record.message for record in caplog.records] == ["plain gzip: index"]
    assert way is not None
    assert way.way == "index"
    assert (pins[0].compression, pins[0].whole) == ("gzip:waves", False)
    assert "waves follow behind an indexer" in way.why
    assert way.inflate_bytes_per_second is not None
    assert way.apply_bytes_per_second is not None
    assert way.inflate_bytes_per_second > way.apply_bytes_per_second


def test_one_pass_does_it_where_applying_costs_less() -> None:
    pins, way = chosen(Clock(10.0, 0.0001, 0.001, 0.01))
    assert way is not None
    assert way.way == "stream"
    assert (pins[0].compression, pins[0].whole) == ("gzip", True)
    assert "one worker does both in one pass" in way.why


@pytest.mark.parametrize(("overlaps", "way"), [(False, "index"), (True, "stream")])
def test_a_worker_that_inflates_on_a_second_core_is_not_taken_for_two(overlaps: bool, way: str) -> None:
    _, found = chosen(Clock(0.1, 0.0007, 0.011, 0.09), workers=2, overlaps=overlaps)
    assert found is not None
    assert found.way == way


def test_a_job_that_is_over_as_soon_in_one_pass_is_not_split() -> None:
    _, way = chosen(Clock(0.0001, 0.0002, 0.0003, 0.0004), sizes=(17 << 20,))
    assert way is not None
    assert way.way == "stream"
    assert "one pass is over as soon" in way.why


@pytest.mark.parametrize(
    ("sizes", "workers", "behind"),
    [
        ((1 << 30,), 1, 0),  # nobody could follow
        ((8 << 20,), 4, 0),
        ((1 << 30,) * 4, 4, 0),  # each worker has one
        ((1 << 30,) * 3, 4, 3),
        ((1 << 30, 17 << 20, 17 << 20), 4, 1),
    ],
)
def test_only_objects_that_workers_would_wait_for_are_indexed(
    sizes: tuple[int, ...], workers: int, behind: int
) -> None:
    pins, way = chosen(Clock(0.1, 1.0), sizes=sizes, workers=workers)
    assert sum(pin.compression == "gzip:waves" for pin in pins) == behind
    assert (way is not None) == (behind > 0)


def test_a_sample_that_cannot_be_timed_is_streamed_and_fails_nothing() -> None:
    pins, way = chosen(Clock(0.1, 1.0), settled=Settled("jsonl", {}))
    assert way is not None
    assert (way.way, pins[0].compression) == ("stream", "gzip")
    assert "could not be timed" in way.why


def test_plan_times_a_sample_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "INDEX_MIN_BYTES", 1000)
    gateways = in_memory(objects := MemoryObjects())
    row = run(gateways, "lines-1", [objects.put("in", "a.gz", blocks_of(TEXT * 20))], gzip_way="auto")
    assert result(gateways, row)["records"] == 20 * ALL["records"]
    way = pages.plan(gateways.store, "lines-1").gzip
    assert way is not None
    assert way.apply_bytes_per_second is not None
    assert (row.wave > 1) == (way.way == "index")
