"""What goes wrong, by kind: at a share of the opportunities, or at one that was armed. Counted by kind."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

# Of a call of a service: before its effect, instead of it, after it.
CALL_KINDS: Final = ("killed before", "killed after", "throttled", "conflict", "repeated", "unanswered")
# Of a response's body, or of which bytes it holds.
BODY_KINDS: Final = ("short", "reset", "whole", "shifted")
# Of the invocation of a function by the state machine.
INVOKE_KINDS: Final = ("refused", "stillborn", "doomed", "invoked twice", "unheard")
# Of what the state machine does by itself.
MACHINE_KINDS: Final = ("verdict", "reader", "writer", "start")
# Of events on their way.
EVENT_KINDS: Final = ("event lost", "event twice", "event late")
KINDS: Final = (*CALL_KINDS, *BODY_KINDS, *INVOKE_KINDS, *MACHINE_KINDS, *EVENT_KINDS)

_CONDITIONAL: Final = ("transact_write_items", "put_object")
_READS: Final = ("get_object", "head_object", "list_objects_v2", "get_item", "query")


@dataclass(slots=True)
class Rate:
    """A kind that befalls a share of the calls: of a function, of an operation, or of all."""

    kind: str
    share: float
    function: str = "*"
    operation: str = "*"


@dataclass(slots=True)
class Armed:
    """A kind that befalls one call: the next but `after` of that function and operation."""

    kind: str
    after: int = 0
    function: str = "*"
    operation: str = "*"


@dataclass(slots=True)
class Faults:
    """All that may go wrong in a world."""

    random: Random
    rates: list[Rate] = field(default_factory=list)
    armed: list[Armed] = field(default_factory=list)
    befallen: Counter[str] = field(default_factory=Counter)

    def stop(self) -> None:
        """From now on nothing goes wrong."""
        self.rates.clear()
        self.armed.clear()

    def draw(self, kinds: tuple[str, ...], function: str, operation: str) -> str:
        """The kind that befalls this opportunity, or nothing."""
        for armed in self.armed:
            if armed.kind in kinds and armed.function in ("*", function) and armed.operation in ("*", operation):
                if armed.after:
                    armed.after -= 1
                    continue
                self.armed.remove(armed)
                return self._befalls(armed.kind)
        for rate in self.rates:
            concerned = rate.kind in kinds and rate.function in ("*", function) and rate.operation in ("*", operation)
            if concerned and self.random.random() < rate.share:
                return self._befalls(rate.kind)
        return ""

    def of_call(self, function: str, operation: str, request: dict[str, Any]) -> str:
        """What befalls a call of a service."""
        kinds: tuple[str, ...] = ("killed before", "killed after", "throttled")
        if operation not in _READS and operation != "publish":  # SNS promises no more than at least once
            kinds = (*kinds, "repeated", "unanswered")
        if operation in _CONDITIONAL and (operation != "put_object" or "IfNoneMatch" in request):
            kinds = (*kinds, "conflict")
        return self.draw(kinds, function, operation)

    def _befalls(self, kind: str) -> str:
        self.befallen[kind] += 1
        return kind
