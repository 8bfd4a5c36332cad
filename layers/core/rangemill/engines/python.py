"""The Python engine: the user's class over blocks of records, in the tightest loop that counts them."""

import functools
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import batched
from operator import length_hint
from pathlib import Path
from typing import Any, Final

from rangemill import formats, partials
from rangemill.blocks import Block, Whole
from rangemill.engines import _rows
from rangemill.engines._object_record import ObjectRecord
from rangemill.engines._python_class import Context, UserClass, load_class
from rangemill.engines._records import log_refused, reject
from rangemill.engines._replay import Replay
from rangemill.engines.base import FinishedRows, ObjectContext
from rangemill.errors import AggregateTooLarge, BadRecord, CountMismatch, RangemillError, UserCodeError
from rangemill.formats.base import Settled
from rangemill.pipeline import Pipeline
from rangemill.rejects import Cause, RejectLog
from rangemill.units import parse_bytes

_COUNTED_AT_ONCE: Final = 64  # counting each record by itself costs a tenth of a bare loop
_OURS: Final = tuple(str(Path(__file__).with_name(name)) for name in ("python.py", "_replay.py", "_records.py"))


class PythonEngine:
    """Applies the class to a slot. `start` is called per object, since it is given the object; `merge` joins them."""

    def __init__(self, pipeline: Pipeline, settled: Settled, parameters: dict[str, Any], rejects: RejectLog) -> None:
        self._pipeline = pipeline
        self._settled = settled
        self._parameters = parameters
        self._format = formats.load(settled.format)
        self._place_is = getattr(self._format, "PLACES_ARE", "byte")
        self._user = load_class(pipeline.apply.python or "")
        self._object: ObjectContext | None = None
        self._partial: Any = None  # of the current object
        self._is_started = False
        self._slot: Any = None  # of the objects before it
        self._has_slot = False
        self._taken = 0
        self._rejects = rejects
        self._replay: Replay | None = None  # of the current object, where rejects are tolerated

    columns = None  # whatever the format gives
    presumes = False

    def begin_object(self, context: ObjectContext) -> None:
        """See `Engine`."""
        self._end_object()
        self._object = context

    def take(self, block: Block | Whole) -> None:
        """See `Engine`."""
        if not self._is_started:
            self._start()
        if isinstance(block, Whole):
            self._take_whole(block)
            return
        if self._replay is not None:
            self._taken += self._replay.take(block)
            return
        if self._object is not None:
            log_refused(self._rejects, self._object, block)
        if self._user.takes_batches:
            self._take_batch(block)
        else:
            self._take_records(block)
        self._taken += block.records

    def take_unread(self, block: Block) -> bool:  # noqa: ARG002 - the interface
        """See `Engine`: every record goes through the class."""
        return False

    def finish(self) -> tuple[bytes, int]:
        """See `Engine`. Of a slot without any record: the partial of `start`."""
        if not self._is_started and not self._has_slot:
            self._start()
        self._end_object()
        encoded = _encode(
            self._slot, parse_bytes(self._pipeline.limits.max_partial_bytes), "partial of one slot", "max_partial_bytes"
        )
        return encoded, self._taken

    def _take_records(self, block: Block) -> None:
        apply, partial, taken = self._user.instance.apply, self._partial, 0
        few: tuple[Any, ...] = ()
        handed = iter(few)
        try:
            for few in batched(self._records(block), _COUNTED_AT_ONCE, strict=False):
                handed = iter(few)
                for record in handed:
                    partial = apply(partial, record)
                taken += len(few) - length_hint(handed)
        except BadRecord as error:
            raise self._bad_record(error, block, self._decodable(block)) from error
        except MemoryError:  # no fault of the record: the worker died of it
            raise
        except (Exception, SystemExit) as error:
            offset = self._place(block, taken + len(few) - length_hint(handed) - 1)
            raise _user_error(error, f"at the record at {self._place_is} {offset}", self._uri, offset) from error
        self._require_all(taken, block)
        self._partial = partial

    def _take_whole(self, whole: Whole) -> None:
        if self._object is None:
            raise CountMismatch("a whole object came before its name")
        user = self._user.instance
        record = ObjectRecord(self._object, whole)
        try:
            if self._user.takes_batches:
                self._partial = user.apply_batch(self._partial, [record])
            else:
                self._partial = user.apply(self._partial, record)
        except (RangemillError, MemoryError):  # of reading it, which is no fault of the user's code
            raise
        except (Exception, SystemExit) as error:
            if not self._rejects.tolerates:
                raise _user_error(error, "in `apply`", self._uri, None) from error
            reject(self._rejects, self._object, 0, None, _cause(error))
            self._start()  # an object is one record: its partial holds nothing else
        else:
            self._taken += 1
        finally:
            record.close()

    def _take_batch(self, block: Block) -> None:
        records: list[Any] = []
        try:
            records.extend(self._records(block))
        except BadRecord as error:
            raise self._bad_record(error, block, len(records)) from error
        self._require_all(len(records), block)
        try:
            self._partial = self._user.instance.apply_batch(self._partial, records)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            where = f"in the {block.records} records from {self._place_is} {block.offset}"
            raise _user_error(error, where, self._uri, block.offset) from error

    def _records(self, block: Block) -> Iterator[Any]:
        data: Any = block.data if block.file is None else block.file
        return self._format.records(data, self._settled, self._user.record_type)

    def _decodable(self, block: Block) -> int:
        """How many records of the block come before the first one that cannot be decoded."""
        before = 0
        with suppress(BadRecord):
            for before, _ in enumerate(self._records(block), 1):  # noqa: B007
                pass
        return before

    def _require_all(self, taken: int, block: Block) -> None:
        if taken != block.records:
            raise CountMismatch(
                f"{self._uri}: the format found {block.records} records in the block at byte {block.offset}, "
                f"{taken} were applied",
                object_uri=self._uri,
                offset=block.offset,
            )

    def _place(self, block: Block, index: int) -> int:
        """The logical offset of the record of that index."""
        if block.places is not None:
            return block.places[index]
        return block.offset + self._format.locate(block.data, index)

    def _bad_record(self, error: BadRecord, block: Block, index: int) -> BadRecord:
        offset = block.places[index] if block.places is not None else block.offset + (error.offset or 0)
        return BadRecord(
            f"{self._uri}: the record at {self._place_is} {offset}: {error.message}",
            object_uri=self._uri,
            offset=offset,
        )

    def _start(self) -> None:
        at = self._object
        context = (
            Context(parameters=self._parameters)
            if at is None
            else Context(at.bucket, at.key, at.uri, at.version_id, self._parameters, at.member)
        )
        self._is_started = True
        if at is None or not self._rejects.tolerates or self._settled.format == "object":
            self._partial = start(self._user, context)
            return
        self._replay = Replay(
            self._user,
            at,
            self._settled,
            self._rejects,
            self._records,
            functools.partial(start, self._user, context),
            functools.partial(merge, self._user),
            _cause,
        )

    def _end_object(self) -> None:
        if not self._is_started:
            return
        if self._replay is not None:
            self._partial, self._replay = self._replay.end(), None
        if self._has_slot:
            self._slot = merge(self._user, self._slot, self._partial)
        else:
            self._slot, self._has_slot = self._partial, True
        self._partial, self._is_started = None, False

    @property
    def _uri(self) -> str:
        return self._object.uri if self._object is not None else ""


class PythonFolder:
    """Folds partials with the class's `merge`, and makes the rows with its `finish`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._user = load_class(pipeline.apply.python or "")

    def fold(self, encoded: list[bytes]) -> bytes:
        """See `Folder`. Of none: what `start` gives for a context without an object."""
        total: Any = None
        for position, one in enumerate(encoded):
            partial = partials.decode(one)
            total = partial if position == 0 else merge(self._user, total, partial)
        if not encoded:
            total = start(self._user, Context(parameters=self._pipeline.parameters))
        return _encode(
            total, parse_bytes(self._pipeline.limits.max_aggregate_bytes), "folded total", "max_aggregate_bytes"
        )

    def finish(self, total: bytes) -> FinishedRows:
        """See `Folder`."""
        partial = partials.decode(total)
        with _user_code("finish"):
            rows = list(self._user.instance.finish(partial))
        return _rows.write(rows, self._pipeline.output.format)


def start(user: UserClass, context: Context) -> Any:
    """The class's neutral partial. Raises `UserCodeError`."""
    with _user_code("start", context.uri or None):
        return user.instance.start(context)


def merge(user: UserClass, left: Any, right: Any) -> Any:
    """The class's fold of two partials. Raises `UserCodeError`."""
    with _user_code("merge"):
        return user.instance.merge(left, right)


@contextmanager
def _user_code(method: str, object_uri: str | None = None) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise _user_error(error, f"in `{method}`", object_uri, None) from error


def _user_error(error: BaseException, where: str, object_uri: str | None, offset: int | None) -> RangemillError:
    """The failure of user code: type, text, the user's own file and line, and the record."""
    line = _line(error)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    of = f"{object_uri}: " if object_uri else ""
    at = f" ({line})" if line else ""
    return UserCodeError(f"{of}the pipeline's code raised {what}{at} {where}", object_uri=object_uri, offset=offset)


def _line(error: BaseException) -> str:
    """The user's own file and line."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_OURS) and not frame.filename.endswith("/contextlib.py")
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""


def _cause(error: BaseException) -> Cause:
    """Why a record is rejected that user code raised at; its text may quote the record."""
    line, name = _line(error), type(error).__name__
    what = f"{name}: {error}" if str(error) else name
    return Cause(UserCodeError.__name__, f"{what} ({line})" if line else what, f"{name} at {line}" if line else name)


def _encode(partial: Any, limit_bytes: int, what: str, limit_name: str) -> bytes:
    encoded = partials.encode(partial)
    if len(encoded) > limit_bytes:
        keys = f" with {len(partial)} keys" if hasattr(partial, "__len__") else ""
        raise AggregateTooLarge(
            f"the {what}{keys} takes {len(encoded)} bytes, more than limits.{limit_name} ({limit_bytes}); "
            "aggregate more coarsely, keep only what `finish` needs, or raise the limit"
        )
    return encoded
