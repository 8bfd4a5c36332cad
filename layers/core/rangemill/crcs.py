"""The CRCs that S3 keeps, by name, from `awscrt`: computed at 30 GB/s, and combined without the data.

The library is loaded at the first call. Most handlers only name a checksum, and loading takes 40 ms.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final


@cache
def _checksums() -> Any:
    from awscrt import checksums  # noqa: PLC0415 - see above

    return checksums


def crc32(data: bytes, previous: int = 0) -> int:
    """CRC-32 of what gave `previous`, followed by `data`."""
    return int(_checksums().crc32(data, previous))


def _crc32c(data: bytes, previous: int = 0) -> int:
    return int(_checksums().crc32c(data, previous))


def _crc64nvme(data: bytes, previous: int = 0) -> int:
    return int(_checksums().crc64nvme(data, previous))


def _combine_crc32(left: int, right: int, right_bytes: int) -> int:
    return int(_checksums().combine_crc32(left, right, right_bytes))


def _combine_crc32c(left: int, right: int, right_bytes: int) -> int:
    return int(_checksums().combine_crc32c(left, right, right_bytes))


def _combine_crc64nvme(left: int, right: int, right_bytes: int) -> int:
    return int(_checksums().combine_crc64nvme(left, right, right_bytes))


# name -> (crc of data given the previous value, crc of the concatenation of two given the second's length)
CRC_FUNCTIONS: Final[dict[str, tuple[Callable[[bytes, int], int], Callable[[int, int, int], int]]]] = {
    "CRC32": (crc32, _combine_crc32),
    "CRC32C": (_crc32c, _combine_crc32c),
    "CRC64NVME": (_crc64nvme, _combine_crc64nvme),
}
DEFAULT_CRC: Final = "CRC64NVME"  # what S3 itself computes when the uploader names none
