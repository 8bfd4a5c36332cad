"""The records of a block one by one: where each lies, what it is made of, and which of them can be decoded."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rangemill import formats
from rangemill.blocks import Block
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadRecord, CountMismatch, RecordTooLarge
from rangemill.formats import _encodings
from rangemill.formats.base import Settled
from rangemill.rejects import Cause, RejectLog, of_data

Decode = Callable[[bytes], Iterable[Any]]


class Parts:
    """A block's records as stretches of its bytes; only where the format tells them apart (`spans`)."""

    def __init__(self, block: Block, settled: Settled) -> None:
        spans = list(formats.spans_of(settled)(block.data, settled))
        if len(spans) != block.handed:
            raise CountMismatch(
                f"the format found {block.handed} records in the block at byte {block.offset}, but {len(spans)} one by "
                "one",
                offset=block.offset,
            )
        self._block = block
        self._spans = spans
        self._encoding = str(settled.options.get("encoding", "utf-8"))

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> bytes:
        start, end = self._spans[index]
        return self._block.data[start:end]

    def kept(self, index: int) -> bytes:
        """What is kept of the record: its text in UTF-8, or, where it is none, the bytes as they are stored."""
        part = self[index]
        try:
            part.decode()
        except UnicodeDecodeError:
            with contextlib.suppress(UnicodeError, LookupError):  # a user's own format may mean something else by it
                return _encodings.stored(part, self._encoding)
        return part

    def place(self, index: int) -> int:
        """The logical offset of the record."""
        if self._block.places is not None:
            return self._block.places[index]
        return self._block.offset + self._spans[index][0]

    def block(self, indexes: Sequence[int]) -> Block | None:
        """A block of these records alone, each with its place; None of none."""
        if not indexes:
            return None
        places = [self.place(index) for index in indexes]
        return Block(b"".join(self[index] for index in indexes), places[0], len(indexes), places)

    def stretch(self, low: int, high: int) -> Block:
        """The records [low, high), of which there is one at least, to be read again."""
        return Block(self._block.data[self._spans[low][0] : self._spans[high - 1][1]], self.place(low), high - low)


def log_refused(log: RejectLog, context: ObjectContext, block: Block) -> None:
    """Reject what the format could not hand on.

    Raises `BadRecord`, `RecordTooLarge` where rejects are not tolerated.
    """
    for refused in block.refused:
        kind = RecordTooLarge if refused.too_large else BadRecord
        if not log.tolerates:
            what = f" is {refused.problem}" if refused.too_large else f": {refused.problem}"
            raise kind(
                f"{context.uri}: the record at byte {refused.offset}{what}",
                object_uri=context.uri,
                offset=refused.offset,
            )
        cause = dataclasses.replace(of_data(refused.problem), type=kind.__name__)
        data = None if refused.too_large else refused.data
        log.add(context.index, context.uri, context.version_id, refused.offset, data, cause, is_stored=True)


def reject(log: RejectLog, context: ObjectContext, offset: int | None, data: bytes | None, cause: Cause) -> None:
    """Enter a record into the log. Raises `TooManyRejects`."""
    log.add(context.index, context.uri, context.version_id, offset, data, cause)


def can_be_told_apart(block: Block, settled: Settled) -> bool:
    """Whether the block's records are stretches of its bytes that the format can name."""
    return block.file is None and formats.has_spans(settled)


def decodable(parts: Parts, decode: Decode, refuse: Callable[[int, str], None], start: int = 0) -> list[int]:
    """The indexes, from `start` on, of the records that can be decoded by themselves; the others are refused."""
    good: list[int] = []
    for index in range(start, len(parts)):
        try:
            decoded = sum(1 for _ in decode(parts[index]))
        except BadRecord as error:
            refuse(index, error.message)
            continue
        if decoded == 1:
            good.append(index)
        else:
            refuse(index, f"it is read as {decoded} records")
    return good
