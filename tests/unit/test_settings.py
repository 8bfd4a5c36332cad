"""Settings: a function's environment, parsed once, with an error that names what is wrong."""

import pytest

from rangemill.settings import BadSettings, IngestSettings, PlanSettings

PLAN = {
    "WORK_BUCKET": "work",
    "JOB_TABLE": "jobs",
    "RANGE_BYTES": "67108864",
    "CONCURRENCY": "100",
    "HISTORY_BUDGET_EVENTS": "20000",
    "WRITABLE_BUCKETS": "work,",
}
INGEST = {"WORK_BUCKET": "w", "JOB_TABLE": "t", "STATE_MACHINE_ARN": "arn", "MAX_RUNNING_JOBS": "10"} | {
    "MAX_WORKERS": "900",
    "CONCURRENCY": "100",
    "RANGE_BYTES": "67108864",
}


def test_a_variable_is_a_field_of_its_type():
    assert PlanSettings.from_environment(PLAN).range_bytes == 67108864


def test_variables_of_others_are_passed_over():
    assert PlanSettings.from_environment({**PLAN, "PATH": "/bin"}) == PlanSettings.from_environment(PLAN)


@pytest.mark.parametrize("names", ["a,b", " a , b ", "a,b,"])
def test_a_list_is_split_and_trimmed(names):
    assert IngestSettings.from_environment({**INGEST, "INPUT_BUCKETS": names}).input_buckets == ("a", "b")


def test_all_problems_are_named_at_once():
    broken = {**PLAN, "RANGE_BYTES": "64MiB", "CONCURRENCY": "0"}
    del broken["JOB_TABLE"]
    with pytest.raises(BadSettings) as raised:
        PlanSettings.from_environment(broken)
    for part in ("JOB_TABLE is missing", "RANGE_BYTES='64MiB' is not a whole number", "CONCURRENCY='0' is not"):
        assert part in raised.value.message


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        PlanSettings.from_environment(PLAN).concurrency = 1  # type: ignore[misc]  # that is the test
