"""Spec → what every cell asks for, exactly.

A cell is (routed layer, token class). Cells in which the same rules are active ask for the same, up to
ramps, so the work is done once for each distinct set of active rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from priorlang.semantics.exact import at_layer
from priorlang.semantics.spec import BaseEffect, RuleSpec, Spec, WeightEffect
from priorlang.table.matching import (
    Mask,
    active_rules,
    distinct_columns,
    matching_of,
    silencers_of,
    too_large,
)

MAXIMUM_CONCENTRATIONS = 4_000_000
"""Distinct cells × experts."""


@dataclass(frozen=True)
class CellPrior:
    """α and λ of a cell, exact, and the attributes that split its population."""

    alpha: tuple[Fraction, ...]
    weight: Fraction
    split: frozenset[int]


@dataclass(frozen=True)
class Cells:
    """Every cell of a prior.

    Attributes:
        signature: [L, C], the index into `active` of each cell.
        active: for each signature, the positions in `spec.rules` of its active rules.
        priors: (signature, layer position) → prior, or None where unshaped or in error. Layers without
            ramps share one entry, under layer position -1.
    """

    spec: Spec
    signature: NDArray[np.int64]
    active: tuple[tuple[int, ...], ...]
    priors: dict[tuple[int, int], CellPrior | None]

    def prior(self, layer_position: int, token_class: int) -> CellPrior | None:
        """What a cell asks for; None where it is unshaped."""
        signature = int(self.signature[layer_position, token_class])
        if (signature, -1) in self.priors:
            return self.priors[signature, -1]
        return self.priors[signature, layer_position]

    def distinct(self, layers: Mask, classes: Mask) -> Iterator[tuple[CellPrior | None, int, int]]:
        """Each distinct prior of some layers [L] and token classes [C], with the positions of its first cell."""
        seen: set[tuple[int, int]] = set()
        chosen = np.flatnonzero(classes)
        for layer_position in np.flatnonzero(layers):
            signatures, first = np.unique(self.signature[layer_position, chosen], return_index=True)
            for signature, position in zip(signatures.tolist(), first.tolist(), strict=True):
                key = (signature, -1) if (signature, -1) in self.priors else (signature, int(layer_position))
                if key not in seen:
                    seen.add(key)
                    yield self.priors[key], int(layer_position), int(chosen[position])

    def first_cell(self, signature: int, layer_position: int) -> tuple[int, int]:
        """The positions (layer, class) of the first cell with an entry of `priors`."""
        if layer_position < 0:
            layer_position = int(np.argmax((self.signature == signature).any(axis=1)))
        return layer_position, int(np.argmax(self.signature[layer_position] == signature))


def cells_of(spec: Spec) -> Cells:
    """Evaluate every cell of a prior.

    Raises:
        PriorError: `too-large`, where that would take too long or too much memory.
    """
    matching = matching_of(spec)
    silencers = silencers_of(spec)
    kinds, kind_of_layer = distinct_columns(matching.layers)
    numbering: dict[bytes, int] = {}
    active: list[tuple[int, ...]] = []
    signature = np.empty((len(spec.model.routed), spec.class_count), dtype=np.int64)
    for kind, example in enumerate(kinds):
        found = active_rules(matching.layers[:, example, None] & matching.groups, silencers)
        columns, inverse = distinct_columns(found)
        codes = np.empty(len(columns), dtype=np.int64)
        for number, column in enumerate(columns):
            key = found[:, column].tobytes()
            if key not in numbering:
                numbering[key] = len(active)
                active.append(tuple(np.flatnonzero(found[:, column]).tolist()))
            codes[number] = numbering[key]
        signature[kind_of_layer == kind] = codes[inverse][matching.group]
    return _evaluate(spec, signature, tuple(active))


def _evaluate(spec: Spec, signature: NDArray[np.int64], active: tuple[tuple[int, ...], ...]) -> Cells:
    priors: dict[tuple[int, int], CellPrior | None] = {}
    varies = [
        spec.default.varies or any(spec.rules[position].varies for position in positions)
        for positions in active
    ]
    for layer_position, layer in enumerate(spec.model.routed):
        for number in sorted(set(signature[layer_position].tolist())):
            key = (number, layer_position if varies[number] else -1)
            if key in priors:
                continue
            if len(priors) * spec.model.experts >= MAXIMUM_CONCENTRATIONS:
                message = f"more than {MAXIMUM_CONCENTRATIONS:,} concentrations (distinct cells × experts)"
                raise too_large(spec, message)
            result = cell_prior(spec, [spec.rules[position] for position in active[number]], layer)
            priors[key] = result if isinstance(result, CellPrior) else None
    return Cells(spec, signature, active, priors)


def cell_prior(
    spec: Spec, rules: list[RuleSpec], layer: int
) -> CellPrior | tuple[str, RuleSpec, RuleSpec | None] | None:
    """α and λ under these active rules; or who clashes, or who lacks a base or a weight."""
    if any(rule.unshaped is not None for rule in rules):
        return None
    effects: dict[str, BaseEffect | WeightEffect] = {}
    for effect in ("base", "weight"):
        writer: RuleSpec | None = None
        for rule in rules:
            if getattr(rule, effect) is None:
                continue
            if writer is not None and _differ(writer, rule, effect, spec.model.experts, layer):
                return effect, writer, rule
            writer = writer or rule
        stated = getattr(writer or spec.default, effect)
        if stated is not None:
            effects[effect] = stated
    shaping = [rule for rule in rules if rule.base or rule.pushes or rule.weight]
    if len(effects) < 2:
        missing = "base" if "base" not in effects else "weight"
        if spec.default.unshaped is not None and not shaping:
            return None
        return missing, (shaping[0] if shaping else spec.default), None
    base, weight = effects["base"], effects["weight"]
    assert isinstance(base, BaseEffect)
    assert isinstance(weight, WeightEffect)
    alpha = list(base_alpha(base, spec.model.experts, layer))
    for rule in rules:
        for push in rule.pushes:
            amount = at_layer(push.by, layer)
            for expert in push.experts:
                alpha[expert] += amount if push.verb == "prefer" else -amount
    split = spec.default.split.union(*(rule.split for rule in rules))
    return CellPrior(tuple(alpha), at_layer(weight.value, layer), split)


def base_alpha(base: BaseEffect, experts: int, layer: int) -> tuple[Fraction, ...]:
    """α of a base alone: a number for each expert, a vector, or a total A = K·base cut into shares."""
    if isinstance(base.value, tuple):
        return base.value
    value = at_layer(base.value, layer)
    if not base.shares:
        return (value,) * experts
    total = value * experts
    alpha: dict[int, Fraction] = {}
    for amount, target in base.shares:
        alpha.update(dict.fromkeys(target, total * amount / len(target)))
    rest = [expert for expert in range(experts) if expert not in alpha]
    left = total - sum(alpha.values(), Fraction(0))
    alpha.update(dict.fromkeys(rest, left / len(rest) if rest else Fraction(0)))
    return tuple(alpha[expert] for expert in range(experts))


def _differ(first: RuleSpec, second: RuleSpec, effect: str, experts: int, layer: int) -> bool:
    if effect == "base":
        assert first.base is not None
        assert second.base is not None
        return base_alpha(first.base, experts, layer) != base_alpha(second.base, experts, layer)
    assert first.weight is not None
    assert second.weight is not None
    return at_layer(first.weight.value, layer) != at_layer(second.weight.value, layer)
