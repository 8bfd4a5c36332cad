"""DynamoDB's expressions, as far as the project writes them; whatever else is refused loudly."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

type Item = dict[str, Any]

_TOKEN: Final = re.compile(r"\s*(?:(<>|<=|>=|[=<>(),+\-])|([:#]?[A-Za-z_][\w.]*))")
_COMPARISONS: Final = ("=", "<>", "<", "<=", ">", ">=")


class Unsupported(BaseException):
    """The simulator does not know that part of the language: teach it, do not guess. No handler may catch it."""


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Unsupported(f"cannot read {text[position:]!r} in {text!r}")
        tokens.append(match[1] or match[2])
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens, evaluating against an item as it goes."""

    def __init__(self, text: str, names: Mapping[str, str], values: Mapping[str, Any], used: set[str]) -> None:
        self._tokens = _tokens(text)
        self._names = names
        self._values = values
        self._used = used
        self.position = 0

    @property
    def next(self) -> str:
        return self._tokens[self.position] if self.position < len(self._tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.next
        if not token or (expected is not None and token.upper() != expected):
            raise Unsupported(f"{expected or 'more'} expected at {self._tokens[self.position :]} of {self._tokens}")
        self.position += 1
        return token

    def name(self) -> str:
        token = self.take()
        if token.startswith("#"):
            self._used.add(token)
            return self._names[token]
        return token

    def operand(self, item: Item) -> Any:
        """A value of the request, an attribute of the item, or None where the item has none."""
        if self.next.startswith(":"):
            token = self.take()
            self._used.add(token)
            return self._values[token]
        if self.next == "if_not_exists":
            self.take()
            self.take("(")
            known = item.get(self.name())
            self.take(",")
            other = self.operand(item)
            self.take(")")
            return other if known is None else known
        return item.get(self.name())

    def either(self, item: Item) -> bool:
        result = self.both(item)
        while self.next.upper() == "OR":
            self.take()
            result = self.both(item) or result
        return result

    def both(self, item: Item) -> bool:
        result = self.one(item)
        while self.next.upper() == "AND":
            self.take()
            result = self.one(item) and result
        return result

    def one(self, item: Item) -> bool:
        if self.next.upper() == "NOT":
            self.take()
            return not self.one(item)
        if self.next == "(":
            self.take()
            result = self.either(item)
            self.take(")")
            return result
        if self.next in ("attribute_exists", "attribute_not_exists", "begins_with"):
            return self._function(item)
        left = self.operand(item)
        if self.next.upper() == "BETWEEN":
            self.take()
            low = self.operand(item)
            self.take("AND")
            return compare(left, ">=", low) & compare(left, "<=", self.operand(item))
        if self.next.upper() == "IN":
            self.take()
            self.take("(")
            found = compare(left, "=", self.operand(item))
            while self.next == ",":
                self.take()
                found = compare(left, "=", self.operand(item)) or found
            self.take(")")
            return found
        operator = self.take()
        if operator not in _COMPARISONS:
            raise Unsupported(f"{operator!r} in {self._tokens}")
        return compare(left, operator, self.operand(item))

    def _function(self, item: Item) -> bool:
        function = self.take()
        self.take("(")
        name = self.name()
        if function == "begins_with":
            self.take(",")
            prefix = self.operand(item)
            self.take(")")
            return name in item and str(item[name]["S"]).startswith(prefix["S"])
        self.take(")")
        return (name in item) == (function == "attribute_exists")

    def end(self) -> None:
        if self.next:
            raise Unsupported(f"{self._tokens[self.position :]} is left of {self._tokens}")


def compare(left: Any, operator: str, right: Any) -> bool:
    """Two attribute values; of different types, or against none, everything but `<>` is false."""
    if left is None or right is None or left.keys() != right.keys():
        return operator == "<>"
    ((kind, a),), ((_, b),) = left.items(), right.items()
    if kind == "N":
        a, b = Decimal(a), Decimal(b)
    results = {"=": a == b, "<>": a != b}
    if operator not in results and kind not in ("N", "S", "B"):
        raise Unsupported(f"{operator} of {kind}")
    return results[operator] if operator in results else {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


def holds(item: Item | None, text: str | None, request: Mapping[str, Any], used: set[str]) -> bool:
    """Whether the condition holds of the item (None: there is none). `used` collects the placeholders it names."""
    if text is None:
        return True
    parser = _Parser(text, _names(request), _values(request), used)
    result = parser.either(item or {})
    parser.end()
    return result


def updated(item: Item, text: str, request: Mapping[str, Any], used: set[str]) -> Item:
    """The item after an update expression; all its operands are those of before it."""
    parser = _Parser(text, _names(request), _values(request), used)
    after = dict(item)
    while parser.next:
        clause = parser.take().upper()
        while True:
            name = parser.name()
            if clause == "SET":
                parser.take("=")
                value = parser.operand(item)
                if parser.next in ("+", "-"):
                    sign = 1 if parser.take() == "+" else -1
                    value = {"N": str(Decimal(value["N"]) + sign * Decimal(parser.operand(item)["N"]))}
                after[name] = value
            elif clause == "REMOVE":
                after.pop(name, None)
            elif clause == "ADD":
                before = Decimal(item.get(name, {"N": "0"})["N"])
                after[name] = {"N": str(before + Decimal(parser.operand(item)["N"]))}
            else:
                raise Unsupported(clause)
            if parser.next != ",":
                break
            parser.take()
    return after


def require_used(request: Mapping[str, Any], used: set[str]) -> None:
    """DynamoDB refuses a placeholder that no expression names; so does this."""
    unused = ({*_names(request)} | {*_values(request)}) - used
    if unused:
        raise Unsupported(f"placeholders that nothing names: {sorted(unused)}")


def _names(request: Mapping[str, Any]) -> Mapping[str, str]:
    return request.get("ExpressionAttributeNames", {})


def _values(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return request.get("ExpressionAttributeValues", {})
