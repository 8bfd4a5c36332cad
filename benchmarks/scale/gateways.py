"""Gateways that measure: every document that a state reads or writes, by its kind, with its size and its wave."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec

from benchmarks.scale import pattern
from rangemill.errors import ObjectMissing
from rangemill.gateways import Head, Listing, Store
from rangemill.ledger import DEFAULT_CRC
from rangemill.limits import PIECE_BYTES, S3_LIST_PAGE_OBJECTS
from rangemill.messages import ObjectRef, PinnedObject
from rangemill_cli.inprocess.memory import MemoryStore

BUCKET: Final = "objects"
_ETAG: Final = '"00000000000000000000000000000000"'
_KINDS: Final = (
    ("request", re.compile(r"^jobs/[^/]+/request\.json$")),
    ("plan", re.compile(r"^jobs/[^/]+/plan/plan")),
    ("page of the plan", re.compile(r"^jobs/[^/]+/plan/objects-")),
    ("checkpoint", re.compile(r"^jobs/[^/]+/checkpoints/")),
    ("folded partial", re.compile(r"^jobs/[^/]+/aggregates/")),
    ("list of proved objects", re.compile(r"^jobs/[^/]+/ledger/")),
    ("slots", re.compile(r"/waves/[^/]+/slots$")),
    ("handout", re.compile(r"/waves/[^/]+/handout$")),
    ("wave document", re.compile(r"/waves/[^/]+\.json$")),
    ("outcome", re.compile(r"/outcomes/")),
    ("verdict", re.compile(r"/verdicts/")),
    ("result", re.compile(r"results/[^/]+/[^/]+/result\.")),
    ("manifest", re.compile(r"_manifest\.json$")),
    ("report", re.compile(r"report\.json$")),
)


def kind_of(key: str) -> str:
    """What kind of document lies under a key. Raises `ValueError` for one that this page does not know."""
    for kind, shape in _KINDS:
        if shape.search(key):
            return kind
    raise ValueError(f"what is {key}?")


@dataclass
class Seen:
    """What one state did with one kind of document: how often by wave, and the largest by wave."""

    counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    largest: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    total: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, wave: int, size_bytes: int) -> None:
        """One more."""
        self.counts[wave] += 1
        self.largest[wave] = max(self.largest[wave], size_bytes)
        self.total[wave] += size_bytes


class MeasuredStore(MemoryStore):
    """The work bucket in memory. `state` and `wave` say whose requests are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.wave = "", 0
        self.seen: dict[tuple[str, str, str], Seen] = defaultdict(Seen)  # (state, GET or PUT, kind)
        self._written: dict[int, list[str]] = defaultdict(list)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
        """See `MemoryStore`."""
        body = super().get(key, span)
        self._note("GET", key, body or b"")
        return body

    def put(self, key: str, body: bytes) -> None:
        """See `MemoryStore`."""
        self._note("PUT", key, body)
        super().put(key, body)

    def put_once(self, key: str, body: bytes) -> bool:
        """See `MemoryStore`."""
        self._note("PUT", key, body)
        return super().put_once(key, body)

    def forget(self, before_wave: int) -> None:
        """What only earlier waves read: a job's scratch expires, and this machine's memory must hold the job."""
        for wave in [wave for wave in self._written if wave < before_wave]:
            for key in self._written.pop(wave):
                self._bodies.pop(self.uri(key), None)

    def copy_to(self, other: Store) -> None:
        """Put everything that is here there as well."""
        for uri, body in list(self._bodies.items()):
            other.put(uri.removeprefix(f"s3://{self.bucket}/"), body)

    def _note(self, request: str, key: str, body: bytes) -> None:
        kind = kind_of(key)
        self.seen[self.state, request, kind].add(self.wave, len(body))
        if request == "PUT" and (key.startswith("scratch/") or kind == "checkpoint"):
            self._written[self.wave].append(key)


@dataclass(frozen=True)
class PatternObjects:
    """`gateways.Objects` of so many objects of one size, all of the pattern; `sizes` are by position of the key."""

    count: int
    object_bytes: int
    prefix: str = "data/"

    @property
    def requests(self) -> int:
        """Nothing here is counted: workers are made up."""
        return 0

    def ref(self, number: int) -> ObjectRef:
        """The object of that number."""
        return ObjectRef(BUCKET, f"{self.prefix}{number:09d}", etag=_ETAG, size_bytes=self.object_bytes)

    def head(self, bucket: str, key: str, version_id: str | None) -> Head | None:
        """Not asked by any state of a job that was submitted."""
        raise ObjectMissing(f"s3://{bucket}/{key}", version_id or "present")

    def pin(self, ref: ObjectRef, index: int) -> PinnedObject:
        """As HEAD tells it, with the CRC that S3 would keep."""
        crc = pattern.Tile(0, self.object_bytes, self.object_bytes).crc
        return PinnedObject(index, ref.bucket, ref.key, _ETAG, self.object_bytes, None, DEFAULT_CRC, crc)

    def list_page(self, bucket: str, prefix: str, after: str | None) -> Listing:  # noqa: ARG002 - there is one prefix
        """A thousand keys, as S3 gives them."""
        first = 0 if after is None else int(after.removeprefix(self.prefix)) + 1
        end = min(first + S3_LIST_PAGE_OBJECTS, self.count)
        moment = datetime(2026, 11, 1, tzinfo=UTC)
        listed = [self.ref(number) for number in range(first, end)]
        names = {ref.key: DEFAULT_CRC for ref in listed}
        return Listing([(ref, moment) for ref in listed], listed[-1].key if end < self.count else None, names)

    def read(self, pin: PinnedObject, start: int, stop_hint: int) -> Iterator[bytes]:  # noqa: ARG002 - all is at hand
        """The pattern, for Plan's samples."""
        while start < pin.size_bytes:
            end = min(start + PIECE_BYTES, pin.size_bytes)
            yield pattern.data(start, end)
            start = end

    def read_whole(self, pin: PinnedObject) -> tuple[PinnedObject, Iterator[bytes]]:
        """The pin with the CRC that came with the GET."""
        whole = self.pin(ObjectRef(pin.bucket, pin.key, etag=pin.etag), pin.index)
        return msgspec.structs.replace(whole, crc_later=False), self.read(whole, 0, whole.size_bytes)
