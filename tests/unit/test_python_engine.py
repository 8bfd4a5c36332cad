"""The Python engine: the user's class over blocks, its failures, its partials and its rows."""

import sys
import types
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import msgspec
import pytest

from rangemill import partials
from rangemill.blocks import Block
from rangemill.engines import check_pipeline, make_engine, make_folder
from rangemill.engines.base import ObjectContext
from rangemill.errors import AggregateTooLarge, BadPipeline, BadRecord, CountMismatch, UnsupportedPartial, UserCodeError
from rangemill.formats.base import Settled
from rangemill.pipeline import Pipeline, parse_pipeline

OBJECT = ObjectContext("any-bucket", "any/key", None)
TEXT = Settled("text", {})
JSONL = Settled("jsonl", {})


class Words:
    """Counts lines by their text."""

    seen: list[Any]

    def start(self, context: Any) -> dict[bytes, int]:
        type(self).seen = [*getattr(type(self), "seen", []), context]
        return {}

    def apply(self, partial: dict[bytes, int], record: bytes) -> dict[bytes, int]:
        if record == b"boom":
            raise ValueError("no boom please")
        partial[record] = partial.get(record, 0) + 1
        return partial

    def merge(self, left: dict[bytes, int], right: dict[bytes, int]) -> dict[bytes, int]:
        for word, count in right.items():
            left[word] = left.get(word, 0) + count
        return left

    def finish(self, total: dict[bytes, int]) -> Iterator[dict[str, Any]]:
        for word, count in sorted(total.items()):
            yield {"word": word, "count": count}


class Batches(Words):
    apply = None  # type: ignore[assignment]

    def apply_batch(self, partial: dict[bytes, int], records: list[bytes]) -> dict[bytes, int]:
        for record in records:
            Words.apply(self, partial, record)
        return partial


class Order(msgspec.Struct):
    amount: int


class Typed:
    def start(self, context: Any) -> int:
        return 0

    def apply(self, partial: int, order: Order) -> int:
        return partial + order.amount

    def merge(self, left: int, right: int) -> int:
        return left + right

    def finish(self, total: int) -> list[int]:
        return [total]


class Sets(Typed):
    def start(self, context: Any) -> Any:
        return {"seen": object()}


@pytest.fixture(autouse=True)
def _user_module() -> Iterator[None]:
    module = types.ModuleType("words_for_tests")
    for each in (Words, Batches, Typed, Sets):
        setattr(module, each.__name__, each)
    sys.modules["words_for_tests"] = module
    Words.seen = []
    yield
    del sys.modules["words_for_tests"]


def pipeline(name: str = "Words", output: str = "jsonl", more: str = "", format_type: str = "text") -> Pipeline:
    return parse_pipeline(
        f"name: any\nformat: {{type: {format_type}}}\napply: {{python: words_for_tests:{name}}}\n"
        f"output: {{format: {output}}}\nparameters: {{top: 3}}\n{more}",
        "any.yaml",
    )


def block(data: bytes, offset: int = 0) -> Block:
    return Block(data, offset, len(data.splitlines()))


def result(engine: Any) -> Any:
    encoded, taken = engine.finish()
    return partials.decode(encoded), taken


@pytest.mark.parametrize("name", ["Words", "Batches"])
def test_records_fold_into_one_partial_over_blocks_and_objects(name: str) -> None:
    engine = make_engine(pipeline(name), TEXT, {"top": 5})
    engine.begin_object(OBJECT)
    engine.take(block(b"a\nb\n"))
    engine.take(block(b"a\r\n"))
    engine.begin_object(ObjectContext("", "local/file", None))
    engine.take(block(b"b"))
    assert result(engine) == ({b"a": 2, b"b": 2}, 4)
    first, second = Words.seen if name == "Words" else Batches.seen
    assert (first.uri, first.object, first.bucket, first.parameters) == (
        "s3://any-bucket/any/key",
        "any/key",
        "any-bucket",
        {"top": 5},
    )
    assert second.uri == "local/file"


def test_a_slot_without_a_record_gives_the_neutral_partial() -> None:
    engine = make_engine(pipeline(), TEXT)
    engine.begin_object(OBJECT)
    assert result(engine) == ({}, 0)


def test_a_raise_in_user_code_names_object_offset_type_text_and_line() -> None:
    engine = make_engine(pipeline(), TEXT)
    engine.begin_object(OBJECT)
    with pytest.raises(UserCodeError) as caught:
        engine.take(block(b"a\nbc\r\nboom\nd\n", 1000))
    error = caught.value
    assert (error.object_uri, error.offset) == ("s3://any-bucket/any/key", 1006)
    assert "ValueError: no boom please" in error.message
    assert "test_python_engine.py:" in error.message
    assert "s3://any-bucket/any/key" in error.message


def test_a_raise_in_a_batch_names_the_block() -> None:
    engine = make_engine(pipeline("Batches"), TEXT)
    engine.begin_object(OBJECT)
    with pytest.raises(UserCodeError, match="ValueError: no boom please") as caught:
        engine.take(block(b"a\nboom\n", 1000))
    assert caught.value.offset == 1000


@pytest.mark.parametrize("name", ["Words", "Batches"])
def test_a_block_that_was_not_taken_whole_is_a_count_mismatch(name: str) -> None:
    engine = make_engine(pipeline(name), TEXT)
    engine.begin_object(OBJECT)
    with pytest.raises(CountMismatch, match=r"found 3 records .* 2 were applied"):
        engine.take(Block(b"a\nb\n", 0, 3))


def test_jsonl_records_are_typed_by_the_annotation_of_apply() -> None:
    engine = make_engine(pipeline("Typed", format_type="jsonl"), JSONL)
    engine.begin_object(OBJECT)
    engine.take(block(b'{"amount": 2, "other": 1}\n{"amount": 40}\n'))
    assert result(engine) == (42, 2)
    engine = make_engine(pipeline("Typed", format_type="jsonl"), JSONL)
    engine.begin_object(OBJECT)
    with pytest.raises(BadRecord, match="amount") as caught:
        engine.take(block(b'{"amount": 2}\n{"amount": "x"}\n', 100))
    assert (caught.value.object_uri, caught.value.offset) == ("s3://any-bucket/any/key", 114)


def test_a_partial_of_an_unknown_type_is_refused_by_its_path() -> None:
    engine = make_engine(pipeline("Sets"), TEXT)
    with pytest.raises(UnsupportedPartial, match=r"\$\.seen: object"):
        engine.finish()


def test_partials_and_totals_have_bounds() -> None:
    engine = make_engine(pipeline(more="limits: {max_partial_bytes: 10}"), TEXT)
    engine.begin_object(OBJECT)
    engine.take(block(b"abcdef\nghijkl\n"))
    with pytest.raises(AggregateTooLarge, match=r"2 keys .*max_partial_bytes \(10\)"):
        engine.finish()
    folder = make_folder(pipeline(more="limits: {max_aggregate_bytes: 10}"), TEXT)
    with pytest.raises(AggregateTooLarge, match=r"2 keys .*max_aggregate_bytes"):
        folder.fold([partials.encode({b"abcdef": 1}), partials.encode({b"ghijkl": 1})])


def test_partials_fold_in_order_and_finish_into_rows() -> None:
    folder = make_folder(pipeline(), TEXT)
    total = folder.fold([partials.encode({b"b": 1, b"a": 1}), partials.encode({b"a": 2, b"\xff": 1})])
    rows = folder.finish(total)
    assert (rows.body, rows.rows) == (
        b'{"word":"a","count":3}\n{"word":"b","count":1}\n{"word":"\\\\xff","count":1}\n',
        3,
    )
    assert partials.decode(folder.fold([])) == {}


def test_rows_are_written_as_csv_and_parquet(tmp_path: Any) -> None:
    total = partials.encode({b"x,y": 1, b"z": 2**70})
    assert (
        make_folder(pipeline(output="csv"), TEXT).finish(total).body
        == b'word,count\n"x,y",1\nz,1180591620717411303424\n'
    )
    (tmp_path / "o.parquet").write_bytes(make_folder(pipeline(output="parquet"), TEXT).finish(total).body)
    rows = duckdb.execute(f"SELECT * FROM '{tmp_path}/o.parquet'").fetchall()
    assert rows == [("x,y", Decimal(1)), ("z", Decimal(2**70))]


def test_values_that_are_no_rows_get_a_column() -> None:
    folder = make_folder(pipeline("Typed"), TEXT)
    assert folder.finish(partials.encode(7)).body == b'{"c0":7}\n'


def test_errors_in_merge_and_finish_name_the_method() -> None:
    folder = make_folder(pipeline("Typed"), TEXT)
    with pytest.raises(UserCodeError, match=r"TypeError.* in `merge`"):
        folder.fold([partials.encode(1), partials.encode("x")])


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("no_such_module:X", "no module `no_such_module`"),
        ("words_for_tests:X", "no class `X`"),
        ("collections:OrderedDict", r"no method `start\(self, context\)`"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_before_a_record_is_read(reference: str, problem: str) -> None:
    document = pipeline()
    wrong = msgspec.structs.replace(document, apply=msgspec.structs.replace(document.apply, python=reference))
    with pytest.raises(BadPipeline, match=problem):
        check_pipeline(wrong)
    assert check_pipeline(document) == []
