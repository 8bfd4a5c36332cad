"""Which objects are compressed and how they are read: said by Plan of objects that it looks at one by one, else by the
worker that reads the object.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Final

import msgspec

from rangemill import compression, formats
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Mode
from rangemill.compression.reading import Reading, counts_from_start, refuse_bomb
from rangemill.errors import BadCompression, BadRequest
from rangemill.formats.base import Sample, Settled
from rangemill.gateways import Objects, Store
from rangemill.limits import SAMPLE_BYTES, SMALL_OBJECT_BYTES, STREAM_MAX_SECONDS
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting
from rangemill.pipeline import FormatSpec
from rangemill.ranges import ByteRange
from rangemill.spans import read_span
from rangemill.units import show_bytes

_LOOK_THREADS: Final = 16
_NOTES_MAX: Final = 10
_PLAIN_GZIP: Final = frozenset({"gzip", "gzip:points", "gzip:waves"})
_SPOKEN: Final = {compression.NONE: "not compressed"}


def may_be_compressed(spec: FormatSpec) -> bool:
    """Whether objects of this pipeline are looked at for compression."""
    if spec.nesting.compression == "auto":
        is_usual = not formats.is_random_access(spec.type)
        return bool(getattr(formats.load(spec.type), "MAY_BE_COMPRESSED", is_usual))
    return spec.nesting.compression != compression.NONE


def look_at_all(pins: list[PinnedObject], spec: FormatSpec, objects: Objects, store: Store) -> list[PinnedObject]:
    """The pins with what their first bytes say; listed small objects are left to their workers.

    Raises `BadCompression`, `BadRequest` for what cannot be split and would take longer than a worker lives.
    """
    if not may_be_compressed(spec):
        return pins
    with ThreadPoolExecutor(_LOOK_THREADS) as pool:
        return list(pool.map(partial(_look_at, spec=spec, objects=objects, store=store), pins))


def _look_at(pin: PinnedObject, spec: FormatSpec, objects: Objects, store: Store) -> PinnedObject:
    if not pin.size_bytes or pin.compression or pin.crc_later:
        return pin
    is_small = pin.member is not None and pin.size_bytes <= SMALL_OBJECT_BYTES
    if is_small and spec.nesting.compression == "auto" and compression.by_suffix(pin.member or "") == "none":
        return pin  # an archive of a million small files is not read twice; their workers refuse what is compressed
    around = around_of(pin, objects, store)
    head = around.read_span(0, min(compression.SNIFF_BYTES, pin.size_bytes))
    try:
        mode = mode_of(pin, head, spec, around)
    except BadCompression as error:
        error.of_object(pin.uri)
        raise
    if mode is None:
        return pin
    require_time(pin, mode)
    return msgspec.structs.replace(pin, compression=mode.name, whole=pin.whole or mode.whole)


def around_of(pin: PinnedObject, objects: Objects, store: Store | None) -> Around:
    """What codecs may look at of a pinned object."""
    return Around(pin, partial(read_span, objects, pin), store)


def mode_of(pin: PinnedObject, head: bytes, spec: FormatSpec, around: Around | None) -> Mode | None:
    """How to read an object that begins so; None for one that is not compressed. Without `around` it is a small one.

    Raises `BadCompression` for an object that is not what the pipeline declares.
    """
    declared = spec.nesting.compression
    found = compression.sniff(head)
    if declared not in ("auto", found):
        raise BadCompression(
            f"{pin.uri} is not {declared}, as `format.compression` says, but "
            f"{'not compressed at all' if found == compression.NONE else found} by its first bytes",
            object_uri=pin.uri,
            offset=0,
        )
    if found == compression.NONE:
        return None
    mode = compression.load(found).mode(head, around)
    if counts_from_start(formats.load(spec.type), spec.options) and not mode.absolute:
        return Mode(mode.name, whole=True)
    return mode


def require_time(pin: PinnedObject, mode: Mode) -> None:
    """Raise `BadRequest` for what one worker must read in one life and cannot."""
    codec = compression.load(mode.name)
    seconds = pin.size_bytes / codec.STREAM_BYTES_PER_SECOND
    if not mode.whole or mode.name == "gzip" or seconds <= STREAM_MAX_SECONDS:
        return
    name = pin.key.rpartition("/")[2]
    raise BadRequest(
        f"{pin.uri} is one {mode.name.partition(':')[0]} stream of {show_bytes(pin.size_bytes)}, which cannot be "
        f"begun in the middle: one worker would need about {seconds / 60:.0f} minutes, and has "
        f"{STREAM_MAX_SECONDS // 60}. Compress it again in parts: {codec.RECOMPRESS.format(name)}",
        object_uri=pin.uri,
    )


def is_mode(name: str) -> bool:
    """Whether `PinnedObject.compression` names a mode of a codec."""
    return compression.codec_of(name) != compression.NONE


def sniffed(pin: PinnedObject, pieces: Iterator[bytes], spec: FormatSpec) -> tuple[PinnedObject, Iterator[bytes]]:
    """The pin of a small object with how to read it, and its pieces again."""
    if not may_be_compressed(spec):
        return pin, pieces
    head = b""
    while len(head) < min(compression.SNIFF_BYTES, pin.size_bytes) and (piece := next(pieces, None)) is not None:
        head += piece
    return _as_small(pin, head, spec), chain((head,), pieces)


def sniffed_in_place(pin: PinnedObject, spec: FormatSpec, objects: Objects) -> PinnedObject:
    """The same for a worker that gets a part of it only."""
    if not pin.size_bytes or not may_be_compressed(spec):
        return pin
    head = read_span(objects, pin, 0, min(compression.SNIFF_BYTES, pin.size_bytes))
    return _as_small(pin, head, spec)


def is_packed(pin: PinnedObject, spec: FormatSpec, objects: Objects) -> bool:
    """Whether an object's bytes are not the format's own: of one that was left to its worker, by its first bytes."""
    if pin.crc_later and not pin.compression:
        pin = sniffed_in_place(pin, spec, objects)
    return pin.compression not in ("", compression.NONE)


def _as_small(pin: PinnedObject, head: bytes, spec: FormatSpec) -> PinnedObject:
    mode = mode_of(pin, head[: compression.SNIFF_BYTES], spec, None)
    return msgspec.structs.replace(pin, compression=compression.NONE if mode is None else mode.name)


def reading(pin: PinnedObject, settled: Settled, spec: FormatSpec, objects: Objects, several: bool) -> Reading:
    """How a run of a compressed object is read; `several` objects in a job may each have a head of their own."""

    def head() -> Iterator[bytes]:
        data, _ = _taken(logical_pieces(pin, spec.nesting, objects))
        return iter((data,))

    codec, module = compression.load(pin.compression), formats.load(settled.format)
    return Reading(codec, pin.compression, module, settled, spec.nesting, head if several else None)


def logical_pieces(pin: PinnedObject, nesting: Nesting, objects: Objects, start: int = 0) -> Iterator[bytes]:
    """Logical bytes from the first unit at or after a stored offset on; nothing is kept in the work bucket."""
    run = ByteRange(start, pin.size_bytes)
    around = around_of(pin, objects, None)
    mode = "gzip:small" if pin.compression in _PLAIN_GZIP else pin.compression
    stored = Stored(objects.read(pin, start, start + SAMPLE_BYTES), run, pin.size_bytes, pin.size_bytes, _no_crc)
    session = compression.load(mode).session(stored, mode, around)
    return compression.pieces_of(session, stored, partial(refuse_bomb, nesting, compression.codec_of(mode)))


def _no_crc(_: bytes, value: int) -> int:
    return value


def samples(pin: PinnedObject, spec: FormatSpec, objects: Objects) -> Iterator[Sample]:
    """Logical bytes from the head, and where it can be begun there from the middle of the object.

    Raises `BadCompression` where the object's head is damaged.
    """
    starts = [0]
    if pin.compression in ("zstd:frames", "bgzf", "gzip:members") and pin.size_bytes > 3 * SAMPLE_BYTES:
        starts.append(pin.size_bytes // 2)
    for start in starts:
        data, ended = _taken(logical_pieces(pin, spec.nesting, objects, start))
        # Where the data ends is not known: a sample that does not reach it must not look as if it did.
        end = start + len(data) + (0 if ended else 1)
        if data or start == 0:
            yield Sample(pin.uri, data, start, end)


def _taken(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) > SAMPLE_BYTES:
            return bytes(head[:SAMPLE_BYTES]), False
    return bytes(head), True


def level(pins: list[PinnedObject], before: str) -> str:
    """The proof level of a plan with these objects too: one that a single worker reads is proved as a stream."""
    return "stream" if before == "bytes" and any(pin.whole and is_mode(pin.compression) for pin in pins) else before


def notes(pins: list[PinnedObject], spec: FormatSpec) -> list[str]:
    """A sentence for each of the first few objects that were looked at and whose names speak of another codec."""
    if spec.nesting.compression != "auto" or not may_be_compressed(spec):
        return []
    looked_at = [pin for pin in pins if not pin.crc_later and pin.size_bytes and pin.logical_bytes is None]
    found = [sentence for pin in looked_at if (sentence := _note(pin)) is not None]
    if len(found) > _NOTES_MAX:
        return [*found[:_NOTES_MAX], f"so are {len(found) - _NOTES_MAX} more objects"]
    return found


def _note(pin: PinnedObject) -> str | None:
    said, found = compression.by_suffix(pin.member or pin.key), compression.codec_of(pin.compression)
    if said == found:
        return None
    said, found = (_SPOKEN.get(name, name) for name in (said, found))
    return f"{pin.uri} is {found} by its first bytes and is read so, though by its name it would be {said}"
