"""A format that reads UTF-8, over objects in another encoding: its aligner gets UTF-8, the ledger gets stored bytes.

A tile `[s, e)` owns the records whose first character begins in it. Its CRC is of the stored bytes, and every place
that the inner aligner names (in *local* UTF-8 bytes, counted from where the run's look-behind begins) is led back to
the stored byte of its character.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Final

from rangemill.blocks import Block, Place, RangeDone, Remaining
from rangemill.errors import BadRecord, IncompleteProof, RecordTooLarge
from rangemill.formats import _encodings, _lines
from rangemill.formats._tile_crcs import TileCrcs
from rangemill.formats.base import Crc, Event
from rangemill.ledger import THROUGH
from rangemill.ranges import ByteRange, tile

_SUB_RUN_BYTES: Final = 8 * 2**20
_STEP_BYTES: Final = 64 * 2**10
_UNKNOWN_END: Final = 2**62  # stands for the local end while that is not known
ONE_RANGE: Final = 2**62  # the `range_bytes` of an inner aligner

# run, object's end, pieces, state at the run's start -> events; one range, never stopped
Inner = Callable[[ByteRange, int, Iterator[bytes], str | None], Iterator[Event]]
Starts = Callable[[bytes], Sequence[int]]


def look_behind(inner_bytes: int, encoding: str) -> int:
    """How many stored bytes hold at least `inner_bytes` of UTF-8 before any character."""
    return inner_bytes * _encodings.unit_bytes(encoding) + 2 * _encodings.unit_bytes(encoding) + 2


def no_crc(_: bytes, value: int) -> int:
    """The CRC of an inner aligner: what counts is that of the stored bytes."""
    return value


def never() -> bool:
    """Whether an inner aligner should stop."""
    return False


def plain_starts(data: bytes) -> list[int]:
    """Where the lines of a block begin that are not empty."""
    return [start for line, start in _lines.with_starts(data) if not _lines.is_empty(line)]


def align(
    inner: Inner,
    inner_look_behind: int,
    encoding: str,
    bom: str,
    run: ByteRange,
    range_bytes: int,
    object_bytes: int,
    pieces: Iterator[bytes],
    crc: Crc,
    should_stop: Callable[[], bool],
    state: str | None = None,
    starts: Starts = plain_starts,
) -> Iterator[Event]:
    """The events of `FormatModule.align`; `pieces` begin `look_behind(inner_look_behind, encoding)` before the run.

    `starts` tells where the records of a block begin that has no places. `should_stop` is asked after every range.
    Raises `BadRecord` for bytes that are not of the encoding, at their offset.
    """
    crcs = TileCrcs(run, range_bytes, crc)
    behind = look_behind(inner_look_behind, encoding)
    local = _Local(max(0, run.start - behind), encoding, bom, run, range_bytes, object_bytes, pieces, crcs)
    for each in tile(run.start, run.end_exclusive, range_bytes):
        at, end = local.of_edge(each.start), local.of_edge(each.end_exclusive)
        first: Place | None = None
        last: Place | None = None
        total: Place | None = None
        records, assumed, left = 0, THROUGH, THROUGH
        while at < end:
            upto = min(end, at + _SUB_RUN_BYTES)
            for event in _sub_run(inner, inner_look_behind, local, ByteRange(at, upto), state, starts):
                if isinstance(event, Block):
                    yield event
                elif isinstance(event, RangeDone):
                    first = first if first is not None else event.first
                    last = event.end if event.end is not None else last
                    total = event.total if event.total is not None else total
                    records += event.records
                    assumed = event.assumed if at == local.of_edge(each.start) else assumed
                    left = state = event.left
            at = upto
            local.drop(at - inner_look_behind)
        yield RangeDone(each, crcs.take(), first, last, records, assumed, left, total)
        if should_stop() and each.end_exclusive < run.end_exclusive:
            yield Remaining(ByteRange(each.end_exclusive, run.end_exclusive), state)
            return


def _sub_run(
    inner: Inner, behind: int, local: "_Local", run: ByteRange, state: str | None, starts: Starts
) -> list[Event]:
    """The inner events of a stretch of local bytes, in stored places; done again once the object's end is known."""
    while True:
        pieces = local.pieces(max(0, run.start - behind), is_end_known=local.ended)
        try:
            end = local.end if local.ended else _UNKNOWN_END
            return [_stored(event, local, starts) for event in inner(run, end, pieces, state)]
        except _LocalEnd:
            continue
        except (BadRecord, RecordTooLarge) as error:
            raise _stored_error(error, local) from None


def _stored(event: Event, local: "_Local", starts: Starts) -> Event:
    if isinstance(event, Block):
        if event.places is not None:
            places: Sequence[int] = local.all_stored(event.places)
        else:
            begin, data, encoding = local.stored(event.offset), event.data, local.encoding

            def compute() -> list[int]:
                edges = [0, *starts(data)]
                parts = [_encodings.from_utf8(data[low:high]) for low, high in pairwise(edges)]
                return list(accumulate(_encodings.lengths(parts, encoding), initial=begin))[1:]

            places = _encodings.Places(event.handed, compute)
        refused = tuple(replace(each, offset=local.stored(each.offset)) for each in event.refused)
        return Block(event.data, local.stored(event.offset), event.records, places, event.file, refused)
    if isinstance(event, RangeDone):
        first = local.stored(event.first) if isinstance(event.first, int) else None
        end = local.stored(event.end) if isinstance(event.end, int) else None
        total = local.stored(event.total) if isinstance(event.total, int) else None
        return RangeDone(event.tile, event.crc, first, end, event.records, event.assumed, event.left, total)
    return event


def _stored_error(error: BadRecord | RecordTooLarge, local: "_Local") -> BadRecord | RecordTooLarge:
    """The error with stored offsets, in its sentence as well."""
    if error.offset is None or error is local.refused:
        return error
    message = re.sub(r"\bbyte (\d+)", lambda found: f"byte {local.stored(int(found[1]))}", error.message)
    return type(error)(message, object_uri=error.object_uri, offset=local.stored(error.offset))


class _LocalEnd(Exception):
    """Bytes were asked for beyond the object's end, which was not known before."""


class _Local:
    """The run's characters in UTF-8, from a look-behind on, and where each is stored."""

    def __init__(
        self,
        start: int,
        encoding: str,
        bom: str,
        run: ByteRange,
        range_bytes: int,
        object_bytes: int,
        pieces: Iterator[bytes],
        crcs: TileCrcs,
    ) -> None:
        self.encoding = encoding
        self.ended = False
        self.refused: BadRecord | None = None  # of bytes that are not of the encoding: its offset is a stored one
        self._bom = bom
        self._unit = _encodings.unit_bytes(encoding)
        self._object_bytes = object_bytes
        self._pieces = pieces
        self._crcs = crcs
        self._raw = bytearray()
        self._raw_end = start
        self._at = start  # stored: what is decoded ends here
        self._edges = (run.start, *(each.end_exclusive for each in tile(run.start, run.end_exclusive, range_bytes)))
        self._next_edge = 0
        self._known: dict[int, int] = {}
        self._skip_to_character()
        self.end = self._at  # local; what is before the run is counted as if it were ASCII
        self._base = self.end
        self._data = bytearray()
        self._marks: list[tuple[int, int]] = [(self.end, self._at)]

    def _skip_to_character(self) -> None:
        if self._at == 0:
            self._need(4)
            _encodings.without_bom(bytes(self._raw[:4]), 0, self.encoding, self._bom)
            return
        behind = -self._at % self._unit
        self._need(behind + self._unit)
        if self._unit == 2 and len(self._raw) >= behind + 2:
            behind += 2 * _encodings.is_half(bytes(self._raw[behind : behind + 2]), self.encoding, 0xDC)
        del self._raw[:behind]
        self._at += behind

    def _need(self, size: int) -> None:
        """Have that many bytes that are not decoded, or all there are."""
        while len(self._raw) < size and self._raw_end < self._object_bytes:
            piece = next(self._pieces, None)
            if piece is None:
                raise IncompleteProof(
                    f"the object's bytes ended at {self._raw_end}, not at {self._object_bytes}; the read was cut short",
                    offset=self._raw_end,
                )
            piece = piece[: self._object_bytes - self._raw_end]
            self._crcs.feed(piece, 0, len(piece), self._raw_end)
            self._raw += piece
            self._raw_end += len(piece)

    def more(self) -> None:
        """Decode as far as the next edge of a tile, at most a step."""
        edge = self._edges[self._next_edge] if self._next_edge < len(self._edges) else self._object_bytes
        if self._at >= edge and self._next_edge < len(self._edges):
            self._known[edge] = self.end
            self._next_edge += 1
            return
        size = min(max(edge, self._at + 1) - self._at, _STEP_BYTES)
        size += -size % self._unit
        self._need(size + self._unit)
        if not self._raw:
            self.ended = True
            return
        size = min(size, len(self._raw))
        if (
            self._unit == 2
            and size % 2 == 0
            and _encodings.is_half(bytes(self._raw[size - 2 : size]), self.encoding, 0xD8)
        ):
            size = min(size + 2, len(self._raw))
        raw = bytes(self._raw[:size])
        try:
            body = _encodings.to_utf8(raw, self.encoding)
        except UnicodeDecodeError as error:
            at = self._at + error.start
            self.refused = BadRecord(f"byte {at} is not {self.encoding}: {error.reason}", offset=at)
            raise self.refused from None
        del self._raw[:size]
        self._data += body
        self._at += size
        self.end += len(body)
        self._marks.append((self.end, self._at))

    def of_edge(self, edge: int) -> int:
        """The local place of the first character that begins at or after an edge of a tile, or the end."""
        while edge not in self._known and not self.ended:
            self.more()
        return self._known.get(edge, self.end)

    def pieces(self, start: int, is_end_known: bool) -> Iterator[bytes]:
        """The bytes from a local place on. Raises `_LocalEnd` at an end that was not known."""
        while True:
            if start < self.end:
                with memoryview(self._data) as view:
                    piece = bytes(view[start - self._base : start - self._base + 2**20])
                start += len(piece)
                yield piece
            elif not self.ended:
                self.more()
            elif is_end_known:
                return
            else:
                raise _LocalEnd

    def drop(self, local: int) -> None:
        """Forget what is before a local place."""
        if local > self._base:
            keep = max(0, bisect_right(self._marks, (local, _UNKNOWN_END)) - 1)
            del self._marks[:keep]
            local = min(local, self._marks[0][0])
            del self._data[: local - self._base]
            self._base = local

    def stored(self, local: int) -> int:
        """Where the character is stored that begins at a local place."""
        mark, at = self._marks[max(0, bisect_right(self._marks, (local, _UNKNOWN_END)) - 1)]
        return at + self._stored_length(mark, local)

    def all_stored(self, places: Sequence[int]) -> list[int]:
        """The same of places in order."""
        if not places:
            return []
        lengths = [self._stored_length(low, high) for low, high in pairwise(places)]
        return list(accumulate(lengths, initial=self.stored(places[0])))

    def _stored_length(self, low: int, high: int) -> int:
        text = _encodings.from_utf8(bytes(self._data[low - self._base : high - self._base]))
        return next(iter(_encodings.lengths([text], self.encoding)))
