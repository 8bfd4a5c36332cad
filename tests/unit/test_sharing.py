"""Max-min shares, whose turn it is, and that no decision lets more be used than there is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rangemill import sharing
from rangemill.limits import RANGE_BYTES, WAVE_MAX_SLOTS
from rangemill.messages import JobRequest, JobRow, ObjectRef, Prefix
from rangemill.pipeline import parse_pipeline
from rangemill.sharing import Limits

LIMITS = Limits(jobs=10, workers=100, own_workers=40)


def row(name: str, pipeline: str = "p", **changes: Any) -> JobRow:
    return JobRow(name, pipeline, "RUNNING", f"2026-11-20T12:00:00.{name:0>6}Z", "event", **changes)


def run_with(name: str, workers: int, pipeline: str = "p", **changes: Any) -> JobRow:
    return row(name, pipeline, **{"grant": workers, "held": workers, "own_workers": 1_000, **changes})


def by_name(pairs: list[tuple[JobRow, int]]) -> dict[str, int]:
    return {job.job_id: workers for job, workers in pairs}


# --- shares ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("demands", "total", "shares"),
    [
        ([], 10, []),
        ([5, 5], 10, [5, 5]),
        ([100, 1, 1], 10, [8, 1, 1]),
        ([100, 100, 1], 10, [5, 4, 1]),
        ([3, 3, 3], 4, [2, 1, 1]),
        ([1, 1, 1], 2, [1, 1, 0]),
        ([4, 4], 0, [0, 0]),
        ([2, 2], 100, [2, 2]),
    ],
)
def test_shares_by_example(demands: list[int], total: int, shares: list[int]) -> None:
    assert sharing.waterfall(demands, total) == shares


@given(demands=st.lists(st.integers(0, 50), max_size=12), total=st.integers(0, 300))
def test_shares_are_max_min(demands: list[int], total: int) -> None:
    shares = sharing.waterfall(demands, total)
    assert sum(shares) == min(total, sum(demands))
    assert all(0 <= share <= demand for share, demand in zip(shares, demands, strict=True))
    unsatisfied = [share for share, demand in zip(shares, demands, strict=True) if share < demand]
    if unsatisfied:  # whoever has less than they ask for has as much as anybody, but for one that cannot be divided
        assert max(shares) - min(unsatisfied) <= 1


def test_pipelines_share_first_and_their_jobs_what_is_theirs() -> None:
    rows = [run_with("1", 0, "many"), run_with("2", 0, "many"), run_with("3", 0, "many"), run_with("4", 0, "one")]
    assert sharing.shares(rows, LIMITS, 4) == [17, 17, 16, 50]


def test_a_job_gets_no_more_than_it_may_have_nor_than_it_has_slots_for() -> None:
    assert sharing.demand(row("1"), LIMITS) == 40
    assert sharing.demand(row("1", own_workers=7), LIMITS) == 7
    assert sharing.demand(row("1", own_workers=7, concurrency=9), LIMITS) == 9  # as people changed it
    assert sharing.demand(row("1", own_workers=7, wants=2), LIMITS) == 2
    assert sharing.demand(row("1", own_workers=5_000), LIMITS) == 100


def test_what_an_event_tells_of_its_object_bounds_the_slots_and_a_prefix_tells_nothing() -> None:
    def wants(*sizes: int | None, says: str = "{type: text}", limits: str = "", **more: Any) -> int | None:
        refs = [ObjectRef("b", f"k{n}", size_bytes=size) for n, size in enumerate(sizes)]
        pipeline = parse_pipeline(f"name: p\nformat: {says}\napply: {{python: m:C}}\n{limits}", "p.yaml")
        return sharing.wants_of_request(JobRequest("j", "p", "", "", "event", refs, **more), pipeline)

    assert wants(5) == 1
    assert wants(0, RANGE_BYTES + 1) == 3
    assert wants(100, range_bytes=10) == 10
    assert wants(10 * 2**20, limits="limits: {range_bytes: 1 MiB}") == 10
    assert wants(RANGE_BYTES * 3, range_bytes=RANGE_BYTES * 3) == 3  # too many is no harm
    assert wants(10**13) == WAVE_MAX_SLOTS
    assert wants(5, None) is None
    assert wants(prefixes=[Prefix("b", "x/")]) is None
    assert wants(5, says="{type: text, archive: zip}") is None
    assert wants(5, says="{type: auto}") is None


def test_before_the_plan_a_stack_with_small_ranges_expects_more_slots() -> None:
    small = Limits(10, 100, 40, range_bytes=RANGE_BYTES // 8)
    assert sharing.demand(row("1", wants=2), small) == 16
    assert sharing.demand(row("1", wants=2, pointer="c/0"), small) == 2
    assert sharing.claim(run_with("1", 16, wants=2), small) == 16
    assert sharing.claim(run_with("1", 16, wants=2, pointer="c/0"), small) == 2


@pytest.mark.parametrize(
    ("free", "workers"), [(None, 900), (1_000, 900), (5_000, 900), (600, 500), (101, 1), (100, 50), (10, 5), (1, 1)]
)
def test_the_last_hundred_of_an_account_are_not_for_workers(free: int | None, workers: int) -> None:
    assert sharing.within_account(900, free) == workers


def test_a_job_that_runs_keeps_one_worker_and_whoever_has_most_gives_it() -> None:
    rows = [run_with("1", 9, "p"), run_with("2", 1, "q"), run_with("3", 1, "q"), run_with("4", 1, "r")]
    assert sharing.shares(rows, Limits(9, 4, 9), 3) == [1, 1, 1, 1]
    assert sharing.shares(rows, Limits(9, 3, 9), 3) == [1, 1, 1, 0]
    assert sharing.shares(rows, Limits(9, 2, 9), 3) == [1, 1, 1, 0]  # limits were lowered: they end, or wait


# --- whose turn it is ------------------------------------------------------------------------------------------------


def test_pipelines_take_turns_and_the_oldest_of_each_goes_first() -> None:
    waiting = [row(str(n), "many") for n in range(5)] + [row("8", "few"), row("9", "other")]
    names = [job.job_id for job in sharing.in_turn([row("x", "other")], waiting)]
    assert names == ["0", "8", "1", "9", "2", "3", "4"]


# --- decisions -------------------------------------------------------------------------------------------------------


def test_a_large_job_gives_up_what_others_need_from_its_next_commit_on() -> None:
    big = run_with("big", 100)
    division = sharing.divide([big], [row("small", "q", own_workers=10)], LIMITS)
    assert by_name(division.grants) == {"big": 90}
    assert division.starts == []  # until the big one has committed, it may be using all of them
    division = sharing.divide([replace(big, grant=90, held=90)], [row("small", "q", own_workers=10)], LIMITS)
    assert (division.grants, by_name(division.starts)) == ([], {"small": 10})


def test_what_becomes_free_goes_to_those_who_lack_it() -> None:
    rows = [run_with("1", 50), run_with("2", 20, own_workers=20)]
    assert by_name(sharing.divide(rows, [], LIMITS).grants) == {"1": 80}


def test_a_job_starts_with_what_is_free_rather_than_wait_for_its_share() -> None:
    division = sharing.divide([run_with("big", 97)], [row("small", "q")], LIMITS)
    assert (by_name(division.grants), by_name(division.starts)) == ({"big": 60}, {"small": 3})


def test_the_limit_on_jobs_holds_and_small_jobs_leave_the_rest_to_large_ones() -> None:
    waiting = [row(str(n), wants=1) for n in range(20)]
    division = sharing.divide([run_with("big", 91, "q")], waiting, LIMITS)
    assert len(division.starts) == 9
    assert set(by_name(division.starts).values()) == {1}
    assert division.grants == []


def test_a_job_that_no_admit_has_seen_counts_with_all_it_may_use() -> None:
    division = sharing.divide([row("old", own_workers=80)], [row("new", "q")], LIMITS)
    assert by_name(division.grants) == {"old": 60}
    assert by_name(division.starts) == {"new": 20}


def test_what_a_job_has_no_slots_for_is_free_at_once() -> None:
    tail = run_with("tail", 100, wants=4, pointer="c/9")
    assert by_name(sharing.divide([tail], [row("next", "q")], LIMITS).starts) == {"next": 40}


_JOBS = st.lists(
    st.tuples(
        st.sampled_from("pqr"),
        st.none() | st.integers(0, 60),  # grant
        st.integers(0, 60),  # held
        st.integers(1, 80),  # own
        st.none() | st.integers(1, 80),  # wants
    ),
    max_size=9,
)


@given(
    running=_JOBS, waiting=_JOBS, limits=st.builds(Limits, st.integers(0, 12), st.integers(1, 120), st.integers(1, 50))
)
def test_no_decision_lets_more_be_used_than_there_is(running: Any, waiting: Any, limits: Limits) -> None:
    rows = [
        row(
            str(n),
            pipeline,
            grant=grant,
            held=None if grant is None else held,
            own_workers=own,
            wants=wants,
            pointer="c/0" if own % 2 else None,
        )
        for n, (pipeline, grant, held, own, wants) in enumerate(running)
    ]
    line = [row(str(50 + n), p, own_workers=own, wants=w) for n, (p, _, _, own, w) in enumerate(waiting)]
    division = sharing.divide(rows, line, limits)
    granted = by_name(division.grants)
    after = [
        replace(r, grant=granted.get(r.job_id, r.grant), held=sharing.settled(r, limits) if r.held is None else r.held)
        for r in rows
    ]
    after += [replace(r, grant=workers, held=workers) for r, workers in division.starts]
    assert len(after) <= max(len(rows), limits.jobs)
    before = sum(sharing.claim(r, limits) for r in rows)
    assert sum(sharing.claim(r, limits) for r in after) <= max(limits.workers, before)
    if division.starts:
        assert sum(sharing.claim(r, limits) for r in after) <= limits.workers
    for job, workers in division.starts:
        assert 1 <= workers <= sharing.demand(job, limits)
    # All have committed: nobody has more than their share, and one worker each at the least.
    committed = [replace(r, held=r.grant) for r in after]
    assert sum(sharing.claim(r, limits) for r in committed) <= max(limits.workers, len(committed))


@given(running=_JOBS, limits=st.builds(Limits, st.just(20), st.integers(20, 120), st.integers(1, 50)))
def test_after_two_commits_everybody_has_their_share(running: Any, limits: Limits) -> None:
    rows = [
        row(str(n), p, grant=g or 0, held=held, own_workers=own, wants=wants)
        for n, (p, g, held, own, wants) in enumerate(running)
    ]
    for _ in range(3):
        granted = by_name(sharing.divide(rows, [], limits).grants)
        rows = [replace(r, grant=granted.get(r.job_id, r.grant)) for r in rows]
        rows = [replace(r, held=r.grant) for r in rows]
    assert [r.held for r in rows] == sharing.shares(rows, limits, len(rows))
