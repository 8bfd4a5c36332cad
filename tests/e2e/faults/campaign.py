"""Random jobs under random faults on the local cloud, until the time is up: `python -m tests.e2e.faults.campaign`.

Each history is a job that is killed, refused, stopped, paused and misled by S3; then the faults end, and it must come
to its exact result, by a redrive where it failed. The seed decides what is done to whom; threads and processes decide
when.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.app import App, deploy
from tests.e2e.faults.proxy import Fault, FaultProxy, Request, Rule

from rangemill import control
from rangemill.errors import WrongStatus
from rangemill.messages import JobRow, ObjectRef
from rangemill_cli.local import server
from rangemill_cli.local.paths import LocalPaths, find_project

DOCUMENT = "name: {0}\nformat: {{type: text}}\napply: {{python: probes:Seen}}\n"
JOBS_AT_ONCE = 3
REDRIVES_MAX = 5
# What may befall requests of which kind, and the share of them.
S3_FAULTS: tuple[tuple[Fault, str, float], ...] = (
    ("slow_down", "GetObject", 0.2),
    ("slow_down", "PutObject", 0.1),
    ("internal_error", "GetObject", 0.1),
    ("internal_error", "PutObject", 0.1),
    ("reset", "GetObject", 0.1),
    ("truncated", "GetObject", 0.1),
    ("short", "GetObject", 0.1),
    ("other_range", "GetObject", 0.05),
    ("whole_body", "GetObject", 0.05),
    ("dropped", "GetObject", 0.1),
    ("dropped", "PutObject", 0.1),
    ("lost_answer", "PutObject", 0.2),
    ("late", "GetObject", 0.1),
    ("slow", "GetObject", 0.1),
    ("flipped", "GetObject", 0.01),
)


@dataclass
class Tally:
    """The figures of a campaign."""

    histories: int = 0
    ends: Counter[str] = field(default_factory=Counter)  # how jobs ended under faults, before they were redriven
    faults: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    bytes_lost: int = 0
    bytes_doubled: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, body: bytes, rows: list[dict[str, int]]) -> None:
        """Compare what a job published with what its object holds, record by record."""
        seen = Counter({str(row["id"]).encode(): row["times"] for row in rows})
        wanted = Counter(body.split())
        self.bytes_read += len(body)
        for record in seen | wanted:
            difference = seen[record] - wanted[record]
            self.bytes_lost += max(0, -difference) * (len(record) + 1)
            self.bytes_doubled += max(0, difference) * (len(record) + 1)

    def text(self) -> str:
        """The figures, a line each."""
        lines = [
            f"histories       {self.histories}",
            f"ends            {_listed(self.ends)}",
            f"faults          {sum(self.faults.values())}: {_listed(self.faults)}",
            f"bytes           {self.bytes_read}",
            f"bytes lost      {self.bytes_lost}",
            f"bytes doubled   {self.bytes_doubled}",
        ]
        return "\n".join([*lines, *(f"PROBLEM         {problem}" for problem in self.problems)])

    @property
    def is_clean(self) -> bool:
        """Whether every job came to its exact result."""
        return not (self.bytes_lost or self.bytes_doubled or self.problems)


@dataclass
class History:
    """One job, and what is done to it."""

    app: App
    dice: random.Random
    name: str
    tally: Tally
    job: str = ""
    body: bytes = b""
    rules: list[Rule] = field(default_factory=list)
    acts: list[Callable[[], None]] = field(default_factory=list)

    def start(self) -> None:
        """Upload, begin the faults, submit."""
        dice = self.dice
        self.body = b"".join(b"%d\n" % n for n in range(dice.choice((50, 500, 3000))))
        self.app.upload(f"chaos/{self.name}", self.body)
        kill = self.app.workers.kill_client
        mine = f"*{self.name}*"
        for fault, operation, share in dice.sample(S3_FAULTS, dice.randint(1, 4)):
            rule = Rule(fault, operation, mine, share * 2 * dice.random(), dice.randint(2, 8), seconds=dice.random())
            self.rules.append(rule)
        for when, operation in (("before", "GetObject"), ("before", "PutObject"), ("after", "PutObject")):
            killing = Rule("before" if when == "before" else "after", operation, mine, dice.random() * 0.2, 5, act=kill)
            self.rules.append(killing)
        self.acts = dice.sample([self._stop, self._kill_all, self._pause, self._freeze], dice.choice((0, 0, 1, 2)))
        for rule in self.rules:
            self.app.proxy.add(rule)
        self.job = self.app.submit_document(
            DOCUMENT.format(self.name),
            [ObjectRef(self.app.bucket, f"chaos/{self.name}")],
            range_bytes=max(8, len(self.body) // dice.choice((2, 5, 12))),
            concurrency=dice.randint(1, 4),
            history_budget_events=dice.choice((60, 200, 20_000)),
        )

    def end(self) -> None:
        """Do what else is to be done, wait, end the faults, and take the job up until it has succeeded."""
        for act in self.acts:
            time.sleep(self.dice.random() * 3)
            self.tally.faults[act.__name__.strip("_")] += 1
            act()
        row = self.app.wait(self.job, 600)
        self.tally.ends[row.status if row.error is None else str(row.error["type"])] += 1
        for rule in self.rules:
            self.app.proxy.remove(rule)
            self.tally.faults[rule.fault if rule.act is None else f"killed {rule.fault}"] += rule.count
        redrives = 0
        while row.status != "SUCCEEDED" and redrives < REDRIVES_MAX:
            redrives += 1
            # What was read wrong is proved to be wrong only at an object's end: then all of it is read again.
            again = row.error is not None and row.error["type"] == "ChecksumMismatch"
            control.redrive(self.job, "restart" if again else "same", self.app.world)
            self.app.invoke("AdmitFunction", {})
            row = self.app.wait(self.job, 600, until=("SUCCEEDED", "FAILED", "CANCELLED"))
        self._judge(row)

    def _judge(self, row: JobRow) -> None:
        self.tally.histories += 1
        if row.status != "SUCCEEDED" or row.result is None:
            self.tally.problems.append(f"{self.job} is {row.status} after its redrives: {row.error}")
            return
        if not row.result["proof"]["complete"]:
            self.tally.problems.append(f"{self.job} has succeeded without its proof: {row.result['proof']}")
        self.tally.count(self.body, self.app.rows(row))
        if row.totals.rejects:
            self.tally.problems.append(f"{self.job} has rejected {row.totals.rejects} records that were nobody's fault")

    def _stop(self) -> None:
        row = self.app.world.jobs.load(self.job)
        if row.execution_arn:
            self.app.cloud.client("stepfunctions").stop_execution(executionArn=row.execution_arn, error="Stopped")

    def _kill_all(self) -> None:
        self.app.workers.kill_all()

    def _pause(self) -> None:
        try:
            control.pause(self.job, self.app.world)
        except WrongStatus:
            return  # it has ended already

    def _freeze(self) -> None:
        def freeze(request: Request) -> None:
            self.app.workers.freeze_client(request, 1 + 3 * self.dice.random())

        rule = Rule("beside", "PutObject", f"*{self.name}*", most=1, act=freeze)
        self.rules.append(self.app.proxy.add(rule))


def rounds(app: App, seed: int, is_over: Callable[[Tally], bool]) -> Tally:
    """Histories, some at a time, until it is over."""
    tally, dice = Tally(), random.Random(seed)
    while not is_over(tally):
        number = tally.histories
        together = [
            History(app, random.Random(dice.random()), f"chaos-{seed}-{number + n}", tally) for n in range(JOBS_AT_ONCE)
        ]
        for history in together:
            history.start()
        for history in together:
            history.end()
    return tally


def main() -> int:
    """Run a campaign on a local cloud of its own; 1 when a byte was lost or doubled."""
    parser = argparse.ArgumentParser(prog="chaos on the local cloud", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--seconds", type=float, default=300.0)
    arguments = parser.parse_args()
    project = find_project()
    paths = LocalPaths(project, project / ".rangemill/chaos")
    proxy = FaultProxy(seed=arguments.seed)
    server.stop(paths)
    cloud = server.start(paths, say, port=0, function_environment=proxy.environment())
    proxy.upstream = cloud.endpoint_url
    try:
        app = deploy(cloud, paths, proxy)
        until = time.monotonic() + arguments.seconds
        say(f"seed            {arguments.seed}")
        tally = rounds(app, arguments.seed, lambda _: time.monotonic() >= until)
    finally:
        server.stop(paths)
        proxy.close()
    say(tally.text())
    return 0 if tally.is_clean else 1


def say(text: str) -> None:
    """A line for people, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _listed(counts: Counter[str]) -> str:
    return json.dumps(dict(sorted(counts.items())))


if __name__ == "__main__":
    sys.exit(main())
