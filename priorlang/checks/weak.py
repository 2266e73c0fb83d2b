"""Preferences that change next to nothing: neither an expert's mean nor its chance to be among the top k.

Adding b to a concentration α changes the expert's mean by a factor of at most 1 + b/α. Its score, a Gamma variable
of spread √α, moves by b/√α of that spread, so with a density φ(z) at the threshold z that k of E experts pass, the
chance to pass it changes by about b/√α · φ(z) · E/k of itself. Both shrink as α grows: the cell with the smallest α
decides.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.witness import Witness, witness
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.semantics.describe import describe_value, index_set

if TYPE_CHECKING:
    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Block

WEAK = 0.05
"""The change of itself below which a mean, or a chance to be among the top k, counts as unchanged. The paper's
faintest preference, .25 over a base of 1 for two of four experts, makes .25 and .20; its default .67 and more."""


class Weak:
    """`weak-preference` at each `prefer` or `avoid` without which every cell would be nearly the same."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.unproven = {
            (rule, number) for rule, stated in enumerate(spec.rules) for number in range(len(stated.pushes))
        }
        """(rule, push) that no cell has shown to be strong."""
        self.first: dict[tuple[int, int], Witness] = {}
        experts, top_k = spec.model.experts, spec.model.top_k
        self.per_spread = passing_density(top_k / experts)

    def see(self, block: Block) -> None:
        """Take note of a block."""
        shaped = np.flatnonzero(block.asked.shaped_n)
        if not self.unproven or not len(shaped):
            return
        least_E = block.alpha[shaped].min(axis=0)
        for key in sorted(self.unproven):
            rule, number = key
            push = self.spec.rules[rule].pushes[number]
            experts = sorted(push.experts)
            every = len(experts) == self.spec.model.experts
            if key in self.first and (
                every or self._effect(block, key, float(least_E[experts].min())) < WEAK
            ):
                continue
            cells = shaped[block.asked.active_Rn[rule, shaped]]
            if not len(cells):
                continue
            if key not in self.first:
                self.first[key] = witness(self.spec, block.layer, block.token_class(int(cells[0])))
            if (
                not every
                and self._effect(block, key, float(block.alpha[np.ix_(cells, experts)].min())) >= WEAK
            ):
                self.unproven.remove(key)
                del self.first[key]

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        return [self._finding(key) for key in sorted(self.first)]

    def _effect(self, block: Block, key: tuple[int, int], alpha: float) -> float:
        """How much a push changes a mean or a chance, of itself, where it has brought a concentration to α."""
        rule, number = key
        amount = block.amounts.amount(rule, number)
        without = alpha - amount if self.spec.rules[rule].pushes[number].verb == "prefer" else alpha + amount
        if without <= 0:
            return np.inf
        return float(amount / without * max(1.0, np.sqrt(without) * self.per_spread))

    def _finding(self, key: tuple[int, int]) -> Finding:
        rule, number = key
        name, push = self.spec.rules[rule].name, self.spec.rules[rule].pushes[number]
        verb = f"{push.verb}s"
        if len(push.experts) == self.spec.model.experts:
            message = f"`{name}` {verb} every expert alike: that changes how sharp the prior is, and no expert's mean"
        else:
            message = (
                f"`{name}` {verb} {index_set(push.experts)} by {describe_value(push.by)}, which nowhere changes an "
                f"expert's mean, or its chance to be among the top {self.spec.model.top_k}, by {WEAK:.0%} of itself"
            )
        return Finding("weak-preference", Severity.WARNING, message, push.span, (), self.first[key])


def passing_density(part: float) -> float:
    """φ(z) / part for the threshold z that `part` of a normal population passes: 0 where all of it does."""
    if part >= 1.0:
        return 0.0
    normal = NormalDist()
    return normal.pdf(normal.inv_cdf(1.0 - part)) / part
