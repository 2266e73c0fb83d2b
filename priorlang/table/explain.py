"""Why a cell asks for what it asks for: its whole derivation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import Position, Span
from priorlang.diagnostics.suggest import closest, listing
from priorlang.semantics.describe import index_set
from priorlang.semantics.exact import at_layer, rounded
from priorlang.semantics.spec import RuleSpec, Spec
from priorlang.table.cells import CellPrior, Cells, base_alpha
from priorlang.table.dirichlet import top_k_probability
from priorlang.table.prior_table import PriorTable


@dataclass(frozen=True)
class Step:
    """One effect of one rule on the cell. `value` is a number, or amounts by expert."""

    rule: str
    effect: str
    value: Fraction | dict[int, Fraction] | tuple[Fraction, ...] | str | None
    span: Span


@dataclass(frozen=True)
class Explanation:
    """What a cell asks for and every step that led there."""

    layer: int
    members: dict[str, str]
    prior: CellPrior | None
    population: str | None
    derivation: tuple[Step, ...]
    overridden: tuple[tuple[str, tuple[str, ...]], ...]
    """Matching rules that are silenced, each with the rules that silence it."""
    alpha: tuple[float, ...]
    mean: tuple[float, ...]
    top_k_probability: tuple[float, ...]


def explain(cells: Cells, table: PriorTable, layer: int, members: Mapping[str, str]) -> Explanation:
    """The derivation of one cell."""
    spec = cells.spec
    position = spec.model.routed.index(layer)
    token_class = table.class_index(**members)
    prior = cells.prior(position, token_class)
    active = [spec.rules[rule] for rule in cells.active[int(cells.signature[position, token_class])]]
    codes = [attribute.leaves.index(members[attribute.name]) for attribute in spec.attributes]
    matching = [rule for rule in spec.rules if rule.where.matches(layer, codes)]
    active_names = {rule.name for rule in active}
    overridden = tuple(
        (rule.name, tuple(other.name for other in matching if _silences(other, rule)))
        for rule in matching
        if rule.name not in active_names
    )
    population = int(table.population[position, token_class])
    alpha = np.array([rounded(value) for value in prior.alpha]) if prior else np.zeros(0)
    return Explanation(
        layer,
        dict(members),
        prior,
        table.header.populations[population] if population >= 0 else None,
        tuple(_steps(spec, active, layer, unshaped=prior is None)),
        overridden,
        tuple(alpha.tolist()),
        tuple((alpha / alpha.sum()).tolist()) if prior else (),
        tuple(top_k_probability(alpha, spec.model.top_k).tolist()) if prior else (),
    )


def why_not(spec: Spec, layer: int, members: Mapping[str, str], name: str) -> str:
    """Why a rule does not act on a cell, in one sentence; or that it does.

    Raises:
        PriorError: there is no such rule.
    """
    rule = spec.rule(name)
    if rule is None:
        meant = closest(name, [rule.name for rule in spec.rules])
        message = f"there is no rule `{name}`" + (f"; did you mean `{meant}`?" if meant else "")
        place = Span("--why-not", Position(1, 1), Position(1, 1 + len(name)))
        raise PriorError([Finding("unknown-name", Severity.ERROR, message, place)])
    codes = [attribute.leaves.index(members[attribute.name]) for attribute in spec.attributes]
    for condition in rule.where.conditions:
        attribute = spec.attributes[condition.attribute]
        if codes[condition.attribute] not in condition.codes:
            through = listing(attribute.leaves[code] for code in sorted(condition.codes))
            member = members[attribute.name]
            return f"`{name}` is not active here: it is for {attribute.name} {through}, and this is {member}"
    if rule.where.layers is not None and layer not in rule.where.layers:
        return f"`{name}` is not active here: it is for layers {index_set(rule.where.layers)}, and this is {layer}"
    silencers = [
        other.name for other in spec.rules if _silences(other, rule) and other.where.matches(layer, codes)
    ]
    if silencers:
        return f"`{name}` matches here and is silenced by {', '.join(f'`{other}`' for other in silencers)}"
    return f"`{name}` is active here"


def _steps(spec: Spec, active: list[RuleSpec], layer: int, *, unshaped: bool) -> list[Step]:
    steps: list[Step] = []
    experts = spec.model.experts
    if unshaped:
        sayers = [rule for rule in active if rule.unshaped] or [spec.default]
        return [Step(rule.name, "unshaped", None, rule.unshaped or rule.span) for rule in sayers]
    for effect in ("base", "weight"):
        writers = [rule for rule in active if getattr(rule, effect) is not None] or [spec.default]
        for rule in writers:
            if effect == "base" and rule.base is not None:
                alpha = base_alpha(rule.base, experts, layer)
                value = alpha[0] if len(set(alpha)) == 1 else dict(enumerate(alpha))
                steps.append(Step(rule.name, "base", value, rule.base.span))
            elif effect == "weight" and rule.weight is not None:
                steps.append(Step(rule.name, "weight", at_layer(rule.weight.value, layer), rule.weight.span))
    for rule in active:
        for push in rule.pushes:
            amount = at_layer(push.by, layer)
            amounts = dict.fromkeys(sorted(push.experts), amount)
            steps.append(Step(rule.name, push.verb, amounts, push.span))
    for rule in [spec.default, *active]:
        if rule.split:
            words = ", ".join(spec.attributes[index].name for index in sorted(rule.split))
            steps.append(Step(rule.name, "split", words, rule.span))
    return steps


def _silences(rule: RuleSpec, other: RuleSpec) -> bool:
    return rule is not other and (rule.overrides_all or other.name in rule.overrides)
