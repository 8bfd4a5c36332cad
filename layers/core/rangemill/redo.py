"""Rejects that a redrive hands out again: which records, by Fetch; and each of them applied once more, by a worker.

A record comes from the bytes that were kept of it; where these are not all of it, from its object as it is pinned. What
can be had from neither stays a reject. Slots of rejects have runs of lines in the files that keep them: a run's object
is its file's number in `Slot.redo`.
"""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from rangemill import formats, keys, messages, pages
from rangemill.blocks import Block
from rangemill.engines.base import Engine
from rangemill.errors import CountMismatch, IntegrityError
from rangemill.formats.base import Settled
from rangemill.gateways import Store
from rangemill.ledger import Segment
from rangemill.limits import REDO_PAGE_LISTS, REDO_SLOT_FILES, REDO_SLOT_RECORDS
from rangemill.messages import PinnedObject, Plan, PlanPage, Redo, RejectFile, RejectGroup, Run, Slot
from rangemill.rejects import Reject, RejectLog

# The group of the rejects that were not applied again yet.
WAITING: Final = "Redriven"
_NOT_AGAIN: Final = "not applied again: its bytes were not kept, and it cannot be read by itself"
_BLOCK_BYTES: Final = 2**20

Files = Callable[[Redo], Iterator[tuple[RejectFile, Redo | None]]]


# --- which: for control and Fetch ------------------------------------------------------------------------------------


def begin(store: Store, job_id: str, number: int, lists: list[str]) -> Redo:
    """Write down which lists name the rejects, for the redrive of that number."""
    written = [lists[at : at + REDO_PAGE_LISTS] for at in range(0, len(lists), REDO_PAGE_LISTS)]
    for page, names in enumerate(written):
        store.put(keys.redo(job_id, number, page), messages.encode(names))
    return Redo(number, len(written))


def files(store: Store, job_id: str, at: Redo) -> Iterator[tuple[RejectFile, Redo | None]]:
    """The files from there on, each with where the one behind it stands; None behind the last."""
    while at.page < at.pages:
        lists = msgspec.json.decode(pages.required(store, keys.redo(job_id, at.number, at.page)), type=list[str])
        listed = reject_files(pages.required(store, lists[at.position]))
        for number in range(at.file, len(listed)):
            yield _counted(store, listed[number]), _behind(at, number, len(listed), len(lists))
        at = _next_list(at, len(lists))


def _behind(at: Redo, number: int, files_of_list: int, lists_of_page: int) -> Redo | None:
    following = msgspec.structs.replace(at, file=number + 1)
    if following.file == files_of_list:
        following = _next_list(at, lists_of_page)
    return following if following.page < following.pages else None


def _next_list(at: Redo, lists_of_page: int) -> Redo:
    if at.position + 1 < lists_of_page:
        return msgspec.structs.replace(at, position=at.position + 1, file=0)
    return msgspec.structs.replace(at, page=at.page + 1, position=0, file=0)


def reject_files(body: bytes) -> list[RejectFile]:
    """The files that a list names. A version before this one wrote keys alone."""
    listed = msgspec.json.decode(body, type=list[str | RejectFile])
    return [RejectFile(each, None) if isinstance(each, str) else each for each in listed]


def _counted(store: Store, file: RejectFile) -> RejectFile:
    if file.records is not None:
        return file
    return RejectFile(file.key, len(pages.required(store, file.key).splitlines()))


def hand_out(at: Redo | None, first: int, most: int, found: Files) -> tuple[list[Slot], Redo | None]:
    """Up to `most` slots of rejects, numbered from `first` on, and where those behind them stand."""
    slots: list[Slot] = []
    keys_of: list[str] = []
    runs: list[Run] = []
    records = 0

    def close() -> None:
        nonlocal keys_of, runs, records
        if runs:
            slots.append(Slot(first + len(slots), [], runs, redo=keys_of))
        keys_of, runs, records = [], [], 0

    if at is None or most <= 0:
        return [], at
    for file, behind in found(at):
        count = file.records or 0
        runs.append(Run(len(keys_of), 0, count, 1))
        keys_of.append(file.key)
        records += count
        at = behind
        if records >= REDO_SLOT_RECORDS or len(runs) >= REDO_SLOT_FILES:
            close()
            if len(slots) >= most:
                return slots, at
    close()
    return slots, None


# --- how often: for Aggregate ----------------------------------------------------------------------------------------


def without_waiting(groups: list[RejectGroup]) -> tuple[list[RejectGroup], int]:
    """The groups of rejects that are none any more, and how many wait to be applied again."""
    waiting = sum(group.count for group in groups if group.type == WAITING)
    return [group for group in groups if group.type != WAITING], waiting


def waiting_group(count: int) -> list[RejectGroup]:
    """The group of so many rejects that wait to be applied again."""
    return [RejectGroup(WAITING, "not applied again yet", count, "", None)] if count else []


# --- once more: for a worker -----------------------------------------------------------------------------------------


class Worker(Protocol):
    """What a worker lends to this: its engine, its log, and reading a run of an object."""

    plan: Plan
    store: Store
    rejects: RejectLog
    rows: list[tuple[int, list[Segment]]]
    remaining: list[Run]
    stopped: bool

    def should_stop(self) -> bool:
        """Whether to stop now."""

    def begin(self, pin: PinnedObject, member: str | None = None) -> Engine:
        """The engine, told of the object whose records follow."""

    def read(self, pin: PinnedObject, run: Run) -> int:
        """Apply the records that begin in a run; how many they are. Nothing of it gets into `rows`."""


def work(slot: Slot, worker: Worker) -> None:
    """Apply the rejects of a slot once more, until it is time to stop. Raises what reading and applying raise."""
    again = _Again(worker)
    for run in slot.runs:
        if worker.stopped:
            worker.remaining.append(run)
            continue
        key, at = slot.redo[run.object_index], run.start
        lines = pages.required(worker.store, key).splitlines()[run.start : run.end]
        if len(lines) != run.end - run.start:
            raise IntegrityError(f"{worker.store.uri(key)} has not the {run.end} rejects that were counted")
        for line in lines:
            again.take(msgspec.json.decode(line, type=Reject))
            at += 1
            if worker.should_stop():
                worker.stopped = True
                break
        again.flush()
        worker.rows.append((run.object_index, [Segment(run.start, at, 0, None, None, at - run.start, 1)]))
        if at < run.end:
            worker.remaining.append(Run(run.object_index, at, run.end, 1))


def with_rejects(rows: list[tuple[int, list[Segment]]], log: RejectLog) -> list[tuple[int, list[Segment]]]:
    """A slot's rows with all that was rejected again counted in the first one: which file it was in tells nothing."""
    if not rows:
        return rows
    (index, (head, *rest)), *others = rows
    return [(index, [msgspec.structs.replace(head, rejects=log.count), *rest]), *others]


class _Again:
    """Takes rejects one after the other; those kept whole go to the engine by blocks of one object."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._pages: dict[int, PlanPage] = {}
        self._of: tuple[PinnedObject, str] | None = None
        self._data: list[bytes] = []
        self._bytes = 0
        self._places: list[int] = []

    def take(self, reject: Reject) -> None:
        """Apply the record once more, or keep it as the reject that it is."""
        if reject.index is None or reject.offset is None:
            self._worker.rejects.again(reject, _NOT_AGAIN)
            return
        pin = self._pin(reject.index)
        if reject.bytes is not None and reject.encoding == "utf-8" and not (reject.is_cut or reject.is_stored):
            if self._of != (pin, reject.object):
                self.flush()
                self._of = pin, reject.object
            self._data.append(reject.bytes.encode())
            self._bytes += len(self._data[-1])
            self._places.append(reject.offset)
            # What does not end with a line end may be an object's last record, which takes none behind it.
            if not reject.bytes.endswith("\n") or self._bytes >= _BLOCK_BYTES:
                self.flush()
            return
        self.flush()
        run = _run_of(reject.offset, pin, self._worker.plan)
        if run is None or reject.object != pin.uri:
            self._worker.rejects.again(reject, _NOT_AGAIN)
            return
        found = self._worker.read(pin, run)
        if found != 1:
            raise CountMismatch(
                f"{pin.uri}: {found} records begin at {reject.offset}, where one was rejected",
                object_uri=pin.uri,
                offset=reject.offset,
            )

    def flush(self) -> None:
        """Let the engine take what waits."""
        if self._of is None or not self._data:
            return
        pin, uri = self._of
        member = uri.removeprefix(f"{pin.uri}!") if uri != pin.uri else pin.member
        block = Block(b"".join(self._data), self._places[0], len(self._data), self._places)
        self._of, self._data, self._places, self._bytes = None, [], [], 0
        self._worker.begin(pin, member).take(block)

    def _pin(self, index: int) -> PinnedObject:
        """The object of that index, found among the plan's pages by halving."""
        low, high = 0, self._worker.plan.pages - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._page(middle).objects_before <= index else (low, middle - 1)
        page = self._page(low)
        return page.objects[index - page.objects_before]

    def _page(self, number: int) -> PlanPage:
        if number not in self._pages:
            self._pages[number] = pages.plan_page(self._worker.store, self._worker.plan.job_id, number)
        return self._pages[number]


def _run_of(offset: int, pin: PinnedObject, plan: Plan) -> Run | None:
    """The run in which that record alone begins; None where nothing can be begun there."""
    settled = plan.settled
    if settled.format == "object":
        return Run(pin.index, 0, pin.size_bytes, max(1, pin.size_bytes))
    if pin.compression or pin.archive or pin.whole or formats.is_random_access(settled.format):
        return None
    if formats.has_state(settled):
        from rangemill.formats._csv_automaton import RECORD  # noqa: PLC0415 - Fetch and the report need none of it

        return Run(pin.index, offset, offset + 1, plan.range_bytes, RECORD) if _is_plain_csv(settled) else None
    return Run(pin.index, offset, offset + 1, plan.range_bytes)


def _is_plain_csv(settled: Settled) -> bool:
    """Whether the state in which a record begins is known: that of CSV, not that of what is recoded around it."""
    return settled.format == "csv" and str(settled.options.get("encoding", "utf-8")).lower() in ("utf-8", "utf8")
