"""A compressed tar: one pass by one worker, its members through the record format in the order in which they come."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final

from rangemill import compression
from rangemill.archives import tar_headers
from rangemill.archives.inside import inside
from rangemill.archives.member import bad
from rangemill.blocks import Block, RangeDone, Whole
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around
from rangemill.errors import BadArchive, RangemillError
from rangemill.formats.base import Crc, Event, Settled
from rangemill.ledger import DEFAULT_CRC, prove, segment_of
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting
from rangemill.ranges import ByteRange

MAX_MEMBERS: Final = 1_000_000  # whose names one worker remembers, to see one that comes twice


@dataclass(frozen=True, slots=True)
class MemberBegins:
    """The blocks that follow are of this member."""

    name: str


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a whole tar adds up to: its records, and its size unpacked."""

    records: int
    total: int


def events(
    pin: PinnedObject, pieces: Iterator[bytes], settled: Settled, nesting: Nesting, around: Around, crc: Crc
) -> Iterator[Event | MemberBegins]:
    """The events of a whole compressed tar: one range, whose chain is that of its members in their places."""
    tile = ByteRange(0, pin.size_bytes)
    stored = Stored(pieces, tile, pin.size_bytes, pin.size_bytes, crc)
    session = compression.load(pin.compression).session(stored, pin.compression, around)

    def check(stored_bytes: int, logical_bytes: int) -> None:
        if nesting.is_suspect(stored_bytes, logical_bytes):
            raise BadArchive(
                f"{pin.uri} unpacks from {stored_bytes} bytes to {logical_bytes}, as a decompression bomb does; "
                "if it is none, raise `format.max_ratio` or `format.max_logical_bytes`",
                object_uri=pin.uri,
            )

    done = yield from align(pin, compression.pieces_of(session, stored, check), settled, nesting)
    yield RangeDone(tile, stored.tile_crc(0), 0, done.total, done.records, total=done.total)


def align(
    pin: PinnedObject, logical: Iterator[bytes], settled: Settled, nesting: Nesting
) -> Generator[MemberBegins | Block | Whole, None, Streamed]:
    """The blocks of all members that are meant. Raises `BadArchive` and what the format raises, naming the member."""
    stream = Forward(logical)
    names: set[str] = set()
    at = records = 0
    while (header := tar_headers.read_header(stream.read_at, at, pin.uri)) is not None:
        if header.kind in ("file", "sparse") and nesting.means(header.name):
            tar_headers.require_plain(header, pin.uri)
            if header.name in names:
                raise bad(pin.uri, header.name, header.at, "is there twice; the archive was appended to")
            if len(names) >= MAX_MEMBERS:
                raise BadArchive(f"{pin.uri} has more than {MAX_MEMBERS} members; pack it as a zip", object_uri=pin.uri)
            names.add(header.name)
            yield MemberBegins(header.name)
            records += yield from _member(pin, header, stream, settled, nesting)
        at = header.next_at
    if not stream.ends_with_zeros(at):
        raise BadArchive(
            f"{pin.uri}: something follows the mark of the tar's end at byte {at}; "
            "if it is several archives, pack them as one",
            object_uri=pin.uri,
            offset=at,
        )
    return Streamed(records, stream.position)


def _member(
    pin: PinnedObject, header: tar_headers.Header, stream: "Forward", settled: Settled, nesting: Nesting
) -> Generator[Block | Whole, None, int]:
    uri, done = f"{pin.uri}!{header.name}", None
    try:
        for event in inside(uri, stream.pieces(header.data_at, header.size_bytes), header.size_bytes, settled, nesting):
            if isinstance(event, RangeDone):
                done = segment_of(event)
            else:
                yield event
        stream.skip_to(header.data_at + header.size_bytes)
        if stream.position < header.data_at + header.size_bytes:
            raise bad(pin.uri, header.name, header.at, "goes on beyond the archive's end: it was cut off")
        if done is None:
            raise bad(pin.uri, header.name, header.at, "was not read to its end")
        prove([done], done.end, header.size_bytes, DEFAULT_CRC, None, uri)
    except RangemillError as error:
        error.of_object(uri)
        raise
    return done.records


class Forward:
    """Bytes that stream past once, read at growing offsets."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.position = 0
        self._pieces = pieces
        self._piece = b""
        self._used = 0

    def read_at(self, at: int, size: int) -> bytes:
        """So many bytes from there on, fewer at the end."""
        self.skip_to(at)
        return b"".join(self._take(size))

    def pieces(self, at: int, size: int) -> Iterator[bytes]:
        """The bytes `[at, at + size)`, as they come."""
        self.skip_to(at)
        yield from self._take(size)

    def skip_to(self, at: int) -> None:
        """Pass what lies before that offset, as far as there is something."""
        for _ in self._take(at - self.position):
            pass

    def ends_with_zeros(self, at: int) -> bool:
        """Whether nothing but zeros follows that offset to the end, which is then reached."""
        self.skip_to(at)
        return not any(any(piece) for piece in self._take(2**62))

    def _take(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if self._used == len(self._piece):
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self._piece, self._used = piece, 0
                continue
            end = min(len(self._piece), self._used + size)
            part = self._piece[self._used : end] if self._used or end < len(self._piece) else self._piece
            self._used = end
            self.position += len(part)
            size -= len(part)
            yield part
