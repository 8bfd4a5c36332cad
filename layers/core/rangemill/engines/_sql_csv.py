"""CSV that DuckDB refuses: read by Python and written anew, so that both engines take the same rows or neither does."""

from collections.abc import Iterable

import msgspec

from rangemill.blocks import Block
from rangemill.engines.base import ObjectContext
from rangemill.errors import BadRecord
from rangemill.formats import _csv_options, _csv_rows
from rangemill.formats import csv as csv_format
from rangemill.formats.base import Settled


def written_anew(of: ObjectContext, block: Block, places: Iterable[int], settled: Settled) -> Block:
    """The block in the dialect of `rfc`, every row as wide as the settled columns.

    Raises `BadRecord` for a row that Python refuses too.
    """
    starts = list(places)
    rows: list[list[str]] = []
    try:
        rows.extend(csv_format.rows(block.data, settled))
    except BadRecord as error:
        offset = starts[len(rows)]
        raise BadRecord(
            f"{of.uri}: the record at byte {offset}: {error.message}", object_uri=of.uri, offset=offset
        ) from error
    data = _csv_rows.as_rfc(rows, _csv_options.of(settled).plain_dialect)
    return Block(data, block.offset, block.records, starts)


def rfc(settled: Settled) -> Settled:
    """The same records in the plain dialect that `written_anew` writes."""
    dialect = _csv_options.of(settled).plain_dialect
    quote = _csv_rows.quote_of(dialect)
    options = settled.options | {
        "delimiter": dialect.delimiter.decode(),
        "quote": quote,
        "escape": "",
        "comment": "",
    }
    return msgspec.structs.replace(settled, options=options)
