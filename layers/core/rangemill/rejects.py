"""Rejects: the records that could not be processed, counted, grouped by kind and, where asked for, kept.

What is kept goes into one object per worker (JSON lines, in the encrypted work bucket). Groups and counts go into rows,
reports and messages, and hold no bytes of any record.
"""

import base64
import codecs
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from rangemill.errors import TooManyRejects, shortened
from rangemill.ledger import Segment
from rangemill.limits import REJECT_GROUPS_MAX, REJECT_MAX_BYTES, REJECTS_FULL_BYTES, REJECTS_MAX_BYTES
from rangemill.messages import RejectGroup
from rangemill.pipeline import Rejects

OTHERS: Final = "Others"  # the type of the group of all kinds that are not told apart
_PLACE: Final = re.compile(r"\s*\((?:byte|line|position) \d+[^)]*\)|\s*\bat byte \d+")
_QUOTED: Final = re.compile(r"'([^']*)'")
_SIGNS: Final = frozenset(',:{}[]"')  # of JSON: what a message may name, since it is no value
_PROBLEM_MAX_CHARS: Final = 200
_TOLD_GROUPS: Final = 3  # in the message of a job that fails of its rejects


class Reject(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of what is kept.

    `length` counts the record's bytes as its engine would have read them (UTF-8, with the delimiter), of which `bytes`
    are the first `REJECT_MAX_BYTES`, as text or, where they are no UTF-8, in base64. Both are null where a record is
    no bytes by itself, as a row of Parquet, or too large to be held, as a whole object. `index` is the
    object's in the plan. `is_stored`: the bytes are as they lie in the object, since no engine could be given them.
    """

    object: str
    version_id: str | None
    offset: int | None
    length: int | None
    type: str
    message: str
    bytes: str | None = None
    encoding: str = ""
    is_cut: bool = False
    index: int | None = None
    is_stored: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a record is rejected: `message` may quote it, `problem` does not."""

    type: str
    message: str
    problem: str


def of_data(message: str) -> Cause:
    """The cause of a record that does not have its format or does not fit its columns; its group names no place."""
    return Cause("BadRecord", message, _QUOTED.sub(_hidden, _PLACE.sub("", message)))


def _hidden(quoted: re.Match[str]) -> str:
    return quoted[0] if quoted[1] in _SIGNS else "'…'"


@dataclass(slots=True)
class RejectLog:
    """What one worker rejects of its slot. `by_object` counts by the plan's index of the object."""

    policy: Rejects
    count: int = 0
    by_object: Counter[int] = field(default_factory=Counter)
    kept_bytes: int = 0
    _lines: list[bytes] = field(default_factory=list)
    _groups: dict[tuple[str, str], RejectGroup] = field(default_factory=dict)

    @property
    def tolerates(self) -> bool:
        """Whether records are rejected at all, or fail the job."""
        return self.policy.tolerates

    @property
    def is_full(self) -> bool:
        """Whether the worker should stop at the next record boundary, and hand the rest back."""
        return self.kept_bytes >= REJECTS_FULL_BYTES

    @property
    def groups(self) -> list[RejectGroup]:
        """The commonest kinds; their counts add up to `count`."""
        return merged([], self._groups.values())

    @property
    def body(self) -> bytes:
        """What is kept, as JSON lines; empty where nothing is."""
        return b"".join(self._lines)

    def add(
        self,
        index: int,
        uri: str,
        version_id: str | None,
        offset: int | None,
        data: bytes | None,
        cause: Cause,
        *,
        is_stored: bool = False,
    ) -> None:
        """Count a record, and keep it if the pipeline says so. Raises `TooManyRejects`."""
        reject = _reject(uri, version_id, offset, data, cause) if self.policy.on_error == "quarantine" else None
        if reject is not None:
            reject = msgspec.structs.replace(reject, index=index, is_stored=is_stored)
        self._enter(index, reject, cause.type, cause.problem, uri, offset)

    def again(self, reject: Reject, problem: str) -> None:
        """Count and keep a record as the reject that it was before. Raises `TooManyRejects`."""
        self._enter(reject.index or 0, reject, reject.type, problem, reject.object, reject.offset)

    def _enter(self, index: int, reject: Reject | None, kind: str, problem: str, uri: str, offset: int | None) -> None:
        self.count += 1
        self.by_object[index] += 1
        self._group(RejectGroup(kind, shortened(problem, _PROBLEM_MAX_CHARS), 1, uri, offset))
        if reject is not None:
            line = _ENCODE(reject) + b"\n"
            self._lines.append(line)
            self.kept_bytes += len(line)
        if self.policy.max_count is not None and self.count > self.policy.max_count:
            raise TooManyRejects(
                f"more than rejects.max_count ({self.policy.max_count}) records were rejected: {told(self.groups)}",
                object_uri=uri,
                offset=offset,
            )
        if self.kept_bytes > REJECTS_MAX_BYTES:
            raise TooManyRejects(
                f"{self.count} records were rejected in one slot, more than a worker can keep: {told(self.groups)}; "
                "bound them by rejects.max_fraction, or count them only with `on_error: skip`",
                object_uri=uri,
                offset=offset,
            )

    def _group(self, one: RejectGroup) -> None:
        key = (one.type, one.problem)
        if key not in self._groups and len(self._groups) >= 10 * REJECT_GROUPS_MAX:
            key, one = (OTHERS, ""), _other(one)
        known = self._groups.get(key)
        self._groups[key] = one if known is None else msgspec.structs.replace(known, count=known.count + 1)


_ENCODE: Final = msgspec.json.Encoder().encode


def _reject(uri: str, version_id: str | None, offset: int | None, data: bytes | None, cause: Cause) -> Reject:
    message = shortened(cause.message)
    if data is None:
        return Reject(uri, version_id, offset, None, cause.type, message)
    kept = data[:REJECT_MAX_BYTES]
    is_cut = len(kept) < len(data)
    try:  # the last character may be cut
        text, encoding = codecs.getincrementaldecoder("utf-8")().decode(kept, final=not is_cut), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(kept).decode(), "base64"
    return Reject(uri, version_id, offset, len(data), cause.type, message, text, encoding, is_cut)


def with_rejects(rows: list[tuple[int, list[Segment]]], log: RejectLog) -> list[tuple[int, list[Segment]]]:
    """A slot's rows with the rejects of each object counted in its first segment.

    They cannot be counted range by range: SQL finds them when its chunk is applied, some ranges later.
    """
    waiting = dict(log.by_object)
    counted: list[tuple[int, list[Segment]]] = []
    for index, segments in rows:
        rejects = waiting.pop(index, 0) if segments else 0
        head = [msgspec.structs.replace(segments[0], rejects=rejects)] if rejects else segments[:1]
        counted.append((index, [*head, *segments[1:]]))
    return counted


def merged(groups: Iterable[RejectGroup], more: Iterable[RejectGroup]) -> list[RejectGroup]:
    """Groups with others added: the commonest first, a bounded number of them, the rest in one."""
    by_kind: dict[tuple[str, str], RejectGroup] = {}
    for group in (*groups, *more):
        known = by_kind.get((group.type, group.problem))
        by_kind[group.type, group.problem] = (
            group if known is None else msgspec.structs.replace(known, count=known.count + group.count)
        )
    others = by_kind.pop((OTHERS, ""), None)
    ordered = sorted(by_kind.values(), key=lambda group: (-group.count, group.type, group.problem))
    kept, rest = ordered[: REJECT_GROUPS_MAX - 1], ordered[REJECT_GROUPS_MAX - 1 :]
    if rest or others is not None:
        first = others if others is not None else rest[0]
        count = sum(group.count for group in rest) + (others.count if others is not None else 0)
        kept.append(msgspec.structs.replace(_other(first), count=count))
    return kept


def _other(one: RejectGroup) -> RejectGroup:
    return msgspec.structs.replace(one, type=OTHERS, problem="")


def told(groups: list[RejectGroup]) -> str:
    """The worst kinds in words, each with the place of one."""
    return "; ".join(
        f"{group.count:,} of {group.type}{f' ({group.problem})' if group.problem else ''}, one at {_place(group)}"
        for group in groups[:_TOLD_GROUPS]
    )


def _place(group: RejectGroup) -> str:
    return group.object if group.offset is None else f"{group.object} {group.offset}"


def require_few(
    policy: Rejects, rejects: int, records: int, done_bytes: int, all_bytes: int, groups: list[RejectGroup]
) -> None:
    """Raise `TooManyRejects` when a limit is passed, or is certain to be as far as the bytes that are done tell.

    A fraction is one of all records of the job. How many they are is only known at the end; before it, the records
    found are extrapolated by bytes, so that a bad stretch at the beginning does not fail a job that keeps its limit.
    """
    where = groups[0] if groups else None
    object_uri, offset = (where.object, where.offset) if where is not None else (None, None)
    if policy.max_count is not None and rejects > policy.max_count:
        raise TooManyRejects(
            f"{rejects:,} of {records:,} records were rejected, more than rejects.max_count ({policy.max_count:,}): "
            f"{told(groups)}",
            object_uri=object_uri,
            offset=offset,
        )
    expected = records if done_bytes >= all_bytes or not done_bytes else records * all_bytes / done_bytes
    if policy.max_fraction is not None and rejects > policy.max_fraction * expected:
        of = f"of {records:,} records" if expected == records else f"of some {round(expected):,} records expected"
        raise TooManyRejects(
            f"{rejects:,} {of} were rejected, more than rejects.max_fraction ({policy.max_fraction:g}): {told(groups)}",
            object_uri=object_uri,
            offset=offset,
        )
