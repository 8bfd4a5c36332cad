"""Reading ahead: spans of an object are fetched by threads while what came before them is worked on.

The spans come out in order. Each is fetched over a connection of its own, no more than `CONNECTIONS` of them are under
way, and of each no more than `WAITING_BYTES` wait to be taken: that bounds the memory, and holds the network back when
the work is slower.

Threads cost CPU, and pay while the network is what a worker waits for. Where a connection turns out to be quicker than
`FAST_BYTES_PER_SECOND`, the next spans are fetched by nobody but who takes them, until one is slow again. How quick it
is can only be told without threads, which wait for the interpreter as well: so where the work held the network back a
span is tried without, and each time that was too slow it takes twice as many spans until the next try.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Final

from rangemill.limits import CONNECTIONS, FAST_BYTES_PER_SECOND, PIECE_BYTES, WAITING_BYTES
from rangemill.ranges import ByteRange

_STOP_SECONDS: Final = 0.5  # a worker that stops for its deadline does not wait for a slow response
_WAITING_PIECES: Final = WAITING_BYTES // PIECE_BYTES
_MOST_SPANS: Final = 64  # until the next try: 2 GiB

type Open = Callable[[ByteRange], Iterator[bytes]]


class Ahead:
    """One worker's way of reading; it learns how quick the network is."""

    def __init__(
        self,
        connections: int = CONNECTIONS,
        fast_bytes_per_second: float = FAST_BYTES_PER_SECOND,
        waiting_pieces: int = _WAITING_PIECES,
    ) -> None:
        self._connections = connections
        self._fast_bytes_per_second = fast_bytes_per_second
        self._waiting_pieces = waiting_pieces
        self._is_fast = False
        self._until_try = 0  # spans with threads before the next without
        self._pause = 1

    def pieces(self, spans: Iterator[ByteRange], open_span: Open) -> Generator[bytes]:
        """The pieces of the spans, in order. Raises what `open_span` raises where the piece would have come.

        Closing the generator ends the fetching.
        """
        under_way: deque[_Fetching] = deque()
        try:
            while True:
                while not self._is_fast and len(under_way) < self._connections:
                    span = next(spans, None)
                    if span is None:
                        break
                    under_way.append(_Fetching(span, open_span, self._waiting_pieces))
                if under_way:
                    yield from under_way[0].pieces()
                    self._learn_ahead(under_way.popleft())
                elif (span := next(spans, None)) is not None:
                    timed = _Timed(open_span(span))
                    yield from timed.pieces()
                    self._learn_alone(timed)
                else:
                    return
        finally:
            for fetching in under_way:
                fetching.stop()

    def _learn_ahead(self, fetching: "_Fetching") -> None:
        self._until_try = max(0, self._until_try - 1)
        is_due = fetching.was_held and self._until_try == 0
        self._is_fast = is_due or fetching.timed.is_faster_than(self._fast_bytes_per_second)

    def _learn_alone(self, timed: "_Timed") -> None:
        self._is_fast = timed.is_faster_than(self._fast_bytes_per_second)
        if self._is_fast:
            self._pause = 1
        else:
            self._until_try = self._pause
            self._pause = min(2 * self._pause, _MOST_SPANS)


class _Timed:
    """Pieces as they are fetched, and how long that took."""

    def __init__(self, fetched: Iterator[bytes]) -> None:
        self._fetched = fetched
        self.seconds = 0.0
        self.bytes = 0

    def is_faster_than(self, bytes_per_second: float) -> bool:
        """Whether it came so quickly."""
        return self.bytes > self.seconds * bytes_per_second

    def pieces(self) -> Generator[bytes]:
        """The pieces; the time between them is the taker's and does not count."""
        try:
            while True:
                began = time.perf_counter()
                piece = next(self._fetched, None)
                self.seconds += time.perf_counter() - began
                if piece is None:
                    return
                self.bytes += len(piece)
                yield piece
        finally:
            close = getattr(self._fetched, "close", None)
            if close is not None:
                close()


class _Fetching:
    """One span on its way, in a thread."""

    def __init__(self, span: ByteRange, open_span: Open, waiting_pieces: int) -> None:
        self.timed = _Timed(open_span(span))
        self.was_held = False  # had to wait until pieces were taken
        self._room = threading.Semaphore(waiting_pieces)
        self._queue: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def pieces(self) -> Iterator[bytes]:
        """What was fetched, as it comes."""
        while (piece := self._queue.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            self._room.release()

    def stop(self) -> None:
        """Fetch no more. A thread that waits for the network lets go of its connection with the next piece."""
        self._stopped = True
        self._room.release()
        self._thread.join(_STOP_SECONDS)

    def _fetch(self) -> None:
        pieces = self.timed.pieces()
        try:
            for piece in pieces:
                self._queue.put(piece)
                if not self._room.acquire(blocking=False):
                    self.was_held = True
                    self._room.acquire()
                if self._stopped:
                    return
        except BaseException as error:  # noqa: BLE001 - raised where the piece is taken
            self._queue.put(error)
        else:
            self._queue.put(None)
        finally:
            pieces.close()
