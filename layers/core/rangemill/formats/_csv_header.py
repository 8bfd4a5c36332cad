"""Headers: names of columns, and where each settled column stands in the rows of an object with another header."""

from collections.abc import Iterator

from rangemill.errors import BadRecord
from rangemill.formats import _csv_rows, _lines
from rangemill.formats._csv_automaton import Dialect
from rangemill.formats._csv_options import Options
from rangemill.formats.base import Head, Settled

Layout = tuple[int | None, ...]  # for each settled column its place in the object's rows; None where it is missing


def first_row(data: bytes, of: Dialect) -> tuple[int, int, int] | None:
    """Of the first row of an object's first bytes: start, end, end with the line end; None while it may go on."""
    skipped = len(_lines.BOM) if data.startswith(_lines.BOM) else 0
    start, end, following = next(_csv_rows.spans(data[skipped:], of), (0, 0, 0))
    return (start + skipped, end + skipped, following + skipped) if following > end else None


def of_object(head: Head, options: Options) -> bytes:
    """The header of an object, from its first bytes; empty when it has none. Reads no more than that needs."""
    data = b""
    pieces: Iterator[bytes] = head()
    for piece in pieces:
        data += piece
        found = first_row(data, options.dialect)
        if found is not None:
            return data[found[0] : found[1]]
    data = data.removeprefix(_lines.BOM)
    return next((data[start:end] for start, end, _ in _csv_rows.spans(data, options.dialect)), b"")


def cells_of(header: bytes, of: Dialect) -> list[str] | None:
    """The header's cells; None for one that is not UTF-8."""
    try:
        return next(_csv_rows.cells(header, of), [])
    except BadRecord:
        return None


def unique(cells: list[str]) -> list[str]:
    """The header's names; empty ones numbered, repeated ones (SQL does not tell cases apart) with a suffix."""
    names: list[str] = []
    taken: set[str] = set()
    for index, cell in enumerate(cells):
        base = name = cell or f"column{index}"
        suffix = 0
        while name.lower() in taken:
            suffix += 1
            name = f"{base}_{suffix}"
        taken.add(name.lower())
        names.append(name)
    return names


def layout(header: bytes, settled: Settled, options: Options) -> tuple[Layout, int] | None:
    """Where the settled columns stand under that header, and how many cells its rows have; None if as settled.

    The header is in the plain dialect. Raises `BadRecord` with both headers' differences by name.
    """
    cells = cells_of(header, options.plain_dialect)
    if cells is None:
        raise BadRecord("its header is not UTF-8", offset=0)
    names, wanted = unique(cells), [name for name, _ in settled.columns or []]
    if names == wanted:
        return None
    exactly = {name: index for index, name in enumerate(names)}
    places = exactly | {name.lower(): index for index, name in enumerate(names) if name.lower() not in exactly}
    found = tuple(places[name] if name in places else places.get(name.lower()) for name in wanted)
    missing = [name for name, place in zip(wanted, found, strict=True) if place is None]
    extra = [name for index, name in enumerate(names) if index not in found]
    if missing and options.missing_columns == "refuse":
        raise BadRecord(
            f"its header has no column {_listed(missing)}, which the job's first object has; "
            "`format.missing_columns: null` reads what is missing as NULL",
            offset=0,
        )
    if extra and options.extra_columns == "refuse":
        raise BadRecord(
            f"its header has a column {_listed(extra)}, which the job's first object has not; "
            "`format.extra_columns: ignore` leaves such columns out",
            offset=0,
        )
    return found, len(names)


def _listed(names: list[str]) -> str:
    return f"{', '.join(map(repr, names)):.300}"
