"""The codec of partials: what comes back is what went in, or it is refused by its path."""

import math
from collections import Counter, OrderedDict, defaultdict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import partials
from rangemill.errors import IntegrityError, UnsupportedPartial

zones = st.sampled_from(
    [None, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-3), "BRT"), ZoneInfo("UTC")]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.text(st.characters()),
    st.text(st.characters(categories=["Cs", "L"])),
    st.binary(),
    st.decimals().filter(lambda d: not d.is_snan()),
    st.dates(),
    st.builds(
        lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold), st.datetimes(), zones, st.sampled_from([0, 1])
    ),
    st.times(),
    st.timedeltas(),
)
hashables = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3), max_leaves=6
)
values = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.dictionaries(hashables, st.integers(), max_size=3).map(Counter),
        st.dictionaries(hashables, st.integers(), max_size=3).map(lambda d: defaultdict(int, d)),
    ),
    max_leaves=12,
)


def shown(value: Any) -> Any:
    """A form in which types, NaN, signs of zero, folds and zones count."""
    kind = type(value).__name__
    if isinstance(value, dict):
        factory = value.default_factory if isinstance(value, defaultdict) else None
        return kind, factory, [(shown(k), shown(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return kind, [shown(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(shown(v)) for v in value)
    if isinstance(value, float):
        return kind, value.hex() if not math.isnan(value) else "nan"
    if isinstance(value, (datetime, time)):
        return kind, value.isoformat(), value.fold, repr(value.tzinfo)
    return kind, repr(value)


@settings(max_examples=1500, deadline=None)
@given(values)
def test_a_partial_comes_back_as_it_was(value: Any) -> None:
    encoded = partials.encode(value)
    assert shown(partials.decode(encoded)) == shown(value)


def test_keys_may_be_tuples_dates_and_big_integers() -> None:
    value = {
        ("10.0.0.1", 200): 3,
        date(2026, 1, 2): [1],
        2**90: {1, 2},
        frozenset({(1, 2)}): None,
        Decimal("1.50"): "x",
    }
    assert shown(partials.decode(partials.encode(value))) == shown(value)


def test_equal_sets_give_equal_bytes() -> None:
    there, back = set(), set()
    for n in range(1000):
        there.add(f"k{n}")
        back.add(f"k{999 - n}")
    assert partials.encode(there) == partials.encode(back)


Point = namedtuple("Point", "x y")


class Level(IntEnum):
    LOW = 1


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: Any = ()
for _ in range(3000):
    DEEP = (DEEP,)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"users": {"x y": [0, 1, 2, np.int64(3)]}}, r"\$\.users\['x y'\]\[3\]: numpy\.int64"),
        ({"a": np.float64(1)}, r"\$\.a: numpy\.float64"),
        ([bytearray(b"x")], r"\$\[0\]: bytearray"),
        ({"m": memoryview(b"x")}, r"\$\.m: memoryview"),
        (object(), r"\$: object"),
        ({"p": Point(1, 2)}, r"\$\.p: .*Point"),
        ({Level.LOW: 1}, r"\$\.keys\(\)\[<Level.LOW: 1>\]: .*Level"),
        ([OrderedDict()], r"\$\[0\]: collections.OrderedDict"),
        ({(1, (2, 3.5j)): 1}, r"\$\.keys\(\)\[.*\]\[1\]\[1\]: complex"),
        ([defaultdict(lambda: 3)], r"\$\[0\]: defaultdict"),
        (CYCLE, "contains itself"),
        (DEEP, "nested too deeply"),
    ],
)
def test_what_cannot_be_kept_exactly_is_refused_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(UnsupportedPartial, match=path):
        partials.encode(value)


def test_other_bytes_are_no_partial() -> None:
    with pytest.raises(IntegrityError, match="not a partial"):
        partials.decode(b"\xc1\x00")
