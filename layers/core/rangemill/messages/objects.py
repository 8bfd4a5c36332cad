"""Objects as they were pinned, the ranges of them that are handed out, and what stays to be done."""

from msgspec import Struct


class ObjectRef(Struct, frozen=True, omit_defaults=True):
    """An object as an event, a listing or a person named it."""

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size_bytes: int | None = None


class PinnedObject(Struct, frozen=True, omit_defaults=True):
    """An object as the job will read it and nothing else.

    `crc` is the object's own full CRC under `crc_name`; None where S3 keeps none, or, while `crc_later` is true, where
    the worker that reads the object whole will bring it.

    `whole` objects are one range: nothing in them can be begun in the middle. A `member` is a file inside an archive
    object: its bytes are `[base, base + size_bytes)` of an object of `container_bytes`. `compression` is the object's
    own, where it was looked at one by one; `logical_bytes` and `logical_crc` (a CRC-32) are those of what it unpacks
    to, where an archive keeps them. `archive` is `tar` for a compressed tar, whose members only a stream shows.
    """

    index: int
    bucket: str
    key: str
    etag: str
    size_bytes: int
    version_id: str | None = None
    crc_name: str = "CRC64NVME"
    crc: int | None = None
    crc_later: bool = False
    whole: bool = False
    compression: str = ""
    member: str | None = None
    base: int = 0
    container_bytes: int | None = None
    logical_bytes: int | None = None
    logical_crc: int | None = None
    archive: str = ""

    @property
    def uri(self) -> str:
        """`s3://bucket/key`, or a local file's path; of a member with its name after a `!`."""
        place = f"s3://{self.bucket}/{self.key}" if self.bucket else self.key
        return place if self.member is None else f"{place}!{self.member}"


class Run(Struct, frozen=True, array_like=True):
    """Adjacent ranges `[start, end)` of one object, cut at multiples of `range_bytes`.

    `state` is what the format's automaton is in at the start, where a neighbour has told; None lets the worker assume.
    """

    object_index: int
    start: int
    end: int
    range_bytes: int
    state: str | None = None


class IndexTurn(Struct, frozen=True, array_like=True):
    """An indexer's turn: from which stored byte on, and after how many seconds it ends."""

    start: int
    seconds: float


class Slot(Struct, frozen=True, omit_defaults=True):
    """What one worker gets: runs, and the pins of their objects.

    With `index` it has one object and no runs: nothing is applied, the object's restart points are made. A `suspect` is
    a part of a slot whose worker died. `condemned` says why its record is rejected without being applied. With
    `redo` its runs are of lines in these files of rejects, and it has no objects.
    """

    slot: int
    objects: list[PinnedObject]
    runs: list[Run]
    index: IndexTurn | None = None
    suspect: bool = False
    condemned: str = ""
    redo: list[str] = []


class RetrySlot(Struct, frozen=True, omit_defaults=True):
    """Tiles that came back, kept together as one slot. `deaths` are in a row, of workers that had exactly these."""

    objects: list[PinnedObject]
    runs: list[Run]
    deaths: int = 0
    tries: int = 0
    suspect: bool = False  # as in `Slot`
    condemned: str = ""  # as in `Slot`
    redo: list[str] = []  # as in `Slot`


class Indexing(Struct, frozen=True, omit_defaults=True):
    """An object that is handed out behind its indexer: the cursor has passed it, and it stays until it is handed out.

    The stored bytes before `indexed` have their restart points, those before `handed` were handed out. `turns` were
    given to indexers; `tries` and `deaths` are of the turns without an outcome since the last one that had one.
    """

    pin: PinnedObject
    indexed: int = 0
    handed: int = 0
    turns: int = 0
    tries: int = 0
    deaths: int = 0


class RejectFile(Struct, frozen=True, array_like=True):
    """A file of rejects that counts, and how many are in it; None where an earlier version wrote the list."""

    key: str
    records: int | None


class Redo(Struct, frozen=True, array_like=True):
    """Where the rejects stand that are to be applied again: of the redrive of that number, which left so many pages.

    A page names lists, a list files: the file at `file` of the list at `position` of the page at `page` is the next.
    """

    number: int
    pages: int
    page: int = 0
    position: int = 0
    file: int = 0


class Cursor(Struct, frozen=True, order=True):
    """The first stored byte, in plan order, that has never been handed out."""

    page: int = 0  # of the plan
    position: int = 0  # of the object in its page
    offset: int = 0  # in the object
