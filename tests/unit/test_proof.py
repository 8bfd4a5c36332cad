"""Finish publishes nothing of a job whose checkpoint does not hold every object of the plan, once, to its last byte."""

from typing import Any

import pytest
from msgspec.structs import replace

from rangemill import finish
from rangemill.errors import IncompleteProof
from rangemill.formats.base import Settled
from rangemill.ledger import Segment
from rangemill.messages import (
    Checkpoint,
    CodeIdentity,
    Cursor,
    Indexing,
    OpenObject,
    PendingOutcome,
    PinnedObject,
    Plan,
    Redo,
    RetrySlot,
    Run,
    Slot,
    Totals,
)

PLAN = Plan("j", "p", "t", "f", Settled("text", {}), CodeIdentity("c", "p", "d"), 4, 10, 20_000, 2, 28, 1)
PIN = PinnedObject(1, "b", "k1", "e", 14)
RUNS = [Run(1, 0, 14, 4)]
WHOLE = Checkpoint("j", 3, Cursor(1), closed=[(0, 2)], totals=Totals(objects=2, bytes=28, records=10))


def test_what_is_whole_is_proved() -> None:
    finish.require_proof(WHOLE, PLAN)
    nothing = replace(PLAN, objects=0, bytes=0)
    finish.require_proof(Checkpoint("j", 0, Cursor(1)), nothing)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cursor": Cursor(0, 1, 5)}, "cursor stands at page 0 of 1"),
        ({"retry": [RetrySlot([PIN], RUNS)]}, "1 slots that came back"),
        ({"pending": [PendingOutcome("key", 1, Slot(0, [PIN], RUNS))]}, "1 outcomes were never verified"),
        ({"indexing": [Indexing(PIN)]}, "s3://b/k1 was not handed out to its end"),
        ({"redo": Redo(1, 1)}, "rejects that were to be applied again"),
        ({"open_objects": [OpenObject(PIN, [Segment(0, 5, 0, 0, 5, 2, 1)])]}, "1 objects have holes"),
        ({"closed": [(0, 1)]}, "objects .* of 2 are proved"),
        ({"closed": []}, "objects .* of 2 are proved"),
        ({"closed": [(0, 3)]}, "objects .* of 2 are proved"),
        ({"totals": Totals(objects=2, bytes=27)}, "27 bytes of 28 are proved"),
        ({"totals": Totals(objects=1, bytes=28)}, "are proved"),
    ],
    ids=str,
)
def test_what_is_not_whole_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(IncompleteProof, match=says):
        finish.require_proof(replace(WHOLE, **changes), PLAN)
