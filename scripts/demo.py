"""`make demo`: the local cloud, real input, jobs that run by themselves, and what they proved."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import demo_input
from rangemill import admission
from rangemill.aws import gateways
from rangemill.errors import UnknownJob
from rangemill.gateways import Gateways
from rangemill.messages import ENDED, JobRow
from rangemill_cli.errors import CliError, show_error
from rangemill_cli.local import stacks
from rangemill_cli.local.cloud import CREDENTIALS, REGION, STACK, LocalCloud

PROJECT = Path(__file__).resolve().parent.parent
RANGEMILL = str(PROJECT / ".venv/bin/rangemill")
# So few events that a wave or two fill an execution: the job has to carry itself on, again and again.
HISTORY_BUDGET_EVENTS = 80
SMALL_RANGE_BYTES = 1 << 20
PATIENCE_SECONDS = 300
POLL_SECONDS = 0.3

console = Console()


@dataclass
class Watched:
    """A job on the screen."""

    title: str
    job_id: str
    row: JobRow | None = None


def main() -> int:
    """Run the demo; 0 when every job was proved."""
    began = time.monotonic()
    step("1  A cloud on this machine: LocalStack without Docker, and this stack")
    for command in (["local", "up"], ["local", "deploy"]):
        subprocess.run([RANGEMILL, *command], check=True, cwd=PROJECT)
    cloud = LocalCloud.require()
    outputs = stacks.outputs(cloud, STACK)
    world = connect(cloud, outputs)

    step("2  Input: the flights out of New York in 2013, and an access log of 200 MB")
    folder = PROJECT / ".rangemill/demo"
    folder.mkdir(parents=True, exist_ok=True)
    uploads = {
        "access-logs": ("access-logs/2013-12-31.log", demo_input.access_log(folder)),
        "flight-delays": ("flights/flights.csv", demo_input.flights(folder)),
    }
    bucket = outputs["InputBucket"]
    jobs = []
    for pipeline, (key, file) in uploads.items():
        upload(cloud, file, bucket, key)
        head = world.objects.head(bucket, key, None)
        if head is None:
            raise RuntimeError(f"{key} is not there after its upload")
        jobs.append(Watched(f"{pipeline} (by upload)", f"{pipeline}-{admission.identity_token(pipeline, head)}"))

    step("3  The uploads start two jobs. A third must carry itself on: its history is small")
    jobs.append(
        Watched("flight-delays (many generations)", submit_small_budget(cloud, bucket, uploads["flight-delays"][0]))
    )
    watch(jobs, world)

    step("4  Results")
    failed = [job for job in jobs if not show(job, world)]
    console.print(f"\nAll of it took {time.monotonic() - began:.0f} s. The local cloud stays up; look around:")
    for line, what in (
        ('eval "$(.venv/bin/rangemill local env)"', "point aws, boto3 and rangemill at it"),
        (".venv/bin/rangemill status", "all jobs"),
        (f".venv/bin/rangemill results {jobs[0].job_id}", "a result again"),
        (".venv/bin/rangemill local logs apply", "what the workers logged"),
        (".venv/bin/rangemill local down", "stop it; everything in it is gone"),
    ):
        console.print(f"  [bold]{line}[/bold]   [dim]# {what}[/dim]", soft_wrap=True)
    return 1 if failed else 0


def step(text: str) -> None:
    """A heading."""
    console.print(f"\n[bold cyan]{text}[/bold cyan]")


def connect(cloud: LocalCloud, outputs: dict[str, str]) -> Gateways:
    """Gateways that reach the local cloud and nothing else."""
    session = boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
    return gateways.make(
        session,
        work_bucket=outputs["WorkBucket"],
        job_table=outputs["JobTable"],
        state_machine_arn=outputs["StateMachineArn"],
        topic_arn=outputs["TopicArn"],
        endpoint_url=cloud.endpoint_url,
    )


def upload(cloud: LocalCloud, file: Path, bucket: str, key: str) -> None:
    """Upload with a bar."""
    size = file.stat().st_size
    with bars() as progress:
        task = progress.add_task(f"upload {key}", total=size, state="")
        cloud.client("s3").upload_file(str(file), bucket, key, Callback=lambda sent: progress.advance(task, sent))


def submit_small_budget(cloud: LocalCloud, bucket: str, key: str) -> str:
    """The same flights once more, by `rangemill submit`."""
    command = [
        RANGEMILL, "submit", "flight-delays", f"s3://{bucket}/{key}", "--json",
        "--range-bytes", str(SMALL_RANGE_BYTES), "--history-budget", str(HISTORY_BUDGET_EVENTS),
    ]  # fmt: skip
    console.print("  [dim]$ " + " ".join(["rangemill", *command[1:]]) + "[/dim]", soft_wrap=True)
    done = subprocess.run(command, capture_output=True, text=True, env=cloud.environment() | {"PATH": ""}, check=False)
    if done.returncode != 0:
        raise CliError(f"rangemill submit failed: {done.stdout} {done.stderr}")
    return str(json.loads(done.stdout)["job_id"])


def bars() -> Progress:
    """The look of all progress bars."""
    return Progress(
        TextColumn("  {task.description:<32}"),
        BarColumn(12),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
    )


def watch(jobs: list[Watched], world: Gateways) -> None:
    """Bars until every job has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with bars() as progress:
        tasks = {job.job_id: progress.add_task(job.title, total=None, state="waiting") for job in jobs}
        while time.monotonic() < deadline:
            for job in jobs:
                job.row = look(job.job_id, world)
                if job.row is not None:
                    progress.update(
                        tasks[job.job_id],
                        total=job.row.bytes_total or None,
                        completed=job.row.totals.bytes,
                        state=f"wave {job.row.wave}, generation {job.row.generation}",
                    )
            if all(job.row is not None and job.row.status in ENDED for job in jobs):
                return
            time.sleep(POLL_SECONDS)
    raise CliError(
        f"after {PATIENCE_SECONDS} s not every job has ended", "See `rangemill status` and `rangemill local logs`."
    )


def look(job_id: str, world: Gateways) -> JobRow | None:
    """The row, once there is one."""
    try:
        return world.jobs.load(job_id)
    except UnknownJob:
        return None


def counted(number: int, noun: str) -> str:
    """`1 range`, `12 ranges`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def show(job: Watched, world: Gateways) -> bool:
    """A job's result as a table, and its proof; False for one that failed."""
    row = job.row
    if row is None or row.status != "SUCCEEDED" or row.result is None:
        console.print(
            f"\n[bold red]{job.title}: {row.status if row else 'never started'}[/bold red] {row.error if row else ''}"
        )
        return False
    result: dict[str, Any] = row.result
    rows = [json.loads(line) for line in (world.store.get(result["output"][0]) or b"").splitlines()]
    table = Table(title=f"{job.title}: {row.job_id}", title_justify="left", title_style="bold")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for values in rows[:6]:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in values.values()))
    console.print()
    console.print(table)
    if len(rows) > 6:
        console.print(f"  [dim]… and {len(rows) - 6} more rows[/dim]")
    proof = result["proof"]
    matched = "equals the checksum that S3 keeps" if proof["matched"] else "has no checksum of S3 to be held against"
    console.print(
        f"  [green]proved[/green]: each of {result['bytes']:,} bytes read exactly once; the {proof['checksum']} of "
        f"all tiles {matched}; {result['records']:,} records found = taken, {result['rejects']} rejects"
    )
    names = (("ranges", "range"), ("slots", "slot"), ("waves", "wave"), ("generations", "generation"))
    console.print(
        f"  {', '.join(counted(result[name], noun) for name, noun in names)}; {result['seconds']:.1f} s; "
        f"on AWS about ${result['cost_usd']:.5f}"
    )
    console.print(f"  result {result['output'][0]}\n  report {result['report']}", soft_wrap=True)
    return True


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CliError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)
