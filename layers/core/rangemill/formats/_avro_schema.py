"""Avro schemas: the columns of a record, how two files' columns differ, and what their values are in SQL."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from rangemill.formats import _avro_values
from rangemill.formats._avro_values import ToJson

_PRIMITIVES: Final = {
    "null": "VARCHAR", "boolean": "BOOLEAN", "int": "INTEGER", "long": "BIGINT", "float": "FLOAT", "double": "DOUBLE",
    "bytes": "BLOB", "string": "VARCHAR",
}  # fmt: skip
_DIGITS_MAX: Final = 38  # of a DECIMAL; one of more is text


@dataclass(frozen=True, slots=True)
class Column:
    """A field: its name in SQL, its own, its type as two files must agree on it, its SQL type, its values' way there.

    `raw` is the SQL type with texts for all scalars, which `to_json` writes.
    """

    name: str
    field: str
    kind: str
    of: str
    raw: str
    to_json: ToJson


@dataclass(frozen=True, slots=True)
class _Type:
    kind: str
    of: str
    raw: str
    to_json: ToJson


def columns_of(schema: Any) -> list[Column] | None:
    """The columns of a record schema; None for another. Raises ValueError for what is no schema."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return None
    names: dict[str, Any] = {}
    _register(schema, "", names)
    space = _space(schema, "")
    columns: list[Column] = []
    taken: set[str] = set()
    for field in schema["fields"]:
        found = _type(field["type"], space, names, (_full_name(schema, ""),))
        name, suffix = field["name"], 0
        while name.lower() in taken:  # SQL does not tell cases apart
            suffix += 1
            name = f"{field['name']}_{suffix}"
        taken.add(name.lower())
        columns.append(Column(name, field["name"], found.kind, found.of, found.raw, found.to_json))
    return columns


def plain(schema: Any) -> Any:
    """The schema without logical types, so that values are read as they are written."""
    if isinstance(schema, dict):
        return {
            name: plain(value) if name != "default" else value
            for name, value in schema.items()
            if name != "logicalType"
        }
    return [plain(one) for one in schema] if isinstance(schema, list) else schema


def _register(schema: Any, space: str, names: dict[str, Any]) -> None:
    """Named types by their full names."""
    if isinstance(schema, list):
        for one in schema:
            _register(one, space, names)
    elif isinstance(schema, dict):
        if schema.get("type") in ("record", "enum", "fixed", "error"):
            names[_full_name(schema, space)] = (schema, _space(schema, space))
            space = _space(schema, space)
        for field in schema.get("fields", ()):
            _register(field["type"], space, names)
        for part in ("items", "values", "type"):
            if isinstance(schema.get(part), (dict, list)):
                _register(schema[part], space, names)


def _full_name(schema: dict[str, Any], space: str) -> str:
    name = str(schema["name"])
    if "." in name:
        return name
    inside = schema.get("namespace", space)
    return f"{inside}.{name}" if inside else name


def _space(schema: dict[str, Any], space: str) -> str:
    return _full_name(schema, space).rpartition(".")[0]


def _type(schema: Any, space: str, names: dict[str, Any], within: tuple[str, ...]) -> _Type:
    if isinstance(schema, str):
        if schema in _PRIMITIVES:
            return _Type(schema, _PRIMITIVES[schema], "VARCHAR", _SCALARS.get(schema, str))
        full = schema if "." in schema or not space else f"{space}.{schema}"
        if full not in names:
            full = schema
        if full not in names:
            raise ValueError(f"its schema uses a type {schema!r} that it does not define")
        if full in within:
            return _json_type(f"ref({full})")
        named, inside = names[full]
        return _complex(named, inside, names, within)
    if isinstance(schema, list):
        return _union(schema, space, names, within)
    return _complex(schema, space, names, within)


def _complex(schema: dict[str, Any], space: str, names: dict[str, Any], within: tuple[str, ...]) -> _Type:
    logical = _logical(schema)
    if logical is not None:
        return logical
    kind = schema["type"]
    make = _COMPLEX.get(kind) if isinstance(kind, str) else None
    return _type(kind, space, names, within) if make is None else make(schema, space, names, within)


def _array(schema: dict[str, Any], space: str, names: dict[str, Any], within: tuple[str, ...]) -> _Type:
    inner = _type(schema["items"], space, names, within)
    return _Type(f"array<{inner.kind}>", f"{inner.of}[]", f"{inner.raw}[]", _each(inner.to_json))


def _map(schema: dict[str, Any], space: str, names: dict[str, Any], within: tuple[str, ...]) -> _Type:
    inner = _type(schema["values"], space, names, within)
    to_json = _members(inner.to_json)
    return _Type(f"map<{inner.kind}>", f"MAP(VARCHAR, {inner.of})", f"MAP(VARCHAR, {inner.raw})", to_json)


def _record(schema: dict[str, Any], space: str, names: dict[str, Any], within: tuple[str, ...]) -> _Type:
    full = _full_name(schema, space)
    inside = _space(schema, space)
    fields = [(f["name"], _type(f["type"], inside, names, (*within, full))) for f in schema["fields"]]
    kind = "record{" + ", ".join(f"{name}: {of.kind}" for name, of in fields) + "}"
    if not fields or len({name.lower() for name, _ in fields}) < len(fields):
        return _json_type(kind)
    of = ", ".join(f'"{name}" {found.of}' for name, found in fields)
    raw = ", ".join(f'"{name}" {found.raw}' for name, found in fields)
    converters = [(name, found.to_json) for name, found in fields]

    def to_json(value: Any) -> Any:
        return {name: None if value[name] is None else convert(value[name]) for name, convert in converters}

    return _Type(kind, f"STRUCT({of})", f"STRUCT({raw})", to_json)


_COMPLEX: Final[dict[str, Callable[..., _Type]]] = {
    "record": _record,
    "error": _record,
    "array": _array,
    "map": _map,
    "enum": lambda *_: _Type("enum", "VARCHAR", "VARCHAR", str),
    "fixed": lambda schema, *_: _Type(f"fixed({schema['size']})", "BLOB", "VARCHAR", _avro_values.blob),
}


def _union(schema: list[Any], space: str, names: dict[str, Any], within: tuple[str, ...]) -> _Type:
    branches = [_type(one, space, names, within) for one in schema if one != "null"]
    optional = "?" if len(branches) < len(schema) else ""
    if not branches:
        return _Type("null", "VARCHAR", "VARCHAR", str)
    if len(branches) == 1:
        only = branches[0]
        return _Type(only.kind + optional, only.of, only.raw, only.to_json)
    kind = "union[" + ", ".join(branch.kind for branch in branches) + "]" + optional
    kinds = {branch.kind for branch in branches}
    if kinds == {"int", "long"}:
        return _Type(kind, "BIGINT", "VARCHAR", str)
    if kinds == {"float", "double"}:
        return _Type(kind, "DOUBLE", "VARCHAR", str)
    return _json_type(kind)


def _json_type(kind: str) -> _Type:
    """What SQL has no type for: JSON text, bytes in it as `\\xFF`."""
    return _Type(kind, "JSON", "JSON", _avro_values.as_json)


def _each(convert: ToJson) -> ToJson:
    return lambda values: [None if value is None else convert(value) for value in values]


def _members(convert: ToJson) -> ToJson:
    return lambda entries: {name: None if value is None else convert(value) for name, value in entries.items()}


_SCALARS: Final[dict[str, ToJson]] = {"bytes": _avro_values.blob, "boolean": lambda value: "true" if value else "false"}


def _logical(schema: dict[str, Any]) -> _Type | None:
    """The type that a logical type makes of the one it annotates; None where it does not fit, which Avro ignores."""
    logical, kind = schema.get("logicalType"), schema["type"]
    if logical == "decimal" and kind in ("bytes", "fixed"):
        return _decimal(schema)
    if logical == "uuid" and kind == "string":
        return _Type("uuid", "UUID", "VARCHAR", str)
    if logical == "uuid" and kind == "fixed" and schema.get("size") == 16:
        return _Type("uuid", "UUID", "VARCHAR", lambda value: str(UUID(bytes=value)))
    if logical == "date" and kind == "int":
        return _Type("date", "DATE", "VARCHAR", _avro_values.day)
    if isinstance(logical, str) and (logical, kind) in _avro_values.TIMES:
        of, to_json = _avro_values.TIMES[logical, kind]
        return _Type(logical, of, "VARCHAR", to_json)
    return None


def _decimal(schema: dict[str, Any]) -> _Type | None:
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision or precision < 1:
        return None
    of = f"DECIMAL({precision},{scale})" if precision <= _DIGITS_MAX else "VARCHAR"
    return _Type(f"decimal({precision},{scale})", of, "VARCHAR", _avro_values.decimal(precision, scale))


def lines(rows: Iterator[dict[str, Any]], columns: list[Column]) -> Iterator[bytes]:
    """Rows without logical types as JSON lines of these columns."""
    encode = msgspec.json.encode
    converters = [(column.name, column.field, column.to_json) for column in columns]
    for row in rows:
        yield encode(
            {name: None if (value := row[field]) is None else convert(value) for name, field, convert in converters}
        )
