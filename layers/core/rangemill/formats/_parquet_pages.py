"""The checksums that pages of Parquet may carry: https://github.com/apache/parquet-format#checksumming.

Spark and others write them; DuckDB does not look at them.
"""

import zlib
from typing import Final

from rangemill.errors import IntegrityError
from rangemill.formats import _thrift

_PAGE_SIZE, _PAGE_CRC = 3, 4  # fields of PageHeader
_HEADER_ERRORS: Final = (_thrift.ThriftError, LookupError, TypeError, ValueError, RecursionError)


def check(data: bytes, data_at: int, start: int, end: int, object_uri: str) -> None:
    """Hold the pages of the column chunk `[start, end)` against their CRC-32. `data` begins at the object's `data_at`.

    Without one in its first page a chunk is passed over: writers give it to all pages or to none, and looking at every
    header of small pages would cost more than reading them. Raises `IntegrityError` naming the page's byte.
    """
    at, is_checked = start, False
    while at < end:
        try:
            header, begin = _thrift.struct_of(data, at - data_at)
            size = header[_PAGE_SIZE]
        except _HEADER_ERRORS:
            header, begin, size = {}, 0, -1
        crc = header.get(_PAGE_CRC)
        if not is_checked and crc is None:
            return
        is_checked = True
        after = data_at + begin + size
        if size < 0 or after > end:
            raise IntegrityError(
                f"{object_uri}: the Parquet page at byte {at} has a damaged header", object_uri=object_uri, offset=at
            )
        if crc is not None and zlib.crc32(memoryview(data)[begin : begin + size]) != crc & 0xFFFFFFFF:
            raise IntegrityError(
                f"{object_uri}: the Parquet page at byte {at} does not fit the CRC-32 in its header: it is damaged",
                object_uri=object_uri,
                offset=at,
            )
        at = after
