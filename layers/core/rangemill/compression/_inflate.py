"""zlib's `inflate` as restart points need it: stopping at the ends of deflate blocks, and beginning at any bit.

CPython's `zlib` module can do neither, and the libraries that can (indexed_gzip, rapidgzip) hide members and trailers,
whose CRCs must be checked across workers. The shared library is the one that CPython's own module is linked with:
`CDLL` of that module finds its dependencies' symbols, so nothing is shipped for it.
"""

import ctypes
import zlib
from functools import cache
from typing import Any, Final

WINDOW_BYTES: Final = 32 * 2**10
OUT_BYTES: Final = 2**20
_RAW: Final = -15  # window bits of a raw deflate stream
_Z_OK, _Z_STREAM_END, _Z_BUF_ERROR = 0, 1, -5
_Z_NO_FLUSH, _Z_BLOCK = 0, 5
_OLDEST: Final = (1, 2, 7)  # of zlib: the first one with inflateGetDictionary is 1.2.7.1
_LIBRARIES: Final = ("libz.so.1", getattr(zlib, "__file__", None), "libz.1.dylib", None)


class DeflateError(Exception):
    """The deflate data is damaged; the text is zlib's."""


class _Stream(ctypes.Structure):
    _fields_ = (
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong),
        ("reserved", ctypes.c_ulong),
    )


@cache
def library() -> Any:
    """zlib's shared library, or None on a machine that has none; plain gzip is then never split."""
    for name in dict.fromkeys(_LIBRARIES):
        try:
            found = ctypes.CDLL(name)
            found.zlibVersion.restype = ctypes.c_char_p
            version: bytes = found.zlibVersion()
            _ = found.inflateGetDictionary, found.inflatePrime, found.inflateSetDictionary, found.inflateReset
        except (OSError, AttributeError):
            continue
        if tuple(int(part) for part in version.decode().split("-")[0].split(".")[:3] if part.isdigit()) >= _OLDEST:
            return found
    return None


class BlockInflater:
    """A raw deflate stream, from its beginning or from a restart point."""

    def __init__(self, window: bytes = b"", bits: int = 0, value: int = 0) -> None:
        """`value` are the last `bits` bits of the byte in which the block begins; `window` what came before it."""
        self._zlib = library()
        self._stream = _Stream()
        version = self._zlib.zlibVersion()
        if self._zlib.inflateInit2_(ctypes.byref(self._stream), _RAW, version, ctypes.sizeof(_Stream)) != _Z_OK:
            raise MemoryError("zlib's inflateInit2")
        self._out = ctypes.create_string_buffer(OUT_BYTES)
        self._out_at = ctypes.addressof(self._out)
        self._view = memoryview(self._out)
        if bits:
            self._zlib.inflatePrime(ctypes.byref(self._stream), bits, value)
        if window:
            self._zlib.inflateSetDictionary(ctypes.byref(self._stream), window, len(window))
        self.ended = False
        self.at_boundary = False  # what was given ends with a block that is not the last one
        self.unused_bits = 0  # at a boundary: of the last byte taken, those that belong to the next block

    def __del__(self) -> None:
        if getattr(self, "_stream", None) is not None:
            self._zlib.inflateEnd(ctypes.byref(self._stream))

    def reset(self) -> None:
        """Ready for another stream."""
        self._zlib.inflateReset(ctypes.byref(self._stream))
        self.ended = self.at_boundary = False
        self.unused_bits = 0

    def inflate(self, data: bytes, start: int, most: int, stop_at_block: bool) -> tuple[int, bytes]:
        """How many bytes of `data[start:]` were taken, and at most `most` bytes that they give.

        Raises `DeflateError`.
        """
        stream = self._stream
        most = min(most, OUT_BYTES)
        stream.next_in = (ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0) + start
        stream.avail_in = len(data) - start
        stream.next_out = self._out_at
        stream.avail_out = most
        code = self._zlib.inflate(ctypes.byref(stream), _Z_BLOCK if stop_at_block else _Z_NO_FLUSH)
        if code not in (_Z_OK, _Z_STREAM_END, _Z_BUF_ERROR):
            raise DeflateError((stream.msg or b"zlib's error %d" % code).decode("utf-8", "replace"))
        self.ended = code == _Z_STREAM_END
        # 128: just after a block's end; 64: that was the last block
        self.at_boundary = stop_at_block and not self.ended and bool(stream.data_type & 128)
        self.at_boundary = self.at_boundary and not stream.data_type & 64
        self.unused_bits = stream.data_type & 7
        return len(data) - start - stream.avail_in, self._view[: most - stream.avail_out].tobytes()

    def window(self) -> bytes:
        """The last bytes given: what a restart here needs."""
        out = ctypes.create_string_buffer(WINDOW_BYTES)
        size = ctypes.c_uint(0)
        self._zlib.inflateGetDictionary(ctypes.byref(self._stream), out, ctypes.byref(size))
        return out.raw[: size.value]


class PlainInflater:
    """The same without a shared library: neither boundaries nor windows."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Ready for another stream."""
        self._inflater = zlib.decompressobj(_RAW)
        self.ended = self.at_boundary = False
        self.unused_bits = 0

    def inflate(self, data: bytes, start: int, most: int, stop_at_block: bool) -> tuple[int, bytes]:  # noqa: ARG002
        """See `BlockInflater`."""
        try:
            out = self._inflater.decompress(data[start:], most)
        except zlib.error as error:
            raise DeflateError(str(error)) from None
        self.ended = self._inflater.eof
        rest = len(self._inflater.unused_data) if self.ended else len(self._inflater.unconsumed_tail)
        return len(data) - start - rest, out

    def window(self) -> bytes:
        """There is none."""
        return b""


def inflater() -> BlockInflater | PlainInflater:
    """For a stream from its beginning."""
    return BlockInflater() if library() is not None else PlainInflater()
