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


@given(st.integers(50, 3000), st.integers(1, 5), st.sampled_from([0, 1e6, NEVER]), st.integers(1, 9))
def test_pieces_come_in_order(span_bytes: int, connections: int, fast: float, waiting: int) -> None:
    assert b"".join(Ahead(connections, fast, waiting).pieces(spans(span_bytes), open_span)) == DATA


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


@pytest.mark.parametrize("waiting", [1, 3])
def test_no_more_pieces_wait_than_may(waiting: int) -> None:
    came = {0: 0, 1000: 0}

    def counting(span: ByteRange) -> Iterator[bytes]:
        for piece in open_span(span):
            came[span.start] += 1
            yield piece

    reading = Ahead(2, NEVER, waiting).pieces(iter([ByteRange(0, 1000), ByteRange(1000, 2000)]), counting)
    for taken, _ in enumerate(reading, 1):
        time.sleep(0.002)  # time enough for all others to come, if they were not held back
        assert came[0] <= taken + waiting
        assert came[1000] <= max(0, taken - 10) + waiting + 1


def test_who_stops_early_frees_a_thread_that_waits_for_room() -> None:
    before = threading.active_count()
    reading = Ahead(2, NEVER, 1).pieces(spans(1000), open_span)
    next(reading)
    time.sleep(0.01)
    reading.close()
    assert threading.active_count() == before


def test_a_network_that_the_work_held_back_is_tried_without_threads_less_and_less_often() -> None:
    alone: list[int] = []

    def noting(span: ByteRange) -> Iterator[bytes]:
        if threading.current_thread() is threading.main_thread():
            alone.append(span.start // 50)
        yield from open_span(span, 10)

    some = iter([ByteRange(at, at + 50) for at in range(0, 2000, 50)])
    for _ in Ahead(1, NEVER, 1).pieces(some, noting):
        time.sleep(0.0005)  # the work is what takes the time
    assert alone == [1, 3, 6, 11, 20, 37]


def test_an_error_of_a_quick_network_is_raised_as_it_is() -> None:
    def failing(span: ByteRange) -> Iterator[bytes]:
        if span.start == 300:
            raise OSError("reset")
        yield from open_span(span)

    got: list[bytes] = []
    with pytest.raises(OSError, match="reset"):
        got.extend(Ahead(1, 0).pieces(spans(100), failing))
    assert b"".join(got) == DATA[:300]
