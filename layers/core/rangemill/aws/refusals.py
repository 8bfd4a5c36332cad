"""What AWS refuses for want of permission, and what grants it: the statement, on which role, by which parameter.

AWS names the role, the action and the resource in most refusals of S3 and KMS ("User: … is not authorized to perform: …
on resource: … because …"); where it does not, the request itself tells which action it was.
"""

import re
from dataclasses import dataclass
from typing import Final

_TOLD: Final = re.compile(
    r"(?:User: )?(?P<who>arn:\S+?) is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on (?:the )?resource(?: associated with this ciphertext)?:?(?: ?\"?(?P<resource>arn:[^\s\"]+)\"?)?)?"
    r"(?:,? because (?P<why>.*))?",
    re.DOTALL,
)
_ROLE: Final = re.compile(r"arn:[\w-]+:sts::\d+:assumed-role/(?P<role>[^/]+)/")


@dataclass(frozen=True, slots=True)
class Grant:
    """A policy of the template, and the parameter by which it is given what it grants."""

    policy: str
    parameter: str


_READ: Final = Grant("read-input", "ExistingInputBuckets")
_ATTRIBUTES: Final = Grant("read-input-attributes", "ExistingInputBuckets")
_READ_KEYS: Final = Grant("read-input", "InputKeyArns")
_WRITE: Final = Grant("write-output` or `write-parts", "OutputBuckets")
_WRITE_KEYS: Final = Grant("use-output-keys", "OutputKeyArns")
GRANTS: Final = {
    "s3:ListBucket": _READ,
    "s3:GetObject": _READ,
    "s3:GetObjectVersion": _READ,
    "s3:GetObjectAttributes": _ATTRIBUTES,
    "s3:GetObjectVersionAttributes": _ATTRIBUTES,
    "s3:PutObject": _WRITE,
    "kms:Decrypt": _READ_KEYS,
    "kms:GenerateDataKey": _WRITE_KEYS,
}
_ACTIONS: Final = {  # what a request is called -> what it needs
    "look at": "s3:GetObject",
    "read": "s3:GetObject",
    "read the parts of": "s3:GetObjectAttributes",
    "list": "s3:ListBucket",
    "write": "s3:PutObject",
}


def told(what: str, message: str) -> str:
    """The refusal of a request (`read s3://b/k`) in words, with its remedy."""
    verb, _, target = what.rpartition(" ")
    is_s3 = target.startswith("s3://")
    match = _TOLD.search(message)
    action = match["action"] if match else _ACTIONS.get(verb) if is_s3 else None
    parts = [f"cannot {what}: AWS refused it ({_short(message)})"]
    if match is None and action is None:
        return f"{parts[0]}; the role needs that permission"
    resource = match["resource"] if match else None
    why = (match["why"] or "") if match else ""
    if action == "s3:ListBucket" and verb in ("look at", "read"):
        parts.append("there may be no such object: without s3:ListBucket S3 answers 403 where it would answer 404")
    elif match is None and verb in ("look at", "read"):
        parts.append("it may also be that there is no such object, and no permission to list the bucket")
    parts.append(_remedy(action or "", resource, _role(match["who"]) if match else None, why, writes=verb == "write"))
    return "; ".join(parts)


def of_key(what: str, code: str, message: str) -> str:
    """A KMS key that is disabled, deleted or of another kind, in words."""
    return (
        f"cannot {what}: its KMS key cannot be used: {code} ({_short(message)}); enable that key, cancel its deletion, "
        "or encrypt the object with another one"
    )


def _remedy(action: str, resource: str | None, role: str | None, why: str, *, writes: bool) -> str:
    of = f"role {role}" if role else "function's role"
    place = f" on {resource}" if resource else ""
    if "explicit deny" in why:
        kinds = ("resource-based", "service control", "resource control", "permissions boundary")
        where = next((kind for kind in kinds if kind in why), "identity-based")
        return f"a {where} policy denies {action}{place} to the {of}: take that statement away or except the role"
    grant = GRANTS.get(action)
    if action == "kms:Decrypt" and writes:
        grant = _WRITE_KEYS
    if "resource-based policy" in why and "identity" not in why:
        return f"let the policy of that resource allow {action}{place} to the {of}"
    key = " and that the key's own policy lets the account's roles use it" if action.startswith("kms:") else ""
    if grant is None:
        return f"the {of} needs {action}{place}"
    return (
        f"the {of} needs {action}{place}: the stack's policy `{grant.policy}` grants it for what its parameter "
        f"{grant.parameter} names; deploy with that{key}"
    )


def _role(who: str) -> str | None:
    match = _ROLE.match(who)
    return match["role"] if match else None


def _short(message: str) -> str:
    """Without the role, the action and the resource, which the remedy names."""
    match = _TOLD.search(message)
    if match is None:
        return message.strip() or "Access Denied"
    return f"{match['action']}: {match['why'].strip()}" if match["why"] else str(match["action"])
