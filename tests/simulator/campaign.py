"""The campaign of `make chaos`: as many random histories as the time allows, in batches with a seed each."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.simulator import histories
from tests.simulator.world import Violation

_BATCH_HISTORIES = 25
_RULES_A_HISTORY = 40


@dataclass
class Campaign:
    """What a campaign has seen. `violation` is the first one, with its seed and its history as small as it was got."""

    seed: int
    batches: int = 0
    violation: str | None = None
    figures: Counter[str] = field(default_factory=Counter)


def run(seed: int, *, seconds: float = 0, most_histories: int = 0, shrinks: bool = True) -> Campaign:
    """Histories until the time is up, or so many were seen, or one of them violates a promise."""
    campaign, until = Campaign(seed), time.monotonic() + seconds
    histories.tally.clear()
    while campaign.violation is None:
        left = most_histories - histories.tally["histories"] if most_histories else _BATCH_HISTORIES
        if left <= 0 or (seconds and time.monotonic() >= until):
            break
        campaign.violation = _batch(seed + campaign.batches, min(left, _BATCH_HISTORIES), shrinks=shrinks)
        campaign.batches += 1
    campaign.figures += histories.tally
    return campaign


def _batch(seed: int, examples: int, *, shrinks: bool) -> str | None:
    """One batch; the violation, if there is one."""

    class Seeded(histories.Histories):
        _hypothesis_internal_use_seed = seed

    phases = (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)
    own = settings(
        max_examples=examples,
        stateful_step_count=_RULES_A_HISTORY,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    try:
        run_state_machine_as_test(Seeded, settings=own)
    except Violation as violation:
        history = "\n".join(getattr(violation, "__notes__", []))
        return f"seed {seed}: {violation}\n\n{history}"
    return None


def told(campaign: Campaign) -> Iterator[str]:
    """The campaign's figures, a line each."""
    seen = campaign.figures
    yield f"seed {campaign.seed}: {seen['histories']:,} histories, {seen['steps']:,} steps, {seen['jobs']:,} jobs"
    yield f"{seen['waves']:,} waves in {seen['generations']:,} generations"
    yield f"bytes lost: {seen['bytes lost']:,}, bytes doubled: {seen['bytes doubled']:,} of {seen['bytes']:,}"
    for heading, prefix in (
        ("faults by kind", "fault: "),
        ("ends before people resumed and redrove", "at first "),
        ("ends", "in the end "),
    ):
        yield f"{heading}:"
        found = sorted((kind.removeprefix(prefix), n) for kind, n in seen.items() if kind.startswith(prefix))
        yield from (f"{n:10,}  {kind}" for kind, n in found)
