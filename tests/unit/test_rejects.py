"""Rejects: in both engines the result is that of the good records alone, and the log names exactly the bad ones."""

import base64
import json
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import formats, partials
from rangemill.blocks import Block
from rangemill.engines import _replay, make_engine, make_folder
from rangemill.engines import sql as sql_engine
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadPipeline, BadRecord, CountMismatch, TooManyRejects, UserCodeError
from rangemill.formats.base import Sample, Settled
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.limits import REJECT_GROUPS_MAX, REJECT_MAX_BYTES
from rangemill.messages import RejectGroup
from rangemill.pipeline import Pipeline, Rejects, parse_pipeline
from rangemill.ranges import tile
from rangemill.rejects import RejectLog, merged, of_data, require_few

OBJECT = ObjectContext("bucket", "key", "v1", None, 7)
URI = "s3://bucket/key"


class Counts:
    """Counts records by their text; soils its partial before it raises, and once more where it should not be seen."""

    def start(self, context: Any) -> dict[str, Any]:
        return {"seen": [], "sum": 0}

    def apply(self, partial: dict[str, Any], record: Any) -> dict[str, Any]:
        text = json.dumps(record) if not isinstance(record, bytes) else record.decode("latin-1")
        partial["seen"].append(text)
        partial["sum"] += len(text)
        if "boom" in text:
            if isinstance(record, dict):
                record.clear()
            raise ValueError(f"{text} is not wanted")
        if "leave" in text:
            raise SystemExit(3)
        return partial

    def merge(self, left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
        left["seen"] += right["seen"]
        left["sum"] += right["sum"]
        return left

    def finish(self, total: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield total


class Batches(Counts):
    apply = None  # type: ignore[assignment]

    def apply_batch(self, partial: dict[str, Any], records: list[Any]) -> dict[str, Any]:
        for record in records:
            Counts.apply(self, partial, record)
        return partial


class Order(msgspec.Struct):
    n: int


class Typed(Counts):
    def apply(self, partial: dict[str, Any], record: Order) -> dict[str, Any]:
        return super().apply(partial, {"n": record.n})


class Fickle(Counts):
    """Raises at a record only when it sees it for the second time."""

    times: int

    def apply(self, partial: dict[str, Any], record: Any) -> dict[str, Any]:
        if record == b"twice":
            type(self).times += 1
            if type(self).times > 1:
                raise ValueError("again")
        return super().apply(partial, record)


class Hungry(Counts):
    def apply(self, partial: dict[str, Any], record: Any) -> dict[str, Any]:
        if record == b"boom":
            raise MemoryError
        return super().apply(partial, record)


@pytest.fixture(autouse=True, scope="module")
def _user_module() -> Iterator[None]:
    module = types.ModuleType("rejecting")
    for each in (Counts, Batches, Typed, Fickle, Hungry):
        setattr(module, each.__name__, each)
    sys.modules["rejecting"] = module
    yield
    del sys.modules["rejecting"]


def pipeline(
    apply: dict[str, str], type_name: str = "text", aggregate: str = "", on_error: str = "quarantine", **options: Any
) -> Pipeline:
    limits = options.pop("limits", {})
    document: dict[str, Any] = {
        "name": "any",
        "format": {"type": type_name, **options},
        "apply": apply,
        "rejects": {"on_error": on_error, **limits},
    }
    if aggregate:
        document["aggregate"] = {"sql": aggregate}
    return parse_pipeline(json.dumps(document), "any.yaml")


def settle(of: Pipeline, data: bytes) -> Settled:
    samples = [Sample(URI, data, 0, len(data))] if data else []
    return formats.load(of.format.type).settle(samples, dict(of.format.options), of.is_sql)


def blocks_of(data: bytes, settled: Settled, range_bytes: int) -> Iterator[Block]:
    """Of the runs one after the other, each beginning in the state that the one before left."""
    module: Any = formats.load(settled.format)
    crc = CRC_FUNCTIONS["CRC64NVME"][0]
    more: dict[str, Any] = {}
    for run in tile(0, len(data), range_bytes):
        begin = max(0, run.start - module.look_behind(settled))
        events = module.align(run, range_bytes, len(data), iter([data[begin:]]), settled, crc, lambda: False, **more)
        for event in events:
            if isinstance(event, Block):
                yield event
            elif formats.has_state(settled):
                more = {"state": event.left}


def run(
    of: Pipeline, data: bytes, range_bytes: int = 2**40, settled: Settled | None = None
) -> tuple[Any, RejectLog, int]:
    """The finished rows, the log, and how many records were taken."""
    settled = settle(of, data) if settled is None else settled
    log = RejectLog(of.rejects)
    engine = make_engine(of, settled, rejects=log)
    engine.begin_object(OBJECT)
    found = 0
    for block in blocks_of(data, settled, range_bytes):
        found += block.records
        engine.take(block)
    encoded, taken = engine.finish()
    assert found == taken + log.count == taken + sum(group.count for group in log.groups)
    if not of.is_sql:
        return partials.decode(encoded), log, taken
    body = make_folder(of, settled).finish(encoded).body if of.is_folded else encoded
    return [json.loads(line) for line in body.splitlines()], log, taken


def kept(log: RejectLog) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in log.body.splitlines()), key=lambda reject: reject["offset"])


def assembled(records: list[tuple[bytes, bool]]) -> tuple[bytes, list[int], list[bytes]]:
    """The object, where its bad records begin, and its good ones."""
    data, bad, good = b"", [], []
    for body, is_bad in records:
        if is_bad:
            bad.append(len(data))
        else:
            good.append(body)
        data += body + b"\n"
    return data, bad, good


TEXTS = st.sampled_from([b"a", b"", b"longer than others", "é".encode(), b"\xff"])
JSON_GOOD = st.sampled_from([b'{"n": 1}', b' {"n":-5,"x":[1,{}]} ', '{"n":2,"s":"é"}'.encode(), b"{}\r"])
JSON_BAD = st.sampled_from([b"{", b"nope", b'{"n":"\\ud800"}', b'{"n":"\xff"}', b'{"n":1}{"n":2}', b'{"n":"boom"}'])
PLACES = st.lists(st.booleans(), max_size=25)


def mixed(good: Any, bad: Any) -> Any:
    one = st.booleans().flatmap(lambda is_bad: (bad if is_bad else good).map(lambda body: (body, is_bad)))
    return st.lists(one, max_size=25)


@pytest.mark.parametrize("name", ["Counts", "Batches"])
@settings(max_examples=150, deadline=None)
@given(
    records=mixed(TEXTS, st.sampled_from([b"boom", b"leave", b"\xffboom"])),
    range_bytes=st.integers(1, 200),
    window=st.integers(1, 80),
)
def test_python_text_is_that_of_the_good_records_alone(
    name: str, records: list[tuple[bytes, bool]], range_bytes: int, window: int
) -> None:
    data, bad, good = assembled(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_replay.Replay.__init__, "__defaults__", (window,))
        found, log, taken = run(pipeline({"python": f"rejecting:{name}"}), data, range_bytes)
    texts = [body.decode("latin-1") for body in good]
    assert found == {"seen": texts, "sum": sum(map(len, texts))}
    assert (taken, [reject["offset"] for reject in kept(log)]) == (len(good), bad)


@pytest.mark.parametrize("name", ["Counts", "Batches"])
@settings(max_examples=100, deadline=None)
@given(records=mixed(JSON_GOOD, JSON_BAD), range_bytes=st.integers(1, 120), blank=st.booleans())
def test_python_json_is_that_of_the_good_records_alone(
    name: str, records: list[tuple[bytes, bool]], range_bytes: int, blank: bool
) -> None:
    data, bad, good = assembled(records)
    data = data.replace(b"\n", b"\n \n") if blank else data
    found, log, taken = run(pipeline({"python": f"rejecting:{name}"}, "jsonl"), data, range_bytes)
    assert found["seen"] == [json.dumps(json.loads(body)) for body in good]
    rejected = [reject["offset"] for reject in kept(log)]
    if not blank:
        assert rejected == bad
    assert [
        data[at:].startswith(body) for at, body in zip(rejected, [b for b, is_bad in records if is_bad], strict=True)
    ] == ([True] * len(rejected))
    assert taken == len(good)


@settings(max_examples=100, deadline=None)
@given(
    records=mixed(
        st.sampled_from([b"1,x", b'2,"q ""u"" \n n"', b"3,"]),
        st.sampled_from([b"x", b"1,2,3", b"\xff,1", b'"a,\n",b,c', b"0,boom"]),
    ),
    range_bytes=st.integers(1, 120),
)
def test_python_csv_is_that_of_the_good_records_alone(records: list[tuple[bytes, bool]], range_bytes: int) -> None:
    data, bad, good = assembled([(b"a,b", False), *records])
    settled = Settled("csv", {}, [("a", "VARCHAR"), ("b", "VARCHAR")], "a,b")
    found, log, taken = run(pipeline({"python": "rejecting:Counts"}, "csv"), data, range_bytes, settled)
    assert (taken, len(found["seen"])) == (len(good) - 1, len(good) - 1)
    assert [reject["offset"] for reject in kept(log)] == bad


SUMS = ("SELECT count(*) AS n, sum(a) AS a FROM records", "SELECT sum(n) AS n, sum(a) AS a FROM partials")


@settings(max_examples=60, deadline=None)
@given(
    records=mixed(
        st.sampled_from([(b"1,x", 1), (b'2,"q\n"', 2), (b"-3,y", -3), (b",z", 0)]).map(lambda row: row[0]),
        st.sampled_from([b"x,x", b"1.5,x", b"1", b"1,2,3", b"\xff,1", b"1,\xff", b"1e99,x"]),
    ),
    range_bytes=st.integers(1, 200),
    chunk=st.integers(1, 100),
)
def test_sql_csv_is_that_of_the_good_records_alone(
    records: list[tuple[bytes, bool]], range_bytes: int, chunk: int
) -> None:
    data, bad, good = assembled([(b"a,b", False), *records])
    of = pipeline({"sql": SUMS[0]}, "csv", SUMS[1], columns={"a": "BIGINT"})
    settled = Settled("csv", {"columns": {"a": "BIGINT"}}, [("a", "BIGINT"), ("b", "VARCHAR")], "a,b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_engine, "CHUNK_BYTES", chunk)
        (row,), log, taken = run(of, data, range_bytes, settled)
    numbers = [int(body.split(b",")[0] or 0) for body in good[1:]]
    assert (row["n"], row["a"] or 0, taken) == (len(numbers), sum(numbers), len(numbers))
    assert [reject["offset"] for reject in kept(log)] == bad


@settings(max_examples=60, deadline=None)
@given(
    records=mixed(
        st.sampled_from([b'{"n":1}', b' {"n":-5,"x":[1]} ', b"{}", b'{"n":null}', b'{"n":"7"}']),
        st.sampled_from(
            [
                b"{",
                b"nope",
                b"5",
                b"[1]",
                b'{"s":"\\ud800"}',
                b'{"s":"\xff"}',
                b'{"n":"x"}',
                b'{"n":1.5}',
                b'{"x":["y"]}',
            ]
        ),
    ),
    range_bytes=st.integers(1, 200),
    chunk=st.integers(1, 100),
)
def test_sql_json_is_that_of_the_good_records_alone(
    records: list[tuple[bytes, bool]], range_bytes: int, chunk: int
) -> None:
    data, bad, good = assembled(records)
    columns = {"n": "BIGINT", "x": "BIGINT[]"}
    apply = "SELECT count(*) AS c, sum(n) AS n, sum(len(x)) AS x FROM records"
    of = pipeline(
        {"sql": apply}, "jsonl", "SELECT sum(c) AS c, sum(n) AS n, sum(x) AS x FROM partials", columns=columns
    )
    settled = Settled("jsonl", {"columns": columns}, list(columns.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_engine, "CHUNK_BYTES", chunk)
        (row,), log, taken = run(of, data, range_bytes, settled)
    values = [json.loads(body) for body in good]
    assert (row["c"], taken) == (len(good), len(good))
    assert (row["n"] or 0) == sum(int(value.get("n") or 0) for value in values)
    assert (row["x"] or 0) == sum(len(value.get("x") or []) for value in values)
    assert [reject["offset"] for reject in kept(log)] == bad


@settings(max_examples=60, deadline=None)
@given(
    records=mixed(st.sampled_from([b"1", b"2", b"40"]), st.sampled_from([b"x", b"", b"7.", b"\xff", b"1x"])),
    range_bytes=st.integers(1, 100),
    chunk=st.integers(1, 60),
)
def test_an_sql_expression_that_fails_is_bisected_down_to_its_records(
    records: list[tuple[bytes, bool]], range_bytes: int, chunk: int
) -> None:
    data, bad, good = assembled(records)
    apply = "SELECT CAST(regexp_replace(line, '^7\\.$', 'seven') AS INTEGER) AS a, _offset AS o FROM records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_engine, "CHUNK_BYTES", chunk)
        rows, log, taken = run(pipeline({"sql": apply}), data, range_bytes)
    assert [row["a"] for row in rows] == [int(body) for body in good]
    assert {row["o"] for row in rows}.isdisjoint(bad)
    assert [reject["offset"] for reject in kept(log)] == bad
    assert taken == len(good)


def test_a_reject_is_kept_with_its_place_its_bytes_and_its_error() -> None:
    long = b"boom" + "é".encode() * REJECT_MAX_BYTES
    data = b"fine\n" + long + b"\n\xffboom\n"
    _, log, _ = run(pipeline({"python": "rejecting:Counts"}), data)
    first, second = kept(log)
    assert (first["object"], first["version_id"], first["offset"]) == (URI, "v1", 5)
    assert (first["length"], first["is_cut"], first["encoding"]) == (len(long) + 1, True, "utf-8")
    assert first["bytes"] == long[:REJECT_MAX_BYTES].decode()
    assert first["type"] == "UserCodeError"
    assert first["message"].startswith("ValueError: boom")
    assert base64.b64decode(second["bytes"]) == b"\xffboom\n"
    assert (second["encoding"], second.get("is_cut", False)) == ("base64", False)
    assert log.by_object == {7: 2}
    (group,) = log.groups
    assert (group.type, group.count, group.object, group.offset) == ("UserCodeError", 2, URI, 5)
    assert "boom" not in group.problem
    assert "test_rejects.py" in group.problem


def test_what_is_skipped_is_counted_and_not_kept() -> None:
    found, log, taken = run(pipeline({"python": "rejecting:Counts"}, on_error="skip"), b"a\nboom\n")
    assert (found["seen"], taken, log.count, log.body) == (["a"], 1, 1, b"")


@pytest.mark.parametrize(
    ("of", "data", "error", "offset"),
    [
        (pipeline({"python": "rejecting:Counts"}, on_error="fail"), b"a\nboom\n", UserCodeError, 2),
        (pipeline({"python": "rejecting:Counts"}, "jsonl", on_error="fail"), b"1\n{\n", BadRecord, 2),
        (pipeline({"sql": "SELECT line FROM records"}, on_error="fail"), b"a\n\xff\n", BadRecord, 2),
        (pipeline({"sql": "SELECT n FROM records"}, "jsonl", on_error="fail"), b'{"n":1}\n{\n', BadRecord, 8),
        (
            pipeline({"sql": "SELECT a FROM records"}, pattern=r"(?P<a>\d)", on_error="fail"),
            b"1\nx\n",
            BadRecord,
            2,
        ),
    ],
)
def test_by_default_a_bad_record_fails_the_job_at_its_place(
    of: Pipeline, data: bytes, error: type[Exception], offset: int
) -> None:
    with pytest.raises(error) as caught:
        run(of, data)
    assert (caught.value.object_uri, caught.value.offset) == (URI, offset)  # type: ignore[attr-defined]


def test_records_that_do_not_fit_the_annotated_struct_are_rejected() -> None:
    data = b'{"n":1}\n{"n":"x"}\n{}\n{"n":2}\n'
    found, log, _ = run(pipeline({"python": "rejecting:Typed"}, "jsonl"), data)
    assert found["seen"] == ['{"n": 1}', '{"n": 2}']
    assert [reject["offset"] for reject in kept(log)] == [8, 18]
    assert all("does not fit its type" in reject["message"] for reject in kept(log))


def test_code_that_is_not_deterministic_is_told_so() -> None:
    Fickle.times = 0
    with pytest.raises(UserCodeError, match="it must be deterministic"):
        run(pipeline({"python": "rejecting:Fickle"}), b"a\ntwice\nboom\n")


@pytest.mark.parametrize("on_error", ["fail", "quarantine"])
def test_a_worker_without_memory_rejects_nothing(on_error: str) -> None:
    with pytest.raises(MemoryError):
        run(pipeline({"python": "rejecting:Hungry"}, on_error=on_error), b"a\nboom\n")


def test_an_exception_while_a_whole_object_is_read_rejects_the_object() -> None:
    from rangemill.blocks import Whole

    of = pipeline({"python": "rejecting:Counts"}, "object")
    log = RejectLog(of.rejects)
    engine = make_engine(of, Settled("object", {}), rejects=log)
    engine.begin_object(OBJECT)
    engine.take(Whole(iter([b"x"]), 1))
    encoded, taken = engine.finish()
    assert (partials.decode(encoded), taken, log.count) == ({"seen": [], "sum": 0}, 0, 1)
    assert (kept(log)[0]["length"], "bytes" in kept(log)[0]) == (None, False)


def test_values_are_held_against_their_types_where_they_are_used_or_all_are_validated() -> None:
    data = b'{"a":1,"b":1}\n{"a":2,"b":"x"}\n'
    columns = {"a": "BIGINT", "b": "BIGINT"}
    used = pipeline({"sql": "SELECT a FROM records"}, "jsonl", columns=columns)
    assert run(used, data)[0] == [{"a": 1}, {"a": 2}]
    rows, log, _ = run(pipeline({"sql": "SELECT a FROM records"}, "jsonl", columns=columns, validate="all"), data)
    assert rows == [{"a": 1}]
    assert "column b is not exactly a BIGINT" in kept(log)[0]["message"]


@pytest.mark.parametrize("range_bytes", [1, 12, 2**40])
def test_null_is_a_row_of_nulls_and_what_else_is_no_object_is_rejected(range_bytes: int) -> None:
    data = b'{"a":1}\nnull\n5\n[1]\n{"a":2}\n'
    rows, log, _ = run(pipeline({"sql": "SELECT a FROM records"}, "jsonl", columns={"a": "BIGINT"}), data, range_bytes)
    assert rows == [{"a": 1}, {"a": None}, {"a": 2}]
    assert [(one["offset"], one["message"]) for one in kept(log)] == [
        (place, "it is no JSON object, which SQL needs for its columns") for place in (13, 15)
    ]


@pytest.mark.parametrize("on_error", ["fail", "quarantine"])
@pytest.mark.parametrize(
    ("bad", "expected"),
    [(b'{"a":1,"a":2}', "it has the name 'a' more than once"), (b"[]", "it is no JSON object, which SQL needs")],
)
def test_json_that_sql_cannot_take_is_told_as_what_it_is(on_error: str, bad: bytes, expected: str) -> None:
    of = pipeline({"sql": "SELECT a FROM records"}, "jsonl", on_error=on_error, columns={"a": "BIGINT"})
    if on_error == "fail":
        with pytest.raises(BadRecord, match=expected):
            run(of, b'{"a":3}\n' + bad + b"\n")
        return
    rows, log, _ = run(of, b'{"a":3}\n' + bad + b"\n")
    assert rows == [{"a": 3}]
    assert kept(log)[0]["message"].startswith(expected)


def test_a_statement_that_fails_on_several_records_together_fails_the_job_with_a_remedy() -> None:
    from rangemill.errors import BadStatement

    apply = "SELECT CAST(sum(CAST(line AS INTEGER)) AS TINYINT) AS s FROM records"
    with pytest.raises(BadStatement, match=r"TRY_CAST or TRY gives NULL"):
        run(pipeline({"sql": apply}), b"100\n100\n")


@pytest.mark.parametrize("options", [{}, {"delimiter": "|"}, {"record_start": "[^ ]"}])
def test_raw_has_every_record_and_line_those_that_are_text(options: dict[str, str]) -> None:
    end = options.get("delimiter", "\n").encode()
    data = end.join([b"a", "é".encode(), b"\xff\xfe", b"b", b""])
    apply = "SELECT line, to_base64(raw) AS raw, _offset AS o FROM records"
    rows, log, taken = run(pipeline({"sql": apply}, **options), data)
    expected = [(b"a", "a", 0), ("é".encode(), "é", 2), (b"\xff\xfe", None, 5), (b"b", "b", 8)]
    assert sorted((row["o"], base64.b64decode(row["raw"]), row["line"]) for row in rows) == [
        (at, raw, line) for raw, line, at in expected
    ]
    assert (taken, log.count) == (4, 0)
    rows, log, taken = run(pipeline({"sql": "SELECT line FROM records"}, **options), data)
    assert ([row["line"] for row in rows], taken) == (["a", "é", "b"], 3)
    assert [reject["offset"] for reject in kept(log)] == [5]


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [("utf-16-le", "é".encode("utf-16-le") + b"\x00\xdc"), ("windows-1252", b"\xe9\x81"), ("utf-8", b"\xe9\x81")],
)
@pytest.mark.parametrize("apply", [{"sql": "SELECT line FROM records"}, {"python": "rejecting:Counts"}])
def test_what_is_no_text_is_kept_as_it_is_stored(encoding: str, bad: bytes, apply: dict[str, str]) -> None:
    end = "\n".encode(encoding)
    data = "x".encode(encoding) + end + bad + end + "é".encode(encoding) + end
    columns = {"pattern": "(?P<n>.*)"} if "python" in apply else {}  # in Python lines are bytes, whatever they are
    _, log, taken = run(pipeline(apply, encoding=encoding, **columns), data)
    (reject,) = kept(log)
    assert (taken, reject["offset"], reject["encoding"]) == (2, len("x\n".encode(encoding)), "base64")
    assert base64.b64decode(reject["bytes"]).removesuffix(end) == bad
    assert reject["length"] in (len(bad), len(bad + end))


def test_a_column_that_is_called_raw_is_the_datas_own() -> None:
    rows, _, _ = run(
        pipeline({"sql": "SELECT raw + 1 AS n FROM records"}, "jsonl", columns={"raw": "BIGINT"}), b'{"raw":4}\n'
    )
    assert rows == [{"n": 5}]
    of = pipeline({"sql": "SELECT raw FROM records"}, pattern=r"(?P<raw>\w)=(?P<line>\w)")
    rows, log, _ = run(of, b"a=1\n\xff=2\n")
    assert (rows, [reject["offset"] for reject in kept(log)]) == ([{"raw": "a"}], [4])
    rows, log, _ = run(pipeline({"sql": "SELECT line AS raw FROM records"}), b"a\n\xff\n")
    assert (rows, [reject["offset"] for reject in kept(log)]) == ([{"raw": "a"}], [2])


def test_lines_with_returns_are_the_same_in_raw_and_in_line() -> None:
    rows, _, _ = run(pipeline({"sql": "SELECT line, to_base64(raw) AS raw FROM records"}), b"a\r\n\xff\r\nb\rc\r")
    raws = [base64.b64decode(row["raw"]) for row in rows]
    assert (raws, [row["line"] for row in rows]) == ([b"a", b"\xff", b"b\rc\r"], ["a", None, "b\rc\r"])


def test_columns_of_a_pattern_reject_the_lines_that_it_does_not_match() -> None:
    data = b"1 a\nnope\n2 b\n\xff\n"
    for apply in ({"sql": "SELECT n FROM records"}, {"python": "rejecting:Counts"}):
        _, log, taken = run(pipeline(apply, pattern=r"(?P<n>\d) (?P<w>\w)"), data)
        assert (taken, [reject["offset"] for reject in kept(log)]) == (2, [4, 13])


def test_rows_that_an_object_with_another_header_has_too_many_cells_in_are_rejected() -> None:
    settled = Settled("csv", {}, [("a", "BIGINT"), ("b", "VARCHAR")], "a,b")
    data = b"b,a\nx,1\ny\nz,2\n\xff,3\nw,4,5\n"
    of = pipeline({"sql": "SELECT a, b FROM records"}, "csv")
    rows, log, _ = run(of, data, settled=settled)
    assert rows == [{"a": 1, "b": "x"}, {"a": 2, "b": "z"}]
    assert [reject["offset"] for reject in kept(log)] == [8, 14, 18]


def test_many_bad_records_cost_no_more_than_a_few_good_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    really = Counts.apply

    def counted(self: Any, partial: Any, record: Any) -> Any:
        nonlocal calls
        calls += 1
        return really(self, partial, record)

    monkeypatch.setattr(Counts, "apply", counted)
    data = b"".join(b"boom\n" if index % 10 == 0 else b"a\n" for index in range(5_000))
    _, log, taken = run(pipeline({"python": "rejecting:Counts"}), data)
    assert (log.count, taken) == (500, 4_500)
    assert calls <= 2 * 5_000


def test_the_limit_of_a_slot_ends_it_with_the_worst_errors_named() -> None:
    of = pipeline({"python": "rejecting:Counts"}, limits={"max_count": 2})
    assert run(of, b"boom\nboom\na\n")[1].count == 2
    with pytest.raises(
        TooManyRejects, match=r"max_count \(2\).*3 of UserCodeError \(ValueError at .*one at s3://bucket/key 0"
    ):
        run(of, b"boom\nboom\na\nboom\n")


def test_a_worker_keeps_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from rangemill import rejects

    monkeypatch.setattr(rejects, "REJECTS_FULL_BYTES", 500)
    monkeypatch.setattr(rejects, "REJECTS_MAX_BYTES", 1_700)
    log = RejectLog(Rejects("quarantine"))
    log.add(0, URI, None, 0, b"x" * 400, of_data("bad"))
    assert log.is_full
    for _ in range(2):
        log.add(0, URI, None, 0, b"x" * 400, of_data("bad"))
    with pytest.raises(TooManyRejects, match="more than a worker can keep"):
        log.add(0, URI, None, 0, b"x" * 400, of_data("bad"))
    skipped = RejectLog(Rejects("skip"))
    for _ in range(100):
        skipped.add(0, URI, None, 0, b"x" * 400, of_data("bad"))
    assert (skipped.is_full, skipped.kept_bytes) == (False, 0)


def group(kind: str, count: int, at: int = 0) -> RejectGroup:
    return RejectGroup("BadRecord", kind, count, URI, at)


@given(st.lists(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=80), max_size=4))
def test_groups_add_up_however_many_there_are(lists: list[list[tuple[int, int]]]) -> None:
    total: list[RejectGroup] = []
    for some in lists:
        total = merged(total, [group(str(kind), count) for kind, count in some])
    assert len(total) <= REJECT_GROUPS_MAX
    assert sum(each.count for each in total) == sum(count for some in lists for _, count in some)


def test_values_and_places_are_left_out_of_a_groups_problem() -> None:
    assert of_data("it does not fit its type: Invalid enum value 'secret' - at `$.n`").problem == (
        "it does not fit its type: Invalid enum value '…' - at `$.n`"
    )
    assert of_data("JSON is malformed: expected ',' or '}' (byte 7)").problem.endswith("expected ',' or '}'")
    assert of_data("it is not JSON: JSON is malformed: invalid character (byte 4)").problem == (
        "it is not JSON: JSON is malformed: invalid character"
    )


@pytest.mark.parametrize(
    ("policy", "counts", "fails"),
    [
        (Rejects("skip", max_count=3), (3, 10, 50, 100), False),
        (Rejects("skip", max_count=3), (4, 10, 50, 100), True),
        (Rejects("skip", max_fraction=0.1), (1, 10, 100, 100), False),
        (Rejects("skip", max_fraction=0.1), (2, 10, 100, 100), True),
        (Rejects("skip", max_fraction=0.1), (2, 10, 1, 100), False),  # as many again a hundred times are to come
        (Rejects("skip", max_fraction=0.1), (9, 10, 50, 100), True),  # nothing that may still come helps
        (Rejects("skip", max_fraction=0.0), (1, 10, 100, 100), True),
        (Rejects("skip"), (10, 10, 100, 100), False),
    ],
)
def test_limits_are_of_the_whole_job(policy: Rejects, counts: tuple[int, int, int, int], fails: bool) -> None:
    check: Callable[[], None] = lambda: require_few(policy, *counts, [group("bad", counts[0], 5)])  # noqa: E731
    if not fails:
        check()
        return
    with pytest.raises(TooManyRejects, match="bad") as caught:
        check()
    assert (caught.value.object_uri, caught.value.offset) == (URI, 5)


@pytest.mark.parametrize(
    "written",
    ["{max_count: 5}", "{on_error: ignore}", "{on_error: skip, max_fraction: 2}", "{on_error: skip, max_count: -1}"],
)
def test_a_mistake_in_rejects_is_refused(written: str) -> None:
    with pytest.raises(BadPipeline, match="rejects"):
        parse_pipeline(f"name: a\nformat: {{type: text}}\napply: {{python: a:B}}\nrejects: {written}\n", "a.yaml")


def test_records_that_are_lost_between_format_and_engine_are_noticed_though_others_are_rejected() -> None:
    of = pipeline({"python": "rejecting:Counts"})
    engine = make_engine(of, settle(of, b""))
    engine.begin_object(OBJECT)
    with pytest.raises(CountMismatch, match="found 3 records in the block at byte 0"):
        engine.take(Block(b"a\nboom\n", 0, 3))
    with pytest.raises(CountMismatch, match="2 were applied and 0 rejected"):
        engine.take(Block(b"a\nb\n", 0, 3))
