"""A format of the user's own, beside the pipeline: in Python and in SQL, at any range."""

from pathlib import Path
from typing import Any

import pytest

MODULE = """
'''Sentences: a record ends with a full stop.'''
import msgspec
from rangemill.formats import text
from rangemill.formats.base import Settled

class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stop: str = "."

def settle(samples, options, for_sql):
    inner = text.settle(samples, {"delimiter": options.get("stop", ".")}, for_sql)
    return Settled("sentences", options, inner.columns, shape="jsonl" if for_sql else "")

def look_behind(settled): return text.look_behind(_as_text(settled))
def _as_text(settled):
    return Settled("text", {"delimiter": settled.options.get("stop", ".")}, settled.columns, shape=settled.shape)
def align(run, range_bytes, object_bytes, pieces, settled, crc, should_stop):
    return text.align(run, range_bytes, object_bytes, pieces, _as_text(settled), crc, should_stop)
def records(data, settled, record_type): return text.records(data, _as_text(settled), record_type)
def locate(data, index): return text.locate(data, index)
"""


@pytest.mark.parametrize("range_bytes", ["1", "5", "1000"])
def test_a_format_beside_the_pipeline(room: Any, range_bytes: str) -> None:
    Path("rangemill_format_sentences.py").write_text(MODULE)
    data = room.file(b"One.Two two.Three")
    arguments = (data, "--workers", "2", "--range-bytes", range_bytes)
    python = room.json("run", room.python("Lines", "{type: sentences}"), *arguments)
    assert room.rows(python) == [{"records": 3, "bytes": 15}]
    sql = '{sql: "SELECT count(*) AS records, sum(length(line)) AS bytes FROM records"}'
    fold = 'aggregate: {sql: "SELECT sum(records) AS records, sum(bytes) AS bytes FROM partials"}\n'
    document = room.json("run", room.pipeline("sql", sql, "{type: sentences}", fold), *arguments)
    assert room.rows(document) == [{"records": 3, "bytes": 15}]
    assert document["proof"]["matched"] is True


def test_its_options_are_checked(room: Any) -> None:
    Path("rangemill_format_sentences.py").write_text(MODULE)
    result = room.call("run", room.python("Lines", "{type: sentences, halt: x}"), room.file(b"One."))
    assert result.exit_code == 2
    assert "format.halt: there is no such field" in result.output


@pytest.mark.parametrize("name", ["sentences", "a-b", "../x", "_lines", "base"])
def test_what_is_no_format_is_refused(room: Any, name: str) -> None:
    result = room.call("run", room.python("Lines", f"{{type: {name}}}"), room.file(b"One."))
    assert result.exit_code == 2
    assert "unknown format" in result.output
