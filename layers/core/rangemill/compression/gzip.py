"""gzip: plain, of several members, and BGZF.

- `gzip`: one pass by one worker, which records restart points as it goes; a worker that must stop does so at a point,
  and another one goes on from there. `gzip:small`: the same without points.
- `gzip:points`: an earlier job has recorded the points: a unit is the stretch between two of them. `gzip:waves`: so
  it is, but this job's own indexer (`gzip:index`) makes them, and only what it has passed is handed out.
- `gzip:members`, `bgzf`: members are units, found by their headers.

Every member's CRC-32 and length are checked by whoever reaches its trailer, from wherever they began: a point carries
the member's CRC so far. The output between two points is held against the CRC that the first pass noted.
"""

from typing import Final

from rangemill.compression import _gzip_header as headers
from rangemill.compression._gzip_resync import is_member
from rangemill.compression._gzip_session import GzipSession
from rangemill.compression._inflate import library
from rangemill.compression._points import PointStore
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Mode

SUFFIXES: Final = (".gz", ".gzip", ".bgz", ".bgzf")
RECOMPRESS: Final = "gzip -dc {} | bgzip -@4 -c > split.gz"
STREAM_BYTES_PER_SECOND: Final = 20 * 10**6

_NEXT_MEMBER_BYTES: Final = 256 * 2**10


def recognises(head: bytes) -> bool:
    """See `Codec`."""
    return head.startswith(headers.MAGIC)  # a header that is damaged is no text either


def mode(head: bytes, around: Around | None) -> Mode:
    """See `Codec`."""
    if _says_its_length(head):
        return Mode("bgzf")
    if around is None or around.store is None or library() is None:
        return Mode("gzip:small", whole=True, absolute=True)
    if PointStore(around.store, around.pin).directory() is not None:
        return Mode("gzip:points", absolute=True)
    if _is_of_small_members(around):
        return Mode("gzip:members")
    return Mode("gzip", whole=True, absolute=True)


def _says_its_length(head: bytes) -> bool:
    try:
        return headers.parse(head).block_bytes is not None
    except headers.HeaderError:  # damaged: who reads it will say where
        return False


def _is_of_small_members(around: Around) -> bool:
    """Whether members begin everywhere in the object: near its beginning, its middle and its end."""
    size = around.pin.size_bytes
    if size < 4 * _NEXT_MEMBER_BYTES:
        return False
    for start in (1, size // 2, size - 2 * _NEXT_MEMBER_BYTES):
        data = around.read_span(start, min(start + 2 * _NEXT_MEMBER_BYTES, size))
        at = data.find(headers.MAGIC)
        while 0 <= at < _NEXT_MEMBER_BYTES and not is_member(data[at:]):
            at = data.find(headers.MAGIC, at + 1)
        if not 0 <= at < _NEXT_MEMBER_BYTES:
            return False
    return True


def session(stored: Stored, mode_name: str, around: Around) -> GzipSession:
    """See `Codec`."""
    return GzipSession(stored, mode_name, around)
