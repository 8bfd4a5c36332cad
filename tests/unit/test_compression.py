"""Compressed objects: every record exactly once, however frames, members, points and ranges lie."""

import bz2
import gzip
import lzma
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import lz4.frame
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill import compression, formats
from rangemill.blocks import Block, RangeDone, Remaining
from rangemill.compression import _points, _split
from rangemill.compression._stored import Stored
from rangemill.compression.base import Around, Unit
from rangemill.compression.reading import Reading
from rangemill.errors import BadCompression, IntegrityError
from rangemill.formats.base import Settled
from rangemill.ledger import CRC_FUNCTIONS, Segment, merge, prove, segment_of
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting
from rangemill.ranges import ByteRange

crc64 = CRC_FUNCTIONS["CRC64NVME"][0]


@dataclass
class DictStore:
    """The work bucket, as far as codecs use it."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    bucket: str = "work"

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes | None:
        return self.bodies.get(key)

    def put(self, key: str, body: bytes) -> None:
        self.bodies[key] = body

    def put_once(self, key: str, body: bytes) -> bool:
        self.put(key, body)
        return True

    def delete_below(self, prefix: str) -> int:
        raise NotImplementedError

    def uri(self, key: str) -> str:
        return key


@dataclass
class Case:
    """A compressed object and how to read it."""

    body: bytes
    mode: str
    whole: bool = False
    format: Settled = field(default_factory=lambda: Settled("text", {}))
    nesting: Nesting = field(default_factory=Nesting)
    store: DictStore = field(default_factory=DictStore)
    piece_bytes: int = 1 << 20

    def events(
        self,
        run: ByteRange,
        range_bytes: int,
        should_stop: Callable[[], bool] = lambda: False,
        state: str | None = None,
    ) -> Iterator[Block | RangeDone | Remaining]:
        pin = PinnedObject(0, "bucket", "key", "etag", len(self.body), whole=self.whole)
        around = Around(pin, lambda start, end: self.body[start:end], self.store)
        reading = Reading(
            compression.load(self.mode), self.mode, formats.load(self.format.format), self.format, self.nesting
        )
        starts = range(run.start, len(self.body), self.piece_bytes)
        pieces = (self.body[start : start + self.piece_bytes] for start in starts)
        range_bytes = len(self.body) if self.whole else range_bytes
        return reading.align(run, range_bytes, pieces, around, crc64, should_stop, state)  # type: ignore[return-value]

    def read(
        self, edges: list[int], range_bytes: int, stops: Iterator[bool] | None = None
    ) -> tuple[bytes, Segment, int]:
        """All records, the proved object, and how often a worker stopped."""
        blocks: list[Block] = []
        rows: list[Segment] = []
        stopped = 0
        todo: list[tuple[ByteRange, str | None]] = [(ByteRange(start, end), None) for start, end in pairwise(edges)]
        while todo:
            run, state = todo.pop(0)
            covered = run.start
            for event in self.events(run, range_bytes, lambda: next(stops or iter(()), False), state):
                match event:
                    case Block():
                        blocks.append(event)
                    case RangeDone():
                        assert event.tile.start == covered
                        covered = event.tile.end_exclusive
                        rows.append(segment_of(event))
                    case Remaining():
                        assert run.start < event.tile.start == covered
                        assert event.tile.end_exclusive == run.end_exclusive
                        todo.insert(0, (event.tile, event.state))
                        covered = run.end_exclusive
                        stopped += 1
            assert covered == run.end_exclusive
        merged = merge(rows, "CRC64NVME", "s3://any/key")
        size = len(self.body)
        assert prove(merged, size, size, "CRC64NVME", crc64(self.body, 0), "s3://any/key") is True
        return b"".join(block.data for block in blocks), merged[0], stopped


def lines_in(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def frames_of(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data cut into parts of these sizes, over and over; empty ones too."""
    parts, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        parts.append(data[at : at + size])
        at += size
        turn += 1
    return parts or [b""]


def zstd_frames(parts: list[bytes]) -> bytes:
    checked: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc"
    return b"".join((skippable if len(p) % 5 == 3 else b"") + zstd.compress(p, options=checked) for p in parts)


def bgzf(parts: list[bytes]) -> bytes:
    blocks = []
    for part in [*parts, b""]:
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(part) + packer.flush()
        size = len(packed) + 25
        head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + size.to_bytes(2, "little")
        blocks.append(head + packed + zlib.crc32(part).to_bytes(4, "little") + len(part).to_bytes(4, "little"))
    return b"".join(blocks)


def one_gzip_member(parts: list[bytes]) -> bytes:
    """Deflate blocks of all lengths, at all bits."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    body = b""
    for index, part in enumerate(parts):
        body += packer.compress(part) + packer.flush((zlib.Z_BLOCK, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH)[index % 3])
    return body + packer.flush()


def xz_of_many_blocks(parts: list[bytes]) -> bytes:
    """One stream with a block for each part that has bytes, as `xz --block-size` makes it."""
    check = lzma.CHECK_CRC64
    body = lzma.compress(b"", check=check)[:12]
    records = b""
    count = 0
    for part in parts:
        if not part:
            continue
        one = lzma.compress(part, check=check)
        index_bytes = (int.from_bytes(one[-8:-4], "little") + 1) * 4
        packed = one[12 : len(one) - 12 - index_bytes]
        sizes = one[len(one) - 12 - index_bytes + 2 :]  # after the index's first byte and its count of one
        numbers = b""
        seen = 0
        for byte in sizes:
            numbers += bytes((byte,))
            seen += byte < 0x80
            if seen == 2:
                break
        records += numbers
        body += packed
        count += 1
    index = b"\0" + number(count) + records
    index += bytes(-len(index) % 4)
    index += zlib.crc32(index).to_bytes(4, "little")
    tail = (len(index) // 4 - 1).to_bytes(4, "little") + body[6:8]
    return body + index + zlib.crc32(tail).to_bytes(4, "little") + tail + b"YZ"


def number(value: int) -> bytes:
    """A number as xz writes it."""
    parts = b""
    while value >= 0x80:
        parts += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return parts + bytes((value,))


def bzip2_streams(parts: list[bytes]) -> bytes:
    return b"".join(bz2.compress(part, 1) for part in parts)


def lz4_frames(parts: list[bytes], linked: bool = False) -> bytes:
    """Frames of different kinds; blocks of 64 KiB, or ended early by a flush."""
    body = b""
    for index in range(0, len(parts), 3):
        packer = lz4.frame.LZ4FrameCompressor(
            block_size=lz4.frame.BLOCKSIZE_MAX64KB,
            block_linked=linked,
            content_checksum=index % 2 == 0,
            block_checksum=len(parts) % 2 == 0,
            auto_flush=True,
        )
        body += packer.begin() + b"".join(map(packer.compress, parts[index : index + 3])) + packer.flush()
    return body


SPLIT: dict[str, Callable[[list[bytes]], bytes]] = {
    "zstd:frames": zstd_frames,
    "gzip:members": lambda parts: b"".join(map(gzip.compress, parts)),
    "bgzf": bgzf,
    "bzip2": bzip2_streams,
    "xz:blocks": xz_of_many_blocks,
    "xz:streams": lambda parts: bytes(4).join(map(lzma.compress, parts)),
    "lz4:blocks": lz4_frames,
    "lz4:frames": lambda parts: lz4_frames(parts, linked=True),
}

content = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b"\xff\x00", b"\xe2\x80\xa8", b"x" * 37, b"\n\n", b"yz" * 300]),
    max_size=40,
).map(b"".join)
sizes = st.lists(st.one_of(st.integers(0, 4), st.integers(1, 400)), min_size=1, max_size=5).filter(any)


@pytest.mark.parametrize("mode", SPLIT)
@settings(max_examples=100, deadline=None)
@given(
    data=content,
    sizes=sizes,
    range_bytes=st.one_of(st.integers(1, 40), st.integers(1, 2000)),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    piece_bytes=st.sampled_from([1, 7, 100, 1 << 20]),
    sub_run_bytes=st.sampled_from([1, 50, 1 << 20]),
    stops=st.lists(st.booleans(), max_size=12),
)
def test_every_record_exactly_once(
    mode: str,
    data: bytes,
    sizes: list[int],
    range_bytes: int,
    cuts: list[float],
    piece_bytes: int,
    sub_run_bytes: int,
    stops: list[bool],
) -> None:
    body = SPLIT[mode](frames_of(data, sizes))
    edges = sorted({0, len(body), *(int(cut * len(body)) for cut in cuts)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_split, "SUB_RUN_BYTES", sub_run_bytes)
        found, proved, _ = Case(body, mode, piece_bytes=piece_bytes).read(edges, range_bytes, iter(stops))
    assert found == data
    assert proved.records == lines_in(data)


def units_from(mode: str, body: bytes, start: int) -> list[int]:
    run = ByteRange(start, len(body))
    stored = Stored(iter([body[start:]]), run, len(body), len(body), crc64)
    around = Around(PinnedObject(0, "b", "k", "e", len(body)), lambda low, high: body[low:high], DictStore())
    return [e.stored for e in compression.load(mode).session(stored, mode, around).decode() if isinstance(e, Unit)]


@pytest.mark.parametrize("mode", SPLIT)
def test_the_same_units_are_found_from_everywhere(mode: str) -> None:
    body = SPLIT[mode](frames_of(b"".join(b"%d\n" % number for number in range(60)), [0, 1, 70, 3]))
    units = units_from(mode, body, 0)
    for start in range(len(body)):
        assert units_from(mode, body, start) == [unit for unit in units if unit >= start]


@settings(max_examples=100, deadline=None)
@given(
    data=content,
    sizes=sizes,
    members=st.booleans(),
    spacing=st.integers(1, 3000),
    range_bytes=st.one_of(st.integers(1, 40), st.integers(1, 2000)),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    piece_bytes=st.sampled_from([1, 7, 100, 1 << 20]),
    stops=st.lists(st.booleans(), max_size=12),
)
def test_restart_points_are_made_used_and_resumed_from(
    data: bytes,
    sizes: list[int],
    members: bool,
    spacing: int,
    range_bytes: int,
    cuts: list[float],
    piece_bytes: int,
    stops: list[bool],
) -> None:
    parts = frames_of(data, sizes)
    body = SPLIT["gzip:members"](parts) if members else one_gzip_member(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_points, "SPACING_BYTES", spacing)
        patch.setattr(_split, "SUB_RUN_BYTES", 100)
        first = Case(body, "gzip", whole=True, piece_bytes=piece_bytes)
        found, proved, _ = first.read([0, len(body)], 1, iter(stops))
        assert found == data
        assert proved.records == lines_in(data)
        edges = sorted({0, len(body), *(int(cut * len(body)) for cut in cuts)})
        second = Case(body, "gzip:points", store=first.store, piece_bytes=piece_bytes)
        found, proved, _ = second.read(edges, range_bytes, iter(stops))
        assert found == data
        assert proved.records == lines_in(data)


DATA = b"".join(b"line %d %s\n" % (number, b"z" * (number % 50)) for number in range(3000))
DAMAGED = {
    "zstd:frames": zstd_frames(frames_of(DATA, [5000])),
    "gzip:small": gzip.compress(DATA),
    "gzip:members": b"".join(gzip.compress(part) for part in frames_of(DATA, [5000])),
    "bgzf": bgzf(frames_of(DATA, [5000])),
    "bzip2": bzip2_streams(frames_of(DATA, [60_000])),
    "xz:blocks": xz_of_many_blocks(frames_of(DATA, [5000])),
    "xz:streams": b"".join(map(lzma.compress, frames_of(DATA, [5000]))),
}


@pytest.mark.parametrize("mode", DAMAGED)
@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 0.9999), bit=st.integers(0, 7), range_bytes=st.sampled_from([100, 10_000, 1 << 20]))
def test_a_flipped_bit_is_an_error_or_changes_nothing(mode: str, at: float, bit: int, range_bytes: int) -> None:
    body = bytearray(DAMAGED[mode])
    body[int(at * len(body))] ^= 1 << bit
    try:
        found, _, _ = Case(bytes(body), mode, whole=mode == "gzip:small").read([0, len(body)], range_bytes)
    except IntegrityError:
        return
    assert found == DATA  # a time stamp, a name, a flag that nobody reads


@pytest.mark.parametrize("mode", DAMAGED)
@settings(max_examples=40, deadline=None)
@given(at=st.floats(0.0001, 0.9999))
def test_truncated_data_is_never_all_there_is(mode: str, at: float) -> None:
    body = DAMAGED[mode][: max(1, int(at * len(DAMAGED[mode])))]
    try:
        found, _, _ = Case(body, mode, whole=mode == "gzip:small").read([0, len(body)], 10_000)
    except IntegrityError:
        return
    assert DATA.startswith(found)  # cut between two frames: what is there is whole


def test_what_the_first_pass_saw_is_what_later_ranges_must_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "SPACING_BYTES", 10_000)
    body = gzip.compress(DATA)
    first = Case(body, "gzip", whole=True)
    first.read([0, len(body)], 1)
    damaged = bytearray(body)
    damaged[len(body) // 2] ^= 1
    with pytest.raises(IntegrityError):
        Case(bytes(damaged), "gzip:points", store=first.store).read([0, len(body)], 1000)


@pytest.mark.parametrize("mode", ["gzip:small", "zstd:frames"])
def test_a_bomb_is_refused_while_it_goes_off(mode: str) -> None:
    bomb = b"\n" * (128 << 20)
    body = gzip.compress(bomb, 9) if mode == "gzip:small" else zstd.compress(bomb)
    with pytest.raises(BadCompression, match="max_ratio"):
        for _ in Case(body, mode, whole=True, nesting=Nesting(max_ratio=100)).events(
            ByteRange(0, len(body)), len(body)
        ):
            pass


@pytest.mark.parametrize("mode", ["zstd:frames", "xz"])
def test_what_is_packed_well_is_no_bomb(mode: str) -> None:
    """All that the library was given counts, though nobody knows yet how much of it gave this output."""
    page = random.Random(3).randbytes(10_000).hex().encode() + b"\n"
    plain = page * (66 * 2**20 // len(page))
    body = zstd.compress(plain) if mode == "zstd:frames" else lzma.compress(plain, preset=0)
    ratio = len(plain) // len(body)
    assert ratio > 500
    events = Case(body, mode, whole=True, nesting=Nesting(max_ratio=2 * ratio)).events(
        ByteRange(0, len(body)), len(body)
    )
    assert sum(event.records for event in events if isinstance(event, RangeDone)) == len(plain) // len(page)


def test_codecs_are_recognised_by_their_first_bytes() -> None:
    assert compression.sniff(gzip.compress(b"x")) == "gzip"
    assert compression.sniff(zstd.compress(b"x")) == "zstd"
    assert compression.sniff(zstd_frames([b"abc"])) == "zstd"
    assert compression.sniff(bz2.compress(b"")) == "bzip2"
    assert compression.sniff(lzma.compress(b"x")) == "xz"
    assert compression.sniff(lz4.frame.compress(b"x")) == "lz4"
    assert compression.sniff(b"BZh9 is how a line of text may begin") == "none"
    assert compression.sniff(b"") == "none"
    assert compression.by_suffix("logs/a.CSV.GZ") == "gzip"
