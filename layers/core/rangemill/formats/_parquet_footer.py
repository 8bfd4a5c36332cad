"""Parquet footers: which row groups there are, where their columns lie, and a footer of one row group only."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn

from rangemill.errors import IntegrityError
from rangemill.formats import _buffered, _thrift
from rangemill.formats.base import Source

MAGIC: Final = b"PAR1"
_ENCRYPTED: Final = b"PARE"
_TAIL_BYTES: Final = 8  # the footer's length and the magic
_GUESS_BYTES: Final = 64 * 2**10  # of a tail that most footers fit in: one GET
# Fields of Thrift structs: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
_FILE_SCHEMA, _FILE_ROWS, _FILE_GROUPS = 2, 3, 4
_SCHEMA_NAME, _SCHEMA_CHILDREN = 4, 5
_GROUP_COLUMNS, _GROUP_ROWS = 1, 3
_CHUNK_FILE, _CHUNK_META, _CHUNK_CRYPTO = 1, 3, 8
_META_SIZE, _META_DATA_PAGE, _META_DICTIONARY_PAGE = 7, 9, 11


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: its rows, where each leaf column's chunk lies, and its own bytes `[start, end)` of the footer."""

    ordinal: int
    first_row: int
    rows: int
    place: int  # where its first byte lies
    chunks: tuple[tuple[int, int], ...]
    written: tuple[int, int]


@dataclass(frozen=True)
class Footer:
    """A parsed footer. `leaves` are, for each leaf column, which of the `names` it belongs to."""

    object_uri: str
    object_bytes: int
    data: bytes
    names: tuple[str, ...]
    leaves: tuple[int, ...]
    groups: tuple[RowGroup, ...]  # in the order of their places
    _rows_at: tuple[int, int]
    _groups_at: tuple[int, int]

    @property
    def start(self) -> int:
        """Where in the object it begins."""
        return self.object_bytes - _TAIL_BYTES - len(self.data)

    @cached_property
    def places(self) -> list[int]:
        """Where the row groups begin, in order."""
        return [group.place for group in self.groups]

    def of(self, groups: tuple[RowGroup, ...]) -> bytes:
        """The end of a file that has only these row groups, whose columns lie where they did."""
        written = b"".join(self.data[start:end] for start, end in (group.written for group in groups))
        data = b"".join(
            (
                self.data[: self._rows_at[0]],
                _thrift.zigzag(sum(group.rows for group in groups)),
                self.data[self._rows_at[1] : self._groups_at[0]],
                _thrift.list_header(len(groups)),
                written,
                self.data[self._groups_at[1] :],
            )
        )
        return data + len(data).to_bytes(4, "little") + MAGIC


def read(source: Source) -> Footer:
    """The footer of an object. Raises `IntegrityError` naming what is wrong with it and where."""
    size = source.size_bytes
    if size < len(MAGIC) + _TAIL_BYTES:
        _broken(source, 0, f"its {size} bytes are too few for a Parquet file")
    tail = source.read(max(0, size - _GUESS_BYTES), size)
    magic = tail[-len(MAGIC) :]
    if magic == _ENCRYPTED:
        _broken(source, size - len(MAGIC), "its footer is encrypted, which cannot be read")
    if magic != MAGIC:
        problem = f"it ends with {magic!r} and not with {MAGIC!r}; it may have been cut off"
        _broken(source, size - len(MAGIC), problem + _buffered.hint(source.read(0, len(MAGIC) + _TAIL_BYTES)))
    length = int.from_bytes(tail[-_TAIL_BYTES:-4], "little")
    start = size - _TAIL_BYTES - length
    if start < len(MAGIC):
        _broken(source, size - _TAIL_BYTES, f"its footer of {length} bytes is longer than the file")
    if length + _TAIL_BYTES > len(tail):
        tail = source.read(start, size)
    head = source.read(0, len(MAGIC)) if len(tail) < size else tail[: len(MAGIC)]
    if head != MAGIC:
        _broken(source, 0, f"it begins with {head!r} and not with {MAGIC!r}")
    try:
        return _parse(source, tail[-_TAIL_BYTES - length : -_TAIL_BYTES], start)
    except _thrift.ThriftError as error:
        raise IntegrityError(
            f"{source.uri} has a broken Parquet footer: {error} of it",
            object_uri=source.uri,
            offset=start + error.position,
        ) from None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(
            f"{source.uri} has a broken Parquet footer: {type(error).__name__} {error}",
            object_uri=source.uri,
            offset=start,
        ) from None


def _broken(source: Source, offset: int, problem: str) -> NoReturn:
    raise IntegrityError(f"{source.uri} is no whole Parquet file: {problem}", object_uri=source.uri, offset=offset)


def _parse(source: Source, data: bytes, footer_at: int) -> Footer:
    spans: dict[int, tuple[int, int]] = {}
    values: dict[int, Any] = {}
    for number, start, end, value in _thrift.Reader(data).fields():
        spans[number], values[number] = (start, end), value
    if _FILE_SCHEMA not in values or _FILE_ROWS not in values or _FILE_GROUPS not in values:
        raise _thrift.ThriftError("schema, rows or row groups are missing", 0)
    names, leaves = _columns(values[_FILE_SCHEMA])
    groups = _groups(source, data, spans[_FILE_GROUPS][0], len(leaves), footer_at)
    rows = sum(group.rows for group in groups)
    if rows != values[_FILE_ROWS]:
        _broken(source, footer_at, f"its footer tells of {values[_FILE_ROWS]} rows, its row groups have {rows}")
    ordered = tuple(sorted(groups, key=lambda group: (group.place, group.ordinal)))
    return Footer(
        source.uri,
        source.size_bytes,
        data,
        names,
        leaves,
        ordered,
        spans[_FILE_ROWS],
        spans[_FILE_GROUPS],
    )


def _columns(schema: list[dict[int, Any]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names of the columns, and to which of them each leaf belongs."""
    names: list[str] = []
    leaves: list[int] = []
    open_children = [schema[0].get(_SCHEMA_CHILDREN, 0)]
    for element in schema[1:]:
        while open_children and open_children[-1] == 0:
            open_children.pop()
        if not open_children:
            raise ValueError("the schema has elements too many")
        open_children[-1] -= 1
        if len(open_children) == 1:
            names.append(element[_SCHEMA_NAME].decode())
        children = element.get(_SCHEMA_CHILDREN, 0)
        if children:
            open_children.append(children)
        else:
            leaves.append(len(names) - 1)
    if any(open_children):
        raise ValueError("the schema has elements too few")
    return tuple(names), tuple(leaves)


def _groups(source: Source, data: bytes, position: int, leaves: int, footer_at: int) -> list[RowGroup]:
    reader = _thrift.Reader(data, position)
    size, _ = reader.list_header()
    groups: list[RowGroup] = []
    first_row, start = 0, reader.position
    for ordinal in range(size):
        fields, end = _thrift.struct_of(data, start)
        chunks = tuple(_chunk(source, chunk, ordinal, footer_at) for chunk in fields[_GROUP_COLUMNS])
        if len(chunks) != leaves:
            _broken(source, footer_at + start, f"row group {ordinal} has {len(chunks)} columns, the schema {leaves}")
        rows = fields[_GROUP_ROWS]
        if rows < 0:
            _broken(source, footer_at + start, f"row group {ordinal} has {rows} rows")
        place = min([low for low, high in chunks if high > low], default=len(MAGIC))
        groups.append(RowGroup(ordinal, first_row, rows, place, chunks, (start, end)))
        first_row += rows
        start = end
    return groups


def _chunk(source: Source, chunk: dict[int, Any], ordinal: int, footer_at: int) -> tuple[int, int]:
    """The bytes `[start, end)` of a column chunk."""
    if chunk.get(_CHUNK_FILE):
        _broken(source, footer_at, f"row group {ordinal} has columns in another file")
    if _CHUNK_CRYPTO in chunk or _CHUNK_META not in chunk:
        _broken(source, footer_at, f"row group {ordinal} has encrypted columns, which cannot be read")
    meta = chunk[_CHUNK_META]
    # Without rows there may be a dictionary, and no data page: Arrow then writes 0 for where it would be.
    pages: list[int] = [meta[_META_DATA_PAGE], meta.get(_META_DICTIONARY_PAGE, 0)]
    start = min((page for page in pages if page > 0), default=0)
    size: int = meta[_META_SIZE]
    if size == 0:
        return len(MAGIC), len(MAGIC)
    if size < 0 or not len(MAGIC) <= start <= start + size <= footer_at:
        _broken(
            source, footer_at, f"row group {ordinal} has a column at bytes {start} to {start + size}, outside its data"
        )
    return start, start + size
