"""Avro object container files: the header, the blocks, and their codecs.

https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rangemill.errors import IntegrityError, RecordTooLarge
from rangemill.formats import _buffered, _snappy
from rangemill.formats.base import Source

MAGIC: Final = b"Obj\x01"
SYNC_BYTES: Final = 16
LONG_MAX_BYTES: Final = 10
_HEADER_FIRST_BYTES: Final = 64 * 2**10
_HEADER_MAX_BYTES: Final = 16 * 2**20
_OWN_SYNC: Final = b"rangemill block."


class Cut(Exception):
    """The bytes end before what was to be read does."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file: the schema as it is written there, the codec, and where the first block begins."""

    schema: bytes
    codec: str
    sync: bytes
    end: int


def long_at(data: bytes, at: int) -> tuple[int, int]:
    """An Avro long and where it ends. Raises `Cut`, ValueError."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise Cut
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than 64 bits")


def written_long(value: int) -> bytes:
    """An Avro long, not negative."""
    value <<= 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_header(source: Source) -> Header:
    """The header of an object. Raises `IntegrityError`."""
    size = min(source.size_bytes, _HEADER_FIRST_BYTES)
    while True:
        data = source.read(0, size)
        try:
            return parse_header(data)
        except Cut:
            if size < source.size_bytes and size < _HEADER_MAX_BYTES:
                size = min(source.size_bytes, size * 8)
                continue
            problem = f"its header does not end within {size} bytes"
        except ValueError as error:
            problem = str(error) + _buffered.hint(data)
        raise IntegrityError(f"{source.uri} is no Avro file: {problem}", object_uri=source.uri, offset=0) from None


def parse_header(data: bytes) -> Header:
    """The header that these bytes begin with. Raises `Cut`, ValueError."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise ValueError(f"it begins with {data[: len(MAGIC)]!r} and not with {MAGIC!r}")
    at = len(MAGIC)
    metadata: dict[bytes, bytes] = {}
    while True:
        count, at = long_at(data, at)
        if count == 0:
            break
        if count < 0:  # the block's size in bytes follows
            _, at = long_at(data, at)
        for _ in range(abs(count)):
            name, at = _bytes_at(data, at)
            metadata[name], at = _bytes_at(data, at)
    if at + SYNC_BYTES > len(data):
        raise Cut
    if b"avro.schema" not in metadata:
        raise ValueError("its header has no schema")
    codec = metadata.get(b"avro.codec", b"null").decode("utf-8", "replace")
    return Header(metadata[b"avro.schema"], codec or "null", data[at : at + SYNC_BYTES], at + SYNC_BYTES)


def _bytes_at(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = long_at(data, at)
    if size < 0:
        raise ValueError("a text of negative length")
    if at + size > len(data):
        raise Cut
    return data[at : at + size], at + size


def own_header(schema: bytes) -> bytes:
    """The header of a file of unpacked blocks, as they pass to engines."""
    entries = ((b"avro.schema", schema), (b"avro.codec", b"null"))
    written = b"".join(written_long(len(part)) + part for entry in entries for part in entry)
    return MAGIC + written_long(len(entries)) + written + written_long(0) + _OWN_SYNC


def own_block(count: int, payload: bytes) -> tuple[bytes, bytes, bytes]:
    """A block of such a file, in parts."""
    return written_long(count) + written_long(len(payload)), payload, _OWN_SYNC


def unpacker(codec: str, source: Source, max_bytes: int) -> Callable[[bytes, int], bytes]:
    """What unpacks a block, given where it lies. Raises `IntegrityError` here for a codec that is not known.

    Raises `IntegrityError` for a damaged block, `RecordTooLarge` for one that gives more than `max_bytes`.
    """
    unpack = _CODECS.get(codec)
    if unpack is None:
        raise IntegrityError(
            f"{source.uri} is compressed with the Avro codec {codec!r}; known are {', '.join(sorted(_CODECS))}",
            object_uri=source.uri,
            offset=0,
        )

    def unpacked(payload: bytes, offset: int) -> bytes:
        try:
            data = unpack(payload, max_bytes)
        except (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise IntegrityError(
                f"{source.uri}: the Avro block at byte {offset} is damaged: {codec}: {error}",
                object_uri=source.uri,
                offset=offset,
            ) from None
        if len(data) > max_bytes:
            raise RecordTooLarge(
                f"{source.uri}: the Avro block at byte {offset} unpacks to more than format.max_unit_bytes "
                f"({max_bytes}); raise it, and the function's memory, if the data is as it should be",
                object_uri=source.uri,
                offset=offset,
            )
        return data

    return unpacked


def _machine(machine: Any, payload: bytes, max_bytes: int) -> bytes:
    """One byte more than allowed at most: the caller sees that it is too much."""
    data: bytes = machine.decompress(payload, max_bytes + 1)
    if len(data) <= max_bytes and (not machine.eof or machine.unused_data):
        raise ValueError("it ends too early" if not machine.eof else "something follows its end")
    return data


def _deflate(payload: bytes, max_bytes: int) -> bytes:
    """Raw deflate. Some writers leave a part of zlib's Adler-32 behind it: it must be that of the data then."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    data = machine.decompress(payload, max_bytes + 1)
    left = machine.unused_data
    if len(data) <= max_bytes and not machine.eof:
        raise ValueError("it ends too early")
    if left and (len(left) > 4 or not zlib.adler32(data).to_bytes(4).startswith(left)):
        raise ValueError("something follows its end")
    return data


def _snappy_block(payload: bytes, max_bytes: int) -> bytes:
    packed, crc = payload[:-4], payload[-4:]
    if _snappy.size_of(packed) > max_bytes:
        return bytes(max_bytes + 1)
    data = _snappy.decompress(packed)
    if zlib.crc32(data) != int.from_bytes(crc):
        raise ValueError("its CRC-32 is another one")
    return data


def _zstandard(payload: bytes, max_bytes: int) -> bytes:
    from backports import zstd  # noqa: PLC0415 - only files that use it pay for it

    try:
        return _machine(zstd.ZstdDecompressor(), payload, max_bytes)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None


_CODECS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "null": lambda payload, _: payload,
    "deflate": _deflate,
    "bzip2": lambda payload, most: _machine(bz2.BZ2Decompressor(), payload, most),
    "xz": lambda payload, most: _machine(lzma.LZMADecompressor(), payload, most),
    "snappy": _snappy_block,
    "zstandard": _zstandard,
}
