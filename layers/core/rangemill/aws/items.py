"""Structs as DynamoDB items: scalars as attributes, so that conditions can name them; the rest as JSON text."""

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


def to_value(value: Any) -> "AttributeValueTypeDef":
    """One attribute value."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | float):
        return {"N": repr(value)}
    if isinstance(value, str):
        return {"S": value}
    return {"S": msgspec.json.encode(value).decode()}


def to_item(row: msgspec.Struct, **key: str) -> "dict[str, AttributeValueTypeDef]":
    """The item of a row; fields that are None are left out."""
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    return {name: to_value(value) for name, value in {**values, **key}.items() if value is not None}


def from_item[T: msgspec.Struct](item: "dict[str, AttributeValueTypeDef]", to: type[T]) -> T:
    """The row of an item; attributes that the row does not know are passed over."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(to):
        attribute: Any = item.get(field.name)
        if attribute is None:
            continue
        if "S" in attribute:
            text = attribute["S"]
            values[field.name] = text if _is_text(field.type) else msgspec.json.decode(text)
        elif "N" in attribute:
            number = attribute["N"]
            values[field.name] = float(number) if field.type in (float, float | None) else int(number)
        else:
            values[field.name] = next(iter(attribute.values()))
    return msgspec.convert(values, to)


def _is_text(kind: Any) -> bool:
    """Whether a field of that type is stored as the text it is, not as JSON."""
    info = msgspec.inspect.type_info(kind)
    parts = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return all(
        isinstance(part, msgspec.inspect.StrType | msgspec.inspect.NoneType)
        or (isinstance(part, msgspec.inspect.LiteralType) and all(isinstance(v, str) for v in part.values))
        for part in parts
    )
