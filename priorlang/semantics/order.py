"""An order in which parameters and groups can be worked out: each after what it stands on.

Chains of them may be as long as a file, and what works them out recurs into what is not known yet.
"""

from __future__ import annotations

from collections import deque

from priorlang.semantics.scope import Scope
from priorlang.semantics.usage import Use, names_in_set, names_in_value
from priorlang.syntax import tree as t


def order_of(scope: Scope) -> list[Use]:
    """Every parameter and group, after those it stands on. What stands on a circle comes last, as declared."""
    below = {("parameter", name): set(names_in_value(p.value)) for name, p in scope.parameters.items()}
    below.update({key: set(names_in_set(group.value, group.kind)) for key, group in scope.groups.items()})
    above: dict[Use, list[Use]] = {}
    waiting: dict[Use, int] = {}
    for key, parts in below.items():
        known = [part for part in parts if part in below]
        waiting[key] = len(known)
        for part in known:
            above.setdefault(part, []).append(key)
    ready = deque(key for key, count in waiting.items() if not count)
    ordered: dict[Use, None] = {}
    while ready:
        key = ready.popleft()
        ordered[key] = None
        for upper in above.get(key, ()):
            waiting[upper] -= 1
            if not waiting[upper]:
                ready.append(upper)
    return [*ordered, *(key for key in below if key not in ordered)]


def plain_parameters(scope: Scope, order: list[Use]) -> list[str]:
    """The parameters that need no model: numbers and vectors that stand on none but such."""
    plain: dict[str, None] = {}
    for kind, name in order:
        value = scope.parameters[name].value if kind == "parameter" else None
        if value is None or isinstance(value, t.Ramp):
            continue
        if all(used in plain or used not in scope.parameters for _, used in names_in_value(value)):
            plain[name] = None
    return list(plain)
