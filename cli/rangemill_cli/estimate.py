"""What a job over a prefix will be, before it starts: objects, bytes, worker seconds, dollars."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rangemill import costs
from rangemill.errors import AccessRefused
from rangemill.gateways import Objects
from rangemill.limits import (
    GET_BYTES,
    SLOT_FIRST_BYTES_PER_SECOND,
    SLOT_LEAST_SECONDS,
    SLOT_MAX_RUNS,
    WAVE_MAX_SLOTS,
)
from rangemill.messages import ObjectRef, Prefix, Totals
from rangemill.units import show_bytes
from rangemill_cli.errors import UsageProblem

_LOOKED_AT: Final = 100  # objects named one by one that are looked at before the job is made


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is."""

    objects: int
    bytes: int


def require_objects(refs: list[ObjectRef], objects: Objects) -> None:
    """Raise `UsageProblem` for an object that is not there; what may not be looked at from here is left to Plan."""
    for ref in refs[:_LOOKED_AT]:
        try:
            missing = objects.head(ref.bucket, ref.key, None) is None
        except AccessRefused as error:
            if "credentials" in error.message:
                raise
            continue
        if missing:
            raise UsageProblem(f"There is no object s3://{ref.bucket}/{ref.key}.")


def measure(prefixes: Iterable[Prefix], objects: Objects) -> Size:
    """What lies below the prefixes now. Raises `AccessRefused`."""
    count = total = 0
    for prefix in prefixes:
        after: str | None = None
        while True:
            listing = objects.list_page(prefix.bucket, prefix.prefix, after)
            for ref, _ in listing.objects:
                if ref.key.endswith(prefix.suffix) and not (ref.key.endswith("/") and not ref.size_bytes):
                    count += 1
                    total += ref.size_bytes or 0
            after = listing.after
            if after is None:
                break
    return Size(count, total)


def sentence(size: Size, parameters: dict[str, str]) -> str:
    """Objects, bytes, estimated worker seconds and dollars, on workers as the stack has them."""
    seconds = size.bytes / SLOT_FIRST_BYTES_PER_SECOND
    slots = max(1, round(seconds / SLOT_LEAST_SECONDS), -(-size.objects // SLOT_MAX_RUNS))
    totals = Totals(
        slots=slots,
        waves=-(-slots // WAVE_MAX_SLOTS),
        invocations=slots,
        worker_milliseconds=int(seconds * 1000),
        worker_requests=size.objects + size.bytes // GET_BYTES,
    )
    memory_mb = int(parameters.get("ApplyMemoryMb") or 1769)
    usd = costs.estimate_usd(totals, memory_mb, parameters.get("Architecture") or "arm64")
    return (
        f"{size.objects:,} objects, {size.bytes:,} bytes ({show_bytes(size.bytes)}): "
        f"about {seconds:,.0f} worker seconds at {SLOT_FIRST_BYTES_PER_SECOND // 10**6} MB/s "
        f"and ${usd:,.4f} at us-east-1 prices."
    )
