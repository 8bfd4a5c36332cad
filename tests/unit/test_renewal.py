"""A redrive with another pipeline document: what failed by its statement goes on with a mended one."""

import json
from typing import Any

import msgspec
import pytest

from rangemill import admission, catalog, control, messages, pages
from rangemill.errors import BadPipeline
from rangemill.gateways import Gateways
from rangemill.messages import CodeIdentity, JobRequest, JobRow, PipelineDocument
from rangemill.pipeline import parse_pipeline
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import MACHINE, in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

JOB = "sums-0001"
CODE = CodeIdentity("core", "pipelines", "dependencies")
BODY = b"".join(b"%d\n" % number for number in range(400)) + b"many\n" + b"".join(b"%d\n" % n for n in range(400))
TOTAL = {"records": 801, "total": 2 * sum(range(400))}

CASTS = "SELECT count(*) AS records, sum(CAST(line AS BIGINT)) AS total FROM records"
TRIES = "SELECT count(*) AS records, sum(TRY_CAST(line AS BIGINT)) AS total FROM records"


def document(apply: str, *, name: str = "sums", extra: str = "", fold: bool = True) -> str:
    folded = 'aggregate: {sql: "SELECT sum(records) AS records, sum(total) AS total FROM partials"}\n' if fold else ""
    return f'name: {name}\nformat: {{type: text}}\napply: {{sql: "{apply}"}}\n{folded}{extra}'


class World:
    """A job over one object, and the machine that carries it."""

    def __init__(self, text: str, origin: Any = "submit", body: bytes = BODY) -> None:
        objects = MemoryObjects()
        self.gateways: Gateways = in_memory(objects)
        ref = objects.put("in", "k", body)
        admission.create_job(JobRequest(JOB, "sums", text, "sums.yaml", origin, [ref]), self.gateways)

    def carry(self) -> JobRow:
        request = pages.request(self.gateways.store, JOB)
        work = in_this_process(self.gateways, CODE)
        return run_job(request, self.gateways, work, CODE, defaults=Defaults(200, 4, 30), machine=MACHINE)

    def redrive(self, text: str | None, code: Any = "new") -> JobRow:
        given = None if text is None else PipelineDocument(text, "mended.yaml")
        control.redrive(JOB, code, self.gateways, document=given)
        return self.carry()

    def result(self) -> list[dict[str, Any]]:
        (uri,) = (self.gateways.jobs.load(JOB).result or {})["output"]
        body = self.gateways.store.get(uri) or b""
        return [json.loads(line) for line in body.splitlines()]


def failed(world: World) -> JobRow:
    row = world.carry()
    assert row.status == "FAILED", row
    assert row.totals.records > 0  # something is folded that the new statement must fit
    return row


def test_a_job_that_failed_by_its_statement_goes_on_with_a_mended_one() -> None:
    world = World(document(CASTS))
    before = failed(world)
    row = world.redrive(document(TRIES))
    assert (row.status, world.result()) == ("SUCCEEDED", [TOTAL])
    again = row.totals.ranges - before.totals.ranges
    assert 0 < again < row.totals.ranges
    assert pages.plan(world.gateways.store, JOB, 1).pipeline_file == "mended.yaml"
    assert pages.plan(world.gateways.store, JOB).pipeline_text == document(CASTS)


def test_a_mended_document_may_tolerate_what_the_old_one_did_not() -> None:
    world = World(document(CASTS))
    failed(world)
    row = world.redrive(document(CASTS, extra="rejects: {on_error: quarantine}\n"))
    assert (row.status, row.totals.rejects) == ("SUCCEEDED", 1)
    assert world.result() == [{"records": 800, "total": TOTAL["total"]}]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (document(TRIES, name="others"), "name"),
        (document(TRIES).replace("type: text", "type: text, max_record_bytes: 1MiB"), "format"),
        (document(TRIES, fold=False), "apply"),
        (document(TRIES.replace("BIGINT", "DOUBLE")), "apply.sql"),
    ],
)
def test_a_document_that_does_not_fit_what_is_done_is_refused_and_changes_nothing(text: str, field: str) -> None:
    world = World(document(CASTS))
    before = failed(world)
    with pytest.raises(BadPipeline) as refused:
        world.redrive(text)
    assert refused.value.field == field
    assert refused.value.line is not None
    assert world.gateways.jobs.load(JOB) == before


def test_a_restart_may_fold_otherwise() -> None:
    world = World(document(CASTS))
    failed(world)
    mended = document("SELECT max(length(line)) AS longest FROM records").replace(
        "SELECT sum(records) AS records, sum(total) AS total", "SELECT max(longest) AS longest"
    )
    row = world.redrive(mended, "restart")
    assert (row.status, world.result()) == ("SUCCEEDED", [{"longest": 4}])


def deploy(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    entry = catalog.Entry(parse_pipeline(text, "sums.yaml"), text, "sums.yaml")
    monkeypatch.setattr(catalog, "deployed", lambda: catalog.Catalog({entry.pipeline.name: entry}, []))


@pytest.mark.parametrize(("origin", "status"), [("event", "SUCCEEDED"), ("sweep", "SUCCEEDED"), ("submit", "FAILED")])
def test_without_a_document_new_code_means_the_deployed_one_where_the_jobs_was(
    monkeypatch: pytest.MonkeyPatch, origin: str, status: str
) -> None:
    world = World(document(CASTS), origin)
    failed(world)
    deploy(monkeypatch, document(TRIES))
    assert world.redrive(None).status == status


def test_the_same_code_keeps_the_same_document(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(document(CASTS), "event")
    failed(world)
    deploy(monkeypatch, document(TRIES))
    assert world.redrive(None, "same").status == "FAILED"


def test_a_deployed_document_that_does_not_fit_fails_the_redrive_by_name_and_the_next_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(document(CASTS), "event")
    before = failed(world)
    deploy(monkeypatch, document(TRIES, fold=False))
    row = world.redrive(None)
    assert row.error is not None
    assert (row.status, row.error["type"], row.totals) == ("FAILED", "BadPipeline", before.totals)
    deploy(monkeypatch, document(TRIES))
    assert world.redrive(None).status == "SUCCEEDED"
    assert world.result() == [TOTAL]


def test_a_job_that_was_never_planned_is_planned_with_the_new_document() -> None:
    world = World(document("SELECT nothing FROM records"))
    row = world.carry()
    assert (row.status, row.pointer) == ("FAILED", None)
    row = world.redrive(document(TRIES))
    assert (row.status, world.result()) == ("SUCCEEDED", [TOTAL])


def test_a_row_without_the_field_reads_as_before() -> None:
    row = JobRow(JOB, "sums", "FAILED", "2026-11-20T00:00:00.000000Z", "event")
    assert b"document" not in messages.encode(row)
    assert msgspec.json.decode(messages.encode(row), type=JobRow).document is None
