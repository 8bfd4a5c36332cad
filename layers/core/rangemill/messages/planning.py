"""What was asked for, and the plan that was made of it."""

from typing import Literal

from msgspec import Struct, field

from rangemill.formats.base import Settled
from rangemill.messages.codec import VERSION
from rangemill.messages.objects import ObjectRef, PinnedObject


class Prefix(Struct, frozen=True):
    """All objects under a prefix, as listed when Plan runs."""

    bucket: str
    prefix: str
    suffix: str = ""


class JobRequest(Struct, frozen=True):  # defaults are written: a reader must see `v`
    """`request.json`: what was asked, before anything was looked at."""

    job_id: str
    pipeline_name: str
    pipeline_text: str
    pipeline_file: str
    origin: Literal["event", "batch", "sweep", "submit", "run"]
    objects: list[ObjectRef] = field(default_factory=list)
    prefixes: list[Prefix] = field(default_factory=list)
    range_bytes: int | None = None
    concurrency: int | None = None
    history_budget_events: int | None = None
    v: int = VERSION


class PipelineDocument(Struct, frozen=True):
    """A pipeline's text, and the file it was read from."""

    text: str
    file: str
    v: int = VERSION


class CodeIdentity(Struct, frozen=True):
    """Hashes of the code that a job runs with: the library, the pipelines' own code, and the packages both use."""

    core: str
    pipelines: str
    dependencies: str


class PlanPage(Struct, frozen=True):
    """One page of pinned objects, in plan order, and where the next page goes on.

    `level` is the weakest proof level that archives allow so far, `passed_over` what was left out of them, by kind.
    """

    objects: list[PinnedObject]
    objects_before: int
    bytes_before: int
    resume: "PlanResume | None"
    level: str = "bytes"
    passed_over: dict[str, int] = field(default_factory=dict)
    gzip: "GzipWay | None" = None
    v: int = VERSION


class GzipWay(Struct, frozen=True):
    """How plain gzip objects without restart points are read for the first time, and why.

    `stream`: one worker reads an object to its end and makes its points as it goes. `index`: waves follow behind an
    indexer, whose first turn takes `first_seconds`. The speeds are those of a sample of `object`, in decompressed bytes
    a second of one worker; None where nothing was timed.
    """

    way: Literal["stream", "index"]
    why: str
    first_seconds: float
    object: str = ""
    inflate_bytes_per_second: float | None = None
    apply_bytes_per_second: float | None = None


class PlanResume(Struct, frozen=True):
    """Where the next page of the plan goes on: at which of the named objects, or in which prefix, after which key.

    Before that comes what is left of an `archive`, of that `kind`, from byte `at` of its directory or of itself on.
    """

    objects_done: int = 0
    prefixes_done: int = 0
    after: str | None = None
    archive: PinnedObject | None = None
    kind: str = ""
    at: int = 0


class Plan(Struct, frozen=True):
    """`plan/plan.json`: everything that a worker must know of the job, settled once."""

    job_id: str
    pipeline_name: str
    pipeline_text: str
    pipeline_file: str
    settled: Settled
    code: CodeIdentity
    range_bytes: int
    concurrency: int
    history_budget_events: int
    objects: int
    bytes: int
    pages: int
    warnings: list[str] = field(default_factory=list)
    level: str = ""  # of the proof, where archives allow less than the format; else the format's own
    gzip: GzipWay | None = None  # None where no object is a large plain gzip without restart points
    v: int = VERSION
