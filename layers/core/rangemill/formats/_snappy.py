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
    end, made = len(data), 0
    while at < end and made <= size:
        tag = data[at]
        kind = tag & 3
        length = (tag >> 2) + 1
        at += 1
        if kind == 0:
            if length > 60:
                extra = length - 60
                length = int.from_bytes(data[at : at + extra], "little") + 1
                at += extra
            out += data[at : at + length]
            at += length
        else:
            if kind == 1:
                length = (tag >> 2 & 7) + 4
                offset = (tag & 0xE0) << 3 | data[at] if at < end else 0
                at += 1
            elif kind == 2:
                offset = int.from_bytes(data[at : at + 2], "little")
                at += 2
            else:
                offset = int.from_bytes(data[at : at + 4], "little")
                at += 4
            start = made - offset
            if start < 0 or offset == 0:
                raise SnappyError("a copy begins before the data")
            if offset >= length:
                out += out[start : start + length]
            else:  # it reads what it writes: a pattern that repeats
                out += (out[start:] * (length // offset + 1))[:length]
        made += length
    if made != size or len(out) != size or at != end:
        raise SnappyError(f"it unpacks to {len(out)} bytes, not to the {size} that it says")
    return bytes(out)


def _varint(data: bytes) -> tuple[int, int]:
    value = 0
    for at, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return value, at + 1
    raise SnappyError("its size does not end")
