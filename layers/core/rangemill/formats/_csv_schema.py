"""Names and types of CSV columns, settled once per job from samples."""

from collections.abc import Iterator
from dataclasses import dataclass

from rangemill.errors import BadPipeline, BadRecord
from rangemill.formats import _csv_guess, _csv_header, _csv_rows, _infer, _lines
from rangemill.formats._csv_options import Options
from rangemill.formats.base import Sample


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns with their types in order, and the header row, plain, without its line end."""

    columns: list[tuple[str, str]] | None
    header: str | None


def settle(samples: list[Sample], options: Options, for_sql: bool) -> Schema:
    """Names from the header or `column0`, …; types as declared, else the narrowest over the samples.

    For Python every type that is not declared is VARCHAR. Raises `BadRecord` for a first row that cannot be used,
    `BadPipeline` for declared columns that are not there.
    """
    if options.validate == "all" and not for_sql:
        raise BadPipeline("pipeline", None, "format.validate", "types are for SQL only")
    # Empty lines and comments alone are no row: such an object says as little as one without bytes.
    heads = ((each.object_uri, _first_row(each, options)) for each in samples if each.offset == 0 and each.data)
    uri, first = next((head for head in heads if head[1]), ("", b""))
    if not first:
        return Schema(list(options.columns.items()) or None, None)
    cells = _csv_header.cells_of(first, options.dialect)
    if not cells:
        raise BadRecord(f"{uri} has a first row that is not UTF-8", object_uri=uri, offset=0)
    names = _named(cells, options) if options.header else _numbered(len(cells), options.columns)
    known = {name.lower(): of for name, of in options.columns.items()}
    seen: list[set[str]] = [set() for _ in names]
    if for_sql and not all(name.lower() in known for name in names):
        nulls = frozenset(options.nulls)
        for row in _rows(samples, options, cells):
            for values, value in zip(seen, row, strict=False):
                if value not in nulls:
                    values.add(value)
    columns = [
        (name, known.get(name.lower()) or _infer.text_type(values)) for name, values in zip(names, seen, strict=True)
    ]
    if options.dialect.is_wide:
        first = _csv_rows.in_plain(first, options.dialect)
    return Schema(columns, first.decode() if options.header else None)


def _first_row(sample: Sample, options: Options) -> bytes:
    found = _csv_header.first_row(sample.data, options.dialect)
    if found is not None:
        return sample.data[found[0] : found[1]]
    if len(sample.data) < sample.object_bytes:
        raise BadRecord(
            f"{sample.object_uri}: its first row does not end within the {len(sample.data)} bytes sampled; "
            "perhaps a quote in it is never closed",
            object_uri=sample.object_uri,
            offset=0,
        )
    return _csv_header.of_object(lambda: iter([sample.data]), options)


def _rows(samples: list[Sample], options: Options, cells: list[str]) -> Iterator[list[str]]:
    """The rows that the samples hold whole, in the order of these first cells; of the middle of objects as guessed."""
    wanted = _csv_header.unique(cells)
    headers = {sample.object_uri: _header_names(sample, options) for sample in samples if sample.offset == 0}
    for sample in samples:
        names = headers.get(sample.object_uri, wanted) if options.header else wanted
        if names is None or not set(wanted) <= set(names):
            continue  # another header, which is its worker's to refuse
        places = [names.index(name) for name in wanted]
        data = _from_a_row_on(sample, options, len(names))
        rows = list(_csv_rows.spans(data, options.dialect))
        is_whole = sample.offset + len(sample.data) == sample.object_bytes
        has_header = sample.offset == 0 and options.header
        for start, end, _ in rows[has_header:] if is_whole else rows[has_header:-1]:
            try:
                row = next(_csv_rows.cells(data[start:end], options.dialect))
            except BadRecord:
                continue
            if len(row) == len(names) + 1 and not row[-1]:
                row.pop()  # it is left out of records too
            if len(row) == len(names):
                yield [row[place] for place in places]


def _header_names(sample: Sample, options: Options) -> list[str] | None:
    found = _csv_header.first_row(sample.data, options.dialect)
    cells = None if found is None else _csv_header.cells_of(sample.data[found[0] : found[1]], options.dialect)
    return None if cells is None else _csv_header.unique(cells)


def _from_a_row_on(sample: Sample, options: Options, columns: int) -> bytes:
    if sample.offset == 0:
        return sample.data.removeprefix(_lines.BOM)
    at = _csv_guess.behind_bytes(options.scanner)
    behind, ahead = sample.data[:at], sample.data[at:]
    state = _csv_guess.guess(options.scanner, columns, behind, ahead)
    start = options.scanner.next_start(state, ahead, 0, len(ahead))
    return ahead[start:] if start >= 0 else b""


def _named(cells: list[str], options: Options) -> list[str]:
    """The header's names, and what is declared beside them where columns may be missing."""
    names = _csv_header.unique(cells)
    taken = {name.lower() for name in names}
    for name in options.columns:
        if name.lower() in taken:
            continue
        if options.missing_columns == "refuse":
            raise BadPipeline("pipeline", None, f"format.columns.{name}", f"the header has {', '.join(names)}")
        names.append(name)
        taken.add(name.lower())
    return names


def _numbered(count: int, declared: dict[str, str]) -> list[str]:
    """The declared names where all are declared, else `column0`, …, of which some may be declared."""
    numbered = [f"column{index}" for index in range(count)]
    if len(declared) == count and not set(declared) & set(numbered):
        return list(declared)
    for name in declared:
        if name not in numbered:
            raise BadPipeline(
                "pipeline",
                None,
                f"format.columns.{name}",
                f"without a header the columns are {', '.join(numbered)}; declare all {count} names, or some of these",
            )
    return numbered
