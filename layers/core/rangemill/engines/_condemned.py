"""What stands in for an engine where a record has killed its workers: it is cut and rejected, never applied."""

from rangemill.blocks import Block, Whole
from rangemill.engines import _records
from rangemill.engines.base import ObjectContext
from rangemill.errors import WorkerDied
from rangemill.formats.base import Settled
from rangemill.rejects import Cause, RejectLog

_PROBLEM = "workers died of it"


class Condemned:
    """An `Engine` that rejects the one record that it gets. Raises `WorkerDied` at a second: one may be innocent."""

    columns = None
    presumes = False

    def __init__(self, settled: Settled, rejects: RejectLog, why: str) -> None:
        self._settled = settled
        self._rejects = rejects
        self._cause = Cause(WorkerDied.__name__, f"{why}: it needs more memory or time than a worker has", _PROBLEM)
        self._why = why
        self._context = ObjectContext("", "", None)
        self._has_one = False

    def begin_object(self, context: ObjectContext) -> None:
        """See `Engine`."""
        self._context = context

    def take(self, block: Block | Whole) -> None:
        """See `Engine`."""
        if isinstance(block, Whole):
            self._require_alone(1, 0)
            _records.reject(self._rejects, self._context, 0, None, self._cause)
            return
        _records.log_refused(self._rejects, self._context, block)
        if not block.handed:
            return
        self._require_alone(block.handed, block.offset)
        place, data = block.places[0] if block.places is not None else block.offset, None
        if _records.can_be_told_apart(block, self._settled):
            parts = _records.Parts(block, self._settled)
            place, data = parts.place(0), parts.kept(0)
        _records.reject(self._rejects, self._context, place, data, self._cause)

    def take_unread(self, block: Block) -> bool:  # noqa: ARG002 - the interface
        """See `Engine`."""
        return False

    def finish(self) -> tuple[bytes, int]:
        """See `Engine`."""
        return b"", 0

    def _require_alone(self, records: int, offset: int) -> None:
        if self._has_one or records > 1:
            raise WorkerDied(
                f"{self._context.uri}: {self._why}, but it is no single record: it can only be read as a whole (a "
                "compressed unit, a row group, a block, an object that cannot be begun in the middle), and one of its "
                "records needs more memory or time than a worker has. Give the Apply function more, write such units "
                "smaller, or leave the object out",
                object_uri=self._context.uri,
                offset=offset,
            )
        self._has_one = True
