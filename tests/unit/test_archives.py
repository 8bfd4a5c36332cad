"""What archives hold: every file once, as their own lists say, and nothing that is not to be trusted."""

import io
import struct
import sysconfig
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangemill.archives import deflated, expand, zip_directory
from rangemill.archives.expand import Expander
from rangemill.blocks import Block, RangeDone
from rangemill.errors import BadArchive, RangemillError
from rangemill.formats.base import Settled
from rangemill.ledger import CRC_FUNCTIONS, prove, segment_of
from rangemill.messages import PinnedObject
from rangemill.nesting import Nesting
from rangemill.spans import read_span
from rangemill_cli.inprocess.objects import MemoryObjects

TEXT = Settled("text", {})


def zipped(files: dict[str, bytes], methods: list[int] | None = None, **more: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **more) as archive:
        for index, (name, body) in enumerate(files.items()):
            archive.writestr(name, body, (methods or [zipfile.ZIP_STORED])[index % len(methods or [0])])
    return buffer.getvalue()


def tarred(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def names_of(pins: list[PinnedObject]) -> set[str]:
    return {pin.member or "" for pin in pins}


def pages_of(body: bytes, kind: str, most: int = 1000, **nesting: Any) -> tuple[list[PinnedObject], dict[str, int]]:
    """All members of an archive, taken a page at a time by an expander that remembers nothing."""
    objects = MemoryObjects()
    archive = objects.pin(objects.put("b", "a", body), 0)
    found: list[PinnedObject] = []
    passed: dict[str, int] = {}
    at: int | None = 0
    while at is not None:
        expander = Expander(objects, Nesting(**nesting))
        listed = expander.members(archive, kind, at, most, partial(names_of, found))
        assert len(listed.members) <= most
        found += listed.members
        for name, count in listed.passed_over.items():
            passed[name] = passed.get(name, 0) + count
        at = listed.next_at
    return found, passed


def read_all(body: bytes, kind: str, most: int = 1000, **nesting: Any) -> dict[str, bytes]:
    """The files of an archive, read as workers read them."""
    objects = MemoryObjects(piece_bytes=7)
    objects.put("b", "a", body)
    files = {}
    for pin in pages_of(body, kind, most, **nesting)[0]:
        stored = read_span(objects, pin, 0, pin.size_bytes)
        if pin.compression == deflated.NAME:
            stored = b"".join(deflated.inflate(iter([stored[:3], stored[3:]]), pin))
        elif pin.crc is not None:
            assert pin.crc_name == "CRC32"
            assert CRC_FUNCTIONS["CRC32"][0](stored, 0) == pin.crc
        files[pin.member or ""] = stored
    return files


names = st.text(st.sampled_from("ab. é-"), min_size=1, max_size=12).filter(lambda n: n.strip(". ") != "")
long_names = st.builds(lambda name, times: name + "x" * times, names, st.sampled_from([0, 90, 300]))
paths = st.lists(long_names, min_size=1, max_size=3).map("/".join)
contents = st.one_of(st.binary(max_size=40), st.integers(0, 3000).map(lambda n: b"line\n" * n))


@settings(max_examples=200, deadline=None)
@given(
    files=st.dictionaries(paths, contents, max_size=8),
    methods=st.lists(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), min_size=1, max_size=3),
    most=st.integers(1, 5),
    before=st.sampled_from([b"", b"#!/bin/sh\n"]),
)
def test_a_zip_gives_each_file_once(files: dict[str, bytes], methods: list[int], most: int, before: bytes) -> None:
    assert read_all(before + zipped(files, methods), "zip", most) == files


@settings(max_examples=200, deadline=None)
@given(
    files=st.dictionaries(paths, contents, max_size=8),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    most=st.integers(1, 5),
)
def test_a_tar_gives_each_file_once(files: dict[str, bytes], form: int, most: int) -> None:
    try:
        body = tarred(files, form)
    except ValueError:  # USTAR has no long names
        return
    assert read_all(body, "tar", most) == files


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(["zip", "tar"]), data=st.data())
def test_a_damaged_archive_is_refused_or_read_as_it_was(kind: str, data: st.DataObject) -> None:
    files = {"a.txt": b"one\ntwo\n" * 20, "b.txt": b"three", "c/d.txt": b""}
    body = zipped(files, [0, 8]) if kind == "zip" else tarred(files)
    at = data.draw(st.integers(0, len(body) - 1))
    value = data.draw(st.integers(0, 255))
    damaged = body[:at] + bytes([value]) + body[at + 1 :]
    try:
        found = read_all(damaged, kind)
    except (RangemillError, AssertionError):  # the assertion is the proof's: the CRC of a stored member
        return
    if kind == "zip":
        assert {name: found[name] for name in files if name in found} == {n: files[n] for n in files if n in found}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_truncated_archive_is_refused_wherever_it_is_cut(kind: str) -> None:
    files = {f"{n}.txt": b"x" * 700 for n in range(3)}
    body = zipped(files) if kind == "zip" else tarred(files)
    end = len(body) if kind == "zip" else 3 * 1536  # a tar is filled up with zeros
    for size in range(0, end, 97):
        with pytest.raises(BadArchive):
            pages_of(body[:size], kind)


def test_zip64_is_read() -> None:
    files = {"a": b"abc", "b": b"x\n" * 1000}
    body = zipped(files, [0, 8])
    # The same archive with every number in its zip64 form, as writers make it of more than 4 GiB.
    end_at = body.rfind(b"PK\x05\x06")
    *_, count, _, offset, _ = struct.unpack_from("<4s4H2LH", body, end_at)
    entries = b""
    at = offset
    for _ in range(count):
        fields = list(struct.unpack_from("<4s6H3L5H2L", body, at))
        name = body[at + 46 : at + 46 + fields[10]]
        wide = struct.pack("<2H3Q", 1, 24, fields[9], fields[8], fields[16])
        at += 46 + fields[10] + fields[11] + fields[12]
        fields[8] = fields[9] = fields[16] = 2**32 - 1
        fields[11], fields[12] = len(wide), 0
        entries += struct.pack("<4s6H3L5H2L", *fields) + name + wide
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(entries), offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + len(entries), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    wide_body = body[:offset] + entries + record + locator + end
    with zipfile.ZipFile(io.BytesIO(wide_body)) as check:
        assert {name: check.read(name) for name in check.namelist()} == files
    assert read_all(wide_body, "zip") == files
    assert read_all(b"in front of it" + wide_body, "zip") == files


def test_a_zip64_record_that_nothing_needed_is_read_and_must_agree() -> None:
    """As `zip -` and others write it, to which nobody said how large the archive would be."""
    body = zipped(files := {"a": b"abc", "b": b"x\n" * 1000}, [0, 8])
    end_at = body.rfind(b"PK\x05\x06")
    *_, count, size, offset, _ = struct.unpack_from("<4s4H2LH", body, end_at)

    def with_record(entries: int) -> bytes:
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, offset)
        return body[:end_at] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, end_at, 1) + body[end_at:]

    assert read_all(with_record(count), "zip") == files
    assert read_all(b"in front of it" + with_record(count), "zip") == files
    with pytest.raises(BadArchive, match="its two end records say different things"):
        read_all(with_record(count + 1), "zip")


def test_seventy_thousand_members_are_all_found_page_by_page() -> None:
    body = zipped({f"{n:05d}": b"" for n in range(70_000)})
    objects = MemoryObjects()
    archive = objects.pin(objects.put("b", "a", body), 0)
    expander, found = Expander(objects, Nesting()), 0
    at: int | None = 0
    while at is not None:
        listed = expander.members(archive, "zip", at, 1000, set)
        found += len(listed.members)
        at = listed.next_at
    assert found == 70_000
    assert objects.requests < 300, "headers that lie close together are read together"


def test_only_the_members_that_are_meant_are_taken_and_the_rest_is_told() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.mkdir("data")
        for name in ("data/a.csv", "b.csv", "c.CSV", "readme"):
            archive.writestr(name, b"x")
        link = zipfile.ZipInfo("link.csv")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, b"b.csv")
    found, passed = pages_of(buffer.getvalue(), "zip", members="*.csv")
    assert [pin.member for pin in found] == ["data/a.csv", "b.csv"]
    assert passed == {"directory": 1, "link": 1, "other": 2}
    assert expand.passed_over_sentence(passed) == (
        "passed over in archives: folders (1), links (1), files that `members` leaves out (2)"
    )
    found, _ = pages_of(buffer.getvalue(), "zip", members=["read*", "data/?.csv"])
    assert [pin.member for pin in found] == ["data/a.csv", "readme"]


def test_links_folders_and_pipes_of_a_tar_are_told() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("d", tarfile.DIRTYPE), ("s", tarfile.SYMTYPE), ("l", tarfile.LNKTYPE), ("p", b"6")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "f"
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("./f"))
    found, passed = pages_of(buffer.getvalue(), "tar")
    assert [pin.member for pin in found] == ["f"]
    assert passed == {"directory": 1, "link": 2, "pipe": 1}


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "C:\\x", "a\\..\\x", "..", "\\x"])
def test_a_name_that_leads_out_of_the_folder_is_refused(make: Callable[[dict[str, bytes]], bytes], name: str) -> None:
    with pytest.raises(BadArchive, match=r"`\.\.` in its path|absolute path") as caught:
        pages_of(make({"ok": b"1", name: b"2"}), make.__name__[:3])
    assert caught.value.object_uri == f"s3://b/a!{name}"
    assert caught.value.offset


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("most", [1, 100])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_is_there_twice_is_refused(kind: str, most: int) -> None:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for body in (b"1", b"22"):
                archive.writestr("a", body)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for _ in range(2):
                tar.addfile(tarfile.TarInfo("a"))
    with pytest.raises(BadArchive, match="is there twice"):
        pages_of(buffer.getvalue(), kind, most)


def patched(body: bytes, signature: bytes, at: int, value: bytes) -> bytes:
    """The archive with a field of the last record of that signature changed."""
    place = body.rfind(signature) + at
    return body[:place] + value + body[place + len(value) :]


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        (8, b"\x01\x00", "is encrypted"),
        (8, b"\x20\x00", "is a patch"),
        (10, b"\x0e\x00", "compressed with LZMA"),
        (10, b"\x09\x00", "compressed with deflate64"),
        (10, b"\x63\x00", "is encrypted"),
        (10, b"\x4d\x00", "compressed with method 77"),
        (24, b"\xff\x00\x00\x00", "is stored, but said to be 5 bytes here and 255 unpacked"),
        (42, b"\xf0\xff\x00\x00", "lies outside"),
        (42, b"\x01\x00\x00\x00", "has no header at byte 1"),
        (46, b"b", "is another one by its own header"),
    ],
)
def test_a_zip_entry_that_cannot_be_read_is_refused_by_name(at: int, value: bytes, problem: str) -> None:
    with pytest.raises(BadArchive, match=problem) as caught:
        pages_of(patched(zipped({"a": b"12345"}), b"PK\x01\x02", at, value), "zip")
    assert (caught.value.object_uri or "").startswith("s3://b/a!")


def test_files_of_a_zip_that_share_bytes_are_refused() -> None:
    body = zipped({"a": b"12345", "b": b"12345"})
    first = struct.pack("<L", 0)
    with pytest.raises(BadArchive, match="lie at the same place"):
        pages_of(patched(body, b"PK\x01\x02", 42, first), "zip")
    entry = body.find(b"PK\x01\x02")
    wide = body[: entry + 20] + struct.pack("<2L", 40, 40) + body[entry + 28 :]
    with pytest.raises(BadArchive, match="reaches beyond byte"):
        pages_of(wide, "zip")


def test_a_count_that_is_not_the_directorys_is_refused() -> None:
    with pytest.raises(BadArchive, match="has 1 entries, not the 2"):
        pages_of(patched(zipped({"a": b""}), b"PK\x05\x06", 8, struct.pack("<2H", 2, 2)), "zip")


def test_one_of_several_parts_is_refused() -> None:
    with pytest.raises(BadArchive, match="one of several parts"):
        pages_of(patched(zipped({"a": b""}), b"PK\x05\x06", 4, struct.pack("<2H", 1, 1)), "zip")


def test_a_bomb_is_refused_before_a_byte_of_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rangemill.nesting.RATIO_FLOOR_BYTES", 2**20)
    body = zipped({"zeros": bytes(3 * 2**20)}, [8])
    with pytest.raises(BadArchive, match=r"decompression bomb.*max_ratio"):
        pages_of(body, "zip", max_ratio=500)
    assert pages_of(body, "zip", max_ratio=2000)[0]
    with pytest.raises(BadArchive, match="max_logical_bytes"):
        pages_of(zipped({"a": b"x" * 600, "b": b"y" * 600}), "zip", max_logical_bytes="1 KiB")
    assert pages_of(zipped({"a": b"x" * 600, "b": b"y" * 600}), "zip", max_logical_bytes=1200)[0]


def test_a_deflated_member_that_outlives_a_worker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand, "STREAM_MAX_SECONDS", 1)
    monkeypatch.setattr(expand, "_DEFLATED_BYTES_PER_SECOND", 5)
    with pytest.raises(BadArchive, match="more than one worker can unpack in its life"):
        pages_of(zipped({"a": b"0123456789"}, [8]), "zip")
    assert pages_of(zipped({"a": b"0123456789"}), "zip")[0]


def test_a_directory_too_large_to_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_directory, "MAX_BYTES", 100)
    with pytest.raises(BadArchive, match="make several archives of it"):
        pages_of(zipped({"a": b"", "b": b"", "c": b""}), "zip")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_sparse_tar_members_are_refused(form: Literal[1, 2]) -> None:
    info = tarfile.TarInfo("s")
    if form == tarfile.GNU_FORMAT:
        info.type = tarfile.GNUTYPE_SPARSE
    else:
        info.pax_headers = {"GNU.sparse.major": "1"}
    with pytest.raises(BadArchive, match="is sparse"):
        pages_of(info.tobuf(form) + bytes(1024), "tar")


TESTTAR = Path(sysconfig.get_path("stdlib"), "test", "archivetestdata", "testtar.tar")


@pytest.mark.skipif(not TESTTAR.exists(), reason="this Python has no test data")
def test_the_tar_that_python_is_tested_with() -> None:
    with tarfile.open(TESTTAR) as archive:
        expected = {
            member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"): archive.extractfile(
                member
            ).read()  # type: ignore[union-attr]
            for member in archive
            if member.isreg() and not member.issparse()
        }
    body = TESTTAR.read_bytes()
    with pytest.raises(BadArchive, match="is sparse"):
        pages_of(body, "tar")
    names = sorted(name.replace("[", "[[]") for name in expected)
    assert read_all(body, "tar", 5, members=names) == expected


def test_what_follows_a_tars_end_is_not_lost_in_silence() -> None:
    one, two = tarred({"a": b"1"}), tarred({"b": b"2"})
    with pytest.raises(BadArchive, match="something follows the mark of the tar's end"):
        pages_of(one + two, "tar")
    with pytest.raises(BadArchive, match="something follows"):
        pages_of(one + bytes(2**20), "tar")


def test_large_members_of_a_tar_are_jumped_over() -> None:
    objects = MemoryObjects(piece_bytes=2**20)
    body = tarred({f"{n}": bytes([n]) * 3_000_000 for n in range(5)}, tarfile.USTAR_FORMAT)
    archive = objects.pin(objects.put("b", "a", body), 0)
    before = objects.requests
    listed = Expander(objects, Nesting()).members(archive, "tar", 0, 1000, set)
    assert [pin.size_bytes for pin in listed.members] == [3_000_000] * 5
    assert objects.requests - before <= 7


def test_a_page_of_a_tar_ends_when_it_took_many_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand, "_PAGE_READS", 2)
    monkeypatch.setattr(expand, "_WINDOW_BYTES", 512)
    body = tarred({f"{n}": bytes(5000) for n in range(9)}, tarfile.USTAR_FORMAT)
    found, _ = pages_of(body, "tar")
    assert [pin.member for pin in found] == [str(n) for n in range(9)]


def deflate_pin(data: bytes, stored: bytes) -> PinnedObject:
    return PinnedObject(
        0, "b", "a", "e", len(stored), member="m", compression="deflate", whole=True, container_bytes=10**6,
        logical_bytes=len(data), logical_crc=zlib.crc32(data),
    )  # fmt: skip


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(data) + machine.flush()


@settings(max_examples=300, deadline=None)
@given(
    data=st.lists(st.sampled_from([b"\n", b"a", b"bb\r\n", b"x" * 300]), max_size=40).map(b"".join),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_a_deflated_member_is_read_as_what_it_was(data: bytes, sizes: list[int]) -> None:
    stored = raw_deflate(data)
    pin = deflate_pin(data, stored)
    crc = CRC_FUNCTIONS["CRC32"][0]
    pieces: list[bytes] = []
    at = 0
    while at < len(stored):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stored[at : at + size])
        at += size
    events = list(deflated.align(pin, iter([*pieces, b"what follows"]), TEXT, Nesting(), crc))
    assert b"".join(e.data for e in events if isinstance(e, Block)) == data
    (done,) = (e for e in events if isinstance(e, RangeDone))
    assert prove([segment_of(done)], len(stored), len(stored), "CRC32", crc(stored, 0), pin.uri) is True
    assert done.records == sum(e.records for e in events if isinstance(e, Block))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda stored: stored[:-3], "is cut off"),
        (lambda stored: stored + b"more", "ends before its stored bytes do"),
        (lambda stored: b"\xff" + stored[1:], "is damaged"),
        (lambda _: raw_deflate(b"line\n" * 101), "more than the 500 bytes"),
        (lambda _: raw_deflate(b"line\n" * 99), "to 495 bytes, not to the 500"),
        (lambda _: raw_deflate(b"lime\n" * 100), "CRC-32"),
    ],
)
def test_a_damaged_deflated_member_is_refused(change: Callable[[bytes], bytes], problem: str) -> None:
    data = b"line\n" * 100
    stored = change(raw_deflate(data))
    pin = deflate_pin(data, stored)
    with pytest.raises(BadArchive, match=problem) as caught:
        list(deflated.align(pin, iter([stored]), TEXT, Nesting(), zlib.crc32))
    assert caught.value.object_uri == "s3://b/a!m"
