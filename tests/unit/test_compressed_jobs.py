"""Jobs over compressed objects: workers that stop and go on, points kept for the next job, objects of a prefix."""

import bz2
import gzip
import hashlib
import io
import itertools
import json
import lzma
import sys
import types
import zlib
from collections.abc import Iterator
from typing import Any

import fastavro
import msgspec
import pytest
from backports import zstd

from rangemill import pages
from rangemill.compression import _points, _split, looking
from rangemill.compression import gzip as gzip_codec
from rangemill.compression.base import Mode
from rangemill.errors import BadCompression, BadRequest
from rangemill.gateways import Gateways
from rangemill.messages import CodeIdentity, JobRequest, JobRow, ObjectRef, PinnedObject, Prefix
from rangemill.pipeline import FormatSpec
from rangemill.plan import Defaults
from rangemill_cli.inprocess.driver import in_this_process, run_job
from rangemill_cli.inprocess.memory import MemoryObjects, in_memory

CODE = CodeIdentity("core", "pipelines", "dependencies")
TEXT = b"".join(b"line %d %s\n" % (number, b"z" * (number % 50)) for number in range(4000))


class Lines:
    """Counts lines and bytes."""

    def start(self, context: Any) -> list[int]:
        return [0, 0]

    def apply(self, partial: list[int], record: bytes) -> list[int]:
        return [partial[0] + 1, partial[1] + len(record) + 1]

    def merge(self, left: list[int], right: list[int]) -> list[int]:
        return [left[0] + right[0], left[1] + right[1]]

    def finish(self, total: list[int]) -> Iterator[dict[str, int]]:
        yield {"records": total[0], "bytes": total[1]}


@pytest.fixture(autouse=True)
def user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("compressed_lines")
    module.Lines = Lines  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compressed_lines", module)
    pages.pipeline.cache_clear()


def run(
    gateways: Gateways,
    job_id: str,
    refs: list[ObjectRef],
    *,
    prefixes: list[Prefix] | None = None,
    form: str = "{type: text}",
    range_bytes: int = 1000,
    stops: bool = False,
) -> JobRow:
    text = f"name: lines\nformat: {form}\napply: {{python: compressed_lines:Lines}}\n"
    request = JobRequest(job_id, "lines", text, "p.yaml", "submit", refs, prefixes or [])
    often = itertools.cycle([False, True])
    work = in_this_process(gateways, CODE, lambda: stops and next(often))
    return run_job(request, gateways, work, CODE, defaults=Defaults(range_bytes, 4, 20_000))


def result(gateways: Gateways, row: JobRow) -> dict[str, int]:
    assert row.status == "SUCCEEDED", row.error
    assert row.result is not None
    assert row.result["proof"]["complete"]
    body = gateways.store.get(f"results/lines/{row.job_id}/result.jsonl")
    answer: dict[str, int] = json.loads(body or b"")
    return answer


ALL = {"records": 4000, "bytes": len(TEXT)}


def test_a_long_gzip_goes_through_many_workers_and_the_next_job_is_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "SPACING_BYTES", 9_000)
    monkeypatch.setattr(_split, "SUB_RUN_BYTES", 3_000)
    packed = gzip_of_many_blocks(TEXT)
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", "a.log.gz", packed)
    first = run(gateways, "lines-1", [ref], stops=True)
    assert result(gateways, first) == ALL
    assert first.wave > 3, "the worker stopped and another went on"
    assert first.result is not None
    assert first.result["proof"]["level"] == "stream"
    second = run(gateways, "lines-2", [ref], stops=True)
    assert result(gateways, second) == ALL
    assert second.result is not None
    assert second.result["proof"] == {"complete": True, "level": "bytes", "checksum": "CRC64NVME", "matched": True}
    assert second.result["ranges"] >= len(packed) // 1000
    other = objects.put("in", "a.log.gz", gzip.compress(TEXT[:-20]))  # the same name, other bytes: other points
    assert result(gateways, run(gateways, "lines-3", [other]))["bytes"] < len(TEXT)


def gzip_of_many_blocks(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    body = b"".join(
        packer.compress(data[at : at + 700]) + packer.flush(zlib.Z_BLOCK) for at in range(0, len(data), 700)
    )
    return body + packer.flush()


PACKED = {
    "a.txt": TEXT,
    "b.gz": gzip.compress(TEXT),
    "c.zst": b"".join(zstd.compress(TEXT[at : at + 3000]) for at in range(0, len(TEXT), 3000)),
    "d.bz2": bz2.compress(TEXT),
    "e.xz": lzma.compress(TEXT),
    "f": zstd.compress(TEXT),
}


@pytest.mark.parametrize("range_bytes", [700, 1 << 20])
@pytest.mark.parametrize("stops", [False, True])
def test_objects_of_all_kinds_in_one_prefix(range_bytes: int, stops: bool) -> None:
    gateways = in_memory(objects := MemoryObjects())
    for key, body in PACKED.items():
        objects.put("in", key, body)
    objects.put("in", "g.gz", b"")
    row = run(gateways, "lines-1", [], prefixes=[Prefix("in", "")], range_bytes=range_bytes, stops=stops)
    assert result(gateways, row) == {name: len(PACKED) * count for name, count in ALL.items()}


@pytest.mark.parametrize("form", ["{type: avro}", "{type: auto}"])
@pytest.mark.parametrize("range_bytes", [1000, 10**9])
@pytest.mark.parametrize("listed", [True, False])
def test_avro_is_read_packed_and_plain(form: str, range_bytes: int, listed: bool) -> None:
    out = io.BytesIO()
    schema = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}, {"name": "t", "type": "string"}]}
    rows = [{"n": n, "t": hashlib.sha256(b"%d" % n).hexdigest()} for n in range(20_000)]
    fastavro.writer(out, schema, rows)
    data = out.getvalue()
    bodies = {"a.avro": data, "b.avro.gz": gzip.compress(data, 1), "c.avro.bz2": bz2.compress(data, 1)}
    bodies |= {"d.avro.zst": zstd.compress(data[:1000]) + zstd.compress(data[1000:])}
    objects = MemoryObjects()
    refs = [objects.put("in", key, body) for key, body in bodies.items()]
    prefixes = [Prefix("in", "")] if listed else None
    asked = [] if listed else refs
    row = run(in_memory(objects), "lines-1", asked, prefixes=prefixes, form=form, range_bytes=range_bytes)
    assert (row.status, row.error) == ("SUCCEEDED", None)
    assert row.totals.records == len(bodies) * len(rows)
    assert row.totals.bytes == sum(map(len, bodies.values()))


def test_a_name_that_lies_is_told_and_the_bytes_win() -> None:
    gateways = in_memory(objects := MemoryObjects())
    refs = [objects.put("in", "plain.gz", TEXT), objects.put("in", "packed.txt", gzip.compress(TEXT))]
    assert result(gateways, run(gateways, "lines-1", refs)) == {name: 2 * count for name, count in ALL.items()}
    warnings = pages.plan(gateways.store, "lines-1").warnings
    assert ["plain.gz is not compressed" in w for w in warnings] == [True, False]
    assert "packed.txt is gzip" in warnings[1]


def test_a_declared_compression_is_required_and_none_takes_bytes_as_they_are() -> None:
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", "a.gz", TEXT)
    row = run(gateways, "lines-1", [ref], form="{type: text, compression: gzip}")
    assert row.error is not None
    assert row.error["type"] == "BadCompression"
    assert row.error["object"] == "s3://in/a.gz"
    packed = objects.put("in", "b.gz", gzip.compress(b"a\nb\n", mtime=0))
    row = run(gateways, "lines-2", [packed], form="{type: text, compression: none}")
    assert result(gateways, row)["records"] == gzip.compress(b"a\nb\n", mtime=0).count(b"\n") + 1


@pytest.mark.parametrize("key", ["b.gz", "c.zst", "d.bz2", "e.xz"])
@pytest.mark.parametrize("range_bytes", [700, 1 << 20])
def test_a_truncated_object_fails_the_job_by_name(key: str, range_bytes: int) -> None:
    gateways = in_memory(objects := MemoryObjects())
    ref = objects.put("in", key, PACKED[key][:-9])
    row = run(gateways, "lines-1", [ref], range_bytes=range_bytes)
    assert row.error is not None
    assert (row.error["type"], row.error["object"]) == ("BadCompression", f"s3://in/{key}")
    assert "truncated" in row.error["message"]
    assert row.error["offset"] > 0


def test_what_no_worker_could_finish_is_refused_with_the_remedy() -> None:
    pin = PinnedObject(0, "in", "deep/huge.zst", "etag", 200 << 30)
    with pytest.raises(BadRequest, match=r"zstd -dc huge.zst \| pzstd") as caught:
        looking.require_time(pin, Mode("zstd", whole=True))
    assert caught.value.object_uri == "s3://in/deep/huge.zst"
    looking.require_time(pin, Mode("gzip", whole=True))  # goes on from points


def test_without_a_shared_zlib_gzip_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    from rangemill.compression import _gzip_session, _inflate

    for module in (gzip_codec, _gzip_session, _inflate):
        monkeypatch.setattr(module, "library", lambda: None)
    gateways = in_memory(objects := MemoryObjects())
    assert result(gateways, run(gateways, "lines-1", [objects.put("in", "b.gz", PACKED["b.gz"])])) == ALL


def test_damage_in_the_middle_of_a_sample_is_no_end_of_it() -> None:
    spec = FormatSpec("text")
    objects = MemoryObjects()
    ref = objects.put("in", "b.gz", PACKED["b.gz"][:-4])
    pin = msgspec.structs.replace(objects.pin(ref, 0), compression="gzip:small")
    with pytest.raises(BadCompression):
        list(looking.samples(pin, spec, objects))
