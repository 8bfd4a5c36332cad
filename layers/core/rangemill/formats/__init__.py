"""One module per format. A format is found by its module's name; adding one touches no other file. A user's own format
is a module `rangemill_format_<name>` beside the pipelines.

A format module has:

- `Options`: a frozen msgspec struct with `forbid_unknown_fields`, what may stand under `format:` beside `type`;
- `look_behind(settled) -> int`: how many stored bytes before a range it must see to find the range's first record;
- `settle(samples, options, for_sql) -> Settled`: names and types once per job, at Plan;
- `align(run, range_bytes, object_bytes, pieces, settled, crc, should_stop)`: blocks and rows (see `base`);
- `records(data, settled, record_type)`: a block's Python records; `locate(data, index)`: where one begins;
- `spans(data, settled)`: start and end of each record of a block, its delimiter included, in order; without it a record
  that cannot be decoded cannot be rejected by itself and fails the job;
- `counts_from_start(options)`, where it may be True: a record is found by its distance from the object's first byte, so
  that compressed data is cut only where that distance is known;
- `has_state(settled)`, of a format whose `align` has a `state` for some data only;
- `known_columns(options)`: the columns that the document alone tells, so that SQL is checked before data is seen;
- with `RANDOM_ACCESS = True`, instead of `settle` and `align`: `settle_sources(sources, options, for_sql)` and
  `align_source(run, range_bytes, source, settled, columns, should_stop)`, which read where a footer or a header says
  (`base.Source`); `columns` are those that the engine wants, or None; with a parameter `take_unread` it may ask the
  engine whether a block is to be read at all (`Engine.take_unread`); with `align_forward(pieces, settled)`, the
  blocks of a whole file that streams past, of any size inside compressed data too;
- `MAY_BE_COMPRESSED = False` where objects are taken as they lie unless `compression` names a codec; of formats with
  `RANDOM_ACCESS` that is so unless it is `True`;
- where an object without bytes is not simply one without records: `empty(settled)`, the events of such an object, or
  the `BadRecord` that it is.

How DuckDB reads a format's blocks is in `engines/_sql_readers.py`, so that this package never imports DuckDB.
"""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, cast

from rangemill.formats.base import FormatModule, Settled, Source

_NOT_FORMATS = frozenset({"base"})
_OWN_PREFIX = "rangemill_format_"


@cache
def names() -> tuple[str, ...]:
    """The names of all formats."""
    return tuple(
        sorted(
            m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_FORMATS and not m.name.startswith("_")
        )
    )


def exists(name: str) -> bool:
    """Whether there is a format of that name: here, or a user's own module `rangemill_format_<name>` on the path."""
    return name in names() or (name.isidentifier() and importlib.util.find_spec(f"{_OWN_PREFIX}{name}") is not None)


def load(name: str) -> FormatModule:
    """The format of that name, which must exist."""
    module = f"{__name__}.{name}" if name in names() else f"{_OWN_PREFIX}{name}"
    return cast("FormatModule", importlib.import_module(module))


def has_state(settled: Settled) -> bool:
    """Whether runs of these records may assume a state: a format says so, of all it reads or by its `has_state`."""
    tells = getattr(load(settled.format), "has_state", None)
    return align_takes(settled.format, "state") and (tells is None or bool(tells(settled)))


@cache
def align_takes(name: str, parameter: str, way: str = "align") -> bool:
    """Whether the format's `align` or `align_source` has that parameter."""
    return parameter in inspect.signature(getattr(load(name), way)).parameters


def has_spans(settled: Settled) -> bool:
    """Whether the records of a block are stretches of its bytes that can be told apart."""
    return hasattr(load(settled.shape or settled.format), "spans")


def spans_of(settled: Settled) -> Callable[[bytes, Settled], Iterable[tuple[int, int]]]:
    """The `spans` of the format that a block's bytes are read as; it must have them."""
    module: Any = load(settled.shape or settled.format)
    spans: Callable[[bytes, Settled], Iterable[tuple[int, int]]] = module.spans
    return spans


def is_random_access(name: str) -> bool:
    """Whether the format reads its objects at places of its own choice."""
    return bool(getattr(load(name), "RANDOM_ACCESS", False))


def settle_sources(module: Any, sources: Sequence[Source], options: dict[str, Any], for_sql: bool) -> Settled:
    """`settle_sources` of a format that reads its objects at places of its own choice."""
    settled: Settled = module.settle_sources(list(sources), options, for_sql)
    return settled
