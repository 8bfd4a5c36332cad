"""Casts from text that refuse what they would change.

DuckDB's own cast of `1.5` to BIGINT is 2, of `1.239` to DECIMAL(18,2) is 1.24, of `2026-01-02 03:04` to DATE is the
day: silently. The common, exact forms cost a comparison; what is unusual is looked at with a regular expression.
"""

import re
from typing import Final

_INTEGERS: Final = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
)
_DECIMAL: Final = re.compile(r"DECIMAL\(\d+, ?(\d+)\)")


def exact_cast(value: str, of: str) -> str:
    """The expression for a VARCHAR expression as that type; at run time it raises where the value would change."""
    cast = f"CAST({value} AS {of})"
    if of == "VARCHAR":
        return value
    if of in _INTEGERS:
        whole = f"{value} IS NULL OR regexp_full_match({value}, '\\s*[+-]?[0-9]+(\\.0*)?\\s*')"
        return f"CASE WHEN CAST({cast} AS VARCHAR) = {value} OR {whole} THEN {cast} ELSE {_error(of)} END"
    if decimal := _DECIMAL.fullmatch(of):
        return f"CASE WHEN {_has_more_digits(value, int(decimal[1]))} THEN {_error(of)} ELSE {cast} END"
    if of == "DATE":
        return f"CASE WHEN {_has_time(value)} THEN {_error(of)} ELSE {cast} END"
    if of.startswith("TIMESTAMP"):
        return f"CASE WHEN {_is_finer(value)} THEN {_error(of)} ELSE {cast} END"
    return cast


def usual_forms(value: str, of: str) -> list[str]:
    """Conditions, the cheapest first, under each of which `exact_cast` is the plain cast: how most are written."""
    if decimal := _DECIMAL.fullmatch(of):
        scale = int(decimal[1])
        return [f"strlen({value}) <= {scale}", f"{value} LIKE '%.{'_' * scale}'"]
    return [f"strlen({value}) <= 10"] if of == "DATE" else []


def usual_cast(value: str, of: str, form: str) -> str:
    """`exact_cast` of values of one of the usual forms; it raises for others, and for NULL."""
    return f"CASE WHEN {form} THEN CAST({value} AS {of}) ELSE {_error(of)} END"


def misfit(value: str, of: str) -> str:
    """Whether a VARCHAR expression is there but not exactly a value of that type: where `exact_cast` raises."""
    if of == "VARCHAR":
        return "false"
    cast = f"TRY_CAST({value} AS {of})"
    changed = "false"
    if of in _INTEGERS:
        changed = (
            f"CAST({cast} AS VARCHAR) <> {value} AND NOT regexp_full_match({value}, '\\s*[+-]?[0-9]+(\\.0*)?\\s*')"
        )
    elif decimal := _DECIMAL.fullmatch(of):
        changed = _has_more_digits(value, int(decimal[1]))
    elif of == "DATE":
        changed = _has_time(value)
    elif of.startswith("TIMESTAMP"):
        changed = _is_finer(value)
    return f"({value} IS NOT NULL AND ({cast} IS NULL OR ({changed})))"


def _has_more_digits(value: str, scale: int) -> str:
    long = f"strlen({value}) - instr({value}, '.') > {scale}"
    suspect = f"(contains({value}, '.') OR contains({value}, 'e') OR contains({value}, 'E'))"
    exact = f"regexp_full_match({value}, '\\s*[+-]?[0-9]*(\\.[0-9]{{0,{scale}}}0*)?\\s*')"
    return f"{long} AND {suspect} AND NOT {exact}"


def _has_time(value: str) -> str:
    return f"strlen({value}) > 10 AND strlen(trim({value})) > 10"


def _is_finer(value: str) -> str:
    return f"strlen({value}) > 26 AND regexp_matches({value}, '\\.[0-9]{{6}}[0-9]*[1-9]')"


def _error(of: str) -> str:
    return f"error('not exactly a value of {of.replace(chr(39), '')}')"
