"""What follows a wave."""

from typing import Any

import pytest

from rangemill import decide
from rangemill.limits import (
    HISTORY_BUDGET_EVENTS,
    SFN_HISTORY_MAX_EVENTS,
    WAVE_EVENTS,
    WORST_EXIT_EVENTS,
    WORST_START_EVENTS,
    WORST_WAVE_EVENTS,
)
from rangemill.messages import Checkpoint, Cursor, JobRow, RetrySlot

NEED = WORST_WAVE_EVENTS + WORST_EXIT_EVENTS
LEAST = WORST_START_EVENTS + NEED


@pytest.mark.parametrize(
    ("complete", "rests", "events", "expected"),
    [
        (True, False, None, "FINISH"),
        (True, True, 10**6, "FINISH"),  # nothing is left to stop
        (False, True, 10**6, "REST"),
        (False, True, None, "REST"),
        (False, False, None, "FETCH"),
        (False, False, 1000 - NEED, "FETCH"),
        (False, False, 1001 - NEED, "EXECUTE_NEW"),
        (False, False, 10**6, "EXECUTE_NEW"),
    ],
)
def test_what_follows(complete: bool, rests: bool, events: int | None, expected: str) -> None:
    assert decide.following(complete=complete, rests=rests, events=events, budget_events=1000) == expected


def test_the_history_is_never_exceeded_even_if_every_state_is_retried_to_its_last() -> None:
    """Not measured: as many waves as that takes, each at its worst; measured: one more wave and the exit."""
    waves = 0
    while not decide.must_measure(waves, HISTORY_BUDGET_EVENTS):
        waves += 1
    assert waves * WORST_WAVE_EVENTS + LEAST < HISTORY_BUDGET_EVENTS < SFN_HISTORY_MAX_EVENTS
    assert HISTORY_BUDGET_EVENTS + NEED < SFN_HISTORY_MAX_EVENTS
    assert waves > 100  # but it is not asked for all the time
    assert WAVE_EVENTS < WORST_WAVE_EVENTS


@pytest.mark.parametrize("budget", [LEAST, LEAST + 1, 200, 268, 500, 1990, HISTORY_BUDGET_EVENTS])
def test_no_budget_that_one_wave_fits_is_exceeded_whatever_is_repeated(budget: int) -> None:
    """Each execution at its worst, as long as Decide lets it go on."""
    events, waves = WORST_START_EVENTS, 0
    following = "FETCH"
    while following == "FETCH":
        events, waves = events + WORST_WAVE_EVENTS, waves + 1
        measured = events if decide.must_measure(waves, budget) else None
        following = decide.following(complete=False, rests=False, events=measured, budget_events=budget)
    assert events + WORST_EXIT_EVENTS <= budget


def test_a_tiny_budget_measures_soon() -> None:
    assert decide.must_measure(1, LEAST + WORST_WAVE_EVENTS - 1)
    assert not decide.must_measure(1, LEAST + WORST_WAVE_EVENTS)
    assert not decide.must_measure(10, 2 * 10 * WORST_WAVE_EVENTS)
    assert decide.must_measure(10, 2 * 10 * WORST_WAVE_EVENTS - 1)


def row(**changes: Any) -> JobRow:
    return JobRow("j", "p", "RUNNING", "c", "o", **changes)


@pytest.mark.parametrize(
    ("changes", "cap", "expected"),
    [
        ({}, None, None),
        ({"desired": "pause"}, None, "paused"),
        ({"desired": "cancel"}, 0.1, "cancelled"),
        ({"cost_usd": 0.5}, None, None),
        ({"cost_usd": 0.49}, 0.5, None),
        ({"cost_usd": 0.5}, 0.5, "cost cap of $0.5 reached at $0.5000"),
    ],
)
def test_why_a_job_rests(changes: dict[str, Any], cap: float | None, expected: str | None) -> None:
    assert decide.rest_reason(row(**changes), cap) == expected


@pytest.mark.parametrize(
    ("page", "retry", "expected"), [(0, 0, False), (1, 0, False), (2, 0, True), (3, 0, True), (2, 1, False)]
)
def test_a_job_is_complete_when_nothing_is_left_to_hand_out(page: int, retry: int, expected: bool) -> None:
    class PlanOfTwoPages:
        pages = 2

    checkpoint = Checkpoint("j", 1, Cursor(page), [RetrySlot([], [])] * retry)
    assert decide.is_complete(checkpoint, PlanOfTwoPages()) is expected  # type: ignore[arg-type]
