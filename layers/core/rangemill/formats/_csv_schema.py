"""Names and types of CSV columns, settled once per job from samples."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from rangemill.errors import BadPipeline, BadRecord
from rangemill.formats import _infer
from rangemill.formats.base import Sample


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns with their types in order, and the header line without its end."""

    columns: list[tuple[str, str]] | None
    header: str | None


def settle(
    samples: list[Sample],
    delimiter: str,
    quote: str,
    has_header: bool,
    declared: dict[str, str],
    nulls: frozenset[str] | None,
) -> Schema:
    """Names from the header or `column0`, …; types as declared, else the narrowest over the samples.

    `nulls` are the texts that have no type; None leaves every type that is not declared VARCHAR. Raises `BadRecord`
    for a first line that cannot be used, `BadPipeline` for declared columns that are not there.
    """
    heads = [sample for sample in samples if sample.offset == 0 and sample.data]
    if not heads:
        return Schema(list(declared.items()) or None, None)
    first, offset = next(_infer.whole_lines(heads[0]), (None, 0))
    if first is None:
        raise BadRecord(
            f"{heads[0].object_uri}: its first line does not end within the {len(heads[0].data)} bytes sampled",
            object_uri=heads[0].object_uri,
            offset=0,
        )
    cells = _row(first, delimiter, quote)
    if cells is None or (has_header and not first):
        problem = "is empty" if not first else "is not UTF-8 or has a quote that it does not close"
        raise BadRecord(
            f"{heads[0].object_uri}: its first line {problem}", object_uri=heads[0].object_uri, offset=offset
        )
    names = _names(cells, declared) if has_header else _numbered(len(cells), declared)
    seen: list[list[str]] = [[] for _ in names]
    if nulls is not None:
        for row in _rows(samples, first if has_header else None, delimiter, quote):
            if len(row) == len(names):
                for values, value in zip(seen, row, strict=True):
                    if value not in nulls:
                        values.append(value)
    known = {name.lower(): of for name, of in declared.items()}
    columns = [
        (name, known.get(name.lower()) or _infer.text_type(values)) for name, values in zip(names, seen, strict=True)
    ]
    return Schema(columns, first.decode() if has_header else None)


def _rows(samples: list[Sample], header: bytes | None, delimiter: str, quote: str) -> Iterator[list[str]]:
    for sample in samples:
        for line, offset in _infer.whole_lines(sample):
            is_header = header is not None and sample.offset == 0 and offset <= 3  # 3: after a byte order mark
            row = None if is_header or not line else _row(line, delimiter, quote)
            if row is not None:
                yield row


def _row(line: bytes, delimiter: str, quote: str) -> list[str] | None:
    try:
        (row,) = csv.reader([line.decode()], delimiter=delimiter, quotechar=quote, strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        return None
    return row


def _names(cells: list[str], declared: dict[str, str]) -> list[str]:
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
    for name in declared:
        if name.lower() not in taken:
            raise BadPipeline("pipeline", None, f"format.columns.{name}", f"the header has {', '.join(names)}")
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
