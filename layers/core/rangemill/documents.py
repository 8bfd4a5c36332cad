"""YAML documents with line numbers: a mistake is shown with file, line, field and what would be right."""

import difflib
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
import yaml

from rangemill.errors import BadPipeline

T = TypeVar("T")

_AT: Final = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key` in `)?\$(?P<path>.*)`)?$", re.DOTALL)
_STRING_TAG: Final = "tag:yaml.org,2002:str"
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`")


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed document that remembers on which line each field stands."""

    file: str
    value: Any
    lines: dict[str, int]

    def convert(self, to: type[T]) -> T:
        """The document as a struct. Raises `BadPipeline`."""
        return self.convert_value(self.value, to, "")

    def convert_value(self, value: Any, to: type[T], path: str) -> T:
        """A part of the document, standing at `path`, as a struct. Raises `BadPipeline`."""
        try:
            return msgspec.convert(value, to)
        except msgspec.ValidationError as error:
            match = _AT.match(str(error))
            inner = (match["path"] if match else "") or ""
            where = (path + inner).lstrip(".")
            problem = match["problem"] if match else str(error)
            raise self._explain(where, problem, to) from None

    def problem(self, field: str, problem: str) -> BadPipeline:
        """A mistake in that field, to be raised."""
        line, at = self.lines.get(field), field
        while line is None and at:
            at = at.rpartition(".")[0]
            line = self.lines.get(at)
        return BadPipeline(self.file, line, field, problem)

    def _explain(self, where: str, problem: str, to: type) -> BadPipeline:
        if unknown := _UNKNOWN.fullmatch(problem):
            name = unknown["name"]
            near = difflib.get_close_matches(name, _field_names(to), n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            if " " in name:  # `{sql: SELECT a, b}`: YAML takes what follows the comma for another field
                hint = "; inside {…} a comma ends a value: put the whole value in quotes, or on a line of its own"
            return self.problem(f"{where}.{name}".lstrip("."), f"there is no such field{hint}")
        if missing := _MISSING.fullmatch(problem):
            return self.problem(f"{where}.{missing['name']}".lstrip("."), "is required and missing")
        if problem.startswith("Invalid enum value") and (allowed := _allowed(where.rpartition(".")[2], to)):
            problem = f"{problem}; expected one of {', '.join(allowed)}"
        return self.problem(where, problem[:1].lower() + problem[1:])


def _field_names(struct: Any) -> list[str]:
    """The names of a struct's fields and of the structs inside it: what a misspelt name may have meant."""
    names: list[str] = []
    if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
        for field in msgspec.structs.fields(struct):
            names.append(field.encode_name)
            for part in (field.type, *getattr(field.type, "__args__", ())):
                names.extend(_field_names(part))
    return names


def _allowed(name: str, struct: Any) -> list[str]:
    """The literals that the field of that name, in this struct or one inside it, may be."""
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        return []
    for field in msgspec.structs.fields(struct):
        parts = (field.type, *get_args(field.type))
        if field.encode_name == name:
            found = [literal for part in parts if get_origin(part) is Literal for literal in get_args(part)]
            if found:
                return [str(literal) for literal in found]
        for part in parts:
            if inner := _allowed(name, part):
                return inner
    return []


class _Loader(yaml.CSafeLoader):
    """The safe loader, with keys as they are written: `null: …` and `yes: …` name a field, not a value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE_TAG:
                key.tag = _STRING_TAG
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, file: str) -> Source:
    """The document and its lines. Raises `BadPipeline` for what is no YAML mapping or names a key twice."""
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise BadPipeline(file, line, "", f"this is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise BadPipeline(file, None, "", f"this is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict) or node is None:
        raise BadPipeline(file, 1, "", "expected a mapping that begins with `name: …`")
    lines: dict[str, int] = {}
    _collect_lines(node, "", lines, file)
    return Source(file, value, lines)


def _collect_lines(node: yaml.Node, path: str, lines: dict[str, int], file: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        at = f"{path}.{name}".lstrip(".")
        if name in seen:
            raise BadPipeline(file, key.start_mark.line + 1, at, "this key stands here twice")
        seen.add(name)
        lines[at] = key.start_mark.line + 1
        _collect_lines(value, at, lines, file)
