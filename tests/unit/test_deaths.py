"""Workers that died: once more, then in parts, down to what kills; and deaths at random, which must not breed parts."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import deaths, retries
from rangemill.deaths import Deaths, Weather
from rangemill.errors import DIED_SPELLINGS, WorkerDied
from rangemill.limits import CULPRITS_MAX, DEATHS_MAX, PARTS, RETRY_MAX_SLOTS
from rangemill.messages import PinnedObject, RetrySlot, Run, Slot, Totals, Verdict

SIZE = 1000
CALM = Weather(100, 1)


def pin(index: int, *, whole: bool = False) -> PinnedObject:
    return PinnedObject(index, "b", f"k{index}", "e", SIZE, whole=whole)


def slot(*runs: tuple[int, int, int], range_bytes: int = 64, whole: bool = False) -> Slot:
    objects = [pin(index, whole=whole) for index in dict.fromkeys(run[0] for run in runs)]
    return Slot(3, objects, [Run(index, start, end, range_bytes) for index, start, end in runs])


def judge(
    lost: Slot, before: RetrySlot | None, weather: Weather = CALM, *, tolerates: bool = True, waiting: int = 0
) -> list[RetrySlot]:
    """One death, in that weather."""
    wave = Deaths(weather)
    wave.add(lost, before, Verdict(Error="Lambda.Unknown"))
    again = wave.judge(waiting, tolerates=tolerates)
    if wave.failure is not None:
        assert [run for each in again for run in each.runs] == lost.runs  # for a redrive
        raise wave.failure
    return again


def after(lost: Slot, count: int) -> RetrySlot:
    return RetrySlot(lost.objects, lost.runs, count, suspect=lost.suspect, condemned=lost.condemned)


def spans(slots: list[RetrySlot]) -> list[tuple[int, int, int]]:
    return [(run.object_index, run.start, run.end) for each in slots for run in each.runs]


@pytest.mark.parametrize("name", ["", *sorted(DIED_SPELLINGS)])
def test_every_spelling_of_a_death_is_one(name: str) -> None:
    assert retries.died(Verdict(Error=name or None))
    assert retries.died(None)


def test_what_the_worker_itself_said_is_no_death() -> None:
    assert not retries.died(Verdict(error={"type": "WorkerDied", "message": "m", "retryable": False}))
    assert not retries.died(Verdict(Error="Lambda.TooManyRequestsException"))


def test_a_slot_whose_worker_died_once_is_handed_out_as_it_was() -> None:
    lost = slot((0, 0, 500), (1, 0, 500))
    assert judge(lost, None) == [RetrySlot(lost.objects, lost.runs, 1)]


def test_a_slot_whose_worker_died_twice_is_parted_by_its_runs() -> None:
    lost = slot(*((n, 0, 500) for n in range(40)))
    parts = judge(lost, RetrySlot(lost.objects, lost.runs, 1, 5))
    assert [len(part.runs) for part in parts] == [3] * 13 + [1]
    assert [p.index for part in parts for p in part.objects] == list(range(40))
    assert {(part.deaths, part.tries, part.suspect) for part in parts} == {(0, 5, True)}


def test_a_part_whose_worker_died_is_parted_at_once() -> None:
    lost = msgspec.structs.replace(slot((0, 0, 160)), suspect=True)
    assert len(judge(lost, after(lost, 0))) == 3  # ranges


def test_a_run_is_parted_at_the_ends_of_ranges_while_it_has_several() -> None:
    lost = slot((0, 100, 1000), range_bytes=300)
    assert spans(judge(lost, after(lost, 1))) == [(0, 100, 300), (0, 300, 600), (0, 600, 900), (0, 900, 1000)]
    lost = slot((0, 3, 1000), range_bytes=10)
    cuts = [run.start for part in judge(lost, after(lost, 1)) for run in part.runs]
    assert cuts == [3, *range(70, 1000, 70)]


def test_a_single_range_is_parted_in_bytes_and_only_its_head_has_a_known_state() -> None:
    lost = slot((0, 300, 600), range_bytes=300)
    known = msgspec.structs.replace(lost, runs=[Run(0, 300, 600, 300, "quoted")])
    parts = judge(known, after(known, 1))
    assert len(parts) == PARTS
    assert spans(parts)[0] == (0, 300, 319)
    assert [part.runs[0].state for part in parts] == ["quoted"] + [None] * 15


@given(
    st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)), min_size=1, max_size=40),
    st.integers(1, 400),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100)
def test_parting_goes_down_to_one_byte_loses_none_and_condemns_it(
    runs: list[tuple[int, int]], range_bytes: int, rng: random.Random
) -> None:
    whole = slot(
        *((n, start, min(start + size, SIZE)) for n, (start, size) in enumerate(runs)), range_bytes=range_bytes
    )
    index, at = rng.choice([(r.object_index, at) for r in whole.runs for at in range(r.start, r.end)])
    current, waves = RetrySlot(whole.objects, whole.runs), 0
    while not current.condemned:
        waves += 1
        lost = Slot(0, current.objects, current.runs, suspect=current.suspect)
        again = judge(lost, current)
        assert len(again) <= PARTS
        covered = [(r.object_index, b) for part in again for r in part.runs for b in range(r.start, r.end)]
        assert covered == [(r.object_index, b) for r in current.runs for b in range(r.start, r.end)]
        assert all({r.object_index for r in part.runs} == {p.index for p in part.objects} for part in again)
        (current,) = [p for p in again for r in p.runs if r.object_index == index and r.start <= at < r.end]
    assert spans([current]) == [(index, at, at + 1)]
    assert "3 workers died of it alone (Lambda.Unknown)" in current.condemned
    assert waves <= 2 + 3 + 3 + 3


def test_where_rejects_are_not_tolerated_the_record_is_named_with_the_remedy() -> None:
    lost = slot((0, 77, 78))
    with pytest.raises(WorkerDied, match=r"single byte at 77 of s3://b/k0.*`rejects:") as caught:
        judge(lost, after(lost, 2), tolerates=False)
    assert (caught.value.object_uri, caught.value.offset) == ("s3://b/k0", 77)


@pytest.mark.parametrize("lost", [slot((0, 0, SIZE), whole=True), slot((0, 0, 0))])
def test_what_cannot_be_begun_in_the_middle_is_condemned_whole(lost: Slot) -> None:
    (again,) = judge(lost, after(lost, 2))
    assert again.condemned
    assert again.runs == lost.runs


def test_a_condemned_slot_that_kills_as_well_fails_the_job_after_a_bounded_number_of_deaths() -> None:
    lost = msgspec.structs.replace(slot((0, 77, 78)), condemned="why")
    (again,) = judge(lost, after(lost, 1))
    assert (again.deaths, again.condemned) == (2, "why")
    with pytest.raises(WorkerDied, match="before any record was applied"):
        judge(lost, after(lost, 2))


def test_a_transient_failure_of_a_condemned_slot_does_not_acquit_it() -> None:
    lost = msgspec.structs.replace(slot((0, 77, 78)), condemned="why", suspect=True)
    again = retries.judge(lost, after(lost, 1), Verdict(Error="Lambda.ServiceException"))
    assert again == RetrySlot(lost.objects, lost.runs, 1, 1, True, "why")


def test_a_long_retry_list_grows_no_parts() -> None:
    lost = slot((0, 0, 500))
    assert judge(lost, after(lost, 1), waiting=RETRY_MAX_SLOTS) == [RetrySlot(lost.objects, lost.runs, 2)]


@pytest.mark.parametrize(
    ("weather", "to_part", "to_condemn"),
    [
        (Weather(), 1, 3),
        (Weather(1, 1), 1, 3),
        (Weather(16, 1), 1, 3),
        (Weather(100, 7), 1, 3),
        (Weather(100, 10), 2, 3),
        (Weather(100, 26), 2, 5),
        (Weather(1000, 501), 4, 10),
        (Weather(1000, 801), 5, 10),
    ],
)
def test_the_more_workers_die_the_less_a_death_says(weather: Weather, to_part: int, to_condemn: int) -> None:
    assert (weather.deaths_to_part, weather.deaths_to_condemn) == (to_part, to_condemn)


def test_weather_is_that_of_first_workers_and_changes() -> None:
    wave = Deaths(Weather(40, 20))
    for number in range(10):
        wave.saw(None, died=number < 2)
        wave.saw(after(slot((0, 0, 9)), 1), died=True)  # retried because it died: says nothing of others
    wave.judge(0, tolerates=True)
    assert wave.weather == Weather(30, 12)
    assert Weather(40, 20).after(0, 0) == Weather(40, 20)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.35, 0.5])
def test_deaths_at_random_neither_breed_parts_nor_condemn_anybody(share: float) -> None:
    rng = random.Random(5)
    retry = [RetrySlot([pin(n)], [Run(n, 0, 64 * 2**20, 2**20)]) for n in range(60)]
    weather, handed, died, waves = Weather(), 0, 0, 0
    while retry:
        waves += 1
        wave = Deaths(weather)
        for number, each in enumerate(retry):
            kills = rng.random() < share
            wave.saw(each, died=kills)
            if kills:
                lost = Slot(number, each.objects, each.runs, suspect=each.suspect, condemned=each.condemned)
                wave.add(lost, each, Verdict())
            handed, died = handed + 1, died + kills
        retry = wave.judge(0, tolerates=True)
        weather = wave.weather
        assert not any(each.condemned for each in retry)
    assert waves < 40
    assert handed < 60 * 20
    deaths.require_few(Totals(slots=handed, deaths=died), [])


@pytest.mark.parametrize("poisoned", [1, 3, 8])
def test_several_records_that_kill_are_found_side_by_side(poisoned: int) -> None:
    size = 64 * 2**20
    bad = {n * 977 * 4099 for n in range(poisoned)}
    retry = [RetrySlot([pin(0)], [Run(0, start, start + size // 8, size // 64)]) for start in range(0, size, size // 8)]
    weather, waves, died, handed, found = Weather(), 0, 0, 0, set()
    while retry:
        waves += 1
        wave = Deaths(weather)
        for number, each in enumerate(retry):
            (run,) = each.runs
            inside = {at for at in bad if run.start <= at < run.end}
            if each.condemned:
                found |= inside
            kills = bool(inside) and not each.condemned
            wave.saw(each, died=kills)
            handed, died = handed + 1, died + kills
            if kills:
                wave.add(Slot(number, each.objects, each.runs, suspect=each.suspect), each, Verdict())
        retry = wave.judge(0, tolerates=True)
        weather = wave.weather
        deaths.require_few(Totals(slots=handed, deaths=died), [])
    assert found == bad
    assert waves <= (13 if poisoned == 1 else 30)


@pytest.mark.parametrize(
    ("totals", "passes"),
    [
        (Totals(slots=10, deaths=DEATHS_MAX), True),
        (Totals(slots=10, deaths=DEATHS_MAX + 1), False),
        (Totals(slots=10_000, deaths=7_500), True),
        (Totals(slots=10_000, deaths=7_501), False),
        (Totals(slots=10, culprits=CULPRITS_MAX), True),
        (Totals(slots=10, culprits=CULPRITS_MAX + 1), False),
    ],
)
def test_a_job_may_lose_a_bounded_number_of_workers_and_records(totals: Totals, passes: bool) -> None:
    if passes:
        deaths.require_few(totals, [Verdict()])
    else:
        with pytest.raises(WorkerDied, match=r"more memory"):
            deaths.require_few(totals, [Verdict(Error="Lambda.Unknown")])
        with pytest.raises(WorkerDied):
            deaths.require_few(totals, [])
