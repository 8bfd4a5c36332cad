"""How DuckDB reads each format's blocks: contents for memory files, and the SELECT over them.

Every line of a block is a row of the SELECT, in order, and nothing else is: what DuckDB would drop (empty lines) or
choke on (mixed line ends) is put right here. The count of rows is compared with the format's afterwards.
"""

# ruff: noqa: S608 - statements are made of quoted names and literals; the user's own runs in the sandbox

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from rangemill.blocks import Canonical, SparseFile
from rangemill.engines import _parquet_files
from rangemill.engines._exact_casts import exact_cast, misfit
from rangemill.engines._sql_names import RAW, Columns, literal, quote
from rangemill.formats import _csv_options, _csv_rows, _lines
from rangemill.formats import avro as avro_format
from rangemill.formats.base import Settled

_FILE_BYTES: Final = 4 * 2**20  # `string_split` over 64 MiB at once is forty times slower than over 4
_LEAST_LINE_BYTES: Final = 2 * 2**20
_NESTED: Final = ("STRUCT(", "MAP(", "JSON", "UNION(", "DOUBLE", "FLOAT")  # read as they are, not through text

OfText = Callable[[str, str], str]  # what becomes of a VARCHAR expression that should be of a type


class Reader(Protocol):
    """A format's way into DuckDB."""

    def __call__(
        self, blocks: list[Any], columns: Columns, settled: Settled
    ) -> tuple[Sequence[bytes | SparseFile], Callable[[list[str]], str]]:
        """The contents of the files to make, and the SELECT of those columns, given the files' paths."""


def text(blocks: list[bytes], columns: Columns, settled: Settled) -> tuple[list[bytes], Callable[[list[str]], str]]:  # noqa: ARG001
    """Lines split by DuckDB itself: exact for empty lines, lone returns and NUL, which `read_csv` is not."""
    wants_raw = any(name == RAW for name, _ in columns)
    if wants_raw and not all(map(is_utf8, blocks)):
        return _raw_text(blocks, columns)
    has_returns = any(b"\r" in block for block in blocks)
    files = [b"\n".join(group) for group in _groups(_line_text(block, has_returns) for block in blocks)]
    line = "CASE WHEN ends_with(line, chr(13)) THEN left(line, -1) ELSE line END" if has_returns else "line"
    chosen = ", ".join(f"{line} AS line" if name != RAW else f"encode({line}) AS {RAW}" for name, _ in columns)
    chosen = chosen or "0 AS none"

    def select(paths: list[str]) -> str:
        lines = f"SELECT unnest(string_split(content, chr(10))) AS line FROM read_text({_list(paths)})"
        return f"SELECT {chosen} FROM ({lines})"

    return files, select


def _raw_text(blocks: list[bytes], columns: Columns) -> tuple[list[bytes], Callable[[list[str]], str]]:
    """The same where some line is no UTF-8: its `line` is NULL, its bytes are in `raw`."""
    lines = (b"".join(base64.b64encode(line) + b"\n" for line in _lines.lines(block)) for block in blocks)
    files = [b"".join(group)[:-1] for group in _groups(lines)]
    values = {"line": "TRY(decode(raw))", RAW: RAW}
    chosen = ", ".join(f"{values[name]} AS {name}" for name, _ in columns)

    def select(paths: list[str]) -> str:
        encoded = f"SELECT unnest(string_split(content, chr(10))) AS line FROM read_text({_list(paths)})"
        return f"SELECT {chosen} FROM (SELECT from_base64(line) AS raw FROM ({encoded}))"

    return files, select


def is_utf8(block: bytes) -> bool:
    """Whether the bytes are text that SQL can hold."""
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _line_text(block: bytes, has_returns: bool) -> bytes:
    """The block without its last newline, so that splitting gives its lines and no empty one after them."""
    if block.endswith(b"\n"):
        return block[:-1]
    return (
        block + b"\r" if has_returns and block.endswith(b"\r") else block
    )  # that return is data: give SQL one to strip


def csv(
    blocks: list[bytes | Canonical], columns: Columns, settled: Settled
) -> tuple[list[bytes], Callable[[list[str]], str]]:
    """Every column as text, so that what a typed read would round is seen; then exact casts."""
    return _csv(blocks, columns, settled, exact_cast)


def _csv(
    blocks: Sequence[bytes | Canonical], columns: Columns, settled: Settled, of_text: OfText
) -> tuple[list[bytes], Callable[[list[str]], str]]:
    dialect = _csv_options.of(settled).plain_dialect
    contents = (block.data if isinstance(block, Canonical) else _csv_rows.canonical(block, dialect) for block in blocks)
    files = [b"".join(group) for group in _groups(contents)]
    files = [_lines.BOM + file if file.startswith(_lines.BOM) else file for file in files]  # DuckDB drops one
    arguments = csv_arguments(settled, _longest(files))
    chosen = ", ".join(f"{of_text(quote(name), of)} AS {quote(name)}" for name, of in columns) or "0 AS none"

    def select(paths: list[str]) -> str:
        reading = ", ".join(f"{name} = {value}" for name, value in arguments.items())
        return f"SELECT {chosen} FROM read_csv({_list(paths)}, {reading})"

    return files, select


def csv_arguments(settled: Settled, longest_bytes: int) -> dict[str, str]:
    """The arguments of `read_csv` for canonical rows, every column as text."""
    options = _csv_options.of(settled)
    marks = literal(_csv_rows.quote_of(options.plain_dialect))
    names = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name, _ in settled.columns or []) + "}"
    return {
        "header": "false",
        "auto_detect": "false",
        "delim": literal(options.plain_dialect.delimiter.decode()),
        "quote": marks,
        "escape": marks,
        "new_line": "'\\n'",  # what stands inside quotes is no sign of another one
        "nullstr": _list(options.nulls or [""]),
        "strict_mode": "true",
        "null_padding": "false",
        "max_line_size": str(longest_bytes),
        "columns": names,
    }


def jsonl(blocks: list[bytes], columns: Columns, settled: Settled) -> tuple[list[bytes], Callable[[list[str]], str]]:
    """Scalars as text with exact casts; nested values and floats as DuckDB reads them."""
    raw = {name: of if _is_nested(of) else "VARCHAR" for name, of in columns}
    values = {name: exact_cast(quote(name), of) if raw[name] == "VARCHAR" else quote(name) for name, of in columns}
    if RAW in raw and may_have_raw(settled):  # text as JSON lines: of a record that is none the bytes alone are there
        raw |= {RAW: "VARCHAR", "line": "VARCHAR"}
        values[RAW] = f"CASE WHEN {RAW} IS NULL THEN encode(line) ELSE from_base64({RAW}) END"
    return _jsonl(blocks, raw, values)


def may_have_raw(settled: Settled) -> bool:
    """Whether the records are text in one column, beside which its bytes may be asked for."""
    return settled.format == "text" and settled.columns == [("line", "VARCHAR")]


def _jsonl(
    blocks: list[bytes], raw: dict[str, str], values: dict[str, str]
) -> tuple[list[bytes], Callable[[list[str]], str]]:
    """`raw`: what each column is read as; `values`: what becomes of those that are wanted."""
    files = [b"".join(group) for group in _groups(_json_text(block) for block in blocks)]
    files = [b"\n" + file if file.startswith(_lines.BOM) else file for file in files]  # DuckDB drops one at the start
    chosen = ", ".join(f"{value} AS {quote(name)}" for name, value in values.items())
    names = "{" + ", ".join(f"{literal(name)}: {literal(of)}" for name, of in raw.items()) + "}"
    size = f"format = 'newline_delimited', maximum_object_size = {_longest(files)}"

    def select(paths: list[str]) -> str:
        if not values:
            return f"SELECT 0 AS none FROM read_json_objects({_list(paths)}, {size})"
        reading = f"{size}, auto_detect = false, records = true, columns = {names}"
        return f"SELECT {chosen} FROM read_json({_list(paths)}, {reading})"

    return files, select


def _is_nested(of: str) -> bool:
    return of.startswith(_NESTED) or of.endswith("]")


def _csv_misfits(
    blocks: list[bytes], columns: Columns, settled: Settled
) -> tuple[list[bytes], Callable[[list[str]], str]]:
    return _csv(blocks, columns, settled, misfit)


def _jsonl_misfits(
    blocks: list[bytes],
    columns: Columns,
    settled: Settled,  # noqa: ARG001
) -> tuple[list[bytes], Callable[[list[str]], str]]:
    raw = {name: "JSON" if _is_nested(of) else "VARCHAR" for name, of in columns}
    values = {
        name: (
            f"({quote(name)} IS NOT NULL AND json_type({quote(name)}) <> 'NULL' "
            f"AND TRY(CAST({quote(name)} AS {of})) IS NULL)"
            if _is_nested(of)
            else misfit(quote(name), of)
        )
        for name, of in columns
    }
    return _jsonl(blocks, raw, values)


def _json_text(block: bytes) -> bytes:
    if _lines.has_blank_line(block):
        block = b"\n".join(_lines.lines_except(block, _lines.is_blank))
    return block if block.endswith(b"\n") else block + b"\n"


def parquet(
    blocks: list[SparseFile],
    columns: Columns,
    settled: Settled,  # noqa: ARG001
) -> tuple[list[SparseFile], Callable[[list[str]], str]]:
    """The columns as the files have them: their types were settled from a footer, and every object has the same."""
    chosen = ", ".join(quote(name) for name, _ in columns) or "0 AS none"

    def select(paths: list[str]) -> str:
        return f"SELECT {chosen} FROM {_parquet_files.reading(paths)}"

    return blocks, select


def avro(blocks: list[bytes], columns: Columns, settled: Settled) -> tuple[list[bytes], Callable[[list[str]], str]]:  # noqa: ARG001
    """Records as JSON lines of texts, which DuckDB casts to the schema's types: each text is exactly one value."""
    wanted = {name for name, _ in columns}
    raw: dict[str, str] = {}
    files = [b"".join(group) for group in _groups(_avro_text(block, wanted, raw) for block in blocks)]
    names = "{" + ", ".join(f"{literal(name)}: {literal(raw.get(name, 'VARCHAR'))}" for name, _ in columns) + "}"
    chosen = ", ".join(f"CAST({quote(name)} AS {of}) AS {quote(name)}" for name, of in columns)
    size = f"format = 'newline_delimited', maximum_object_size = {_longest(files)}"

    def select(paths: list[str]) -> str:
        if not columns:
            return f"SELECT 0 AS none FROM read_json_objects({_list(paths)}, {size})"
        return (
            f"SELECT {chosen} FROM read_json({_list(paths)}, {size}, auto_detect = false, records = true, "
            f"columns = {names})"
        )

    return files, select


def _avro_text(block: bytes, wanted: set[str], raw: dict[str, str]) -> bytes:
    """A block's records as lines; `raw` learns the types that these are read as."""
    columns, lines = avro_format.lines(block, wanted)
    raw.update((column.name, column.raw) for column in columns)
    return b"".join(line + b"\n" for line in lines)


def _groups(contents: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Small blocks together, so that a thousand of them are not a thousand files."""
    group: list[bytes] = []
    size = 0
    for content in contents:
        if group and size + len(content) > _FILE_BYTES:
            yield group
            group, size = [], 0
        group.append(content)
        size += len(content) + 1
    if group:
        yield group


def _longest(files: list[bytes]) -> int:
    return max([_LEAST_LINE_BYTES, *map(len, files)])


def _list(texts: list[str]) -> str:
    return "[" + ", ".join(map(literal, texts)) + "]"


# The same columns as booleans: whether a value is there that does not fit. Of the shapes whose values are texts.
MISFITS: Final[dict[str, Reader]] = {"csv": _csv_misfits, "jsonl": _jsonl_misfits}
READERS: Final[dict[str, Reader]] = {"text": text, "csv": csv, "jsonl": jsonl, "parquet": parquet, "avro": avro}
# Of the shapes that are lines of text: which lines are no records.
LEFT_OUT: Final[dict[str, Callable[[bytes], bool]]] = {
    "text": lambda _: False,
    "csv": _lines.is_empty,
    "jsonl": _lines.is_blank,
}


def records_of(block: bytes, settled: Settled) -> Iterator[bytes]:
    """The records of a block that is text, one by one with their ends."""
    if shape_of(settled) == "csv":
        spans = _csv_rows.spans(block, _csv_options.of(settled).plain_dialect)
        return (block[start:following] for start, _, following in spans)
    left_out = LEFT_OUT[shape_of(settled)]
    return (line for line, _ in _lines.with_starts(block) if not left_out(line))


def shape_of(settled: Settled) -> str:
    """How the format's blocks are read: as themselves, or as what they were transcoded to."""
    return settled.shape or settled.format
