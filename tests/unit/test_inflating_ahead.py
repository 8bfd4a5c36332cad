"""Decompression in a thread: what a consumer sees is what it would see without one, and nothing is left behind."""

import gzip
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from rangemill import compression
from rangemill.compression import _points
from rangemill.compression._ahead import _AHEAD, Ahead
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Decoded, Session, Unit
from rangemill.errors import BadCompression
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.messages import PinnedObject
from rangemill.ranges import ByteRange
from rangemill_cli.inprocess.memory import MemoryStore

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]
TEXT = b"".join(b"line %d %s\n" % (number, b"z" * (number % 50)) for number in range(30_000))
PACKED = gzip.compress(TEXT, 1)


def opened(body: bytes) -> tuple[Session, Stored]:
    pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
    stored = Stored(pieces, ByteRange(0, len(body)), len(body), len(body), crc64)
    around = Around(
        PinnedObject(0, "b", "k", "e", len(body), whole=True), lambda low, high: body[low:high], MemoryStore()
    )
    return compression.load("gzip").session(stored, "gzip", around), stored


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "decompression"]


def test_positions_and_marks_are_those_of_what_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "SPACING_BYTES", 20_000)
    session, stored = opened(PACKED)
    alone = [(event, stored.position, stored.mark() if isinstance(event, Unit) else 0) for event in session.decode()]
    assert sum(isinstance(event, Unit) for event, _, _ in alone) > 3
    ahead = Ahead(*opened(PACKED))
    seen = [(event, ahead.position, ahead.mark()) for event in ahead.decode()]
    assert seen == alone
    assert ahead.tile_crc(0) == crc64(PACKED, 0)
    assert threads() == []


def test_it_is_never_more_than_some_pieces_ahead() -> None:
    made: list[int] = []

    class Endless:
        def decode(self) -> Iterator[Decoded]:
            while True:
                made.append(1)
                yield b"x"

        def stop_soon(self) -> None: ...

        def stopped(self, stored: int) -> None: ...

    ahead = Ahead(Endless(), opened(PACKED)[1])
    decoded = ahead.decode()
    for taken in range(1, 30):
        next(decoded)
        time.sleep(0.002)
        assert len(made) <= taken + _AHEAD + 1
    assert len(made) > 30
    assert threads() == ["decompression"]
    decoded.close()  # type: ignore[attr-defined]
    assert threads() == [], "who takes no more leaves nothing running"


def test_damage_is_raised_where_it_is_met_and_the_interpreter_is_left_as_it_was() -> None:
    before = sys.getswitchinterval()
    ahead = Ahead(*opened(PACKED[:-20]))
    taken: list[Decoded] = []
    with pytest.raises(BadCompression, match="truncated"):
        taken.extend(ahead.decode())
    assert sum(len(event) for event in taken if not isinstance(event, Unit)) > len(TEXT) // 2
    assert sys.getswitchinterval() == before
    assert threads() == []


def test_a_worker_that_stops_leaves_the_place_although_more_was_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "SPACING_BYTES", 20_000)
    session, stored = opened(PACKED)
    ahead = Ahead(session, stored)
    units: list[int] = []
    for event in ahead.decode():
        if isinstance(event, Unit):
            units.append(event.stored)
        if len(units) == 3:
            ahead.stopped(units[-1])
            break
    assert threads() == []
    assert stored.position >= units[-1]
