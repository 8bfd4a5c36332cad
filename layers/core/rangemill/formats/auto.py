"""`type: auto`: what the objects are by their first bytes, settled once per job.

Only Plan comes here: the plan carries the format that was found. A job whose objects are all empty stays `auto`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from rangemill import formats
from rangemill.errors import BadRecord, BadRequest
from rangemill.formats import _sniff
from rangemill.formats._sniff import Guess
from rangemill.formats.base import Crc, Event, Sample, Settled
from rangemill.ranges import ByteRange


class Options(msgspec.Struct, frozen=True):
    """Beside `type: auto` may stand what the formats that are found know; whether they do is seen at Plan."""


def look_behind(settled: Settled) -> int:  # noqa: ARG001 - the interface
    """There are no records to be found."""
    return 0


def settle(samples: list[Sample], options: dict[str, Any], for_sql: bool) -> Settled:  # noqa: ARG001 - the interface
    """Of objects without bytes nothing is settled; for others Plan asks `resolve` and settles what that names."""
    return Settled("auto", options)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What `auto` stands for in a job: a format and its options, and what is worth a note."""

    type: str
    options: dict[str, Any]
    notes: list[str]


def resolve(samples: list[Sample], options: dict[str, Any]) -> Resolved | None:
    """The format that all objects have, by their first bytes; None where there are no bytes.

    Raises `BadRequest` for objects that are of different formats, `BadRecord` for one that is of none.
    """
    heads = [sample for sample in samples if sample.offset == 0 and sample.data]
    if not heads:
        return None
    found, notes = _agreed([head for head in heads if not _sniff.is_blank(head)] or heads)
    if found.name == "jsonl" and {"path", "layout"} & options.keys():  # a line may hold all records
        found = Guess("json")
    uri = heads[0].object_uri
    if found.name is None or found.name not in formats.names():
        what = "of no format that is known" if found.name is None else f"{found.name}, which is not supported"
        raise BadRecord(
            f"{uri} is {what}, by its first bytes; say `format.type` yourself, or `unit: object` to be given it whole",
            object_uri=uri,
            offset=0,
        )
    offered = found.options
    if "path" in offered and {"path", "layout"} & options.keys():
        offered = {}
    elif "path" in offered:
        notes.append(
            f"{uri} begins with its member 'Records', an array, whose elements are read as the records; "
            "`type: jsonl`, or `layout: values`, reads objects as they are"
        )
    known = formats.load(found.name).Options
    names = {field.encode_name for field in msgspec.structs.fields(known)}
    chosen = {name: value for name, value in offered.items() if name in names} | options
    try:
        msgspec.convert(chosen, known)
    except msgspec.ValidationError as error:
        raise BadRequest(
            f"{uri} is {found} by its first bytes, which an option under `format` does not fit: {error}", object_uri=uri
        ) from None
    if chosen.get("header") is False and "header" not in options:
        notes.append(f"{uri}: its first row looks like data, so that no row is taken for a header")
    return Resolved(found.name, chosen, notes)


def _agreed(heads: list[Sample]) -> tuple[Guess, list[str]]:
    """What all objects are."""
    guesses: list[tuple[Sample, Guess]] = []
    notes: list[str] = []
    for head in heads:
        found, note = _sniff.guess(head.data, len(head.data) == head.object_bytes, head.object_uri)
        guesses.append((head, found))
        if note is not None:
            notes.append(note)
    first, agreed = next((pair for pair in guesses if pair[1].sure), guesses[0])
    for head, found in guesses:
        fits = found.name == agreed.name and found.options.get("delimiter") == agreed.options.get("delimiter")
        fits = fits or (agreed.name == "jsonl" and found.name == "json" and not found.sure)  # a line with all records
        if not fits and (found.sure or agreed.name not in ("csv", "text")):
            raise BadRequest(
                f"the objects of this job are of different formats by their first bytes: {first.object_uri} is "
                f"{agreed}, {head.object_uri} is {found}; run them in jobs of their own, or say `format.type`",
                object_uri=head.object_uri,
            )
    return agreed, notes


def align(
    run: ByteRange,  # noqa: ARG001 - the interface
    range_bytes: int,  # noqa: ARG001
    object_bytes: int,  # noqa: ARG001
    pieces: Iterator[bytes],  # noqa: ARG001
    settled: Settled,  # noqa: ARG001
    crc: Crc,  # noqa: ARG001
    should_stop: Callable[[], bool],  # noqa: ARG001
) -> Iterator[Event]:
    """Never: the objects that come here are empty. Raises `BadRecord` for one that is not."""
    raise BadRecord("all objects that Plan looked at were empty, so that their format is not known; this one is not")


def records(data: bytes, settled: Settled, record_type: Any) -> Iterator[Any]:
    """There are no blocks of no format."""
    raise NotImplementedError


def locate(data: bytes, index: int) -> int:  # noqa: ARG001 - the interface
    """There are no blocks of no format."""
    return 0
