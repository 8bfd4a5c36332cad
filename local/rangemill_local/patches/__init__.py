"""Small changes to LocalStack's own code; each says what was wrong and fails loudly when it does not apply.

They touch private names, so `rangemill_local.server` refuses any LocalStack but the pinned one, and each patch looks
its target up by name: an AttributeError or ImportError at start is the sign that it no longer applies.
"""

from rangemill_local.patches import events, lambdas, stacks, state_machines


def apply() -> None:
    """Apply all of them."""
    for group in (events, lambdas, stacks, state_machines):
        for patch in group.PATCHES:
            patch()
