"""What each rule asks for in one layer, as whole numbers over one denominator."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from priorlang.semantics.exact import at_layer, rounded
from priorlang.table.cells import base_alpha

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.semantics.spec import PushEffect, RuleSpec, Spec
    from priorlang.table.matching import Mask

_EXACT_FLOATS = 1 << 52

Base = tuple[Fraction, ...]
"""A number for each expert, or a single one for all."""


class Amounts:
    """The effects of R rules on E experts in one layer.

    Attributes:
        scale: the common denominator of every concentration.
        prefer_RE: what each rule adds to each expert, times `scale`.
        avoid_RE: what it takes away, times `scale`.
        bases: the distinct bases, each [E], times `scale`.
        base_R: which of them each rule writes; -1 for none.
        default_base: which of them the default writes; -1 for none.
        weights: the distinct λ.
        weight_R: which of them each rule writes; -1 for none.
        default_weight: which of them the default writes; -1 for none.
        amount_P: what each `prefer` and `avoid` of each rule adds or takes away, in order.
        unshaped_R: the rules that leave tokens alone.
        shaping_R: the rules that write a base or a weight, or prefer or avoid.
    """

    def __init__(self, spec: Spec, layer: int) -> None:
        rules = spec.rules
        experts = spec.model.experts
        pushes = [[(push, at_layer(push.by, layer)) for push in rule.pushes] for rule in rules]
        self.amount_P = np.array([rounded(amount) for listed in pushes for _, amount in listed])
        bases: dict[Base, int] = {}
        weights: dict[Fraction, int] = {}
        self.base_R = np.array([_base(rule, bases, experts, layer) for rule in rules], dtype=np.int64)
        self.default_base = _base(spec.default, bases, experts, layer)
        self.weight_R = np.array([_weight(rule, weights, layer) for rule in rules], dtype=np.int64)
        self.default_weight = _weight(spec.default, weights, layer)
        self.weights = tuple(weights)
        self.unshaped_R = np.array([rule.unshaped is not None for rule in rules], dtype=np.bool_)
        self.shaping_R = np.array([bool(r.base or r.pushes or r.weight) for r in rules], dtype=np.bool_)
        amounts = {amount for listed in pushes for _, amount in listed}.union(*bases)
        self.scale = lcm(*(amount.denominator for amount in amounts)) if amounts else 1
        largest = sum((amount for listed in pushes for _, amount in listed), Fraction(0))
        largest += max((max(base) for base in bases), default=Fraction(0))
        self._kind: type[Any] = (
            float if max(largest, Fraction(1)) * self.scale * experts < _EXACT_FLOATS else object
        )
        self.bases = [np.broadcast_to(self._whole(base), experts) for base in bases]
        self.prefer_RE = self._pushed(pushes, "prefer", experts)
        self.avoid_RE = self._pushed(pushes, "avoid", experts)

    def sums(self, active_Rn: Mask, amount_RE: NDArray[Any]) -> NDArray[Any]:
        """[n, E]: what the active rules of each cell add up to."""
        rules = np.flatnonzero(amount_RE.any(axis=1))
        if not len(rules):
            return np.zeros((active_Rn.shape[1], amount_RE.shape[1]), dtype=self._kind)
        if len(rules) < len(active_Rn):
            active_Rn, amount_RE = active_Rn[rules], amount_RE[rules]
        return np.ascontiguousarray((amount_RE.T @ active_Rn.astype(self._kind)).T)

    def bases_of(self, base_n: NDArray[np.int64]) -> NDArray[Any]:
        """[n, E], or [E] where there is but one: the base of each cell; 0 where nothing states one."""
        nothing = np.zeros(self.prefer_RE.shape[1], dtype=self._kind)
        listed = np.stack([*self.bases, nothing])
        found: NDArray[Any] = listed[base_n]
        return found

    def rounded(self, whole: NDArray[Any]) -> NDArray[np.float64]:
        """Whole numbers as the concentrations they stand for, each rounded once."""
        if self._kind is float:
            return np.asarray(whole / float(self.scale), dtype=np.float64)
        found = [rounded(Fraction(int(value), self.scale)) for value in whole.ravel().tolist()]
        return np.array(found, dtype=np.float64).reshape(whole.shape)

    def _whole(self, values: Sequence[Fraction]) -> NDArray[Any]:
        return np.array([int(value * self.scale) for value in values], dtype=self._kind)

    def _pushed(
        self, pushes: list[list[tuple[PushEffect, Fraction]]], verb: str, experts: int
    ) -> NDArray[Any]:
        found = np.zeros((len(pushes), experts), dtype=self._kind)
        for rule, listed in enumerate(pushes):
            for push, amount in listed:
                if push.verb == verb:
                    found[rule, list(push.experts)] += int(amount * self.scale)
        return found


def _base(rule: RuleSpec, known: dict[Base, int], experts: int, layer: int) -> int:
    if rule.base is None:
        return -1
    alpha = base_alpha(rule.base, experts, layer)
    # A plain base is one number many times over: the very same one, which is cheap to see.
    alike = all(value is alpha[0] for value in alpha) or len(set(alpha)) == 1
    return known.setdefault(alpha[:1] if alike else alpha, len(known))


def _weight(rule: RuleSpec, known: dict[Fraction, int], layer: int) -> int:
    return -1 if rule.weight is None else known.setdefault(at_layer(rule.weight.value, layer), len(known))
