"""The pipeline document: its parts, what may stand in them, and matching an object to pipelines.

`parse_pipeline` is the only way in; it refuses a mistake with file, line, field and what would be right.
"""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from rangemill import documents, formats
from rangemill.errors import BadPipeline
from rangemill.nesting import FIELDS as NESTING_FIELDS
from rangemill.nesting import Nesting
from rangemill.units import parse_bytes, parse_seconds

PIPELINE_NAME_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?\Z"  # 48: what execution names leave (limits.py)
PYTHON_REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

_OUTPUT_SUFFIXES: Final = (".jsonl", ".csv", ".parquet", ".json", ".html")  # of parts, manifest and reports

Name = Annotated[str, Meta(pattern=PIPELINE_NAME_PATTERN)]


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """Which objects start this pipeline by themselves; every part that is given must hold."""

    bucket: str | None = None
    prefix: str = ""
    suffix: str = ""

    def covers(self, bucket: str, key: str) -> bool:
        """Whether an object of that bucket and plain key is meant."""
        return self.bucket in (None, bucket) and key.startswith(self.prefix) and key.endswith(self.suffix)


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """When an open batch is closed: at the first bound that is reached."""

    max_objects: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    max_bytes: int | str = "1 TiB"
    max_wait: int | str = "5m"

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "max_bytes", parse_bytes(self.max_bytes))
        msgspec.structs.force_setattr(self, "max_wait", parse_seconds(self.max_wait))

    @property
    def bound_bytes(self) -> int:
        """`max_bytes` in bytes."""
        return parse_bytes(self.max_bytes)

    @property
    def wait_seconds(self) -> int:
        """`max_wait` in seconds."""
        return parse_seconds(self.max_wait)


class Trigger(Struct, frozen=True, forbid_unknown_fields=True):
    """One job per object, or one per batch of objects."""

    each: Literal[True] | None = None
    batch: Batch | None = None

    def __post_init__(self) -> None:
        if (self.each is None) == (self.batch is None):
            raise ValueError("expected either `each: true` or `batch: {…}`")


class Apply(Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to the records: a Python class, or an SQL statement over `records`."""

    python: str | None = None
    sql: str | None = None

    def __post_init__(self) -> None:
        if (self.python is None) == (self.sql is None):
            raise ValueError("expected either `python: module:Class` or `sql: SELECT … FROM records`")
        if self.python is not None and not PYTHON_REFERENCE.fullmatch(self.python):
            raise ValueError(f"expected `python: module:Class`, not {self.python!r}")


class Statement(Struct, frozen=True, forbid_unknown_fields=True):
    """An optional SQL statement: `aggregate` over `partials`, `finish` over `result`."""

    sql: str | None = None


class Output(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the result goes, and as what."""

    format: Literal["jsonl", "csv", "parquet"] = "jsonl"
    to: str | None = None

    def __post_init__(self) -> None:
        if self.to is not None and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+/.*", self.to):
            raise ValueError(f"expected `to: s3://bucket/prefix/`, not {self.to!r}")


class Rejects(Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to a record that cannot be processed: it fails the job, is counted only, or counted and kept.

    Without `max_count` and `max_fraction` (of the records found) there is no bound.
    """

    on_error: Literal["fail", "skip", "quarantine"] = "fail"
    max_count: Annotated[int, Meta(ge=0)] | None = None
    max_fraction: Annotated[float, Meta(ge=0, le=1)] | None = None

    def __post_init__(self) -> None:
        if self.on_error == "fail" and (self.max_count, self.max_fraction) != (None, None):
            raise ValueError("max_count and max_fraction go with `on_error: skip` or `on_error: quarantine`")

    @property
    def tolerates(self) -> bool:
        """Whether a job goes on without the records that cannot be processed."""
        return self.on_error != "fail"


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of one job; None leaves the stack's own."""

    range_bytes: int | str | None = None
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    cost_usd: Annotated[float, Meta(gt=0)] | None = None
    max_partial_bytes: int | str = "64 MiB"
    max_aggregate_bytes: int | str = "512 MiB"

    def __post_init__(self) -> None:
        for name in ("range_bytes", "max_partial_bytes", "max_aggregate_bytes"):
            value = getattr(self, name)
            if value is not None:
                msgspec.structs.force_setattr(self, name, parse_bytes(value))


class FormatSpec(Struct, frozen=True):
    """A format's name, its own options as the document gives them (checked by its `Options`), and what it lies in."""

    type: str
    options: dict[str, Any] = field(default_factory=dict)
    nesting: Nesting = Nesting()


class Pipeline(Struct, frozen=True):
    """A parsed and valid pipeline document."""

    name: str
    format: FormatSpec
    apply: Apply
    match: Match | None = None
    trigger: Trigger = Trigger(each=True)
    aggregate: Statement = Statement()
    finish: Statement = Statement()
    output: Output = Output()
    rejects: Rejects = Rejects()
    limits: Limits = Limits()
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def is_sql(self) -> bool:
        """Whether `apply` is SQL rather than Python."""
        return self.apply.sql is not None

    @property
    def is_folded(self) -> bool:
        """Whether partials fold into one; otherwise each is a part of the output (SQL without `aggregate`)."""
        return not self.is_sql or self.aggregate.sql is not None


class _Document(Struct, frozen=True, forbid_unknown_fields=True):
    """The document as written; `format` is left to the format's own module."""

    name: Name
    apply: Apply
    format: dict[str, Any]
    match: Match | None = None
    trigger: Trigger = Trigger(each=True)
    aggregate: Statement = Statement()
    finish: Statement = Statement()
    output: Output = Output()
    rejects: Rejects = Rejects()
    limits: Limits = Limits()
    parameters: dict[str, Any] = field(default_factory=dict)


def parse_pipeline(text: str, file: str) -> Pipeline:
    """The pipeline of a YAML document. Raises `BadPipeline`; `file` is only for its sentence."""
    source = documents.parse_yaml(text, file)
    document = source.convert(_Document)
    spec = _format_spec(document.format, source)
    pipeline = Pipeline(
        format=spec,
        **{name: getattr(document, name) for name in _Document.__struct_fields__ if name != "format"},
    )
    _check_whole(pipeline, source)
    return pipeline


def _format_spec(written: dict[str, Any], source: "documents.Source") -> FormatSpec:
    options = dict(written)
    type_name = options.pop("type", None)
    if not isinstance(type_name, str):
        raise source.problem("format.type", f"expected one of {', '.join(formats.names())}")
    if not formats.exists(type_name):
        raise source.problem(
            "format.type", f"unknown format {type_name!r}; expected one of {', '.join(formats.names())}"
        )
    nesting = {name: options.pop(name) for name in NESTING_FIELDS & options.keys()}
    parsed = source.convert_value(nesting, Nesting, "format")
    if parsed.unit == "object":
        if type_name not in ("auto", "object"):
            raise source.problem("format.unit", f"whole objects have no {type_name} records; say `type: object`")
        type_name = "object"
    source.convert_value(options, formats.load(type_name).Options, "format")
    return FormatSpec(type_name, options, parsed)


def _check_whole(pipeline: Pipeline, source: "documents.Source") -> None:
    """What no single field shows."""
    if pipeline.is_sql and pipeline.format.type == "object":
        raise source.problem(
            "apply.sql", "a whole object has no columns that SQL could read; `type: object` is for Python"
        )
    if not pipeline.is_sql:
        for part in ("aggregate", "finish"):
            if getattr(pipeline, part).sql is not None:
                raise source.problem(
                    f"{part}.sql", "a Python pipeline aggregates with its class's `merge` and `finish`; leave this out"
                )
    elif pipeline.finish.sql is not None and pipeline.aggregate.sql is None:
        raise source.problem("finish.sql", "`finish` runs over the folded total, so `aggregate.sql` is needed as well")
    if pipeline.output.to is not None and pipeline.match is not None:
        bucket, _, prefix = pipeline.output.to.removeprefix("s3://").partition("/")
        match = pipeline.match
        overlaps = prefix.startswith(match.prefix) or match.prefix.startswith(prefix)
        overlaps = overlaps and any(
            name.endswith(match.suffix) or match.suffix.endswith(name) for name in _OUTPUT_SUFFIXES
        )
        if match.bucket in (None, bucket) and overlaps:
            raise source.problem(
                "output.to",
                f"the output would match the pipeline's own `match` (prefix {match.prefix!r}) and start it again; "
                "write elsewhere",
            )


class PipelineError(Struct, frozen=True):
    """A document of the deployed set that does not parse."""

    file: str
    message: str


def match_all(pipelines: list[Pipeline], bucket: str, key: str) -> list[Pipeline]:
    """The pipelines that an uploaded object starts, by name."""
    return sorted((p for p in pipelines if p.match is not None and p.match.covers(bucket, key)), key=lambda p: p.name)


__all__ = ["BadPipeline", "Pipeline", "match_all", "parse_pipeline"]
