"""Quoting, and the names of our own tables."""

from typing import Final

Columns = list[tuple[str, str]]  # name and SQL type, in order

RAW: Final = "raw"  # the bytes of a text's record, where the statement names them
LOADED: Final = "_rangemill_loaded"  # the columns of a chunk that the statement needs
PLACES: Final = "_rangemill_places"  # where each of its records stands, when the statement asks
PARTIAL: Final = "_rangemill_partial"  # P: what `apply` gave so far


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def definitions(columns: Columns) -> str:
    """`name TYPE, …` as in CREATE TABLE."""
    return ", ".join(f"{quote(name)} {of}" for name, of in columns)


def casts(columns: Columns) -> str:
    """`CAST(name AS TYPE) AS name, …`."""
    return ", ".join(f"CAST({quote(name)} AS {of}) AS {quote(name)}" for name, of in columns)
