"""An outcome as it lies in S3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangemill import outcomes
from rangemill.errors import IntegrityError
from rangemill.ledger import Segment
from rangemill.messages import OutcomeHeader, PinnedObject, Run

HEADER = OutcomeHeader(
    "j",
    3,
    7,
    [(0, [Segment(0, 5, 2**64 - 1, None, None, 0, 1)]), (2**31, [])],
    [Run(0, 5, 9, 4)],
    1,
    1,
    0,
    5,
    2**40,
    3,
    [PinnedObject(0, "b", "é" * 512, "e", 9, "v", crc=2**64 - 1)],
)


@given(st.binary(max_size=200))
def test_header_and_partial_come_back(partial: bytes) -> None:
    assert outcomes.decode(outcomes.encode(HEADER, partial), "o") == (HEADER, partial)


def test_the_partial_may_look_like_anything() -> None:
    nested = outcomes.encode(HEADER, b"RMO1")
    assert outcomes.decode(outcomes.encode(HEADER, nested), "o") == (HEADER, nested)


@pytest.mark.parametrize("body", [b"", b"RMO1", b"RMO1\0\0\0", b"RMO2\0\0\0\1x", b"\0" * 100, b"<Error/>"])
def test_what_is_no_outcome_is_named(body: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"outcomes/7"):
        outcomes.decode(body, "outcomes/7")


@given(st.integers(0, 10**6))
def test_a_header_cut_short_is_no_outcome(cut: int) -> None:
    whole = outcomes.encode(HEADER, b"")
    with pytest.raises(IntegrityError):
        outcomes.decode(whole[: cut % len(whole)], "o")
