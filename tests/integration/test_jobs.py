"""The job table: each condition, on DynamoDB and in memory alike, because the same core relies on both."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from rangemill.aws.items import from_item, to_item
from rangemill.aws.jobs import DynamoJobs
from rangemill.errors import BadRequest, Superseded, Transient, UnknownJob
from rangemill.messages import JobRow, Member, ObjectRef, Totals, WaveRow
from rangemill_cli.inprocess.memory import MemoryJobs

T0 = "2026-11-20T12:00:00.000000Z"
T1 = "2026-11-20T12:00:01.000000Z"
ROW = JobRow("p-1", "p", "WAITING", T0, "event")
ERROR = {"type": "ObjectMissing", "message": "gone", "object": "s3://b/k", "offset": None}
# Amounts that binary floats do not hold, and a nested document.
FULL = JobRow(
    "p-full",
    "p",
    "RUNNING",
    T0,
    "submit",
    generation=3,
    wave=17,
    pointer="jobs/p-full/checkpoints/17-a.json",
    desired="pause",
    generation_first_wave=12,
    execution_arn="arn:aws:states:us-east-1:1:execution:m:p-full-g3",
    started=T0,
    ended=T1,
    objects=2**40,
    bytes_total=50 * 10**12,
    totals=Totals(1, 2**50, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13),
    cost_usd=0.1 + 0.2,
    rest_reason="paused",
    error={"type": "X", "message": 'é "q" \n', "object": None, "offset": 2**53 + 1},
    result={"proof": {"complete": True, "matched": None}, "output": ["s3://b/k"], "seconds": 4.2},
    concurrency=7,
    cost_cap_usd=2.5,
    redrives=3,
    plan_number=2,
    restarted_after_wave=9,
    document="jobs/p-full/document",
    grant=7,
    held=8,
    leased_until=T1,
    own_workers=70,
    wants=60,
    rejects_after_wave=8,
    published=2,
    take_ups=2,
    take_ups_wave=17,
    ending=T1,
)


@pytest.fixture(params=["dynamodb", "memory"])
def jobs(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        return MemoryJobs()
    return DynamoJobs(request.getfixturevalue("dynamodb"), "jobs")


def wave(number: int, generation: int = 0, **changes: Any) -> WaveRow:
    fields: dict[str, Any] = {"slots": 2, "bytes": 10, "records": 3, "ranges": 2, "returned_slots": 0}
    return WaveRow(number, generation, T1, milliseconds=5, **{**fields, **changes})


def running(jobs: Any, generation: int = 0) -> JobRow:
    """A job that its first generations have carried."""
    jobs.create(ROW)
    for number in range(generation + 1):
        jobs.take_generation("p-1", number, f"arn-{number}", T0)
    return jobs.planned("p-1", generation, "jobs/p-1/checkpoints/0", 1, 100)


def commit(jobs: Any, generation: int, number: int, pointer: str) -> JobRow:
    return jobs.commit("p-1", generation, wave(number, generation), pointer, Totals(waves=number), 0.5 * number)


# --- create and load -------------------------------------------------------------------------------------------------


def test_a_job_is_created_once(jobs: Any) -> None:
    assert jobs.create(ROW) is True
    assert jobs.create(msgspec.structs.replace(ROW, origin="sweep")) is False
    assert jobs.load("p-1") == ROW


def test_every_field_of_a_row_comes_back(jobs: Any) -> None:
    jobs.create(FULL)
    assert jobs.load("p-full") == FULL
    assert all(getattr(FULL, f.name) != f.default for f in msgspec.structs.fields(JobRow) if not f.required)


def test_an_unknown_job_is_named(jobs: Any) -> None:
    with pytest.raises(UnknownJob, match="p-9"):
        jobs.load("p-9")


def test_an_item_with_attributes_of_a_later_version_is_read() -> None:
    item: dict[str, Any] = {**to_item(FULL, pk="JOB#p-full", sk="JOB"), "hue": {"S": "blue"}, "flag": {"BOOL": True}}
    assert from_item(item, JobRow) == FULL


def test_a_write_to_a_job_that_is_not_there_makes_none(jobs: Any) -> None:
    assert jobs.start("p-9", 0, T0) is False
    assert jobs.fail("p-9", 0, T0, ERROR) is False
    assert jobs.desire("p-9", "pause") is False
    jobs.note_error("p-9", 0, ERROR)
    with pytest.raises(UnknownJob):
        jobs.load("p-9")


# --- generations -----------------------------------------------------------------------------------------------------


def test_only_a_waiting_job_is_started(jobs: Any) -> None:
    jobs.create(ROW)
    assert jobs.start("p-1", 0, T1) is True
    assert jobs.start("p-1", 0, T1) is False
    assert (jobs.load("p-1").status, jobs.load("p-1").started) == ("RUNNING", T1)


def test_a_generation_is_taken_and_taking_it_again_changes_nothing(jobs: Any) -> None:
    jobs.create(ROW)
    first = jobs.take_generation("p-1", 0, "arn-0", T0)
    assert (first.status, first.generation, first.execution_arn, first.started) == ("RUNNING", 0, "arn-0", T0)
    assert jobs.take_generation("p-1", 0, "arn-0", T1) == first
    assert [g.generation for g in jobs.generations("p-1")] == [0]


def test_the_next_generation_takes_over_and_the_old_one_cannot_come_back(jobs: Any) -> None:
    running(jobs)
    commit(jobs, 0, 1, "c1")
    row = jobs.take_generation("p-1", 1, "arn-1", T1)
    assert (row.generation, row.generation_first_wave, row.wave, row.pointer) == (1, 1, 1, "c1")
    assert row.started == T0  # the job's start, not the generation's
    for late in (0, 3):
        with pytest.raises(Superseded, match=f"generation {late}"):
            jobs.take_generation("p-1", late, f"arn-{late}", T1)
    assert jobs.load("p-1") == row
    assert [(g.generation, g.execution_arn) for g in jobs.generations("p-1")] == [(0, "arn-0"), (1, "arn-1")]


def test_a_generation_cannot_be_taken_two_ahead(jobs: Any) -> None:
    running(jobs)
    with pytest.raises(Superseded):
        jobs.take_generation("p-1", 2, "arn-2", T1)


@pytest.mark.parametrize("end", ["fail", "succeed", "rest"])
def test_a_job_that_ended_or_rests_is_taken_by_nobody(jobs: Any, end: str) -> None:
    running(jobs)
    if end == "fail":
        jobs.fail("p-1", 0, T1, ERROR)
    elif end == "succeed":
        jobs.succeed("p-1", 0, T1, 1.0, {})
    else:
        jobs.rest("p-1", 0, "PAUSED", "paused", None, "run")
    for generation in (0, 1):
        with pytest.raises(Superseded):
            jobs.take_generation("p-1", generation, f"arn-{generation}", T1)


def test_a_generation_that_died_right_after_taking_the_row_is_in_the_history(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = DynamoJobs(dynamodb, "jobs")
    jobs.create(ROW)
    writes = 0
    really = jobs._write

    def dies_after_one(operation: str, what: str, **arguments: Any) -> bool:
        nonlocal writes
        writes += 1
        if writes > 1:
            raise Transient("the function was killed")
        return really(operation, what, **arguments)

    monkeypatch.setattr(jobs, "_write", dies_after_one)
    try:
        jobs.take_generation("p-1", 0, "arn-0", T0)
    except Transient:
        monkeypatch.setattr(jobs, "_write", really)
        jobs.take_generation("p-1", 0, "arn-0", T0)
    assert [g.generation for g in jobs.generations("p-1")] == [0]


# --- planned and commit ----------------------------------------------------------------------------------------------


def test_the_first_checkpoint_that_was_pointed_at_stays(jobs: Any) -> None:
    first = running(jobs)
    assert (first.pointer, first.objects, first.bytes_total) == ("jobs/p-1/checkpoints/0", 1, 100)
    assert jobs.planned("p-1", 0, "jobs/p-1/checkpoints/other", 9, 9) == first


def test_planning_of_another_generation_is_superseded(jobs: Any) -> None:
    running(jobs, generation=1)
    with pytest.raises(Superseded):
        jobs.planned("p-1", 0, "late", 1, 100)


def test_a_wave_is_committed_once_by_whoever_is_first(jobs: Any) -> None:
    running(jobs)
    first = commit(jobs, 0, 1, "mine")
    assert (first.wave, first.pointer, first.totals.waves, first.cost_usd) == (1, "mine", 1, 0.5)
    second = jobs.commit("p-1", 0, wave(1, returned_slots=9), "theirs", Totals(waves=99), 9.0)
    assert second == first
    assert [(w.wave, w.returned_slots) for w in jobs.waves("p-1")] == [(1, 0)]


@pytest.mark.parametrize("number", [0, 2, 5])
def test_a_wave_that_does_not_follow_is_not_committed(jobs: Any, number: int) -> None:
    before = running(jobs)
    if number == 0:
        assert jobs.commit("p-1", 0, wave(0), "again", Totals(), 0.0) == before
    else:
        with pytest.raises(Superseded):
            commit(jobs, 0, number, "skipping")
    assert jobs.load("p-1") == before
    assert list(jobs.waves("p-1")) == []


def test_a_generation_that_was_taken_over_commits_nothing(jobs: Any) -> None:
    running(jobs)
    jobs.take_generation("p-1", 1, "arn-1", T1)
    with pytest.raises(Superseded):
        commit(jobs, 0, 1, "old")
    assert (jobs.load("p-1").wave, list(jobs.waves("p-1"))) == (0, [])
    assert commit(jobs, 1, 1, "new").pointer == "new"


def test_a_commit_after_the_job_ended_is_superseded(jobs: Any) -> None:
    running(jobs)
    jobs.fail("p-1", 0, T1, ERROR)
    with pytest.raises(Superseded):
        commit(jobs, 0, 1, "late")
    assert jobs.load("p-1").pointer == "jobs/p-1/checkpoints/0"


def test_a_repeated_commit_of_a_wave_behind_is_superseded(jobs: Any) -> None:
    running(jobs)
    commit(jobs, 0, 1, "c1")
    commit(jobs, 0, 2, "c2")
    with pytest.raises(Superseded, match="gone on"):
        commit(jobs, 0, 1, "c1")
    assert jobs.load("p-1").pointer == "c2"


def test_waves_come_in_order_over_generations(jobs: Any) -> None:
    running(jobs)
    for number in range(1, 13):
        if number == 7:
            jobs.take_generation("p-1", 1, "arn-1", T1)
        commit(jobs, int(number >= 7), number, f"c{number}")
    assert [(w.wave, w.generation) for w in jobs.waves("p-1")] == [(n, int(n >= 7)) for n in range(1, 13)]


def test_an_error_that_was_overcome_leaves_the_row_with_the_next_commit(jobs: Any) -> None:
    running(jobs)
    jobs.note_error("p-1", 0, ERROR)
    assert jobs.load("p-1").error == ERROR
    assert commit(jobs, 0, 1, "c1").error is None
    jobs.note_error("p-1", 0, ERROR)
    jobs.succeed("p-1", 0, T1, 1.0, {})
    assert jobs.load("p-1").error is None


# --- ends ------------------------------------------------------------------------------------------------------------


def test_success_is_repeatable_and_fenced(jobs: Any) -> None:
    running(jobs, generation=1)
    with pytest.raises(Superseded):
        jobs.succeed("p-1", 0, T1, 1.0, {})
    assert jobs.succeed("p-1", 1, T1, 1.25, {"records": 3}) is True
    assert jobs.succeed("p-1", 1, "later", 9.0, {"records": 9}) is False  # and so tells nobody
    assert jobs.succeed("p-1", 1, T1, 1.25, {"records": 3}) is True  # the same call, sent again by boto3
    row = jobs.load("p-1")
    assert (row.status, row.ended, row.cost_usd, row.result) == ("SUCCEEDED", T1, 1.25, {"records": 3})


def test_a_job_that_has_its_result_can_only_succeed_and_with_that_result(jobs: Any) -> None:
    running(jobs, generation=1)
    with pytest.raises(Superseded):
        jobs.publish("p-1", 0, T1, {"records": 0})
    assert jobs.publish("p-1", 1, T1, {"records": 3}).ending == T1
    assert jobs.publish("p-1", 1, "later", {"records": 9}).result == {"records": 3}
    assert jobs.fail("p-1", 1, T1, ERROR) is False
    assert jobs.load("p-1").status == "RUNNING"
    jobs.take_generation("p-1", 2, "arn-2", T1)
    with pytest.raises(Superseded):
        jobs.publish("p-1", 1, T1, {"records": 3})
    jobs.succeed("p-1", 2, T1, 1.25, {"records": 3})


def test_a_paused_job_keeps_no_end_and_a_cancelled_one_has_it(jobs: Any) -> None:
    running(jobs)
    jobs.rest("p-1", 0, "PAUSED", "paused", None, "run")
    jobs.rest("p-1", 0, "PAUSED", "paused", None, "run")
    row = jobs.load("p-1")
    assert (row.status, row.rest_reason, row.ended) == ("PAUSED", "paused", None)
    with pytest.raises(Superseded):
        jobs.rest("p-1", 0, "CANCELLED", "cancelled", T1, "run")


def test_a_cancelled_job_has_its_end(jobs: Any) -> None:
    running(jobs)
    jobs.rest("p-1", 0, "CANCELLED", "cancelled", T1, "run")
    assert (jobs.load("p-1").status, jobs.load("p-1").ended) == ("CANCELLED", T1)


def test_failure_is_fenced_by_generation_and_status(jobs: Any) -> None:
    running(jobs, generation=2)
    assert jobs.fail("p-1", 0, T1, ERROR) is False
    assert jobs.fail("p-1", 1, T1, ERROR) is False
    assert jobs.load("p-1").status == "RUNNING"
    assert jobs.fail("p-1", 2, T1, ERROR) is True
    assert jobs.fail("p-1", 2, "later", {"type": "Y"}) is False
    assert (jobs.load("p-1").error, jobs.load("p-1").ended) == (ERROR, T1)


def test_a_generation_that_died_before_its_first_act_fails_the_job(jobs: Any) -> None:
    running(jobs)
    assert jobs.fail("p-1", 1, T1, ERROR) is True


def test_a_waiting_job_can_fail(jobs: Any) -> None:
    jobs.create(ROW)
    assert jobs.fail("p-1", 0, T1, ERROR) is True


def test_an_error_is_noted_only_by_the_generation_that_carries_the_job(jobs: Any) -> None:
    running(jobs, generation=1)
    jobs.note_error("p-1", 0, ERROR)
    assert jobs.load("p-1").error is None
    jobs.note_error("p-1", 1, ERROR)
    assert jobs.load("p-1").error == ERROR


def test_a_wish_is_kept_until_the_job_ends(jobs: Any) -> None:
    running(jobs)
    assert jobs.desire("p-1", "pause") is True
    assert jobs.desire("p-1", "cancel") is True
    assert jobs.load("p-1").desired == "cancel"
    jobs.succeed("p-1", 0, T1, 1.0, {})
    assert jobs.desire("p-1", "run") is False
    assert jobs.load("p-1").desired == "cancel"


def test_a_job_rests_only_as_people_still_want_it(jobs: Any) -> None:
    running(jobs)
    jobs.desire("p-1", "pause")
    jobs.desire("p-1", "run")
    assert jobs.rest("p-1", 0, "PAUSED", "paused", None, "pause") is False
    assert jobs.load("p-1").status == "RUNNING"
    jobs.desire("p-1", "cancel")
    assert jobs.rest("p-1", 0, "CANCELLED", "cancelled", T1, "cancel") is True
    assert jobs.rest("p-1", 0, "CANCELLED", "cancelled", T1, "cancel") is True  # a repeat


def test_a_job_rests_only_by_the_generation_that_carries_it(jobs: Any) -> None:
    running(jobs)
    jobs.take_generation("p-1", 1, "arn:g1", T1)
    jobs.desire("p-1", "pause")
    with pytest.raises(Superseded):
        jobs.rest("p-1", 0, "PAUSED", "paused", None, "pause")
    assert jobs.load("p-1").status == "RUNNING"


def test_a_row_turns_once_with_its_generations_history(jobs: Any) -> None:
    running(jobs)
    jobs.fail("p-1", 0, T1, ERROR)
    seen = jobs.load("p-1")
    history = msgspec.structs.replace(next(iter(jobs.generations("p-1"))), status="FAILED", ended=T1, error=ERROR)
    up = {"status": "WAITING", "generation": 1, "error": None, "ended": None, "rest_reason": None, "redrives": 1}
    assert jobs.turn(seen, up, history) is True
    assert jobs.turn(seen, {**up, "redrives": 7}, msgspec.structs.replace(history, ended=T0)) is False
    expected = msgspec.structs.replace(seen, status="WAITING", generation=1, error=None, ended=None, redrives=1)
    assert jobs.load("p-1") == expected
    assert list(jobs.generations("p-1")) == [history]
    for other in ({"generation": 0}, {"status": "PAUSED"}):  # either alone is not enough
        assert jobs.turn(msgspec.structs.replace(expected, **other), {"status": "CANCELLED"}) is False
    assert [row.job_id for row in jobs.by_status("WAITING")] == ["p-1"]


def test_a_start_for_a_generation_that_is_gone_marks_nothing(jobs: Any) -> None:
    jobs.create(ROW)
    assert jobs.turn(ROW, {"status": "PAUSED"})
    assert jobs.turn(jobs.load("p-1"), {"status": "WAITING", "generation": 1})
    assert jobs.start("p-1", 0, T1) is False
    assert jobs.load("p-1").status == "WAITING"
    assert jobs.start("p-1", 1, T1) is True
    assert jobs.load("p-1").started is None  # the execution's first act says when


def test_a_generation_that_was_taken_up_takes_the_row_and_the_one_before_cannot(jobs: Any) -> None:
    running(jobs)
    commit(jobs, 0, 1, "c1")
    jobs.fail("p-1", 0, T1, ERROR)
    jobs.turn(jobs.load("p-1"), {"status": "WAITING", "generation": 4, "generation_first_wave": 1, "plan_number": 2})
    with pytest.raises(Superseded):
        jobs.take_generation("p-1", 0, "arn-0", T1)
    assert jobs.fail("p-1", 0, T1, ERROR) is False
    row = jobs.take_generation("p-1", 4, "arn-4", T1)
    assert (row.status, row.generation, row.wave, row.generation_first_wave) == ("RUNNING", 4, 1, 1)
    assert [(g.generation, g.plan_number) for g in jobs.generations("p-1")] == [(0, 0), (4, 2)]


def test_bounds_change_until_the_job_ends(jobs: Any) -> None:
    running(jobs)
    assert jobs.adjust("p-1", {"concurrency": 9, "cost_cap_usd": 0.25}) is True
    assert (jobs.load("p-1").concurrency, jobs.load("p-1").cost_cap_usd) == (9, 0.25)
    jobs.succeed("p-1", 0, T1, 1.0, {})
    assert jobs.adjust("p-1", {"concurrency": 1}) is False


# --- index -----------------------------------------------------------------------------------------------------------


def test_jobs_of_a_status_come_oldest_first_and_carry_all_they_have(jobs: Any) -> None:
    for number in (3, 1, 2):
        moment = f"2026-11-20T12:00:0{number}.000000Z"
        jobs.create(msgspec.structs.replace(ROW, job_id=f"p-{number}", created=moment, totals=Totals(records=number)))
    jobs.start("p-2", 0, T1)
    assert [(r.job_id, r.totals.records) for r in jobs.by_status("WAITING")] == [("p-1", 1), ("p-3", 3)]
    assert [r.job_id for r in jobs.by_status("RUNNING")] == ["p-2"]
    assert list(jobs.by_status("FAILED")) == []


# --- batches, locks, bookmarks ---------------------------------------------------------------------------------------


def member(number: int, token: str | None = None) -> Member:
    ref = ObjectRef("b", f"k{number}", None, f"e{number}", number)
    return Member(token or f"t{number}", f"2026-11-20T12:00:{number:02d}.000000Z", ref)


def test_an_object_is_a_member_once_for_ever(jobs: Any) -> None:
    assert jobs.add_member("p", member(1)) is True
    assert jobs.add_member("p", member(2, token="t1")) is False
    assert jobs.members("p", 10) == [member(1)]
    jobs.batch_closed("p", "job", [member(1)])
    assert jobs.add_member("p", member(1)) is False
    assert jobs.members("p", 10) == []
    assert jobs.add_member("q", member(1)) is True


def test_members_come_in_order_of_arrival_and_bounded(jobs: Any) -> None:
    for number in (5, 1, 4, 2, 3):
        jobs.add_member("p", member(number))
    assert jobs.members("p", 3) == [member(1), member(2), member(3)]
    assert len(jobs.members("p", 100)) == 5
    assert jobs.members("other", 3) == []


def test_the_first_mark_of_closing_stays_until_that_batch_is_closed(jobs: Any) -> None:
    assert jobs.closing("p") is None
    assert jobs.close_batch("p", "job-1") == "job-1"
    assert jobs.close_batch("p", "job-2") == "job-1"
    jobs.batch_closed("p", "job-2", [])
    assert jobs.closing("p") == "job-1"
    jobs.batch_closed("p", "job-1", [])
    assert jobs.closing("p") is None
    jobs.batch_closed("p", "job-1", [])


def test_exactly_the_given_members_leave(jobs: Any) -> None:
    everyone = [member(number) for number in range(60)]
    for one in everyone:
        jobs.add_member("p", one)
    jobs.batch_closed("p", "job", everyone[:53])
    assert jobs.members("p", 100) == everyone[53:]


def test_a_lock_is_one_owners_until_it_expires(jobs: Any, clock: Any) -> None:
    now = clock()
    assert jobs.lock("admit", "a", now, 60) is True
    assert jobs.lock("admit", "b", now + timedelta(seconds=59), 60) is False
    assert jobs.lock("other", "b", now, 60) is True
    assert jobs.lock("admit", "b", now + timedelta(seconds=61), 60) is True
    jobs.unlock("admit", "a")  # not its own any more
    assert jobs.lock("admit", "c", now + timedelta(seconds=62), 60) is False
    jobs.unlock("admit", "b")
    assert jobs.lock("admit", "c", now + timedelta(seconds=62), 60) is True


def test_the_moment_a_pipeline_was_first_seen_is_kept(jobs: Any) -> None:
    assert jobs.first_active("p", T0) == T0
    assert jobs.first_active("p", T1) == T0
    assert jobs.first_active("q", T1) == T1


def test_a_bookmark_is_kept_replaced_and_forgotten(jobs: Any) -> None:
    assert jobs.bookmark("s") is None
    jobs.keep_bookmark("s", "a b/é")
    assert jobs.bookmark("s") == "a b/é"
    jobs.keep_bookmark("s", "z")
    assert jobs.bookmark("s") == "z"
    jobs.keep_bookmark("s", None)
    jobs.keep_bookmark("s", None)
    assert jobs.bookmark("s") is None


def test_an_object_is_taken_by_a_job_or_by_a_batch_of_that_pipeline(jobs: Any) -> None:
    assert jobs.is_taken("p", "t1") is False
    jobs.add_member("p", member(1))
    jobs.create(msgspec.structs.replace(ROW, job_id="p-t2"))
    assert jobs.is_taken("p", "t1") is True
    assert jobs.is_taken("p", "t2") is True
    assert jobs.is_taken("q", "t1") is False


# --- DynamoDB's own failures -----------------------------------------------------------------------------------------


def cancelled(*reasons: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": "TransactionCanceledException", "Message": f"cancelled [{', '.join(reasons)}]"},
            "CancellationReasons": [{"Code": reason} for reason in reasons],
        },
        "TransactWriteItems",
    )


@pytest.mark.parametrize(
    ("reasons", "raised"),
    [
        (("TransactionConflict", "None"), Transient),
        (("ThrottlingError", "None"), Transient),
        (("ProvisionedThroughputExceeded", "None"), Transient),
        ((), Transient),
        (("ValidationError", "None"), BadRequest),
    ],
)
def test_a_transaction_that_lost_to_another_is_worth_another_try(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch, reasons: tuple[str, ...], raised: type[Exception]
) -> None:
    jobs = DynamoJobs(dynamodb, "jobs")
    running(jobs)

    def refuse(**_: Any) -> None:
        raise cancelled(*reasons)

    monkeypatch.setattr(dynamodb, "transact_write_items", refuse)
    with pytest.raises(raised):
        commit(jobs, 0, 1, "c1")
    with pytest.raises(raised):
        jobs.add_member("p", member(1))


def test_a_commit_whose_answer_was_lost_counts(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore sends it again, and then it is refused for its own first try."""
    jobs = DynamoJobs(dynamodb, "jobs")
    running(jobs)
    really = dynamodb.transact_write_items

    def twice(**arguments: Any) -> Any:
        really(**arguments)
        return really(**arguments)

    monkeypatch.setattr(dynamodb, "transact_write_items", twice)
    assert commit(jobs, 0, 1, "c1").pointer == "c1"


def test_a_row_does_not_grow_with_the_job(dynamodb: Any) -> None:
    jobs = DynamoJobs(dynamodb, "jobs")
    running(jobs)
    sizes = []
    for number in range(1, 40):
        commit(jobs, 0, number, f"jobs/p-1/checkpoints/{number:08d}")
        item = dynamodb.get_item(TableName="jobs", Key={"pk": {"S": "JOB#p-1"}, "sk": {"S": "JOB"}})["Item"]
        sizes.append(len(str(item)))
    assert max(sizes) - min(sizes) <= 4


# --- leases ----------------------------------------------------------------------------------------------------------


def lease(jobs: Any, before: JobRow, owner: str = "me", **decided: Any) -> bool:
    jobs.lock("admit", "me", datetime(2026, 11, 20, 12, tzinfo=UTC), 120)
    return bool(jobs.lease(before, owner=owner, **decided))


def test_who_has_lost_the_lock_writes_no_lease(jobs: Any) -> None:
    row = running(jobs)
    assert jobs.lease(row, owner="me", grant=8, held=8, leased_until=T1) is False  # nobody has it
    assert lease(jobs, row, owner="another", grant=8, held=8, leased_until=T1) is False
    assert jobs.load("p-1") == row


def test_a_grant_is_not_lowered_below_what_was_taken_up_meanwhile(jobs: Any) -> None:
    """Else `admit` would count as free what the next wave uses."""
    lease(jobs, running(jobs), grant=8, held=4, leased_until=T0)
    seen = jobs.load("p-1")
    jobs.take_grant("p-1", 0, 8, T1)
    assert lease(jobs, seen, grant=5) is False


def test_a_lease_is_written_only_to_the_row_that_was_seen(jobs: Any) -> None:
    row = running(jobs)
    assert (row.grant, row.held, row.leased_until) == (None, None, None)
    assert lease(jobs, row, grant=8, held=8, leased_until=T1) is True
    assert lease(jobs, row, grant=9, held=9, leased_until=T1) is False  # another `admit` was first
    seen = jobs.load("p-1")
    assert (seen.grant, seen.held, seen.leased_until) == (8, 8, T1)
    assert lease(jobs, seen, grant=5) is True
    lowered = jobs.load("p-1")
    assert (lowered.grant, lowered.held, lowered.leased_until) == (5, 8, T1)
    for changed in ({"status": "PAUSED"}, {"generation": 1}):
        assert lease(jobs, msgspec.structs.replace(lowered, **changed), grant=1) is False


def test_the_commit_renews_the_lease_and_holds_what_is_granted_at_that_moment(jobs: Any) -> None:
    row = running(jobs)
    lease(jobs, row, grant=8, held=8, leased_until=T0)
    lease(jobs, jobs.load("p-1"), grant=5)
    after = jobs.commit("p-1", 0, wave(1), "c/1", Totals(), 0.0, leased_until=T1, own_workers=30, wants=3)
    assert (after.grant, after.held, after.leased_until) == (5, 5, T1)
    assert (after.own_workers, after.wants) == (30, 3)
    with pytest.raises(Superseded):  # of another generation: nothing is renewed
        jobs.commit("p-1", 1, wave(2, 1), "c/2", Totals(), 0.0, leased_until=T0, wants=9)
    assert jobs.load("p-1") == after


def test_a_commit_of_a_job_without_a_lease_gives_it_none(jobs: Any) -> None:
    running(jobs)
    after = commit(jobs, 0, 1, "c/1")
    assert (after.grant, after.held, after.leased_until) == (None, None, None)


def test_more_workers_are_taken_up_only_as_far_as_they_are_granted(jobs: Any) -> None:
    row = running(jobs)
    assert jobs.take_grant("p-1", 0, 3, T1) is False  # nothing was leased
    lease(jobs, row, grant=8, held=4, leased_until=T0)
    assert jobs.take_grant("p-1", 0, 9, T1) is False
    assert jobs.take_grant("p-1", 1, 8, T1) is False
    assert jobs.take_grant("p-1", 0, 8, T1) is True
    assert jobs.take_grant("p-1", 0, 5, T1) is False  # never fewer: a wave may be using them
    after = jobs.load("p-1")
    assert (after.grant, after.held, after.leased_until) == (8, 8, T1)


def test_a_lease_is_given_away_unless_it_was_renewed_and_its_job_wakes_with_one_worker(jobs: Any) -> None:
    lease(jobs, running(jobs), grant=8, held=8, leased_until=T0)
    seen = jobs.load("p-1")
    jobs.commit("p-1", 0, wave(1), "c/1", Totals(), 0.0, leased_until=T1)
    assert lease(jobs, seen, grant=0, held=0) is False
    assert lease(jobs, jobs.load("p-1"), grant=0, held=0) is True
    gone = jobs.load("p-1")
    assert (gone.grant, gone.held, gone.leased_until) == (0, 0, None)
    assert jobs.take_grant("p-1", 0, 2, T1) is False
    assert jobs.take_grant("p-1", 0, 1, T1) is True
    awake = jobs.load("p-1")
    assert (awake.grant, awake.held, awake.leased_until) == (0, 1, T1)


def test_a_plan_tells_how_many_workers_the_job_may_have_and_has_slots_for(jobs: Any) -> None:
    jobs.create(ROW)
    jobs.take_generation("p-1", 0, "arn", T0)
    row = jobs.planned("p-1", 0, "c/0", 1, 100, own_workers=70, wants=9)
    assert (row.own_workers, row.wants) == (70, 9)
