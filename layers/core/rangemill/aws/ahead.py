"""Reading ahead: spans of an object are fetched by threads while what came before them is worked on.

The spans come out in order. Each is fetched over a connection of its own, and no more than `CONNECTIONS` of them are
under way or waiting to be taken: that bounds the memory, and holds the network back when the work is slower.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Final

from rangemill.limits import CONNECTIONS
from rangemill.ranges import ByteRange

_STOP_SECONDS: Final = 0.5  # a worker that stops for its deadline does not wait for a slow response

type Open = Callable[[ByteRange], Iterator[bytes]]


def pieces(spans: Iterator[ByteRange], open_span: Open, connections: int = CONNECTIONS) -> Generator[bytes]:
    """The pieces of the spans, in order. Raises what `open_span` raises where the piece would have come.

    Closing the generator ends the fetching.
    """
    under_way: deque[_Fetching] = deque()
    try:
        while True:
            while len(under_way) < connections and (span := next(spans, None)) is not None:
                under_way.append(_Fetching(span, open_span))
            if not under_way:
                return
            yield from under_way[0].pieces()
            under_way.popleft()
    finally:
        for fetching in under_way:
            fetching.stop()


class _Fetching:
    """One span on its way, in a thread."""

    def __init__(self, span: ByteRange, open_span: Open) -> None:
        self._queue: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._fetch, args=(span, open_span), daemon=True)
        self._thread.start()

    def pieces(self) -> Iterator[bytes]:
        """What was fetched, as it comes."""
        while (piece := self._queue.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def stop(self) -> None:
        """Fetch no more. A thread that waits for the network lets go of its connection with the next piece."""
        self._stopped = True
        self._thread.join(_STOP_SECONDS)

    def _fetch(self, span: ByteRange, open_span: Open) -> None:
        fetched = open_span(span)
        try:
            for piece in fetched:
                self._queue.put(piece)
                if self._stopped:
                    break
        except BaseException as error:  # noqa: BLE001 - raised where the piece is taken
            self._queue.put(error)
        else:
            self._queue.put(None)
        finally:
            close = getattr(fetched, "close", None)
            if close is not None:
                close()
