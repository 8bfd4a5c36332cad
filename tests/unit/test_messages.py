"""The documents between states: the same bytes back, versions n-1 and n, and contexts within their bound."""

from typing import Any, get_args, get_origin

import msgspec
import pytest

from rangemill import fetch, keys, messages, outcomes
from rangemill.errors import BadRequest
from rangemill.formats.base import Settled
from rangemill.ledger import Segment
from rangemill.limits import CONTEXT_MAX_BYTES, JOB_TOKEN_CHARS, PIPELINE_NAME_MAX_CHARS, S3_KEY_MAX_BYTES
from rangemill.messages import (
    Checkpoint,
    CodeIdentity,
    Context,
    Cursor,
    Handout,
    JobRequest,
    JobRow,
    MapInput,
    Member,
    ObjectRef,
    OpenObject,
    OutcomeHeader,
    PinnedObject,
    Plan,
    PlanPage,
    PlanResume,
    Prefix,
    RetrySlot,
    Run,
    Slot,
    StateMessage,
    Totals,
    Verdict,
    WaveRow,
)
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

WORST_KEY = 'é"\\\n' * 204 + "xxxx"  # 1,024 bytes, of which most are escaped in JSON
WORST_JOB = f"{'p' * PIPELINE_NAME_MAX_CHARS}-{'t' * JOB_TOKEN_CHARS}"
PIN = PinnedObject(2**31, "b" * 63, WORST_KEY, "e" * 40, 50 * 10**12, "v" * 1024, "CRC64NVME", 2**64 - 1, True)
RUN = Run(2**31, 2**45, 2**45 + 1, 2**26, "quoted")
SEGMENT = Segment(0, 2**45, 2**64 - 1, None, (2**45, 7), 2**40, 2**20, "a", "b", (2**45, 9))
RETRY = RetrySlot([PIN], [RUN], 3, 11)
PENDING = messages.PendingOutcome("k", 3, Slot(1, [PIN], [RUN]))
WAY = messages.GzipWay("index", "applying takes longer", 10.0, "s3://b/k", 4e8, 1.5)
INDEXING = messages.Indexing(PIN, 2**45, 2**44, 15, 1, 2)
CURSOR = Cursor(5, 999, 2**45)
SETTLED = Settled("text", {"max_record_bytes": "1 MiB"}, [("line", "VARCHAR")], "a,b")
CODE = CodeIdentity("c" * 16, "p" * 16, "d" * 16)
EXAMPLES: dict[type[msgspec.Struct], Any] = {
    MapInput: MapInput("b", "k"),
    Context: Context("j", 1, "FETCH", 2, 3, 4, 5, 6, MapInput("b", "k")),
    StateMessage: StateMessage(Context("j", 0), "arn"),
    messages.SlotItem: messages.SlotItem(7, "k", 5, 9, "v"),
    messages.ApplyMessage: messages.ApplyMessage("j", 1, 2, messages.SlotItem(7, "k", 5, 9, "v")),
    ObjectRef: ObjectRef("b", WORST_KEY, "v", "e", 5),
    PinnedObject: PIN,
    Run: RUN,
    messages.IndexTurn: messages.IndexTurn(2**45, 180.0),
    messages.Indexing: INDEXING,
    Slot: Slot(1, [PIN], [RUN], messages.IndexTurn(2**45, 180.0)),
    RetrySlot: RETRY,
    Cursor: CURSOR,
    Prefix: Prefix("b", "p", "s"),
    JobRequest: JobRequest("j", "p", "t", "f", "batch", [ObjectRef("b", "k")], [Prefix("b", "p")], 1, 2, 3),
    CodeIdentity: CODE,
    PlanPage: PlanPage([PIN], 1, 2, PlanResume(1, 2, WORST_KEY), gzip=WAY),
    messages.GzipWay: WAY,
    messages.PipelineDocument: messages.PipelineDocument("name: p", "p.yaml"),
    messages.RejectFile: messages.RejectFile("jobs/j/rejects/w000001-s00002-ab.jsonl", 3),
    messages.Redo: messages.Redo(2, 3, 1, 4, 5),
    PlanResume: PlanResume(1, 2, "a"),
    Plan: Plan("j", "p", "t", "f", SETTLED, CODE, 1, 2, 3, 4, 5, 6, ["w"], gzip=WAY),
    Handout: Handout(1, 2, CURSOR, [RETRY], [RETRY, RETRY], [INDEXING]),
    Verdict: Verdict({"type": "X", "offset": 2**53 + 1}, "E", "C"),
    OutcomeHeader: OutcomeHeader("j", 1, 2, [(0, [SEGMENT])], [RUN], 3, 4, 5, 6, 7, 8, [PIN], "part"),
    OpenObject: OpenObject(PIN, [SEGMENT]),
    messages.RejectGroup: messages.RejectGroup("BadRecord", "it is not JSON", 3, "s3://b/k", None),
    messages.ClosedObject: messages.ClosedObject(1, "u", 2, "e", None, 3, 4, "CRC32", 5, None),
    Totals: Totals(*range(1, 14)),
    Checkpoint: Checkpoint(
        "j", 1, CURSOR, [RETRY], [OpenObject(PIN, [SEGMENT])], [(0, 5)], [["k"], []], Totals(1), ["C"], 1.5, [PENDING]
    ),
    messages.PendingOutcome: PENDING,
    JobRow: JobRow("j", "p", "PAUSED", "c", "o", error={"offset": 2**60}, result={"a": [1, None]}),
    Member: Member("t", "a", ObjectRef("b", "k")),
    WaveRow: WaveRow(1, 2, "c", 3, 4, 5, 6, 7, 8, "k", None),
    messages.GenerationRow: messages.GenerationRow(1, "arn", "s"),
}
VERSIONED = [kind for kind in EXAMPLES if "v" in kind.__struct_fields__]


def test_every_struct_has_an_example() -> None:
    structs = {s for s in vars(messages).values() if isinstance(s, type) and s.__module__.startswith(messages.__name__)}
    assert {s for s in structs if issubclass(s, msgspec.Struct)} == set(EXAMPLES)


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_a_document_comes_back_as_it_was_and_as_the_same_bytes(kind: type[msgspec.Struct]) -> None:
    body = messages.encode(EXAMPLES[kind])
    back = messages.decode(body, kind, "x")
    assert back == EXAMPLES[kind]
    assert messages.encode(back) == body
    msgspec.msgpack.decode(msgspec.msgpack.encode(EXAMPLES[kind]), type=kind)


def test_the_documents_that_outlive_a_deploy_have_versions() -> None:
    assert {k.__name__ for k in VERSIONED} == {
        "JobRequest", "PlanPage", "Plan", "Handout", "OutcomeHeader", "Checkpoint", "PipelineDocument",
    }  # fmt: skip


@pytest.mark.parametrize("kind", VERSIONED, ids=lambda kind: kind.__name__)
def test_the_version_is_always_written(kind: type[msgspec.Struct]) -> None:
    """A version that is left out because it is the default reads as the reader's own."""
    minimal = kind(*(_anything(f.type) for f in msgspec.structs.fields(kind) if f.required))
    assert msgspec.json.decode(messages.encode(minimal))["v"] == messages.VERSION


def _anything(kind: Any) -> Any:
    """Some value of a field's type."""
    if get_origin(kind) is list:
        return []
    if kind in EXAMPLES:
        return EXAMPLES[kind]
    if kind is Settled:
        return SETTLED
    if get_args(kind):
        return get_args(kind)[-1] if isinstance(get_args(kind)[-1], str) else None
    return kind()


@pytest.mark.parametrize("kind", VERSIONED, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("by", [-1, 0, 1])
def test_the_version_before_is_read_and_the_one_after_refused(kind: type[msgspec.Struct], by: int) -> None:
    document = {**msgspec.json.decode(messages.encode(EXAMPLES[kind])), "v": messages.VERSION + by}
    body = msgspec.json.encode(document)
    if by <= 0:
        assert messages.decode(body, kind, "x") is not None
    else:
        with pytest.raises(BadRequest, match=r"jobs/x has version 2; this code reads \[0, 1\]"):
            messages.decode(body, kind, "jobs/x")


@pytest.mark.parametrize("by", [-1, 0, 1])
def test_an_outcomes_version_is_looked_at_as_well(by: int) -> None:
    header = msgspec.structs.replace(EXAMPLES[OutcomeHeader], v=messages.VERSION + by)
    body = outcomes.encode(header, b"partial")
    if by <= 0:
        assert outcomes.decode(body, "o") == (header, b"partial")
    else:
        with pytest.raises(BadRequest, match="version 2"):
            outcomes.decode(body, "o")


def test_fields_of_a_later_minor_change_are_passed_over() -> None:
    document = {**msgspec.json.decode(messages.encode(EXAMPLES[Checkpoint])), "hue": "blue"}
    assert messages.decode(msgspec.json.encode(document), Checkpoint, "x") == EXAMPLES[Checkpoint]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"v": 1}', b"\xff"])
def test_what_is_no_document_is_named(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"jobs/x cannot be read"):
        messages.decode(body, Checkpoint, "jobs/x")


# --- contexts --------------------------------------------------------------------------------------------------------


def test_the_largest_context_fits_its_bound() -> None:
    worst = Context(
        WORST_JOB,
        10**9 - 1,
        "EXECUTE_NEW",
        10**8 - 1,
        10**6 - 1,
        2_000,
        10_000,
        10**9 - 1,
        MapInput("b" * 63, keys.wave(WORST_JOB, 10**8 - 1)),
    )
    assert len(messages.encode(worst)) <= CONTEXT_MAX_BYTES
    # What the states send to each other in all, with the execution's ARN.
    arn = f"arn:aws:states:us-gov-west-1:123456789012:execution:{'m' * 80}:{WORST_JOB}-g999999999"
    assert len(messages.encode(StateMessage(worst, arn))) <= 2 * CONTEXT_MAX_BYTES


def test_a_workers_message_fits_whatever_the_object_is_called() -> None:
    """It carries no key of an object, only where its slot lies."""
    slots_key = keys.slots(WORST_JOB, 10**8 - 1, "f" * 36)
    verdict_key = keys.verdict(WORST_JOB, 10**8 - 1, 1_999)
    item = messages.SlotItem(1_999, slots_key, 2**31, 2**31 + 10**6, verdict_key)
    assert len(messages.encode(messages.ApplyMessage(WORST_JOB, 10**9 - 1, 10**8 - 1, item))) <= CONTEXT_MAX_BYTES
    for key in (slots_key, verdict_key, keys.checkpoint(WORST_JOB, 10**8 - 1, "a" * 36)):
        assert len(key.encode()) <= S3_KEY_MAX_BYTES


@pytest.mark.parametrize("ranges", [1, 100_000])
def test_what_fetch_hands_on_is_as_small_at_100_000_ranges_as_at_one(ranges: int) -> None:
    gateways = in_memory(MemoryObjects())
    gateways.jobs.create(JobRow(WORST_JOB, "p", "WAITING", "2026", "event"))
    gateways.jobs.take_generation(WORST_JOB, 0, "arn", "2026")
    pin = PinnedObject(0, "b" * 63, WORST_KEY, "e" * 40, ranges * 2**26, "v" * 32, "CRC64NVME", 1)
    store = gateways.store
    store.put(keys.plan_page(WORST_JOB, 0), messages.encode(PlanPage([pin], 0, 0, None)))
    plan = Plan(WORST_JOB, "p", "t", "f", SETTLED, CODE, 2**26, 10_000, 20_000, 1, pin.size_bytes, 1)
    store.put(keys.plan(WORST_JOB), messages.encode(plan))
    pointer = keys.checkpoint(WORST_JOB, 0, "plan")
    store.put(pointer, messages.encode(Checkpoint(WORST_JOB, 0, Cursor())))
    gateways.jobs.planned(WORST_JOB, 0, pointer, 1, pin.size_bytes)
    context = fetch.run(StateMessage(Context(WORST_JOB, 0), "arn"), gateways, "f" * 36)
    assert len(messages.encode(context)) <= CONTEXT_MAX_BYTES // 2
    assert len(messages.encode(plan)) < 1_000
    # The Map's own items: no object's key is in them either.
    items = msgspec.json.decode(store.get(context.map.key if context.map else "") or b"")
    assert max(len(msgspec.json.encode(item)) for item in items) < 600


def test_a_moment_sorts_as_text() -> None:
    from datetime import UTC, datetime

    moments = [datetime(2026, 1, 2, 3, 4, 5, micro, UTC) for micro in (0, 1, 10, 999_999)]
    texts = [messages.now_text(moment) for moment in moments]
    assert texts == sorted(texts)
    assert [datetime.fromisoformat(t) for t in texts] == moments
