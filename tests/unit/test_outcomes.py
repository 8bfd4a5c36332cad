"""An outcome as it lies in S3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rangemill import outcomes
from rangemill.errors import CountMismatch, IncompleteProof, IntegrityError
from rangemill.ledger import Segment
from rangemill.messages import OutcomeHeader, PinnedObject, RejectGroup, Run, Slot

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


DONE = Segment(0, 5, 7, 0, 5, 2, 1)
SLOT = Slot(7, HEADER.pins, [Run(0, 0, 9, 4), Run(1, 0, 3, 4)])
WHOLE = OutcomeHeader(
    "j",
    3,
    7,
    [(0, [DONE])],
    [Run(0, 5, 9, 4), Run(1, 0, 3, 4)],
    records=2,
    taken=2,
    rejects=0,
    bytes=5,
    milliseconds=1,
    requests=1,
)


def test_an_outcome_accounts_for_its_slot_however_it_is_cut() -> None:
    outcomes.require_whole(WHOLE, "j", 3, SLOT, "o")
    finer = [Run(0, 5, 6, 4), Run(1, 0, 3, 4), Run(0, 6, 9, 4)]
    outcomes.require_whole(replace(WHOLE, remaining=finer), "j", 3, SLOT, "o")


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": []},
        {"remaining": []},
        {"remaining": WHOLE.remaining[:1]},
        {"remaining": [Run(0, 6, 9, 4), Run(1, 0, 3, 4)]},
        {"remaining": [Run(0, 4, 9, 4), Run(1, 0, 3, 4)]},
        {"remaining": [Run(0, 5, 10, 4), Run(1, 0, 3, 4)]},
        {"remaining": [*WHOLE.remaining, Run(2, 0, 3, 4)]},
        {"rows": [(0, [DONE]), (0, [DONE])]},
        {"rows": [(2, [DONE])]},
    ],
    ids=str,
)
def test_an_outcome_that_leaves_bytes_out_or_has_some_twice_proves_nothing(changes: dict[str, object]) -> None:
    with pytest.raises(IncompleteProof, match="does not account for each byte"):
        outcomes.require_whole(replace(WHOLE, **changes), "j", 3, SLOT, "o")


@pytest.mark.parametrize("of", [("i", 3, 7), ("j", 2, 7), ("j", 3, 6)], ids=str)
def test_an_outcome_of_another_slot_is_not_taken(of: tuple[str, int, int]) -> None:
    job_id, wave, number = of
    with pytest.raises(IncompleteProof, match="is that of slot"):
        outcomes.require_whole(WHOLE, job_id, wave, replace(SLOT, slot=number), "o")


@pytest.mark.parametrize(
    "changes",
    [
        {"records": 3},
        {"taken": 1},
        {"rejects": 1},
        {"taken": 1, "rejects": 1},
        {"taken": 1, "rejects": 1, "reject_groups": [RejectGroup("BadRecord", "p", 1, "u", 0)]},
        {"taken": 1, "rejects": 1, "rows": [(0, [replace(DONE, rejects=1)])]},
        {"rows": [(0, [replace(DONE, records=1)])]},
    ],
    ids=str,
)
def test_records_and_rejects_that_are_counted_differently_prove_nothing(changes: dict[str, object]) -> None:
    outcomes.require_counts(WHOLE, "o")
    with pytest.raises(CountMismatch):
        outcomes.require_counts(replace(WHOLE, **changes), "o")
