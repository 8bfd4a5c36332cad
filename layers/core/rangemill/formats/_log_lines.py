"""Lines of logs into columns: a pattern with named groups, and the layouts of well-known logs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from rangemill.formats import _lines

Preset = Literal["alb", "s3", "cloudfront", "w3c"]
Row = dict[str, str | None]

_SECONDS: Final = "DECIMAL(18, 6)"
_FIELDS: Final = "#Fields:"

# What AWS appends to a line in years to come is left out; what a client may write into a quoted field is taken as far
# as the rest of the line still fits. https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
_ALB: Final = (
    r"(?P<type>\S+) (?P<time>\S+) (?P<elb>\S+) (?P<client_ip>\S+?)(?::(?P<client_port>\d+))? "
    r"(?P<target_ip>\S+?)(?:[:-](?P<target_port>\d+))? "
    r"(?P<request_processing_time>-?[\d.]+) (?P<target_processing_time>-?[\d.]+) "
    r"(?P<response_processing_time>-?[\d.]+) (?P<elb_status_code>\d+|-) (?P<target_status_code>\d+|-) "
    r"(?P<received_bytes>\d+|-) (?P<sent_bytes>\d+|-) "
    r'"(?P<request_verb>\S+) (?P<request_url>.*?) (?P<request_proto>\S*) ?" "(?P<user_agent>.*?)" '
    r"(?P<ssl_cipher>[\w-]+) (?P<ssl_protocol>[\w.-]+) (?P<target_group_arn>\S+) "
    r'"(?P<trace_id>[^"]*)" "(?P<domain_name>[^"]*)" "(?P<chosen_cert_arn>[^"]*)" '
    r"(?P<matched_rule_priority>[\w.-]+) (?P<request_creation_time>\S+) "
    r'"(?P<actions_executed>[^"]*)" "(?P<redirect_url>.*?)" "(?P<lambda_error_reason>[^"]*)"'
    r'(?: "(?P<target_port_list>[^"]*)" "(?P<target_status_code_list>[^"]*)"'
    r'(?: "(?P<classification>[^"]*)" "(?P<classification_reason>[^"]*)"'
    r"(?: (?P<conn_trace_id>\S+))?)?)?(?: .*)?$"
)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
_S3: Final = (
    r"(?P<bucket_owner>\S+) (?P<bucket>\S+) \[(?P<time>[^\]]*)\] (?P<remote_ip>\S+) (?P<requester>\S+) "
    r"(?P<request_id>\S+) (?P<operation>\S+) (?P<key>\S+) "
    r'(?:"(?P<request_uri>.*?)"|-) (?P<http_status>\d+|-) (?P<error_code>\S+) (?P<bytes_sent>\d+|-) '
    r"(?P<object_size>\d+|-) (?P<total_time>-?\d+|-) (?P<turn_around_time>-?\d+|-) "
    r'(?:"(?P<referrer>.*?)"|-) (?:"(?P<user_agent>.*?)"|-) (?P<version_id>[^\s"]+)'
    r"(?: (?P<host_id>\S+) (?P<signature_version>\S+) (?P<cipher_suite>\S+) (?P<authentication_type>\S+) "
    r"(?P<host_header>\S+) (?P<tls_version>\S+)(?: (?P<access_point_arn>\S+)(?: (?P<acl_required>\S+))?)?)?(?: .*)?$"
)
_PATTERNS: Final = {"alb": _ALB, "s3": _S3}
_SEPARATORS: Final = {"cloudfront": "\t", "w3c": " "}
_TYPES: Final[dict[str, dict[str, str]]] = {
    "alb": {
        **dict.fromkeys(("client_port", "target_port", "elb_status_code", "target_status_code"), "BIGINT"),
        **dict.fromkeys(("received_bytes", "sent_bytes"), "BIGINT"),
        **dict.fromkeys(("request_processing_time", "target_processing_time", "response_processing_time"), _SECONDS),
    },
    "s3": dict.fromkeys(("http_status", "bytes_sent", "object_size", "total_time", "turn_around_time"), "BIGINT"),
    "cloudfront": {
        "date": "DATE",
        **dict.fromkeys(("time-taken", "time-to-first-byte"), _SECONDS),
        **dict.fromkeys(("sc-bytes", "cs-bytes", "sc-status", "c-port", "sc-content-len"), "BIGINT"),
        **dict.fromkeys(("sc-range-start", "sc-range-end"), "BIGINT"),
    },
    "w3c": {
        "date": "DATE",
        "time-taken": _SECONDS,
        **dict.fromkeys(("sc-bytes", "cs-bytes", "sc-status", "sc-substatus", "s-port", "c-port"), "BIGINT"),
        "sc-win32-status": "BIGINT",
    },
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a line becomes a row: `names` in order, and `parse`, which is None where the line does not fit."""

    names: list[str]
    parse: Callable[[str], Row | None]
    problem: str
    types: dict[str, str]


def has_header(preset: str | None) -> bool:
    """Whether the names stand in the log itself."""
    return preset in _SEPARATORS


def left_out(preset: str | None) -> Callable[[bytes], bool] | None:
    """Which lines of such a log are no records; None where all are."""
    if preset is None:
        return None
    return _is_comment_or_empty if has_header(preset) else _lines.is_empty


def _is_comment_or_empty(line: bytes) -> bool:
    return line.startswith(b"#") or _lines.is_empty(line)


def fields_of(line: bytes) -> list[str] | None:
    """The names in a `#Fields:` line; None for another line."""
    text = line.decode("utf-8", "replace")
    return text.removeprefix(_FIELDS).split() if text.startswith(_FIELDS) else None


def leading_fields(text: str) -> list[str] | None:
    """The names in the `#Fields:` line among the comments that a log begins with; None where there is none."""
    for line in text.removeprefix("\ufeff").split("\n"):
        if not line.startswith("#"):
            break
        found = fields_of(line.encode())
        if found is not None:
            return found
    return None


def separator_of(preset: str | None) -> bytes:
    """What stands between the fields of such a log."""
    return _SEPARATORS[preset or ""].encode()


def layout(preset: str | None, pattern: str | None, fields: list[str], nulls: frozenset[str]) -> Layout | None:
    """The layout that the options name; None for plain text, and for a log with a header that is not known yet."""
    if preset in _SEPARATORS:
        return _separated(fields, _SEPARATORS[preset], nulls, _TYPES[preset]) if fields else None
    if preset is not None:
        return _matched(_PATTERNS[preset], f"it is no line of the {preset} log", nulls, _TYPES[preset])
    if pattern is not None:
        return _matched(pattern, "it does not match `format.pattern`", nulls, {})
    return None


def group_names(pattern: str) -> list[str]:
    """The named groups in order. Raises ValueError for what is no pattern, or has none."""
    try:
        names = list(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"expected a regular expression of Python's `re`: {error}") from None
    if not names:
        raise ValueError("expected named groups such as (?P<status>\\d+), which become the columns")
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("two groups have the same name but for its case, which SQL does not tell apart")
    return names


def _matched(pattern: str, problem: str, nulls: frozenset[str], types: dict[str, str]) -> Layout:
    compiled = re.compile(pattern)
    match = compiled.match

    def parse(line: str) -> Row | None:
        found = match(line)
        return None if found is None else found.groupdict()

    def parse_nulls(line: str) -> Row | None:
        found = match(line)
        if found is None:
            return None
        return {name: None if value in nulls else value for name, value in found.groupdict().items()}

    return Layout(list(compiled.groupindex), parse_nulls if nulls else parse, problem, types)


def _separated(names: list[str], separator: str, nulls: frozenset[str], types: dict[str, str]) -> Layout:
    count = len(names)

    def parse(line: str) -> Row | None:
        cells = line.split(separator)
        if len(cells) != count:
            return None
        return {name: None if cell in nulls else cell for name, cell in zip(names, cells, strict=True)}

    problem = f"it does not have the {count} fields that the #Fields line names"
    return Layout(names, parse, problem, types)
