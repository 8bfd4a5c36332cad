"""Snappy's raw format, in Python: Avro files of the Hadoop world use it, and no package of ours knows it.

https://github.com/google/snappy/blob/main/format_description.txt
"""


class SnappyError(ValueError):
    """Bytes that are no Snappy data, or give another size than they say."""


def size_of(data: bytes) -> int:
    """How many bytes the data says that it unpacks to. Raises `SnappyError`."""
    return _varint(data)[0]


def decompress(data: bytes) -> bytes:
    """The bytes. Raises `SnappyError`; never makes more of them than the data says at its beginning."""
    size, at = _varint(data)
    out = bytearray()
    end = len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = (tag >> 2) + 1
            if length > 60:
                extra = length - 60
                length = int.from_bytes(data[at : at + extra], "little") + 1
                at += extra
            if at + length > end:
                raise SnappyError("a literal goes beyond the data")
            out += data[at : at + length]
            at += length
        else:
            if tag & 3 == 1:
                length, offset, extra = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | int.from_bytes(data[at : at + 1]), 1
            else:
                extra = 2 if tag & 3 == 2 else 4
                length, offset = (tag >> 2) + 1, int.from_bytes(data[at : at + extra], "little")
            at += extra
            _copy(out, offset, length)
        if len(out) > size:
            raise SnappyError(f"it unpacks to more than the {size} bytes that it says")
    if len(out) != size or at != end:
        raise SnappyError(f"it unpacks to {len(out)} bytes, not to the {size} that it says")
    return bytes(out)


def _copy(out: bytearray, offset: int, length: int) -> None:
    start = len(out) - offset
    if offset == 0 or start < 0:
        raise SnappyError("a copy begins before the data")
    if offset >= length:
        out += out[start : start + length]
    else:  # it reads what it writes: a pattern that repeats
        pattern = bytes(out[start:])
        out += (pattern * (length // offset + 1))[:length]


def _varint(data: bytes) -> tuple[int, int]:
    value = 0
    for at, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return value, at + 1
    raise SnappyError("its size does not end")
