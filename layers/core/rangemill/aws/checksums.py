"""The checksums that S3 keeps of an object, as its answers tell them."""

import base64
from typing import Any

from rangemill.ledger import CRC_FUNCTIONS, DEFAULT_CRC


def full_crc(response: Any) -> tuple[str, int | None]:
    """The full-object CRC that came with a response, and its name."""
    if not is_composite(response):
        for name in CRC_FUNCTIONS:
            if text := response.get(f"Checksum{name}"):
                return name, crc_value(text)
    return DEFAULT_CRC, None


def is_composite(response: Any) -> bool:
    """Whether the checksums are of the parts' checksums: `<base64>-<parts>`, whether or not the type is named."""
    return response.get("ChecksumType") == "COMPOSITE" or any(
        "-" in response.get(f"Checksum{n}", "") for n in CRC_FUNCTIONS
    )


def crc_value(text: str) -> int:
    """The number that a checksum in base64 is."""
    return int.from_bytes(base64.b64decode(text), "big")
