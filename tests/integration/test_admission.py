"""Objects become jobs once, jobs start within a limit, batches close whatever dies, missed objects are found."""

import itertools
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rangemill import admission, lost, pages
from rangemill.admission import SweepBounds
from rangemill.admit import Admitted
from rangemill.admit import run as run_admit
from rangemill.catalog import Catalog, Entry
from rangemill.errors import Transient
from rangemill.gateways import Gateways
from rangemill.messages import JobRow, ObjectRef, now_text
from rangemill.pipeline import parse_pipeline
from rangemill.sharing import Limits

BUCKET = "input-bucket"
EACH = "name: logs\nmatch: {prefix: in/, suffix: .log}\nformat: {type: text}\napply: {python: m:C}\n"
OTHER = EACH.replace("name: logs", "name: other").replace("in/", "in/a")
BATCH = EACH + "trigger: {batch: {max_objects: 3, max_bytes: 100, max_wait: 5m}}\n"
BOUNDS = SweepBounds(look_back_seconds=86_400, max_starts=100)


def catalog_of(*texts: str) -> Catalog:
    entries = [Entry(parse_pipeline(text, "p.yaml"), text, "p.yaml") for text in texts]
    return Catalog({entry.pipeline.name: entry for entry in entries}, [])


def upload(s3: Any, key: str, body: bytes = b"x\n") -> ObjectRef:
    """An upload and the event about it."""
    answer = s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return ObjectRef(BUCKET, key, answer.get("VersionId"), answer["ETag"].strip('"'), len(body))


def ingest(ref: ObjectRef, catalog: Catalog, gateways: Gateways) -> dict[str, str]:
    return dict(admission.ingest(ref, catalog, gateways, [BUCKET, "second-bucket"]))


def waiting(gateways: Gateways) -> list[JobRow]:
    return list(gateways.jobs.by_status("WAITING"))


def admit(gateways: Gateways, catalog: Catalog, most: int = 100) -> Admitted:
    return run_admit(catalog, gateways, Limits(most, 1_000, 1))


# --- ingest ----------------------------------------------------------------------------------------------------------


def test_the_same_event_five_times_out_of_order_with_others_makes_one_job(s3: Any, gateways: Gateways) -> None:
    catalog = catalog_of(EACH)
    events = [upload(s3, f"in/{number}.log") for number in range(4)] * 5
    random.Random(7).shuffle(events)
    verdicts = Counter(ingest(event, catalog, gateways)["logs"] for event in events)
    assert verdicts == {"created": 4, "duplicate": 16}
    rows = waiting(gateways)
    requested = [pages.request(gateways.store, row.job_id).objects for row in rows]
    assert sorted(ref.key for refs in requested for ref in refs) == [f"in/{n}.log" for n in range(4)]
    assert {row.origin for row in rows} == {"event"}


def test_an_event_after_the_job_ended_makes_no_other_job(s3: Any, gateways: Gateways) -> None:
    catalog, event = catalog_of(EACH), upload(s3, "in/a.log")
    ingest(event, catalog, gateways)
    (row,) = waiting(gateways)
    gateways.jobs.fail(row.job_id, 0, now_text(gateways.clock()), {"type": "X"})
    assert ingest(event, catalog, gateways) == {"logs": "duplicate"}


def test_each_version_of_a_versioned_object_is_a_job_of_its_own(s3: Any, gateways: Gateways) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    catalog = catalog_of(EACH)
    first, second = upload(s3, "in/a.log", b"1\n"), upload(s3, "in/a.log", b"2\n")
    for event in (second, first, first, second):
        ingest(event, catalog, gateways)
    versions = {pages.request(gateways.store, row.job_id).objects[0].version_id for row in waiting(gateways)}
    assert versions == {first.version_id, second.version_id}


def test_an_object_overwritten_with_the_same_bytes_is_a_new_object(s3: Any, gateways: Gateways) -> None:
    catalog, event = catalog_of(EACH), upload(s3, "in/a.log")
    ingest(event, catalog, gateways)
    head = gateways.objects.head(BUCKET, "in/a.log", None)
    assert head is not None
    later = replace(head, last_modified=head.last_modified + timedelta(seconds=1))
    assert admission.take(catalog.find("logs"), later, gateways, "event") == "created"
    assert admission.take(catalog.find("logs"), head, gateways, "event") == "duplicate"


def test_an_event_that_died_between_request_and_row_is_made_good(
    s3: Any, gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, event = catalog_of(EACH), upload(s3, "in/a.log")
    with monkeypatch.context() as broken:
        broken.setattr(gateways.jobs, "create", dying)
        with pytest.raises(Transient):
            ingest(event, catalog, gateways)
    assert ingest(event, catalog, gateways) == {"logs": "created"}
    assert len(waiting(gateways)) == 1


def test_an_object_that_two_pipelines_match_is_a_job_of_each(s3: Any, gateways: Gateways) -> None:
    catalog = catalog_of(EACH, OTHER)
    assert ingest(upload(s3, "in/a.log"), catalog, gateways) == {"logs": "created", "other": "created"}
    assert ingest(upload(s3, "in/b.log"), catalog, gateways) == {"logs": "created"}
    assert sorted(row.pipeline for row in waiting(gateways)) == ["logs", "logs", "other"]


def test_what_is_nobodys_makes_no_job(s3: Any, gateways: Gateways) -> None:
    catalog = catalog_of(EACH)
    gone = upload(s3, "in/gone.log")
    s3.delete_object(Bucket=BUCKET, Key="in/gone.log")
    cases = [
        (ObjectRef("work-bucket", "in/a.log", size_bytes=5), {"": "own"}),
        (ObjectRef("strange-bucket", "in/a.log", size_bytes=5), {"": "unknown-bucket"}),
        (ObjectRef(BUCKET, "in/folder.log/", size_bytes=0), {"": "folder"}),
        (upload(s3, "elsewhere/a.log"), {"": "unmatched"}),
        (upload(s3, "in/a.txt"), {"": "unmatched"}),
        (gone, {"logs": "gone"}),
    ]
    for ref, verdict in cases:
        assert ingest(ref, catalog, gateways) == verdict
    assert waiting(gateways) == []


def test_hard_keys_become_jobs_that_read_just_these_keys(s3: Any, gateways: Gateways) -> None:
    catalog = catalog_of(EACH)
    keys = ["in/a b+c.log", "in/100%.log", "in/é🙂.log", "in/" + "x" * 1017 + ".log"]
    for key in keys:
        assert ingest(upload(s3, key), catalog, gateways) == {"logs": "created"}
    assert sorted(pages.request(gateways.store, row.job_id).objects[0].key for row in waiting(gateways)) == sorted(keys)


# --- admit -----------------------------------------------------------------------------------------------------------


def test_jobs_start_oldest_first_while_there_is_room(s3: Any, gateways: Gateways, clock: Any) -> None:
    catalog = catalog_of(EACH)
    for number in range(5):
        clock.forward(seconds=1)
        ingest(upload(s3, f"in/{4 - number}.log"), catalog, gateways)
    oldest = [row.job_id for row in waiting(gateways)]
    first = admit(gateways, catalog, 3)
    assert first.started == oldest[:3]
    assert admit(gateways, catalog, 3).started == []
    gateways.jobs.fail(oldest[1], 0, now_text(clock()), {"type": "X"})
    assert admit(gateways, catalog, 3).started == [oldest[3]]
    assert [row.job_id for row in waiting(gateways)] == [oldest[4]]


def test_a_job_whose_start_died_half_way_is_started_again_without_harm(
    s3: Any, gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(EACH)
    ingest(upload(s3, "in/a.log"), catalog, gateways)
    with monkeypatch.context() as broken:
        broken.setattr(gateways.jobs, "start", dying)
        with pytest.raises(Transient):
            admit(gateways, catalog)
    (row,) = waiting(gateways)
    assert admit(gateways, catalog).started == [row.job_id]  # the lock was given back as well
    assert gateways.jobs.load(row.job_id).status == "RUNNING"
    client = gateways.executions._client  # type: ignore[attr-defined]
    arn = gateways.executions._state_machine_arn  # type: ignore[attr-defined]
    assert len(client.list_executions(stateMachineArn=arn)["executions"]) == 1


def test_whoever_finds_admission_taken_leaves_it(s3: Any, gateways: Gateways, clock: Any) -> None:
    catalog = catalog_of(EACH)
    ingest(upload(s3, "in/a.log"), catalog, gateways)
    gateways.jobs.lock("admit", "somebody", clock(), 60)
    assert admit(gateways, catalog) == Admitted([], [], [])
    clock.forward(seconds=121)  # somebody died
    assert len(admit(gateways, catalog).started) == 1


def test_a_name_that_aws_still_keeps_fails_the_job_and_not_those_behind_it(
    s3: Any, gateways: Gateways, clock: Any
) -> None:
    catalog = catalog_of(EACH)
    ingest(upload(s3, "in/a.log"), catalog, gateways)
    (first,) = waiting(gateways)
    arn = gateways.executions.start(first.job_id, 0)
    client = gateways.executions._client  # type: ignore[attr-defined]
    client.stop_execution(executionArn=arn)
    clock.forward(seconds=1)
    ingest(upload(s3, "in/b.log"), catalog, gateways)
    done = admit(gateways, catalog)
    assert done.failed == [first.job_id]
    row = gateways.jobs.load(first.job_id)
    assert (row.status, row.error and row.error["type"]) == ("FAILED", "JobIdTaken")
    assert len(done.started) == 1


def test_a_pipeline_is_active_from_the_first_tick_after_its_deployment(gateways: Gateways, clock: Any) -> None:
    deployed = now_text(clock())
    admission.note_active(catalog_of(EACH), gateways)
    clock.forward(seconds=3600)
    assert gateways.jobs.first_active("logs", now_text(clock())) == deployed


def test_a_job_whose_execution_somebody_stopped_is_marked_once(s3: Any, gateways: Gateways, clock: Any) -> None:
    catalog = catalog_of(EACH)
    for key in ("in/a.log", "in/b.log"):
        ingest(upload(s3, key), catalog, gateways)
    gone, alive = admit(gateways, catalog).started
    client = gateways.executions._client  # type: ignore[attr-defined]
    machine = gateways.executions._state_machine_arn  # type: ignore[attr-defined]
    client.stop_execution(executionArn=f"{machine.replace(':stateMachine:', ':execution:')}:{gone}-g0")
    assert lost.recover(gateways) == {gone: "failed"}
    row = gateways.jobs.load(gone)
    assert (row.status, row.error and row.error["type"]) == ("FAILED", "ExecutionFailed")
    assert gateways.jobs.load(alive).status == "RUNNING"
    assert lost.recover(gateways) == {}


def test_a_job_that_the_next_generation_carries_is_not_lost(s3: Any, gateways: Gateways) -> None:
    ingest(upload(s3, "in/a.log"), catalog_of(EACH), gateways)
    (job_id,) = admit(gateways, catalog_of(EACH)).started
    client = gateways.executions._client  # type: ignore[attr-defined]
    machine = gateways.executions._state_machine_arn  # type: ignore[attr-defined]
    gateways.executions.start(job_id, 1)
    client.stop_execution(executionArn=f"{machine.replace(':stateMachine:', ':execution:')}:{job_id}-g0")
    assert lost.recover(gateways) == {}


# --- batches ---------------------------------------------------------------------------------------------------------


def dying(*_: Any, **__: Any) -> Any:
    raise Transient("the function was killed")


def batches(gateways: Gateways) -> list[list[str]]:
    """The keys of every batch that became a job."""
    rows = itertools.chain.from_iterable(gateways.jobs.by_status(s) for s in ("WAITING", "RUNNING"))
    return sorted([ref.key for ref in pages.request(gateways.store, row.job_id).objects] for row in rows)


def fill(s3: Any, gateways: Gateways, clock: Any, names: list[str], size: int = 2) -> None:
    for name in names:
        clock.forward(seconds=1)
        verdict = ingest(upload(s3, f"in/{name}.log", b"x" * size), catalog_of(BATCH), gateways)
        assert verdict == {"logs": "member"}


def keys(*names: str) -> list[str]:
    return [f"in/{name}.log" for name in names]


def test_a_batch_closes_at_its_number_of_objects(s3: Any, gateways: Gateways, clock: Any) -> None:
    fill(s3, gateways, clock, ["a", "b"])
    assert admit(gateways, catalog_of(BATCH)).closed_batches == []
    fill(s3, gateways, clock, ["c", "d", "e", "f", "g"])
    assert len(admit(gateways, catalog_of(BATCH)).closed_batches) == 2
    assert batches(gateways) == [keys("a", "b", "c"), keys("d", "e", "f")]


def test_a_batch_closes_at_its_bytes_and_does_not_pass_them(s3: Any, gateways: Gateways, clock: Any) -> None:
    fill(s3, gateways, clock, ["a", "b"], size=60)
    admit(gateways, catalog_of(BATCH))
    assert batches(gateways) == [keys("a")]
    fill(s3, gateways, clock, ["c"], size=500)  # larger than a batch may be: alone
    admit(gateways, catalog_of(BATCH))
    assert batches(gateways) == [keys("a"), keys("b"), keys("c")]


def test_a_batch_closes_when_its_oldest_member_has_waited(s3: Any, gateways: Gateways, clock: Any) -> None:
    fill(s3, gateways, clock, ["a"])
    clock.forward(seconds=200)
    fill(s3, gateways, clock, ["b"])
    assert admit(gateways, catalog_of(BATCH)).closed_batches == []
    clock.forward(seconds=100)
    assert len(admit(gateways, catalog_of(BATCH)).closed_batches) == 1
    assert batches(gateways) == [keys("a", "b")]


def test_an_event_that_comes_again_joins_no_second_batch(s3: Any, gateways: Gateways, clock: Any) -> None:
    fill(s3, gateways, clock, ["a", "b", "c"])
    admit(gateways, catalog_of(BATCH))
    head = gateways.objects.head(BUCKET, "in/a.log", None)
    assert head is not None
    assert ingest(head.ref, catalog_of(BATCH), gateways) == {"logs": "duplicate"}


STEPS = ["close_batch", "put_once", "create", "batch_closed"]  # what writes; test_admission of the unit tests has all


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("method", STEPS)
def test_dying_at_any_step_of_closing_leaves_every_object_in_exactly_one_batch(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch, method: str, call: int, after: bool
) -> None:
    fill(s3, gateways, clock, list("abcdefg"))
    target: Any = gateways.store if method in ("put_once", "get") else gateways.jobs
    really, count = getattr(target, method), itertools.count(1)

    def step(*arguments: Any, **named: Any) -> Any:
        turn = next(count)
        if turn == call and not after:
            dying()
        answer = really(*arguments, **named)
        if turn == call:
            dying()
        return answer

    with monkeypatch.context() as broken:
        broken.setattr(target, method, step)
        try:
            admit(gateways, catalog_of(BATCH), 0)
        except Transient:
            fill(s3, gateways, clock, ["z"])  # and something arrives before the next run
    clock.forward(seconds=400)
    admit(gateways, catalog_of(BATCH), 0)
    counted = Counter(itertools.chain.from_iterable(batches(gateways)))
    assert set(counted.values()) == {1}
    assert set(keys(*"abcdefg")) <= set(counted)
    assert all(len(batch) <= 3 for batch in batches(gateways))
    assert gateways.jobs.members("logs", 100) == []
    assert gateways.jobs.closing("logs") is None


def test_a_closing_that_died_finds_its_members_behind_everything_that_came_since(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrivals are stamped by machines whose clocks differ: a later one may sort before."""
    monkeypatch.setattr(admission, "_LATER_MEMBERS", 2)
    fill(s3, gateways, clock, ["a", "b", "c"])
    with monkeypatch.context() as broken:
        broken.setattr(gateways.jobs, "batch_closed", dying)
        with pytest.raises(Transient):
            admit(gateways, catalog_of(BATCH), 0)
    clock.forward(seconds=-60)
    fill(s3, gateways, clock, [f"late{n}" for n in range(9)])
    clock.forward(seconds=60)
    admit(gateways, catalog_of(BATCH), 0)
    assert Counter(itertools.chain.from_iterable(batches(gateways))) == Counter(
        keys("a", "b", "c", *(f"late{n}" for n in range(9)))
    )


def test_two_runs_that_close_the_same_batch_make_one_job_of_it(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock expired under a slow run: it saw the batch due, and another run closed it meanwhile."""
    fill(s3, gateways, clock, ["a", "b", "c"])
    entry = catalog_of(BATCH).find("logs")
    really = gateways.jobs.close_batch

    def slow(pipeline: str, job_id: str) -> str:
        monkeypatch.setattr(gateways.jobs, "close_batch", really)
        assert len(admission.close_due_batches(entry, gateways)) == 1
        return really(pipeline, job_id)

    monkeypatch.setattr(gateways.jobs, "close_batch", slow)
    assert admission.close_due_batches(entry, gateways) == []
    assert batches(gateways) == [keys("a", "b", "c")]
    assert gateways.jobs.closing("logs") is None
    fill(s3, gateways, clock, ["d", "e", "f"])
    admission.close_due_batches(entry, gateways)
    assert batches(gateways) == [keys("a", "b", "c"), keys("d", "e", "f")]


@pytest.mark.parametrize("method", ["put_once", "get", "batch_closed"])
def test_two_runs_at_any_step_of_closing_make_one_job_of_it(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    fill(s3, gateways, clock, ["a", "b", "c"])
    entry = catalog_of(BATCH).find("logs")
    target: Any = gateways.jobs if method == "batch_closed" else gateways.store
    really = getattr(target, method)

    def slow(*arguments: Any) -> Any:
        monkeypatch.setattr(target, method, really)
        admission.close_due_batches(entry, gateways)
        return really(*arguments)

    monkeypatch.setattr(target, method, slow)
    admission.close_due_batches(entry, gateways)
    assert batches(gateways) == [keys("a", "b", "c")]
    assert (gateways.jobs.closing("logs"), gateways.jobs.members("logs", 9)) == (None, [])


def test_an_object_overwritten_while_it_waits_is_in_the_batch_once_as_it_is_now(
    s3: Any, gateways: Gateways, clock: Any
) -> None:
    """Its first bytes cannot be read any more: as a member they would fail the whole batch."""
    fill(s3, gateways, clock, ["a"])
    now = upload(s3, "in/a.log", b"new")
    clock.forward(seconds=1)
    assert ingest(now, catalog_of(BATCH), gateways) == {"logs": "member"}
    fill(s3, gateways, clock, ["b"])
    admit(gateways, catalog_of(BATCH), 0)
    (row,) = waiting(gateways)
    first = pages.request(gateways.store, row.job_id).objects[0]
    assert (first.key, first.etag) == ("in/a.log", now.etag)
    assert batches(gateways) == [keys("a", "b")]
    assert gateways.jobs.members("logs", 9) == []


def test_an_object_overwritten_while_its_batch_closes_waits_for_the_next(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(s3, gateways, clock, ["a", "b", "c"])
    really = gateways.jobs.create

    def create(row: JobRow) -> bool:
        clock.forward(seconds=1)
        ingest(upload(s3, "in/a.log", b"new"), catalog_of(BATCH), gateways)
        return really(row)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(gateways.jobs, "create", create)
        admit(gateways, catalog_of(BATCH), 0)
    (left,) = gateways.jobs.members("logs", 9)
    assert (left.ref.key, left.ref.size_bytes) == ("in/a.log", 3)


# --- sweep -----------------------------------------------------------------------------------------------------------


def age(monkeypatch: pytest.MonkeyPatch, gateways: Gateways, modified: dict[str, Any]) -> None:
    """Let objects have been modified when a test says so; moto stamps them with today's clock."""
    objects: Any = gateways.objects
    list_page, head = objects.list_page, objects.head

    def aged_page(bucket: str, prefix: str, after: str | None) -> Any:
        page = list_page(bucket, prefix, after)
        return replace(page, objects=[(ref, modified.get(ref.key, moment)) for ref, moment in page.objects])

    def aged_head(bucket: str, key: str, version_id: str | None) -> Any:
        found = head(bucket, key, version_id)
        return None if found is None else replace(found, last_modified=modified.get(key, found.last_modified))

    monkeypatch.setattr(objects, "list_page", aged_page)
    monkeypatch.setattr(objects, "head", aged_head)


def sweep(gateways: Gateways, catalog: Catalog, bounds: SweepBounds = BOUNDS) -> int:
    return sum(admission.sweep(catalog, gateways, [BUCKET], bounds).values())


def swept(gateways: Gateways) -> list[str]:
    rows = [row for row in waiting(gateways) if row.origin == "sweep"]
    return sorted(pages.request(gateways.store, row.job_id).objects[0].key for row in rows)


def test_a_sweep_takes_only_what_was_missed_since_the_pipeline_was_active_and_within_the_look_back(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(EACH)
    start = clock()
    assert sweep(gateways, catalog) == 0  # the pipeline is seen for the first time
    modified: dict[str, Any] = {}
    age(monkeypatch, gateways, modified)

    def put(name: str, moment: Any) -> ObjectRef:
        modified[f"in/{name}.log"] = moment
        return upload(s3, f"in/{name}.log")

    put("before", start - timedelta(seconds=1))
    put("old", start + timedelta(minutes=1))
    clock.forward(days=2)
    put("missed", clock() - timedelta(hours=1))
    event = put("known", clock() - timedelta(hours=1))
    put("edge", clock() - timedelta(days=1))
    ingest(event, catalog, gateways)
    upload(s3, "in/ignored.txt")
    upload(s3, "in/folder.log/", b"")
    assert sweep(gateways, catalog) == 2
    assert swept(gateways) == keys("edge", "missed")
    assert sweep(gateways, catalog) == 0


def test_an_object_is_taken_once_whether_event_or_sweep_comes_first(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (EACH, BATCH.replace("name: logs", "name: packs")):
        catalog = catalog_of(text)
        clock.now = clock.now.replace(year=2026)
        sweep(gateways, catalog)
        modified: dict[str, Any] = {}
        age(monkeypatch, gateways, modified)
        event = upload(s3, "in/a.log")
        modified["in/a.log"] = clock() + timedelta(seconds=1)
        clock.forward(seconds=5)
        assert sweep(gateways, catalog) == 1
        assert set(ingest(event, catalog, gateways).values()) == {"duplicate"}
        assert sweep(gateways, catalog) == 0


def test_a_sweep_is_bounded_and_goes_on_where_it_stopped(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(EACH)
    sweep(gateways, catalog)
    clock.forward(seconds=5)
    modified = {f"in/{n:02d}.log": clock() for n in range(11)}
    age(monkeypatch, gateways, modified)
    for key in modified:
        upload(s3, key)
    bounds = SweepBounds(86_400, max_starts=4)
    heads: list[str] = []
    really = gateways.objects.head

    def head(bucket: str, key: str, version_id: str | None) -> Any:
        heads.append(key)
        return really(bucket, key, version_id)

    monkeypatch.setattr(gateways.objects, "head", head)
    assert [sweep(gateways, catalog, bounds) for _ in range(4)] == [4, 4, 3, 0]
    assert swept(gateways) == sorted(modified)
    assert sorted(heads[:11]) == sorted(modified)  # no object was looked at twice before the end was reached


def test_a_sweep_ends_when_its_time_is_up_and_keeps_its_place_when_it_is_cut_short(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(EACH)
    really = s3.list_objects_v2
    monkeypatch.setattr(s3, "list_objects_v2", lambda **a: really(**a, MaxKeys=2))
    sweep(gateways, catalog)
    clock.forward(seconds=5)
    modified = {f"in/{n}.log": clock() for n in range(8)}
    age(monkeypatch, gateways, modified)
    for key in modified:
        upload(s3, key)
    asked = itertools.count()
    assert sweep(gateways, catalog, SweepBounds(86_400, 100, lambda: next(asked) == 1)) == 2
    count, head = itertools.count(1), gateways.objects.head

    def dies_at_the_third(bucket: str, key: str, version_id: str | None) -> Any:
        if next(count) == 3:
            dying()
        return head(bucket, key, version_id)

    with monkeypatch.context() as broken:
        broken.setattr(gateways.objects, "head", dies_at_the_third)
        with pytest.raises(Transient):
            sweep(gateways, catalog)
    assert gateways.jobs.bookmark(f"sweep#logs#{BUCKET}") == "in/3.log"
    assert sweep(gateways, catalog) == 4
    assert swept(gateways) == sorted(modified)


def test_a_sweep_fills_batches_and_skips_its_own_bucket(
    s3: Any, gateways: Gateways, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(BATCH)
    both = [BUCKET, "work-bucket"]
    admission.sweep(catalog, gateways, both, BOUNDS)
    clock.forward(seconds=5)
    age(monkeypatch, gateways, {"in/a.log": clock()})
    upload(s3, "in/a.log")
    s3.put_object(Bucket="work-bucket", Key="in/a.log", Body=b"own")
    assert admission.sweep(catalog, gateways, both, BOUNDS) == {"logs": 1}
    assert [m.ref.bucket for m in gateways.jobs.members("logs", 9)] == [BUCKET]


def test_a_pipeline_without_a_match_is_never_swept(s3: Any, gateways: Gateways) -> None:
    text = EACH.replace("match: {prefix: in/, suffix: .log}\n", "")
    assert admission.sweep(catalog_of(text), gateways, [BUCKET], BOUNDS) == {}
