"""JSON in other encodings: the elements, at their stored places."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import formats
from rangemill.blocks import Block, RangeDone
from rangemill.errors import BadRecord, RangemillError
from rangemill.formats.base import Sample
from rangemill.ledger import CRC_FUNCTIONS, THROUGH, merge, prove, segment_of
from rangemill.ranges import tile

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]
value = st.recursive(
    st.one_of(st.none(), st.integers(-5, 500), st.text('a{[]},"\\é\u0a0a\U0001f40a', max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(value, max_size=6),
    layout=st.sampled_from(["array", "path", "values"]),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le"]),
    bom=st.booleans(),
    range_bytes=st.sampled_from([1, 3, 8, 30, 1 << 20]),
)
def test_elements_of_every_encoding(  # noqa: C901 - one run after the other, as Aggregate would
    values: list[Any], layout: str, encoding: str, bom: bool, range_bytes: int
) -> None:
    if layout == "values":
        text, options = "\n".join(json.dumps(v, ensure_ascii=False) for v in values), {"layout": "values"}
    elif layout == "array":
        text, options = json.dumps(values, ensure_ascii=False, indent=1), {"layout": "array"}
    else:
        text, options = json.dumps({"a": 1, "r": values, "z": "é"}, ensure_ascii=False), {"path": "r"}
    data = (("\ufeff" if bom else "") + text).encode(encoding)
    if not data:
        return
    module: Any = formats.load("json")
    settled = module.settle([Sample("o", data, 0, len(data))], {**options, "encoding": encoding}, False)
    found: list[tuple[int, Any]] = []
    segments, left = [], ""
    for run in tile(0, len(data), range_bytes):
        begin, state = max(0, run.start - module.look_behind(settled)), None
        while True:
            try:
                events = list(
                    module.align(run, range_bytes, len(data), iter([data[begin:]]), settled, crc64, bool, state)
                )
            except RangemillError:
                assert state is None, "only what was assumed may be wrong"
                state = left
                continue
            (row,) = [segment_of(e) for e in events if isinstance(e, RangeDone)]
            if run.start == 0 or row.assumed in ("", THROUGH, left):
                break
            assert state is None
            state = left
        left = row.left if row.left != THROUGH else left
        segments.append(row)
        for block in events:
            if isinstance(block, Block):
                assert block.places is not None
                found += zip(list(block.places), module.records(block.data, settled, None), strict=True)
    assert prove(merge(segments, "CRC64NVME", "o"), len(data), len(data), "CRC64NVME", crc64(data, 0), "o")
    assert [element for _, element in found] == values
    for place, element in found:
        assert json.JSONDecoder().raw_decode(data[place:].decode(encoding))[0] == element


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be"])
@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ('[{"a":1},{"a"', {}, "before its array is closed"),
        ('[{"a":1}, {"a":1}\n', {"layout": "array"}, "before its array is closed"),
        ('{"r":[{"a":1}] ', {"path": "r"}, "inside its JSON document"),
    ],
)
def test_an_array_that_is_not_closed_fails_at_plan(
    encoding: str, text: str, options: dict[str, str], problem: str
) -> None:
    data = text.encode(encoding)
    module: Any = formats.load("json")
    options = options | {"encoding": encoding}
    tail = Sample("s3://b/k", data[4:], 10**6, 10**6 + len(data) - 4)
    for samples in (
        [Sample("s3://b/k", data, 0, len(data))],
        [Sample("s3://b/k", data[:4], 0, tail.object_bytes), tail],
    ):
        with pytest.raises(BadRecord, match=rf"s3://b/k: the object ends at byte \d+ {problem}") as caught:
            module.settle(samples, options, False)
        assert (caught.value.object_uri, caught.value.offset) == ("s3://b/k", samples[0].object_bytes)
    closed = data + ("}" if "path" in options else "]").encode(encoding)
    module.settle([Sample("s3://b/k", closed, 0, len(closed))], options, False)
