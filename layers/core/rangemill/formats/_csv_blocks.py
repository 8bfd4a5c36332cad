"""What becomes of whole rows: blocks without the header, columns in settled order."""

import csv
from collections.abc import Callable, Iterator, Sequence

from rangemill.blocks import Block, Refused
from rangemill.errors import BadRecord
from rangemill.formats import _csv_automaton as automaton
from rangemill.formats import _csv_header, _csv_rows, _csv_scan, _encodings, _lines
from rangemill.formats._csv_automaton import Dialect
from rangemill.formats._csv_header import Layout
from rangemill.formats._csv_options import Options
from rangemill.formats._csv_split import Rows
from rangemill.formats.base import Head, Settled

_HALF_MARKS = (_lines.BOM[:1], _lines.BOM[:2])

Write = Callable[[bytes], bytes]  # whole rows, written anew; raises `BadRecord`, csv.Error


class BlockMaker:
    """Makes the blocks of one object. `head` gives its first bytes; without it its header is the settled one."""

    def __init__(self, settled: Settled, options: Options, head: Head | None) -> None:
        self._settled = settled
        self._options = options
        self._dialect = options.dialect
        self._block_dialect = options.block_dialect
        self._head = head
        self._layout: tuple[Layout, int] | None = None
        self._is_known = not options.header

    @property
    def keeps_rows(self) -> bool:
        """Whether rows come out as they went in, which is known once the header is."""
        return self._is_known and self._layout is None and self._block_dialect == self._dialect

    def block(self, rows: Rows) -> Block | None:
        """See `_csv_split.MakeBlock`. Raises `BadRecord`."""
        data, offset, outline = rows.data, rows.offset, rows.outline
        if offset == 0 and data in _HALF_MARKS:
            outline = b"x"  # an object of nothing else: a row that is not UTF-8
        if self._options.encoding == "utf-8":
            data, offset = _encodings.without_bom(data, offset, "utf-8", self._options.bom)
        else:  # what comes here was recoded, its mark too
            data, offset = _lines.without_bom(data, offset)
        if self._options.lone_return == "refuse" and _csv_rows.has_lone_return(outline):
            raise self._lone_return(data, offset)
        records, is_even = _csv_rows.counted(outline)
        if rows.has_header:
            start, end, following = next(_csv_rows.spans(data, self._dialect))
            self._know(self._plain_header(data[start:end]))
            data, offset, records = data[following:], offset + following, records - 1
        if not records:
            return None
        if not self._is_known:
            self._know(self._header())
        places = self._places_of(data, offset, records)
        if self.keeps_rows:
            is_plain = _csv_rows.is_plain(data, self._dialect)
            is_canonical = rows.is_clean and is_even and self._dialect.quote != b""
            return Block(data, offset, records, None if is_plain else places, is_canonical=is_canonical)
        kept: Sequence[int] = places
        refused: list[Refused] = []
        if self._block_dialect != self._dialect:
            data, kept, refused = self._written(data, kept, self._dialect, self._in_plain)
        if self._layout is not None:
            data, kept, more = self._written(data, kept, self._block_dialect, self._arranged)
            refused += more
        return Block(data, offset, records, kept, refused=tuple(refused))

    def _header(self) -> bytes:
        if self._head is not None:
            return self._plain_header(_csv_header.of_object(self._head, self._options))
        return (self._settled.header or "").encode()

    def _plain_header(self, header: bytes) -> bytes:
        return _csv_rows.in_plain(header, self._dialect) if self._dialect.is_wide else header

    def _know(self, header: bytes) -> None:
        self._is_known = True
        if header != (self._settled.header or "").encode() or self._options.missing_columns == "null":
            self._layout = _csv_header.layout(header, self._settled, self._options)

    def _places_of(self, data: bytes, offset: int, records: int) -> _encodings.Places:
        return _encodings.Places(
            records, lambda: [offset + start for start, _, _ in _csv_rows.spans(data, self._dialect)]
        )

    def _written(
        self, data: bytes, places: Sequence[int], of: Dialect, write: Write
    ) -> tuple[bytes, Sequence[int], list[Refused]]:
        """The rows written anew, with their places; those that cannot be, by themselves."""
        try:
            return write(data), places, []
        except (BadRecord, csv.Error):
            pass
        written: list[bytes] = []
        kept: list[int] = []
        refused: list[Refused] = []
        for (start, _, following), place in zip(_csv_rows.spans(data, of), places, strict=True):
            try:
                written.append(write(data[start:following]))
                kept.append(place)
            except BadRecord as error:
                refused.append(Refused(place, data[start:following], error.message))
            except csv.Error as error:
                refused.append(Refused(place, data[start:following], f"it needs quotes: {error}"))
        return b"".join(written), kept, refused

    def _in_plain(self, data: bytes) -> bytes:
        return _csv_rows.in_plain(data, self._dialect)

    def _arranged(self, data: bytes) -> bytes:
        """With the settled columns in their order; what is missing is null. Raises `BadRecord`."""
        layout, width = self._layout or ((), 0)
        nulls = self._options.nulls
        null = nulls[0] if nulls else ""
        dialect = self._block_dialect
        bare = not dialect.quote

        def rows() -> Iterator[list[str]]:
            for row in _csv_rows.cells(data, dialect):
                if len(row) != width and not (len(row) == width + 1 and row[-1] == ""):
                    raise BadRecord(f"it has {len(row)} columns, its object's header {width}")
                arranged = [null if place is None else row[place] for place in layout]
                if bare and (arranged == [""] or arranged[0].encode().startswith(dialect.comment or b"\n")):
                    raise BadRecord("it needs quotes in the settled order")
                yield arranged

        return _csv_rows.rewritten(rows(), dialect)

    def _lone_return(self, data: bytes, offset: int) -> BadRecord:
        spans = _csv_rows.spans(data, self._dialect)
        at = offset + next((start for start, end, following in spans if data[end:following] == b"\r"), 0)
        return BadRecord(
            f"the record at byte {at} ends with a carriage return alone, which CSV readers do not agree on; "
            "`format.lone_return: row` takes it for the row's end",
            offset=at,
        )


def proved(block: Block, of: Dialect) -> Block | None:
    """A block whose lines were taken for rows, read as rows; None where they are not its lines."""
    data = block.data
    outline, state, is_clean = _csv_scan.scanner(of).outline(automaton.RECORD, data, 0, len(data))
    records, is_even = _csv_rows.counted(outline)
    ends = state == automaton.RECORD if data.endswith(b"\n") else state not in automaton.UNFINISHED
    if records != block.records or not ends:
        return None
    if _csv_rows.is_plain(data, of):
        return Block(data, block.offset, records, is_canonical=is_clean and is_even)
    places = _encodings.Places(records, lambda: [block.offset + start for start, _, _ in _csv_rows.spans(data, of)])
    return Block(data, block.offset, records, places, is_canonical=is_clean and is_even)
