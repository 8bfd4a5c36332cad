"""Pieces put together: enough of them, none too many, and no silence about what is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangemill.errors import IncompleteProof
from rangemill.formats._gathering import gathered


@given(st.binary(max_size=20), st.lists(st.binary(min_size=1, max_size=9), max_size=9), st.integers(0, 60), st.data())
def test_as_many_as_asked_for_or_all(have: bytes, pieces: list[bytes], least: int, data: st.DataObject) -> None:
    following = b"".join(pieces)
    at = data.draw(st.integers(0, 100))
    size = at + len(have) + data.draw(st.integers(0, len(following)))  # a file may have grown meanwhile
    rest = iter(pieces)
    found = gathered(have, at, rest, least, size)
    assert len(found) >= min(least, size - at)
    assert found == (have + following)[: len(found)]
    assert at + len(found) <= max(size, at + len(have))
    left = [have, *pieces][: 1 + len(pieces) - len(list(rest))]
    assert len(left) == 1 or len(b"".join(left[:-1])) < least  # nothing was taken without need


def test_an_end_before_the_end_is_told() -> None:
    with pytest.raises(IncompleteProof, match="ended at 15, not at 20") as caught:
        gathered(b"abc", 10, iter([b"de"]), 8, 20)
    assert caught.value.offset == 15
