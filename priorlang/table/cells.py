"""Spec → what every cell asks for, exactly.

A cell is (routed layer, token class). Cells in which the same rules are active ask for the same, up to
ramps, so the work is done once for each distinct set of active rules, and layers that no rule and no
ramp tells apart are done together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from priorlang.semantics.exact import at_layer
from priorlang.semantics.spec import BaseEffect, RuleSpec, Spec, WeightEffect, Where

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CellPrior:
    """α and λ of a cell, exact, and the attributes that split its population."""

    alpha: tuple[Fraction, ...]
    weight: Fraction
    split: frozenset[int]


@dataclass(frozen=True)
class Clash:
    """Two active rules that write a different base or weight to one cell."""

    effect: str
    first: RuleSpec
    second: RuleSpec
    layer: int
    token_class: int


@dataclass(frozen=True)
class Gap:
    """A cell that rules shape, where nothing states a base or a weight."""

    effect: str
    rule: RuleSpec
    layer: int
    token_class: int


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
    clashes: tuple[Clash, ...]
    gaps: tuple[Gap, ...]

    def prior(self, layer_position: int, token_class: int) -> CellPrior | None:
        """What a cell asks for; None where it is unshaped."""
        signature = int(self.signature[layer_position, token_class])
        if (signature, -1) in self.priors:
            return self.priors[signature, -1]
        return self.priors[signature, layer_position]

    def each_prior(self) -> Iterator[tuple[CellPrior | None, Mask]]:
        """Every distinct (signature, layer) with the [L, C] mask of its cells, in order of first cell."""
        for (signature, layer_position), prior in self.priors.items():
            mask = self.signature == signature
            if layer_position >= 0:
                mask[:layer_position] = False
                mask[layer_position + 1 :] = False
            yield prior, mask


def cells_of(spec: Spec) -> Cells:
    """Evaluate every cell of a prior."""
    layers = np.asarray(spec.model.routed)
    layer_masks = np.stack([layer_mask(rule.where, layers) for rule in spec.rules] or [layers < 0])
    class_masks = np.stack(
        [class_mask(rule.where, spec) for rule in spec.rules] or [class_mask(Where(), spec)]
    )
    silencers = silencers_of(spec)
    kinds, kind_of_layer = np.unique(layer_masks, axis=1, return_inverse=True)
    numbering: dict[bytes, int] = {}
    active: list[tuple[int, ...]] = []
    signature = np.empty((len(layers), spec.class_count), dtype=np.int64)
    for kind in range(kinds.shape[1]):
        found = active_rules(kinds[:, kind, None] & class_masks, silencers)
        columns, inverse = np.unique(np.packbits(found, axis=0), axis=1, return_inverse=True)
        codes = np.empty(columns.shape[1], dtype=np.int64)
        for column in range(columns.shape[1]):
            key = columns[:, column].tobytes()
            if key not in numbering:
                numbering[key] = len(active)
                first = int(np.flatnonzero(inverse.ravel() == column)[0])
                active.append(tuple(int(rule) for rule in np.flatnonzero(found[:, first])))
            codes[column] = numbering[key]
        signature[kind_of_layer.ravel() == kind] = codes[inverse.ravel()]
    return _evaluate(spec, signature, tuple(active))


def layer_mask(where: Where, layers: NDArray[np.int64]) -> Mask:
    """[L]: the routed layers that a selector lets through."""
    if where.layers is None:
        return np.ones(len(layers), dtype=np.bool_)
    return np.isin(layers, sorted(where.layers))


def class_mask(where: Where, spec: Spec) -> Mask:
    """[C]: the token classes that a selector lets through."""
    mask = np.ones([len(attribute.leaves) for attribute in spec.attributes] or [1], dtype=np.bool_)
    for condition in where.conditions:
        through = np.zeros(len(spec.attributes[condition.attribute].leaves), dtype=np.bool_)
        through[sorted(condition.codes)] = True
        shape = [1] * len(spec.attributes)
        shape[condition.attribute] = -1
        mask &= through.reshape(shape)
    return mask.ravel()


def active_rules(matching: Mask, silencers: list[tuple[int, ...]]) -> Mask:
    """[rules, C]: the rules that match and that no matching rule overrides."""
    active = matching.copy()
    for rule, overriding in enumerate(silencers):
        if overriding:
            active[rule] &= ~matching[list(overriding)].any(axis=0)
    return active


def silencers_of(spec: Spec) -> list[tuple[int, ...]]:
    """For each rule, the positions of the rules that override it."""
    everywhere = [position for position, rule in enumerate(spec.rules) if rule.overrides_all]
    named: dict[str, list[int]] = {}
    for position, rule in enumerate(spec.rules):
        for name in rule.overrides:
            named.setdefault(name, []).append(position)
    return [
        tuple(sorted({p for p in everywhere if p != position} | set(named.get(rule.name, ()))))
        for position, rule in enumerate(spec.rules)
    ]


def _evaluate(spec: Spec, signature: NDArray[np.int64], active: tuple[tuple[int, ...], ...]) -> Cells:
    priors: dict[tuple[int, int], CellPrior | None] = {}
    clashes: dict[tuple[str, str, str], Clash] = {}
    gaps: dict[tuple[str, str], Gap] = {}
    layers = spec.model.routed
    for number, positions in enumerate(active):
        rules = [spec.rules[position] for position in positions]
        cells = signature == number
        layer_positions = np.flatnonzero(cells.any(axis=1))
        varies = spec.default.varies or any(rule.varies for rule in rules)
        for layer_position in layer_positions if varies else layer_positions[:1]:
            layer = layers[int(layer_position)]
            token_class = int(np.argmax(cells[layer_position]))
            result = cell_prior(spec, rules, layer)
            if isinstance(result, CellPrior) or result is None:
                priors[number, int(layer_position) if varies else -1] = result
                continue
            effect, first, second = result
            priors[number, int(layer_position) if varies else -1] = None
            if second is None:
                gaps.setdefault((effect, first.name), Gap(effect, first, layer, token_class))
            else:
                key = (effect, min(first.name, second.name), max(first.name, second.name))
                clashes.setdefault(key, Clash(effect, first, second, layer, token_class))
    return Cells(spec, signature, active, priors, tuple(clashes.values()), tuple(gaps.values()))


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
