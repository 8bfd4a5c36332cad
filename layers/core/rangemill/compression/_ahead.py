"""Decompression in a thread, while what it gave before is being worked on: one pass then takes two cores.

Inflating, hashing and waiting for S3 leave the interpreter to others. Nothing else changes: what a consumer sees of the
stored bytes is what it would see if it had decoded up to there itself.
"""

import sys
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Final

from rangemill.compression._stored import Stored
from rangemill.compression.base import Decoded, Session, Unit
from rangemill.ranges import ByteRange

_AHEAD: Final = 8  # pieces of a MiB: two of the stretches that a format is given at a time
_SWITCH_SECONDS: Final = 0.0005  # usually 5 ms: twice what inflating a MiB takes, and as long it would wait to go on


class Ahead:
    """A session and its stored bytes, as seen by whoever takes what it decodes."""

    def __init__(self, session: Session, stored: Stored) -> None:
        self.position, self.lent = stored.position, 0
        self._session = session
        self._stored = stored
        self._mark = 0
        self._events: SimpleQueue[tuple[Decoded | Exception | None, int, int]] = SimpleQueue()
        self._room = Semaphore(_AHEAD)
        self._thread: Thread | None = None
        self._is_over = False

    @property
    def run(self) -> ByteRange:
        """See `Stored`."""
        return self._stored.run

    @property
    def object_bytes(self) -> int:
        """See `Stored`."""
        return self._stored.object_bytes

    def mark(self) -> int:
        """The CRC of the tile up to the unit that was given last."""
        return self._mark

    def tile_crc(self, start: int) -> int:
        """See `Stored`."""
        return self._stored.tile_crc(start)

    def decode(self) -> Iterator[Decoded]:
        """See `Session`."""
        self._thread = Thread(target=self._decode, name="decompression", daemon=True)
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, _SWITCH_SECONDS))
        self._thread.start()
        try:
            while True:
                event, self.position, self._mark = self._events.get()
                self._room.release()
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            sys.setswitchinterval(before)
            self._end()

    def stop_soon(self) -> None:
        """See `Session`."""
        self._session.stop_soon()

    def stopped(self, stored: int) -> None:
        """See `Session`."""
        self._end()
        self._session.stopped(stored)

    def _decode(self) -> None:
        try:
            for event in self._session.decode():
                mark = self._stored.mark() if isinstance(event, Unit) else 0
                self._put(event, mark)
                if self._is_over:
                    return
            self._put(None)
        except Exception as error:  # noqa: BLE001 - raised again where it is taken
            self._put(error)

    def _put(self, event: Decoded | Exception | None, mark: int = 0) -> None:
        self._events.put((event, self._stored.position, mark))
        self._room.acquire()

    def _end(self) -> None:
        """Nothing more is wanted; returns when nothing is being decoded any more."""
        self._is_over = True
        self._room.release(2)
        if self._thread is not None:
            self._thread.join()
