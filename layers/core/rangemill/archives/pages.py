"""Pages of a plan whose objects may be archives: members take the place of the archive that they are in."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import batched
from typing import Final

import msgspec

from rangemill import compression
from rangemill.archives import expand, tar_headers
from rangemill.archives.expand import Expander
from rangemill.compression import looking
from rangemill.compression.base import Mode
from rangemill.errors import BadArchive, RangemillError
from rangemill.gateways import Objects
from rangemill.limits import PLAN_PAGE_OBJECTS
from rangemill.messages import JobRequest, ObjectRef, PinnedObject, PlanPage, PlanResume
from rangemill.pipeline import FormatSpec
from rangemill.spans import read_span

# A number of a page before this one -> that page
type EarlierPage = Callable[[int], PlanPage]

_BATCH: Final = 32  # objects that are pinned and looked at together; what then does not fit the page is looked at again
_LEVELS: Final = ("bytes", "units", "stream")  # from the strongest to the weakest
_OF_KIND: Final = {"zip": "units", "tar": "units", "": "bytes"}


def reads_archives(spec: FormatSpec) -> bool:
    """Whether the objects of a pipeline may be archives to be looked into."""
    return wanted(spec) != "none"


def wanted(spec: FormatSpec) -> str:
    """`none`, `auto`, `zip` or `tar`: what `archive` says, or means where it is not there."""
    return spec.nesting.archive or ("auto" if spec.type == "auto" else "none")


@dataclass(frozen=True, slots=True)
class PageBuilder:
    """Makes the pages of one job; kept from page to page, so that an archive's directory is read once."""

    request: JobRequest
    spec: FormatSpec
    objects: Objects
    expander: Expander
    earlier: EarlierPage

    def build(self, number: int, before: PlanPage | None, first_index: int, bytes_before: int) -> PlanPage:
        """The page of that number, after `before`. Raises `BadArchive`."""
        resume = before.resume if before is not None and before.resume is not None else PlanResume()
        passed = Counter(before.passed_over if before is not None else {})
        level = before.level if before is not None else "bytes"
        found: list[PinnedObject] = []
        containers = self._containers(resume)
        goes_on: PlanResume | None = resume
        while len(found) < PLAN_PAGE_OBJECTS and goes_on is not None:
            if goes_on.archive is None:
                step = next(containers, None)
                if step is None:
                    goes_on = None
                    break
                pin, kind, goes_on = step
                level = max(level, _OF_KIND.get(kind, "stream"), key=_LEVELS.index)
                if kind not in ("zip", "tar"):
                    found.append(pin)
                    continue
                goes_on = msgspec.structs.replace(goes_on, archive=pin, kind=kind)
            archive, room = goes_on.archive, PLAN_PAGE_OBJECTS - len(found)
            if archive is None:
                break
            listed = self.expander.members(
                archive, goes_on.kind, goes_on.at, room, partial(self._names_before, number, archive, found)
            )
            found += listed.members
            passed.update(listed.passed_over)
            if listed.next_at is None:
                goes_on = msgspec.structs.replace(goes_on, archive=None, kind="", at=0)
            else:
                goes_on = msgspec.structs.replace(goes_on, at=listed.next_at)
                break  # the page is full, or took long enough
        pins = [msgspec.structs.replace(pin, index=first_index + i) for i, pin in enumerate(found)]
        return PlanPage(pins, first_index, bytes_before, goes_on, level, dict(passed))

    def _names_before(self, number: int, archive: PinnedObject, found: list[PinnedObject]) -> set[str]:
        """The members of an archive that this page and earlier ones hold already."""
        names = {pin.member for pin in found if _is_of(pin, archive)}
        while number > 0:
            page = self.earlier(number - 1)
            if page.resume is None or page.resume.archive is None or not _is_of(page.resume.archive, archive):
                break
            names |= {pin.member for pin in page.objects if _is_of(pin, archive)}
            number -= 1
        return {name for name in names if name is not None}

    def _containers(self, resume: PlanResume) -> Iterator[tuple[PinnedObject, str, PlanResume]]:
        """The objects from there on, pinned; of which kind of archive each is; and where to go on after it."""
        with ThreadPoolExecutor(expand.THREADS) as pool:
            for batch in batched(self._refs(resume), _BATCH, strict=False):
                pins = pool.map(self._look, [ref for ref, _ in batch])
                for (pin, kind), (_, following) in zip(pins, batch, strict=True):
                    yield pin, kind, following

    def _look(self, ref: ObjectRef) -> tuple[PinnedObject, str]:
        pin = self.objects.pin(ref, 0)
        asked = wanted(self.spec)
        if asked == "zip":
            return pin, "zip"
        head = read_span(self.objects, pin, 0, min(compression.SNIFF_BYTES, pin.size_bytes))
        found = expand.kind_of(head)
        if asked == "tar" and found == "zip":
            raise BadArchive(f"{pin.uri} is a zip, not a tar; say `archive: zip` or `auto`", object_uri=pin.uri)
        try:
            unpacked = self._compressed_tar(pin, head) if found is None else None
        except RangemillError as error:
            error.of_object(pin.uri)
            raise
        if unpacked is not None:
            return unpacked, "compressed tar"
        return pin, "tar" if asked == "tar" else found or ""

    def _compressed_tar(self, pin: PinnedObject, head: bytes) -> PinnedObject | None:
        """The pin of a compressed tar, which one worker streams; None for what is none."""
        codec = compression.sniff(head)
        if codec == compression.NONE:
            return None
        mode = compression.load(codec).mode(head, None).name
        unpacked = msgspec.structs.replace(pin, compression=mode, whole=True, archive="tar")
        inner = b""
        for piece in looking.logical_pieces(unpacked, self.spec.nesting, self.objects):
            inner += piece
            if len(inner) >= tar_headers.BLOCK:
                break
        if wanted(self.spec) != "tar" and not tar_headers.looks_like_tar(inner):
            return None
        looking.require_time(unpacked, Mode(mode, whole=True))
        return unpacked

    def _refs(self, resume: PlanResume) -> Iterator[tuple[ObjectRef, PlanResume]]:
        """What is to be looked at, and where to go on after each."""
        request = self.request
        for done, ref in enumerate(request.objects[resume.objects_done :], resume.objects_done + 1):
            yield ref, PlanResume(done)
        after = resume.after
        for number in range(resume.prefixes_done, len(request.prefixes)):
            prefix = request.prefixes[number]
            while True:
                listing = self.objects.list_page(prefix.bucket, prefix.prefix, after)
                for ref, _ in listing.objects:
                    is_folder = ref.key.endswith("/") and not ref.size_bytes
                    if ref.key.endswith(prefix.suffix) and not is_folder:
                        yield ref, PlanResume(len(request.objects), number, ref.key)
                after = listing.after
                if after is None:
                    break


def _is_of(pin: PinnedObject, archive: PinnedObject) -> bool:
    """Whether a member, or an archive, is of that archive."""
    return (pin.bucket, pin.key, pin.version_id, pin.etag) == (
        archive.bucket,
        archive.key,
        archive.version_id,
        archive.etag,
    )
