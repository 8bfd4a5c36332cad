"""The rows that a job publishes: what is refused, and what JSON has no word for."""

import json
import math
from typing import Any

import pytest

from rangemill.blocks import Block
from rangemill.engines import _rows, make_engine, make_folder
from rangemill.engines.base import ObjectContext
from rangemill.errors import RangemillError, UserCodeError
from rangemill.formats.base import Settled
from rangemill.pipeline import parse_pipeline

SETTLED = Settled("text", {}, [("line", "VARCHAR")])


@pytest.mark.parametrize("rows", [list({"n": 1}), ["abc"], [b"abc"], [{"n": 1}, "n"]])
def test_text_is_no_row(rows: list[Any]) -> None:
    """A `finish` that returns its dict instead of yielding it would publish the dict's keys."""
    with pytest.raises(UserCodeError, match="yield"):
        _rows.write(rows, "jsonl")


@pytest.mark.parametrize("fold", ["", 'aggregate: {sql: "SELECT x, i, n FROM partials"}\n'])
def test_what_json_cannot_say_is_null_in_sql_as_in_python(fold: str) -> None:
    text = (
        "name: p\nformat: {type: text}\napply:\n"
        "  sql: SELECT CAST('nan' AS DOUBLE) AS x, CAST('inf' AS FLOAT) AS i, 1.5 AS n FROM records\n"
    )
    of = parse_pipeline(text + fold, "p.yaml")
    engine = make_engine(of, SETTLED)
    engine.begin_object(ObjectContext("b", "k", None))
    engine.take(Block(b"a\n", 0, 1))
    body, _ = engine.finish()
    if fold:
        body = make_folder(of, SETTLED).finish(body).body
    assert json.loads(body) == {"x": None, "i": None, "n": 1.5}
    assert json.loads(_rows.write([{"x": math.nan, "i": math.inf}], "jsonl").body) == {"x": None, "i": None}


def test_a_long_message_is_cut_and_says_by_how_much() -> None:
    error = RangemillError("x" * 5000)
    assert len(error.message) < 700
    assert "4,400 more characters" in error.message
