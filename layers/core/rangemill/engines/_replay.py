"""Applying a user's class so that a record that raises leaves no trace in the partial, whatever it did to it before.

A partial that user code had in its hands when it raised is thrown away, and what went into it before is applied again:
the blocks since the last checkpoint (a bounded window of them is kept) without the record. A checkpoint is no copy: the
partial so far is put aside, a fresh one from `start` goes on, and `merge` joins them in the end, as it joins those of
different workers. Where nothing raises, that is one `start` and one `merge` a window.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from rangemill.blocks import Block
from rangemill.engines import _records
from rangemill.engines._python_class import UserClass
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadRecord, CountMismatch, RangemillError, UserCodeError
from rangemill.formats.base import Settled
from rangemill.limits import REPLAY_WINDOW_BYTES
from rangemill.rejects import Cause, RejectLog, of_data

Merge = Callable[[Any, Any], Any]
Records = Callable[[Block], Iterator[Any]]
CauseOf = Callable[[BaseException], Cause]
# A stretch of records [low, high) of a block, all of which can be decoded.
Stretch = tuple[Block, int, int]

_NOT_OF_RECORDS: Final = (MemoryError, RangemillError)


class Replay:
    """The partial of one object's records."""

    def __init__(
        self,
        user: UserClass,
        context: ObjectContext,
        settled: Settled,
        log: RejectLog,
        records: Records,
        start: Callable[[], Any],
        merge: Merge,
        cause_of: CauseOf,
        window_bytes: int = REPLAY_WINDOW_BYTES,
    ) -> None:
        self._user = user
        self._context = context
        self._settled = settled
        self._log = log
        self._records = records
        self._start = start
        self._done = _Digits(merge)
        self._cause_of = cause_of
        self._window_bytes = window_bytes
        self._partial: Any = start()
        self._applied: list[Stretch] = []  # what went into the partial
        self._held_bytes = 0
        self._parts: tuple[Block, _records.Parts] | None = None  # of the last block that was asked for

    def take(self, block: Block) -> int:
        """How many records were applied; the others of the block are in the log. Raises `CountMismatch`."""
        before = self._log.count
        _records.log_refused(self._log, self._context, block)
        if self._applied and self._held_bytes + block.held_bytes > self._window_bytes:
            self._put_aside()
        self._held_bytes += block.held_bytes
        taken = 0
        rest: Block | None = block if block.handed else None
        while rest is not None:
            applied, rest = self._batch(rest) if self._user.takes_batches else self._one_by_one(rest)
            taken += applied
        if taken + self._log.count - before != block.records:
            raise CountMismatch(
                f"{self._context.uri}: the format found {block.records} records in the block at byte {block.offset}, "
                f"{taken} were applied and {self._log.count - before} rejected",
                object_uri=self._context.uri,
                offset=block.offset,
            )
        return taken

    def end(self) -> Any:
        """The partial of all that was taken. Raises `UserCodeError` for `merge`."""
        if self._applied or not self._done:
            self._put_aside()
        return self._done.total()

    def _one_by_one(self, block: Block) -> tuple[int, Block | None]:
        """How many records were applied, and what is left of the block behind one that cannot be decoded."""
        apply, numbered, low, taken, index = self._user.instance.apply, enumerate(self._records(block)), 0, 0, -1
        behind: Iterator[Any] | None = None  # the same records, read again as far as they are applied again
        while True:
            partial = self._partial
            try:
                for index, record in numbered:  # noqa: B007 - goes on behind a record that raised
                    partial = apply(partial, record)
            except BadRecord as error:
                self._partial = partial
                self._keep(block, low, index + 1)
                return taken + index + 1 - low, self._without_undecodable(block, index + 1, error)
            except _NOT_OF_RECORDS:
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the reject names it
                behind = self._records(block) if behind is None else behind
                self._replay(islice(behind, index - low))
                next(behind)
                self._reject(block, index, error)
                taken += index - low
                low = index + 1
                continue
            self._partial = partial
            self._keep(block, low, index + 1)
            return taken + index + 1 - low, None

    def _batch(self, block: Block) -> tuple[int, Block | None]:
        """The same for a class that takes batches."""
        records: list[Any] = []
        try:
            records.extend(self._records(block))
        except BadRecord as error:
            return 0, self._without_undecodable(block, 0, error)
        try:
            self._partial = self._user.instance.apply_batch(self._partial, records)
        except _NOT_OF_RECORDS:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the reject names it
            self._replay()
            return self._bisect(block, 0, len(records), error), None
        self._keep(block, 0, len(records))
        return len(records), None

    def _bisect(self, block: Block, low: int, high: int, error: BaseException) -> int:
        """Apply the batch [low, high), which raised, by halves; how many records were applied."""
        if high - low == 1:
            self._reject(block, low, error)
            return 0
        middle, taken = (low + high) // 2, 0
        for start, end in ((low, middle), (middle, high)):
            batch = list(self._again(block, start, end))  # user code may have changed the others
            try:
                self._done.push(self._user.instance.apply_batch(self._start(), batch))
            except _NOT_OF_RECORDS:
                raise
            except (Exception, SystemExit) as again:  # noqa: BLE001 - the reject names it
                taken += self._bisect(block, start, end, again)
            else:
                taken += end - start
        return taken

    def _without_undecodable(self, block: Block, start: int, error: BadRecord) -> Block | None:
        """What can be decoded of the block from `start` on, the rest rejected. Raises where records have no spans."""
        if not _records.can_be_told_apart(block, self._settled):
            offset = block.places[start] if block.places is not None else block.offset + (error.offset or 0)
            raise BadRecord(
                f"{self._context.uri}: the record at {offset}: {error.message}; records of this format cannot be "
                "rejected one by one",
                object_uri=self._context.uri,
                offset=offset,
            ) from error
        parts = self._parts_of(block)

        def refuse(index: int, problem: str) -> None:
            _records.reject(self._log, self._context, parts.place(index), parts.kept(index), of_data(problem))

        before = self._log.count
        good = _records.decodable(parts, lambda data: self._records(Block(data, 0, 1)), refuse, start)
        if self._log.count == before:
            raise CountMismatch(f"{self._context.uri}: {error.message}, but each record by itself can be decoded")
        return parts.block(good)

    def _reject(self, block: Block, index: int, error: BaseException) -> None:
        data: bytes | None = None
        if _records.can_be_told_apart(block, self._settled):
            parts = self._parts_of(block)
            place, data = parts.place(index), parts.kept(index)
        else:
            place = block.places[index] if block.places is not None else block.offset
        _records.reject(self._log, self._context, place, data, self._cause_of(error))

    def _keep(self, block: Block, low: int, high: int) -> None:
        if high > low:
            self._applied.append((block, low, high))

    def _parts_of(self, block: Block) -> _records.Parts:
        if self._parts is None or self._parts[0] is not block:
            self._parts = block, _records.Parts(block, self._settled)
        return self._parts[1]

    def _again(self, block: Block, low: int, high: int) -> Iterator[Any]:
        """The records [low, high) of a block, decoded once more."""
        if _records.can_be_told_apart(block, self._settled):
            return self._records(self._parts_of(block).stretch(low, high))
        return islice(self._records(block), low, high)

    def _replay(self, more: Iterable[Any] = ()) -> None:
        """Throw the partial away and make it again of what was applied to it before, and then of `more`.

        Raises `UserCodeError`.
        """
        self._partial = self._start()
        user, is_empty = self._user, not self._applied
        try:
            for block, low, high in self._applied:
                records = islice(self._records(block), low, high)
                if user.takes_batches:
                    self._partial = user.instance.apply_batch(self._partial, list(records))
                else:
                    for record in records:
                        self._partial = user.instance.apply(self._partial, record)
            for record in more:
                is_empty = False
                self._partial = user.instance.apply(self._partial, record)
        except _NOT_OF_RECORDS:
            raise
        except (Exception, SystemExit) as error:
            raise UserCodeError(
                f"{self._context.uri}: the pipeline's code raised {type(error).__name__} at records that it had taken "
                "before; to leave a record out, the others are applied again, so it must be deterministic",
                object_uri=self._context.uri,
            ) from error
        if not is_empty:
            self._put_aside()

    def _put_aside(self) -> None:
        """What the partial holds is safe from here on: a fresh one goes on."""
        self._done.push(self._partial)
        self._partial = self._start()
        self._applied, self._held_bytes = [], 0


class _Digits:
    """Partials in order, merged like the digits of a binary counter: how many there are costs only a logarithm."""

    def __init__(self, merge: Merge) -> None:
        self._merge = merge
        self._digits: list[tuple[int, Any]] = []

    def __len__(self) -> int:
        return len(self._digits)

    def push(self, partial: Any) -> None:
        """One more, behind the others."""
        rank = 0
        while self._digits and self._digits[-1][0] == rank:
            partial = self._merge(self._digits.pop()[1], partial)
            rank += 1
        self._digits.append((rank, partial))

    def total(self) -> Any:
        """All of them in one; there must be some."""
        total = self._digits.pop()[1]
        while self._digits:
            total = self._merge(self._digits.pop()[1], total)
        return total
