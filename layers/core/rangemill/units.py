"""Sizes and durations as people write them: `64 MiB`, `5m`."""

import re
from typing import Final

_SIZE_UNITS: Final = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "kib": 2**10,
    "m": 10**6, "mb": 10**6, "mib": 2**20,
    "g": 10**9, "gb": 10**9, "gib": 2**30,
    "t": 10**12, "tb": 10**12, "tib": 2**40,
}  # fmt: skip
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_bytes(value: int | str) -> int:
    """Bytes of `1048576`, `"64 MiB"` or `"10GB"`. Raises ValueError with what would be right."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(value))
        if not match or match[2].lower() not in _SIZE_UNITS:
            raise ValueError(f"expected a size such as 64 MiB or 1048576, not {value!r}")
        number = int(float(match[1]) * _SIZE_UNITS[match[2].lower()])
    if number < 1:
        raise ValueError(f"expected a size of at least 1 byte, not {value!r}")
    return number


def parse_seconds(value: int | str) -> int:
    """Seconds of `300`, `"5m"`, `"1h"`. Raises ValueError with what would be right."""
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    else:
        match = re.fullmatch(r"\s*(\d+)\s*([smhd])\s*", str(value))
        if not match:
            raise ValueError(f"expected a duration such as 30s, 5m, 1h or 1d, not {value!r}")
        seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds < 1:
        raise ValueError(f"expected a duration of at least one second, not {value!r}")
    return seconds


def show_bytes(count: int) -> str:
    """`1.5 GiB`: at least three significant figures in binary units."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            shown = f"{size:.3g}" if size < 999.5 else f"{size:.0f}"  # .3g would show 1023 as 1.02e+03
            return f"{count} B" if unit == "B" else f"{shown} {unit}"
        size /= 1024
    raise AssertionError  # the loop returns at TiB
