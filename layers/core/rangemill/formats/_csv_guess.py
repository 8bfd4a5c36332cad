"""The state that a range in the middle of CSV assumes: the one under which what follows looks most like this CSV.

A guess decides nothing but how often work is repeated: the range before tells, and a wrong one is run again. Under the
wrong state quotes soon stand where quotes do not belong, and rows do not have their columns.
"""

from typing import Final

from rangemill.formats import _csv_automaton as automaton
from rangemill.formats._csv_scan import Scanner

WINDOW_BYTES: Final = 32 * 2**10  # what is looked at in any case
SEARCH_BYTES: Final = 2**20  # how far a first quote is sought


def behind_bytes(scanner: Scanner) -> int:
    """How many bytes before a place tell how much of a delimiter stands there."""
    return 8 * len(scanner.dialect.delimiter) - 7


def guess(scanner: Scanner, columns: int, behind: bytes, ahead: bytes) -> str:
    """The state before `ahead[0]`, given some bytes before it. `columns` 0: how many is not known."""
    possible = [automaton.UNQUOTED, automaton.FIELD]
    possible += [automaton.QUOTED] if scanner.dialect.quote else []
    possible += [automaton.COMMENT] if scanner.dialect.comment else []
    states: dict[str, int] = {}  # and how odd what lies behind would be then
    for before in possible:
        odd, state = _look(scanner, 0, before, behind, is_row=False)
        states[state] = min(odd, states.get(state, odd))
    return min(states, key=lambda state: states[state] + _oddity(scanner, columns, state, ahead))


def _oddity(scanner: Scanner, columns: int, state: str, ahead: bytes) -> int:
    """How little what follows looks like rows of so many columns; the first of equals is the likelier one."""
    quote = scanner.dialect.quote
    found, state = _look(scanner, columns, state, ahead[:WINDOW_BYTES], is_row=state == automaton.RECORD)
    at = ahead.find(quote, WINDOW_BYTES) if quote and quote not in ahead[:WINDOW_BYTES] else -1
    if at >= 0:
        state = scanner.outline(state, ahead, WINDOW_BYTES, at)[1]
        found += _look(scanner, columns, state, ahead[at : at + WINDOW_BYTES], is_row=False)[0]
    return found


def _look(scanner: Scanner, columns: int, state: str, data: bytes, *, is_row: bool) -> tuple[int, str]:
    table, quote = scanner.dialect.table, scanner.dialect.quote
    odd, cells = 0, 1
    for byte in data:
        before, state = state, table[state][byte]
        if state == automaton.UNQUOTED and (before == automaton.QUOTE or byte in quote):
            odd += 1
        elif state == automaton.FIELD:
            cells += 1
        elif state in (automaton.RECORD, automaton.RETURN):
            if is_row and columns > 1 and before not in (automaton.RECORD, automaton.RETURN, automaton.COMMENT):
                odd += -1 if cells == columns else 1
            is_row, cells = True, 1
    return odd, state
