"""Environment variables → one frozen Settings per function. The template gives each function exactly these.

settings = PlanSettings.from_environment(os.environ)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from rangemill.errors import BadRequest


class BadSettings(BadRequest):
    """A function was deployed without a variable that it needs, or with one that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every function has: where documents and rows lie."""

    work_bucket: str
    job_table: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The settings; a field `range_bytes` is the variable `RANGE_BYTES`. Raises `BadSettings`."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        for field in fields(cls):
            name = field.name.upper()
            text = environment.get(name, "").strip()
            try:
                values[field.name] = _PARSERS[str(field.type)](text)
            except ValueError:
                problems.append(
                    f"{name} is missing" if not text else f"{name}={text!r} is not {_SPOKEN[str(field.type)]}"
                )
        if problems:
            raise BadSettings(
                f"{cls.__name__}: {'; '.join(problems)}. The template sets these variables; deploy it again"
            )
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitSettings(Settings):
    """Starts jobs."""

    state_machine_arn: str
    max_running_jobs: int
    max_workers: int  # of all jobs together
    concurrency: int  # of one job that does not say
    range_bytes: int  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings(AdmitSettings):
    """Makes jobs of events, and starts what there is room for."""

    input_buckets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings(IngestSettings):
    """Looks for what events missed, and removes what ended jobs left."""

    sweep_lookback_seconds: int
    sweep_max_starts: int
    retention_days: int
    topic_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings(Settings):
    """The stack's own choices, where neither pipeline nor request makes one."""

    range_bytes: int
    concurrency: int
    history_budget_events: int
    writable_buckets: tuple[str, ...]  # the work bucket and those that pipelines may write to


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings(Settings):
    """Nothing of its own: the plan holds what Fetch needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplySettings(Settings):
    """Nothing of its own: the plan holds what Apply needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateSettings(Settings):
    """What the workers run on, for the price."""

    apply_memory_mb: int
    apply_architecture: str
    admit_function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishSettings(Settings):
    """Tells people, and `admit` that there is room."""

    topic_arn: str
    admit_function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonSettings(Settings):
    """Tells people, and `admit` that there is room."""

    topic_arn: str
    admit_function: str


def _text(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in _text(text).split(",")) if name)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_PARSERS: dict[str, Any] = {str(str): _text, str(int): _count, str(tuple[str, ...]): _names}
_SPOKEN = {str(str): "text", str(int): "a whole number above zero", str(tuple[str, ...]): "a comma-separated list"}
