"""Finding the next member of a gzip object from anywhere in it."""

from typing import Final

from rangemill.compression import _gzip_header as headers
from rangemill.compression._inflate import DeflateError, inflater
from rangemill.compression._stored import Stored
from rangemill.ledger import CRC_FUNCTIONS

_LOOK_BYTES: Final = 256 * 2**10
_TRIAL_BYTES: Final = 64 * 2**10  # of what claims to be deflate data: random bits fail within a few hundred
_BGZF_HOPS: Final = 3
_crc32 = CRC_FUNCTIONS["CRC32"][0]


def find(stored: Stored, bgzf: bool) -> bool:
    """Go to the first member that begins at the position or after it and in the run; False: the run was passed."""
    end = stored.run.end_exclusive
    while stored.position < end:
        data = stored.peek(_LOOK_BYTES + len(headers.MAGIC))
        at = data.find(headers.MAGIC)
        if at < 0:
            stored.advance(min(max(1, len(data) - len(headers.MAGIC) + 1), end - stored.position))
            continue
        if stored.position + at >= end:
            break
        stored.advance(at)
        if _is_bgzf(stored) if bgzf else is_member(stored.peek(_TRIAL_BYTES + headers.HEADER_MAX_BYTES)):
            return True
        stored.advance(1)
    stored.advance_to(end)
    return False


def is_member(data: bytes) -> bool:
    """Whether a member begins at `data[0]`, of which more may follow than is given."""
    try:
        at = headers.parse(data).size
    except headers.HeaderError:
        return False
    stream, crc, size = inflater(), 0, 0
    limit = min(len(data), at + _TRIAL_BYTES)
    try:
        while not stream.ended and at < limit:
            taken, out = stream.inflate(data[:limit], at, 2**20, False)
            crc, size = _crc32(out, crc), size + len(out)
            at += taken
            if not taken and not out:
                return True
    except DeflateError:
        return False
    if not stream.ended:
        return True
    trailer = data[at : at + 8]
    return len(trailer) < 8 or trailer == crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def _is_bgzf(stored: Stored) -> bool:
    """Whether a BGZF block begins at the position: the blocks that follow it must be where it says."""
    at = 0
    for _ in range(_BGZF_HOPS):
        if at == stored.left:
            return True
        try:
            header = headers.parse(stored.peek_at(at, 2**17))
        except headers.HeaderError:
            return False
        if header.block_bytes is None:
            return False
        at += header.block_bytes
    return at <= stored.left
