"""Rows as an output format can hold them."""

# ruff: noqa: S608 - statements are made of quoted names and literals; the user's own runs in the sandbox

from typing import Final

from rangemill.engines._sandbox import Session
from rangemill.engines._sql_names import quote

_FLOATS: Final = ("FLOAT", "DOUBLE")


def without_hugeint(session: Session, select: str) -> str:
    """The same rows with sums as DECIMAL(38,0): Parquet would make them DOUBLE."""
    given = [(str(row[0]), str(row[1])) for row in session.run(f"DESCRIBE {select}\n")]
    chosen = ", ".join(
        f"CAST({quote(n)} AS DECIMAL(38, 0)) AS {quote(n)}" if of == "HUGEINT" else quote(n) for n, of in given
    )
    return f"SELECT {chosen} FROM ({select}\n)"


def without_nan(session: Session, select: str) -> str:
    """The same rows with NaN and infinities as NULL: JSON has no words for them (the Python engine writes null too)."""
    given = [(str(row[0]), str(row[1])) for row in session.run(f"DESCRIBE {select}\n")]
    if not any(of in _FLOATS for _, of in given):
        return select
    chosen = ", ".join(
        f"CASE WHEN isfinite({quote(n)}) THEN {quote(n)} END AS {quote(n)}" if of in _FLOATS else quote(n)
        for n, of in given
    )
    return f"SELECT {chosen} FROM ({select}\n)"
