"""A prior with each of its numbers a fifth smaller and a fifth larger.

The numbers are the file's parameters; of a file without any, the amounts that its default and rules state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from priorlang.checks import check_cells
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.records import replace
from priorlang.semantics.describe import index_set
from priorlang.semantics.exact import LayerRamp
from priorlang.syntax.phrases import quoted

if TYPE_CHECKING:
    from priorlang.phases import Prior
    from priorlang.semantics.exact import ExactValue
    from priorlang.semantics.spec import PushEffect, Spec

STEP = Fraction(1, 5)

MOST_NUMBERS = 60
"""Numbers that are varied; a file with more of them names those that matter as parameters."""


@dataclass(frozen=True)
class Variation:
    """One number, varied.

    Attributes:
        name: how the file calls it.
        values: less, as it stands, and more.
        specs: the prior with less and with more, or why there is none.
    """

    name: str
    values: tuple[ExactValue, ExactValue, ExactValue]
    specs: tuple[Spec | str, Spec | str]


def variations(prior: Prior) -> Iterator[Variation]:
    """Each number of a sound prior with less and with more of it.

    Raises:
        PriorError: `too-large`, where a file without parameters states more than `MOST_NUMBERS` amounts.
    """
    spec = prior.spec
    if spec.parameters:
        for name, value in sorted(spec.parameters.items()):
            values = (_scaled(value, 1 - STEP), value, _scaled(value, 1 + STEP))
            low, high = (_resolved(prior, name, number) for number in (values[0], values[2]))
            yield Variation(f"${name}", values, (low, high))
        return
    amounts = list(_amounts(spec))
    if len(amounts) > MOST_NUMBERS:
        message = (
            f"the file states {len(amounts):,} amounts and names none as a parameter; --sensitivity varies "
            f"up to {MOST_NUMBERS}: write `param` for those that matter"
        )
        raise PriorError([Finding("too-large", Severity.ERROR, message, spec.default.span)])
    for name, value, low_spec, high_spec in amounts:
        values = (_scaled(value, 1 - STEP), value, _scaled(value, 1 + STEP))
        yield Variation(name, values, (_sound(low_spec), _sound(high_spec)))


def _resolved(prior: Prior, name: str, value: ExactValue) -> Spec | str:
    """The prior under another value of a parameter, or why it is none."""
    changed = prior.having({name: value})
    try:
        return changed.spec
    except PriorError as error:
        return error.findings[0].message


def _sound(spec: Spec) -> Spec | str:
    errors = check_cells(spec)
    return errors[0].message if errors else spec


def _amounts(spec: Spec) -> Iterator[tuple[str, ExactValue, Spec, Spec]]:
    """Each base and each push of the default and of the rules, and the prior with less and with more of it."""
    for position in range(-1, len(spec.rules)):
        rule = spec.default if position < 0 else spec.rules[position]
        owner = "default" if position < 0 else quoted(rule.name)
        if rule.base is not None:
            base, value = rule.base, rule.base.value
            low, high = (
                _having(spec, position, base=replace(base, value=_scaled(value, f))) for f in _FACTORS
            )
            yield f"{owner} base", value, low, high
        for number, push in enumerate(rule.pushes):
            low, high = (_having(spec, position, pushes=_with(rule.pushes, number, f)) for f in _FACTORS)
            yield f"{owner} {push.verb} {index_set(push.experts)}", push.by, low, high


_FACTORS = (1 - STEP, 1 + STEP)


def _having(spec: Spec, position: int, **changes: object) -> Spec:
    """The prior with another effect in one rule, or in the default at -1."""
    if position < 0:
        return replace(spec, default=replace(spec.default, **changes))
    rules = list(spec.rules)
    rules[position] = replace(rules[position], **changes)
    return replace(spec, rules=tuple(rules))


def _with(pushes: tuple[PushEffect, ...], number: int, factor: Fraction) -> tuple[PushEffect, ...]:
    push = pushes[number]
    by = _scaled(push.by, factor)
    return (*pushes[:number], replace(push, by=by), *pushes[number + 1 :])


def _scaled(value: ExactValue, factor: Fraction) -> ExactValue:
    if isinstance(value, LayerRamp):
        return LayerRamp(value.start * factor, value.stop * factor, value.first, value.last)
    if isinstance(value, tuple):
        return tuple(item * factor for item in value)
    return value * factor
