"""Random histories: uploads, people, faults and the passing of time in any order, and what must be true of each.

Each ends in calm: faults stop, schedules tick, people resume and redrive. Then every job has the exact result, or a
name for why it never can.
"""

from collections import Counter
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.simulator import faults, oracle, user_code
from tests.simulator.lambdas import FUNCTIONS
from tests.simulator.world import Violation, World

from rangemill import admission, control
from rangemill.gateways import Gateways
from rangemill.messages import JobRequest, JobRow, ObjectRef

STATES: Final = ("Plan", "Fetch", "Apply", "Aggregate", "Finish")
_WHERE: Final = ("*", *(name.capitalize() for name in FUNCTIONS), "person")
_PREFIXES: Final = ("lines", "lines", "strict", "rows", "batch")
_LINES: Final = ("plain", "plain", "plain", "slow", "boom", "die")
_MENDS: Final = 6  # rounds of resuming and redriving until every job must be done

tally: Counter[str] = Counter()


class Histories(RuleBasedStateMachine):
    """One history. Everything that is drawn decides; the world's own seed is drawn first."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.uploads = 0

    @initialize(
        seed=st.integers(0, 2**32),
        is_local=st.booleans(),
        budget=st.sampled_from((20_000, 20_000, 150, 90)),
        range_bytes=st.sampled_from((16, 64, 400)),
        running=st.integers(1, 3),
        workers=st.integers(1, 6),
        weather=st.lists(
            st.builds(faults.Rate, st.sampled_from(faults.KINDS), st.sampled_from((0.02, 0.1, 0.4)), st.just("*")),
            max_size=5,
        ),
    )
    def begin(
        self,
        seed: int,
        is_local: bool,
        budget: int,
        range_bytes: int,
        running: int,
        workers: int,
        weather: list[faults.Rate],
    ) -> None:
        """A world, and what goes wrong in it from the beginning."""
        variables = {
            "HISTORY_BUDGET_EVENTS": str(budget),
            "RANGE_BYTES": str(range_bytes),
            "MAX_RUNNING_JOBS": str(running),
            "MAX_WORKERS": str(workers),
        }
        self.world = World(seed, user_code.ALL, variables, is_local)
        self.world.__enter__()
        self.world.tick("Admit")  # since when the pipelines are there
        self.world.run()
        self.world.watch = oracle.always
        self.world.faults.rates += [faults.Rate(rate.kind, rate.share) for rate in weather]
        self.upload("lines", "versioned", 20, "plain")
        self.go_on(20)
        self.wait(5)

    # --- objects -----------------------------------------------------------------------------------------------------

    @rule(
        prefix=st.sampled_from(_PREFIXES),
        bucket=st.sampled_from(("versioned", "plain")),
        lines=st.integers(0, 40),
        kind=st.sampled_from(_LINES),
    )
    def upload(self, prefix: str, bucket: str, lines: int, kind: str) -> None:
        """An object, with a line of a kind in it."""
        self.uploads += 1
        self.world.upload(bucket, f"{prefix}/{self.uploads:03d}", self._body(prefix, lines, kind))

    @rule(position=st.integers(0, 20), bucket=st.sampled_from(("versioned", "plain")), lines=st.integers(0, 40))
    def overwrite(self, position: int, bucket: str, lines: int) -> None:
        """An object again, with other bytes."""
        keys = self.world.buckets.keys(bucket)
        if keys:
            key = keys[position % len(keys)]
            self.uploads += 1
            self.world.upload(bucket, key, self._body(key.partition("/")[0], lines, "plain"))

    @rule(position=st.integers(0, 20), bucket=st.sampled_from(("versioned", "plain")))
    def delete(self, position: int, bucket: str) -> None:
        """An object is gone, or hidden behind a marker."""
        keys = self.world.buckets.keys(bucket)
        if keys:
            self.world.buckets.delete(bucket, keys[position % len(keys)])

    @rule(most=st.integers(1, 4), bucket=st.sampled_from(("versioned", "plain")), concurrency=st.integers(1, 4))
    def submit(self, most: int, bucket: str, concurrency: int) -> None:
        """A person submits objects that are there."""
        refs = [ObjectRef(bucket, key) for key in self.world.buckets.keys(bucket)[:most]]
        if refs:
            text = user_code.LINES
            job_id = admission.new_job_id("lines")
            request = JobRequest(
                job_id, "lines", text, "lines.yaml", "submit", refs, range_bytes=32, concurrency=concurrency
            )
            self.world.person("person", lambda gateways: admission.create_job(request, gateways))

    def _body(self, prefix: str, lines: int, kind: str) -> bytes:
        texts = [f"{self.uploads:03d} {number:03d}" for number in range(lines)]
        if lines and kind != "plain":
            texts[lines // 2] = f"{kind} {texts[lines // 2]}"
        if prefix == "rows":
            return "".join(
                f'{text},"a, ""b""\nc"\n' if n % 5 == 3 else f"{text},x\n" for n, text in enumerate(texts)
            ).encode()
        return "".join(f"{text}\n" for text in texts).encode()

    # --- time and order ----------------------------------------------------------------------------------------------

    @rule(steps=st.sampled_from((1, 5, 20, 60, 200, 400)))
    def go_on(self, steps: int) -> None:
        """Whoever has something to do does a little of it."""
        for _ in range(steps):
            if not self.world.step():
                return

    @rule(seconds=st.sampled_from((5, 100, 1_000, 10_000)))
    def wait(self, seconds: int) -> None:
        """Time passes; schedules tick."""
        self.world.pass_time(seconds)
        self.world.tick("Admit")

    @rule()
    def sweep(self) -> None:
        """The sweep's schedule ticks."""
        self.world.tick("Sweep")

    # --- faults ------------------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(faults.KINDS), after=st.integers(0, 12), function=st.sampled_from(_WHERE))
    def arm(self, kind: str, after: int, function: str) -> None:
        """One thing will go wrong."""
        self.world.faults.armed.append(faults.Armed(kind, after, function))

    @rule(kind=st.sampled_from(faults.KINDS), share=st.sampled_from((0.03, 0.2)), function=st.sampled_from(_WHERE))
    def storm(self, kind: str, share: float, function: str) -> None:
        """Some of it goes wrong for a while."""
        self.world.faults.rates.append(faults.Rate(kind, share, function))

    @rule()
    def calm(self) -> None:
        """Nothing goes wrong."""
        self.world.faults.stop()

    @precondition(lambda self: any(not i.ended for i in self.world.invocations))
    @rule(position=st.integers(0, 20))
    def kill(self, position: int) -> None:
        """Whoever runs is killed from outside."""
        alive = [i for i in self.world.invocations if not i.ended]
        self.world.faults.befallen["killed from outside"] += 1
        self.world.note(f"{alive[position % len(alive)].name} is killed")
        alive[position % len(alive)].kill("Runtime.ExitError")

    @precondition(lambda self: self.world.state_events)
    @rule(position=st.integers(0, 1_000))
    def repeat(self, position: int) -> None:
        """A state's function runs again, with what it was given then: late, or beside the first."""
        function, event = self.world.state_events[position % len(self.world.state_events)]
        self.world.faults.befallen["repeated state"] += 1
        self.world.note(f"{function} runs again")
        self.world.begin(function, event)

    @precondition(lambda self: self.world.executions)
    @rule(position=st.integers(0, 20), how=st.sampled_from(("stop", "fail", "redrive", "next")))
    def execution(self, position: int, how: str) -> None:
        """An execution is stopped, fails where no Catch sees it, is redriven in the console, or overtaken."""
        found = list(self.world.executions.values())[position % len(self.world.executions)]
        self.world.faults.befallen[f"execution: {how}"] += 1
        self.world.note(f"{found.name}: {how}")
        if how == "stop":
            found.stop("ABORTED")
        elif how == "fail":
            found.stop("FAILED", "States.Runtime", "out of the blue")
        elif how == "redrive" and found.status not in ("RUNNING", "SUCCEEDED"):
            found.redrive()
        elif how == "next":
            job_id, _, generation = found.name.rpartition("-g")
            text = f'{{"job_id":"{job_id}","generation":{int(generation) + 1}}}'
            self.world.start_execution(f"{job_id}-g{int(generation) + 1}", text)

    # --- people ------------------------------------------------------------------------------------------------------

    @rule(
        position=st.integers(0, 20),
        act=st.sampled_from(("pause", "resume", "cancel", "redrive", "redrive new", "redrive restart", "set")),
    )
    def person(self, position: int, act: str) -> None:
        """Somebody does something to a job."""
        jobs = oracle.rows(self.world)
        if jobs:
            self.act(jobs[position % len(jobs)].job_id, act)

    @rule()
    def deploy(self) -> None:
        """The pipelines' code changes."""
        self.world.deploy()

    def act(self, job_id: str, act: str) -> None:
        """A person's command begins."""

        def do(gateways: Gateways) -> Any:
            verb, _, code = act.partition(" ")
            if verb == "redrive":
                return control.redrive(job_id, code or "same", gateways)  # type: ignore[arg-type]  # one of three
            if verb == "set":
                return control.adjust(job_id, gateways, concurrency=2, cost_cap_usd=None)
            return getattr(control, verb)(job_id, gateways)

        self.world.note(f"somebody: {act} {job_id}")
        self.world.person("person", do)

    # --- the end -----------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """What is always true."""
        if hasattr(self, "world"):
            oracle.always(self.world)

    def teardown(self) -> None:
        """Calm, and then everything is done."""
        if not hasattr(self, "world"):
            return
        try:
            self._end()
        except Violation as violation:
            raise Violation(f"{violation}\n" + "\n".join(self.world.notes)) from violation
        finally:
            self.world.__exit__(None, None, None)

    def _end(self) -> None:
        world = self.world
        world.faults.stop()
        world.settle()
        oracle.at_rest(world)
        for job in oracle.rows(world):
            tally[f"at first {job.status} {(job.error or {}).get('type', '')}".strip()] += 1
        world.mended = True
        for _ in range(_MENDS):
            left = [job for job in oracle.rows(world) if job.status != "SUCCEEDED" and not oracle.cannot_succeed(job)]
            for job in left:
                self.act(job.job_id, "resume" if job.status == "PAUSED" else "redrive new")
            if not left:
                break
            world.settle()
            oracle.at_rest(world)
        self._count(oracle.rows(world))
        oracle.all_done(world)

    def _count(self, jobs: list[JobRow]) -> None:
        tally["histories"] += 1
        tally["steps"] += self.world.steps
        for kind, count in self.world.faults.befallen.items():
            tally[f"fault: {kind}"] += count
        for job in jobs:
            tally[f"in the end {job.status} {(job.error or {}).get('type', '')}".strip()] += 1
            tally["waves"] += job.wave
            tally["generations"] += job.generation + 1
            tally["jobs"] += 1
            if job.status == "SUCCEEDED":
                outcome = oracle.outcome_of(self.world, job.job_id)
                tally["bytes"] += job.totals.bytes
                tally["bytes lost"] += outcome.lost_bytes
                tally["bytes doubled"] += outcome.doubled_bytes
