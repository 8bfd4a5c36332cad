"""Structs as DynamoDB items: scalars as attributes, so that conditions can name them; the rest as JSON text."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

_CONDITIONED: Final = (
    "generation",
    "status",
    "wave",
    "pointer",
    "desired",
    "grant",
    "held",
    "leased_until",
    "ending",
)


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


def job_key_text(job_id: str, sk: str = "JOB") -> dict[str, str]:
    """The key of a job's row, or of one of its history, as text."""
    return {"pk": f"JOB#{job_id}", "sk": sk}


def job_key(job_id: str, sk: str = "JOB") -> dict[str, Any]:
    """The same as attribute values."""
    return {name: {"S": text} for name, text in job_key_text(job_id, sk).items()}


def update_arguments(
    changes: dict[str, Any], condition: str, values: dict[str, Any], copies: dict[str, str] | None = None
) -> dict[str, Any]:
    """SET of all changes, REMOVE of what becomes None; names go through `#name`, since many are reserved words.

    `copies` are attributes that take over the value which another one has at that moment.
    """
    copies = copies or {}
    names = {f"#{name}": name for name in (*changes, *copies, *copies.values())}
    names |= {f"#{name}": name for name in _CONDITIONED if f"#{name}" in condition}
    kept = {name: value for name, value in changes.items() if value is not None}
    settings = [f"#{name} = :set_{name}" for name in kept] + [f"#{to} = #{of}" for to, of in copies.items()]
    clauses = ["SET " + ", ".join(settings)] if settings else []
    if len(kept) < len(changes):
        clauses.append("REMOVE " + ", ".join(f"#{name}" for name in changes if name not in kept))
    return {
        "UpdateExpression": " ".join(clauses),
        "ConditionExpression": f"attribute_exists(pk) AND ({condition})",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {
            **{f":set_{name}": to_value(value) for name, value in kept.items()},
            **{name: to_value(value) for name, value in values.items()},
        },
    }
