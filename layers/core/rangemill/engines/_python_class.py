"""Finding and checking the user's class."""

import importlib
import sys
import typing
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from rangemill.errors import BadPipeline, RangemillError

_METHODS: Final = {
    "start": "start(self, context)",
    "merge": "merge(self, left, right)",
    "finish": "finish(self, total)",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What `start` is given: the object whose records follow, and the pipeline's parameters.

    `member` is a file's name inside the archive that the object is. `object` is the key, of a member with its name
    after a `!`, as `_object` is in SQL. In Finish of a job without any record all texts are empty.
    """

    bucket: str = ""
    key: str = ""
    uri: str = ""
    version_id: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    member: str | None = None

    @property
    def object(self) -> str:
        """The object's key, of a member with its name after a `!`."""
        return self.key if self.member is None else f"{self.key}!{self.member}"


@dataclass(frozen=True, slots=True)
class UserClass:
    """An instance of the user's class and what its signature says."""

    reference: str
    instance: Any
    takes_batches: bool
    record_type: Any


def load_class(reference: str) -> UserClass:
    """The class of `module:Class`, made. Raises `BadPipeline` when it cannot be, or when a method is missing."""
    module_name, _, class_name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.split(".")[0] == error.name.split(".")[0]:
            raise _problem(
                f"there is no module `{module_name}` on the path; put {module_name}.py beside the pipeline"
            ) from None
        raise _problem(f"importing `{module_name}` failed: {type(error).__name__}: {error}") from error
    except (Exception, SystemExit) as error:
        raise _problem(f"importing `{module_name}` failed: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise _problem(f"`{module_name}` has no class `{class_name}`")
    for name, signature in _METHODS.items():
        if not callable(getattr(found, name, None)):
            raise _problem(f"`{reference}` has no method `{signature}`")
    takes_batches = callable(getattr(found, "apply_batch", None))
    if not takes_batches and not callable(getattr(found, "apply", None)):
        raise _problem(
            f"`{reference}` has neither `apply(self, partial, record)` nor `apply_batch(self, partial, records)`"
        )
    try:
        instance = found()
    except RangemillError:
        raise
    except (Exception, SystemExit) as error:
        raise _problem(f"`{class_name}()` raised {type(error).__name__}: {error}") from error
    return UserClass(reference, instance, takes_batches, None if takes_batches else _record_type(found, module_name))


def _problem(problem: str) -> BadPipeline:
    return BadPipeline("pipeline", None, "apply.python", problem)


def _record_type(user_class: type, module_name: str) -> Any:
    """The msgspec struct that `apply` annotates its record with, or None."""
    apply = user_class.apply  # type: ignore[attr-defined]
    names = (
        [n for n in apply.__code__.co_varnames[: apply.__code__.co_argcount] if n != "self"]
        if hasattr(apply, "__code__")
        else []
    )
    if len(names) < 2:
        return None
    try:
        hints = typing.get_type_hints(apply, vars(sys.modules[module_name]))
    except (NameError, TypeError, AttributeError):
        return None
    record_type = hints.get(names[1])
    return record_type if isinstance(record_type, type) and issubclass(record_type, msgspec.Struct) else None
