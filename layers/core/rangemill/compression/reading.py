"""A run of a compressed object, read through the pipeline's format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from rangemill import formats
from rangemill.blocks import Block, Place, RangeDone, Whole
from rangemill.compression import STREAM, codec_of
from rangemill.compression._ahead import Ahead
from rangemill.compression._logical import Logical
from rangemill.compression._split import Inner, split
from rangemill.compression._stored import Passed, Stored
from rangemill.compression.base import Around, Codec, Decoded, Session, Unit
from rangemill.errors import BadCompression, RangemillError
from rangemill.formats.base import Crc, Event, FormatModule, Settled
from rangemill.ledger import THROUGH
from rangemill.nesting import Nesting
from rangemill.ranges import ByteRange, tile
from rangemill.units import show_bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """How the job reads what is compressed: codec and mode, the inner format, and the bounds of what may come out."""

    codec: Codec
    mode: str
    module: FormatModule
    settled: Settled
    nesting: Nesting
    head: Callable[[], Iterator[bytes]] | None = None  # the object's first logical bytes, for formats that ask

    def align(
        self,
        run: ByteRange,
        range_bytes: int,
        pieces: Iterator[bytes],
        around: Around,
        crc: Crc,
        should_stop: Callable[[], bool],
        state: str | None = None,
    ) -> Iterator[Event]:
        """As `FormatModule.align`, of a compressed object; `pieces` begin at the run's start.

        Raises `BadCompression` too. Offsets of errors are logical, except for those of damaged compressed data.
        """
        stored = Stored(pieces, run, range_bytes, around.pin.size_bytes, crc)
        session = self.codec.session(stored, self.mode, around)
        if counts_from_start(self.module, self.settled.options):
            session = _FromStart(session, stored)
        check = partial(refuse_bomb, self.nesting, codec_of(self.mode))
        if self.settled.format == "object":
            return _whole(session, stored, check)
        forward = getattr(self.module, "align_forward", None)
        if forward is not None:
            return self._named(_forward(session, stored, range_bytes, check, lambda data: forward(data, self.settled)))
        seen: Passed = stored
        if self.mode == STREAM:
            session = seen = Ahead(session, stored)
        return self._named(split(session, seen, range_bytes, self._inner(), check, should_stop, state))

    def _inner(self) -> Inner:
        module, settled = self.module, self.settled
        more: dict[str, Any] = {}
        takes_state = formats.align_takes(settled.format, "state")
        if self.head is not None and formats.align_takes(settled.format, "head"):
            more["head"] = _once(self.head)

        def align(run: ByteRange, end: int, pieces: Iterator[bytes], state: str | None) -> Iterator[Event]:
            told = {**more, "state": state} if takes_state else more
            return module.align(run, run.end_exclusive, end, pieces, settled, _no_crc, _never, **told)

        empty = getattr(module, "empty", lambda _: iter(()))
        return Inner(align, module.look_behind(settled), lambda: empty(settled))

    def _named(self, events: Iterator[Event]) -> Iterator[Event]:
        try:
            yield from events
        except RangemillError as error:
            if not isinstance(error, BadCompression) and error.offset is not None:
                error.message = f"{error.message} (offsets count decompressed bytes)"
                error.args = (error.message,)
            raise


def refuse_bomb(nesting: Nesting, codec: str, stored_bytes: int, logical_bytes: int) -> None:
    """Raise `BadCompression` where so much cannot rightly come out of so little."""
    if nesting.is_suspect(stored_bytes, logical_bytes):
        raise BadCompression(
            f"{show_bytes(stored_bytes)} of its {codec} data gave {show_bytes(logical_bytes)}, which is more than a "
            f"pipeline takes: `format.max_ratio` is {nesting.max_ratio}, `format.max_logical_bytes` "
            f"{show_bytes(nesting.bound_bytes)}; raise them if the data is as it should be",
            offset=stored_bytes,
        )


def _once(head: Callable[[], Iterator[bytes]]) -> Callable[[], Iterator[bytes]]:
    """The same head for every sub-run, read at most once."""
    kept: list[list[bytes]] = []

    def again() -> Iterator[bytes]:
        if not kept:
            kept.append(list(head()))
        return iter(kept[0])

    return again


def counts_from_start(module: FormatModule, options: dict[str, Any]) -> bool:
    """Whether the format's records are found by their offset from the object's first logical byte."""
    asked = getattr(module, "counts_from_start", None)
    return bool(asked is not None and asked(options))


def _no_crc(_: bytes, value: int) -> int:
    return value  # the proof is of stored bytes


def _never() -> bool:
    return False


class _FromStart:
    """A session whose units count only where they know their logical offsets; without, all but the first are hidden."""

    def __init__(self, session: Session, stored: Stored) -> None:
        self._session = session
        self._stored = stored

    def stop_soon(self) -> None:
        """See `Session`."""
        self._session.stop_soon()

    def stopped(self, stored: int) -> None:
        """See `Session`."""
        self._session.stopped(stored)

    def decode(self) -> Iterator[Decoded]:
        """See `Session`."""
        for event in self._session.decode():
            if isinstance(event, Unit) and event.logical is None and event.stored > 0:
                if self._stored.run.start > 0:
                    self._stored.advance_to(max(self._stored.position, self._stored.run.end_exclusive))
                    return
            else:
                yield event


def _forward(
    session: Session,
    stored: Stored,
    range_bytes: int,
    check: Callable[[int, int], None],
    blocks_of: Callable[[Iterator[bytes]], Iterator[Block]],
) -> Iterator[Event]:
    """The events of a format that reads forwards from the object's first byte to its last.

    The first range owns all records, as it would own one that goes on to the object's end; no other one owns any.
    """
    run, records = stored.run, 0
    row: tuple[Place | None, Place | None, Place | None] = None, None, None
    states = THROUGH, THROUGH
    if run.start == 0:
        logical = Logical(session.decode(), stored, check)
        stream = _streamed(logical)
        for block in blocks_of(stream):
            records += block.records
            yield block
        for _ in stream:
            pass
        row, states = ((0 if logical.absolute else (0, 0)), logical.total, logical.total), ("", "")
    stored.advance_to(max(stored.position, run.end_exclusive))
    for each in tile(run.start, run.end_exclusive, range_bytes):
        first, end, total = row
        yield RangeDone(each, stored.tile_crc(each.start), first, end, records, *states, total)
        row, records, states = (None, None, None), 0, (THROUGH, THROUGH)


def _streamed(logical: Logical) -> Iterator[bytes]:
    """All bytes, each once."""
    while not logical.ended:
        at = logical.end
        logical.more()
        if logical.end > at:
            yield from logical.pieces(at, logical.end if logical.ended else -1)
            logical.drop_before(logical.end)


def _whole(session: Session, stored: Stored, check: Callable[[int, int], None]) -> Iterator[Event]:
    """The events of an object that is one record."""
    logical = Logical(session.decode(), stored, check)
    failure: list[Exception] = []

    def pieces() -> Iterator[bytes]:
        try:
            yield from _streamed(logical)
        except Exception as error:
            failure.append(error)
            raise

    stream = pieces()
    yield Whole(stream, None)
    for _ in stream:
        pass
    if failure:  # user code may have swallowed it
        raise failure[0]
    first = 0 if logical.absolute else (0, 0)
    yield RangeDone(stored.run, stored.tile_crc(stored.run.start), first, logical.total, 1, total=logical.total)
