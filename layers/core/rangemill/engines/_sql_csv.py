"""CSV that DuckDB refuses: read by Python and written anew, so that both engines take the same rows or neither does."""

import csv
from collections.abc import Iterable

from rangemill.blocks import Block
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadRecord
from rangemill.formats import _csv_options, _csv_rows
from rangemill.formats import csv as csv_format
from rangemill.formats.base import Settled


def written_anew(of: ObjectContext, block: Block, places: Iterable[int], settled: Settled) -> Block:
    """The block with every row as wide as the settled columns. Raises `BadRecord` for a row that Python refuses too."""
    dialect = _csv_options.of(settled).dialect
    starts = list(places)
    rows: list[list[str]] = []
    try:
        rows.extend(csv_format.rows(block.data, settled))
        data = _csv_rows.rewritten(rows, dialect)
    except (BadRecord, csv.Error) as error:
        offset = starts[min(len(rows), len(starts) - 1)]
        problem = error.message if isinstance(error, BadRecord) else "it needs quotes, which the format does not have"
        raise BadRecord(
            f"{of.uri}: the record at byte {offset}: {problem}", object_uri=of.uri, offset=offset
        ) from error
    return Block(data, block.offset, block.records, starts)
