"""Reading ahead: in order, bounded, errors where they belong, and nothing left running."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangemill.aws.ahead import Ahead
from rangemill.ranges import ByteRange, tile

NEVER = float("inf")  # no network is so quick: always ahead
DATA = bytes(range(256)) * 8


def spans(span_bytes: int) -> Iterator[ByteRange]:
    return iter(list(tile(0, len(DATA), span_bytes)))


def open_span(span: ByteRange, piece_bytes: int = 100) -> Iterator[bytes]:
    for at in range(span.start, span.end_exclusive, piece_bytes):
        yield DATA[at : min(at + piece_bytes, span.end_exclusive)]


@given(st.integers(50, 3000), st.integers(1, 5), st.sampled_from([0, 1e6, NEVER]))
def test_pieces_come_in_order(span_bytes: int, connections: int, fast: float) -> None:
    assert b"".join(Ahead(connections, fast).pieces(spans(span_bytes), open_span)) == DATA


def test_nothing_to_read_starts_no_thread() -> None:
    before = threading.active_count()
    assert list(Ahead().pieces(iter(()), open_span)) == []
    assert threading.active_count() == before


@pytest.mark.parametrize("connections", [1, 2, 3])
def test_no_more_spans_are_under_way_than_connections(connections: int) -> None:
    opened: list[ByteRange] = []

    def counting(span: ByteRange) -> Iterator[bytes]:
        opened.append(span)
        yield from open_span(span)

    taken = 0
    reading = Ahead(connections, NEVER).pieces(spans(100), counting)
    for piece in reading:
        taken += len(piece)
        time.sleep(0.001)  # time enough for all others to come, if they were not held back
        assert len(opened) <= (taken - 1) // 100 + connections
    assert taken == len(DATA)


def test_spans_are_fetched_while_earlier_ones_are_worked_on() -> None:
    second = threading.Event()

    def noting(span: ByteRange) -> Iterator[bytes]:
        if span.start == 100:
            second.set()
        yield from open_span(span)

    reading = Ahead(2, NEVER).pieces(spans(100), noting)
    next(reading)
    assert second.wait(5)
    reading.close()


def test_an_error_comes_where_its_piece_would_have_come() -> None:
    def failing(span: ByteRange) -> Iterator[bytes]:
        if span.start == 300:
            raise OSError("reset")
        yield from open_span(span)

    got: list[bytes] = []
    with pytest.raises(OSError, match="reset"):
        got.extend(Ahead(3, NEVER).pieces(spans(100), failing))
    assert b"".join(got) == DATA[:300]


def test_who_stops_early_leaves_no_thread_and_no_open_span() -> None:
    closed: list[int] = []

    def endless(span: ByteRange) -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
                time.sleep(0.001)
        finally:
            closed.append(span.start)

    before = threading.active_count()
    reading = Ahead(2, NEVER).pieces(spans(100), endless)
    next(reading)
    reading.close()
    assert sorted(closed) == [0, 100]
    assert threading.active_count() == before


def test_a_quick_network_needs_no_threads_until_it_is_slow_again() -> None:
    threads: list[bool] = []
    slow = {1000}

    def noting(span: ByteRange) -> Iterator[bytes]:
        threads.append(threading.current_thread() is not threading.main_thread())
        if span.start in slow:
            time.sleep(0.05)
        yield from open_span(span)

    reading = Ahead(2, fast_bytes_per_second=10_000)
    assert b"".join(reading.pieces(spans(100), noting)) == DATA
    assert threads[:3] == [True, True, False]  # two were under way before anything was known
    assert threads[10] is False  # the slow one
    assert threads[11:13] == [True, True]
    assert threads[13] is False
    threads.clear()
    assert b"".join(reading.pieces(spans(1000), open_span)) == DATA  # what was learnt is kept


def test_an_error_of_a_quick_network_is_raised_as_it_is() -> None:
    def failing(span: ByteRange) -> Iterator[bytes]:
        if span.start == 300:
            raise OSError("reset")
        yield from open_span(span)

    got: list[bytes] = []
    with pytest.raises(OSError, match="reset"):
        got.extend(Ahead(1, 0).pieces(spans(100), failing))
    assert b"".join(got) == DATA[:300]
