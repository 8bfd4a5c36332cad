"""Costs, units, and the catalog of pipelines."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangemill import catalog, costs, keys, units
from rangemill.errors import UnknownPipeline
from rangemill.limits import LAMBDA_GB_SECOND_USD
from rangemill.messages import Totals

PIPELINE = "name: {name}\nmatch: {{prefix: {prefix}}}\nformat: {{type: text}}\napply: {{python: m:C}}\n"


def test_a_terabyte_costs_what_the_design_says() -> None:
    """1 TiB in 90 s slots at 60 MB/s: compute is nearly all of it, and requests are small beside it."""
    seconds = 2**40 / 60e6
    slots = int(seconds / 90)
    totals = Totals(
        slots=slots, waves=4, worker_milliseconds=int(seconds * 1000), worker_requests=2**40 // 2**25, invocations=slots
    )
    total = costs.estimate_usd(totals, 1769, "arm64")
    compute = seconds * 1769 / 1024 * LAMBDA_GB_SECOND_USD["arm64"]
    assert compute < total < 1.2 * compute
    assert costs.estimate_usd(totals, 1769, "x86_64") > total


def test_nothing_costs_nothing_and_everything_adds_up() -> None:
    assert costs.estimate_usd(Totals(), 1769, "arm64") == 0
    for field in ("slots", "waves", "worker_milliseconds", "worker_requests", "invocations"):
        assert costs.estimate_usd(Totals(**{field: 1}), 1769, "arm64") > 0


@pytest.mark.parametrize(
    ("written", "count"),
    [(1, 1), ("1", 1), ("64 MiB", 64 * 2**20), ("10GB", 10**10), ("1.5 kib", 1536), (" 2 t ", 2 * 10**12)],
)
def test_sizes_as_people_write_them(written: int | str, count: int) -> None:
    assert units.parse_bytes(written) == count


@pytest.mark.parametrize("written", ["", "MiB", "-1", "0", 0, -5, True, "1 XB", "1e9", "0.1 b", "1 2"])
def test_what_is_no_size_is_refused(written: int | str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        units.parse_bytes(written)


@pytest.mark.parametrize(("written", "seconds"), [(300, 300), ("30s", 30), ("5m", 300), ("1h", 3600), ("2 d", 172_800)])
def test_durations_as_people_write_them(written: int | str, seconds: int) -> None:
    assert units.parse_seconds(written) == seconds


@pytest.mark.parametrize("written", ["", "5", "0s", 0, "-1m", "1w", True, "1.5h"])
def test_what_is_no_duration_is_refused(written: int | str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        units.parse_seconds(written)


@given(st.integers(0, 2**60))
def test_sizes_are_shown_within_a_percent(count: int) -> None:
    number, unit = units.show_bytes(count).split()
    assert float(number) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[unit] == pytest.approx(
        count, rel=0.01
    )


def test_a_folder_is_read_into_a_catalog_and_each_mistake_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(PIPELINE.format(name="logs", prefix="in/"))
    (tmp_path / "b.yml").write_text(PIPELINE.format(name="all", prefix='""'))
    (tmp_path / "c.yaml").write_text(PIPELINE.format(name="logs", prefix="other/"))
    (tmp_path / "d.yaml").write_text("name: [")
    (tmp_path / "e.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "f.txt").write_text("nothing")
    found = catalog.read(tmp_path)
    assert sorted(found.entries) == ["all", "logs"]
    assert found.entries["logs"].file == "a.yaml"
    assert [m.file for m in found.mistakes] == ["c.yaml", "d.yaml", "e.yaml"]
    assert "already the name of a.yaml" in str(found.mistakes[0])
    assert [e.pipeline.name for e in found.matching("b", "in/x")] == ["all", "logs"]
    assert [e.pipeline.name for e in found.matching("b", "out/x")] == ["all"]
    with pytest.raises(UnknownPipeline, match="deployed are: all, logs"):
        found.find("other")


def test_scratch_keys_spread_and_jobs_keys_lie_together() -> None:
    outcomes = [keys.outcome("j", 1, slot) for slot in range(2_000)]
    assert len(set(outcomes)) == 2_000
    assert len({key.split("/")[1] for key in outcomes}) > 200
    assert keys.handout(keys.slots("j", 1, "a")) == keys.slots("j", 1, "a").removesuffix("slots") + "handout"
    assert all(key.startswith("jobs/j/") for key in (keys.request("j"), keys.plan("j"), keys.checkpoint("j", 1, "a")))
