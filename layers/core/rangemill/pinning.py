"""Pinning: the pages of a plan, made of what was named, of what lies under prefixes, and of what lies in archives."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from rangemill.gateways import Objects
from rangemill.limits import PLAN_PAGE_OBJECTS, SMALL_OBJECT_BYTES
from rangemill.messages import JobRequest, ObjectRef, PinnedObject, PlanPage, PlanResume
from rangemill.pipeline import FormatSpec

_PIN_THREADS: Final = 16


def build_page(
    request: JobRequest,
    before: PlanPage | None,
    objects: Objects,
    range_bytes: int,
    spec: FormatSpec,
    of_archives: Callable[[PlanPage | None, int, int], PlanPage] | None = None,
) -> PlanPage:
    """The page after `before`: at most `PLAN_PAGE_OBJECTS` pinned objects.

    `of_archives` (page before, first index, bytes before) makes it where objects may be archives.
    """
    resume = before.resume if before is not None and before.resume is not None else PlanResume()
    first_index = before.objects_before + len(before.objects) if before is not None else 0
    bytes_before = before.bytes_before + sum(o.size_bytes for o in before.objects) if before is not None else 0
    if of_archives is not None:
        return _shaped(of_archives(before, first_index, bytes_before), spec)
    if resume.objects_done < len(request.objects):
        pinned, following = _pin_named(request, resume, first_index, objects)
    elif resume.prefixes_done < len(request.prefixes):
        pinned, following = _pin_listed(request, resume, first_index, objects, min(SMALL_OBJECT_BYTES, range_bytes))
    else:
        pinned, following = [], resume
    done = following.objects_done >= len(request.objects) and following.prefixes_done >= len(request.prefixes)
    return _shaped(PlanPage(pinned, first_index, bytes_before, None if done else following), spec)


def _shaped(page: PlanPage, spec: FormatSpec) -> PlanPage:
    """The page with what the format asks of its objects."""
    if spec.type != "object":
        return page
    return msgspec.structs.replace(page, objects=[msgspec.structs.replace(pin, whole=True) for pin in page.objects])


def _pin_named(
    request: JobRequest, resume: PlanResume, first_index: int, objects: Objects
) -> tuple[list[PinnedObject], PlanResume]:
    refs = request.objects[resume.objects_done : resume.objects_done + PLAN_PAGE_OBJECTS]
    pinned = _pin_all(refs, first_index, objects)
    return pinned, PlanResume(resume.objects_done + len(refs))


def _pin_listed(
    request: JobRequest, resume: PlanResume, first_index: int, objects: Objects, small_bytes: int
) -> tuple[list[PinnedObject], PlanResume]:
    """Small objects, which one range covers, by what the listing says of them; larger ones by HEAD.

    A listing names no versions. Where the first object has one the bucket is versioned, and all are looked at: only a
    pinned version is read to its end whatever is written over it.
    """
    prefix = request.prefixes[resume.prefixes_done]
    listing = objects.list_page(prefix.bucket, prefix.prefix, resume.after)
    wanted = [
        ref
        for ref, _ in listing.objects
        if ref.key.endswith(prefix.suffix) and not (ref.key.endswith("/") and not ref.size_bytes)
    ]
    pinned: list[PinnedObject] = [
        PinnedObject(
            first_index + position,
            ref.bucket,
            ref.key,
            ref.etag or "",
            ref.size_bytes or 0,
            crc_name=listing.crc_names.get(ref.key, "CRC64NVME"),
            crc_later=True,
        )
        for position, ref in enumerate(wanted)
    ]
    first = (
        objects.pin(ObjectRef(pinned[0].bucket, pinned[0].key, etag=pinned[0].etag), first_index) if pinned else None
    )
    is_versioned = first is not None and first.version_id is not None
    large = [p for p in pinned if is_versioned or p.size_bytes > small_bytes]
    with ThreadPoolExecutor(_PIN_THREADS) as pool:
        looked_up = pool.map(lambda p: objects.pin(ObjectRef(p.bucket, p.key, etag=p.etag), p.index), large)
        by_index = {p.index: p for p in looked_up}
    pinned = [by_index.get(p.index, p) for p in pinned]
    if listing.after is None:
        return pinned, PlanResume(resume.objects_done, resume.prefixes_done + 1)
    return pinned, PlanResume(resume.objects_done, resume.prefixes_done, listing.after)


def _pin_all(refs: list[ObjectRef], first_index: int, objects: Objects) -> list[PinnedObject]:
    if len(refs) == 1:
        return [objects.pin(refs[0], first_index)]
    with ThreadPoolExecutor(_PIN_THREADS) as pool:
        return list(pool.map(objects.pin, refs, range(first_index, first_index + len(refs))))
