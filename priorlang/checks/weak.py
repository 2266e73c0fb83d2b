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
    from numpy.typing import NDArray

    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Block
    from priorlang.table.matching import Mask

WEAK = 0.05
"""The change of itself below which a mean, or a chance to be among the top k, counts as unchanged. The paper's
faintest preference, .25 over a base of 1 for two of four experts, makes .25 and .20; its default .67 and more."""

_BOUND = 1e300
"""Any amount above is endless to this check, and adding this one to a concentration is not."""


class Weak:
    """`weak-preference` at each `prefer` or `avoid` without which every cell would be nearly the same."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.pushes = [(rule, push) for rule, stated in enumerate(spec.rules) for push in stated.pushes]
        self.rule_P = np.array([rule for rule, _ in self.pushes], dtype=np.int64)
        self.sign_P = np.array([1.0 if push.verb == "prefer" else -1.0 for _, push in self.pushes])
        self.expert_PE = np.zeros((len(self.pushes), spec.model.experts), dtype=np.bool_)
        for number, (_, push) in enumerate(self.pushes):
            self.expert_PE[number, list(push.experts)] = True
        self.weak_P = np.ones(len(self.pushes), dtype=np.bool_)
        """Pushes that no cell has shown to be strong."""
        self.first: dict[int, Witness] = {}
        self.per_spread = passing_density(spec.model.top_k / spec.model.experts)

    def see(self, block: Block) -> None:
        """Take note of a block."""
        first_P = block.first_acting[self.rule_P]
        open_P = np.flatnonzero(self.weak_P & (first_P >= 0))
        if not len(open_P):
            return
        amount_P = block.amounts.amount_P[open_P]
        every_P = np.asarray(self.expert_PE[open_P].all(axis=1))
        self._judge(open_P, amount_P, block.alpha[first_P[open_P]], every_P)
        least_E = block.alpha[block.asked.shaped_n].min(axis=0)
        least_P = np.where(self.expert_PE[open_P], least_E, np.inf).min(axis=1)
        doubtful_P = (self._effect(open_P, amount_P, least_P) >= WEAK) & ~every_P & self.weak_P[open_P]
        for push, amount in zip(open_P[doubtful_P].tolist(), amount_P[doubtful_P].tolist(), strict=True):
            acts_n = block.asked.active_Rn[self.rule_P[push]] & block.asked.shaped_n
            least_of_E = block.alpha[acts_n].min(axis=0)[None, :]
            self._judge(np.array([push]), np.array([amount]), least_of_E, np.zeros(1, dtype=np.bool_))
        for push in open_P.tolist():
            if self.weak_P[push] and push not in self.first:
                token_class = block.token_class(int(first_P[push]))
                self.first[push] = witness(self.spec, block.layer, token_class)

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        return [self._finding(push) for push in sorted(self.first) if self.weak_P[push]]

    def _judge(
        self,
        push_P: NDArray[np.int64],
        amount_P: NDArray[np.float64],
        alpha_PE: NDArray[np.float64],
        every_P: Mask,
    ) -> None:
        """Cross off the pushes that are strong where they have brought concentrations to `alpha_PE`."""
        least_P = np.where(self.expert_PE[push_P], alpha_PE, np.inf).min(axis=1)
        strong_P = (self._effect(push_P, amount_P, least_P) >= WEAK) & ~every_P
        self.weak_P[push_P[strong_P]] = False

    def _effect(
        self, push_P: NDArray[np.int64], amount_P: NDArray[np.float64], alpha_P: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How much pushes change a mean or a chance, of itself, where they have brought a concentration to α."""
        # An amount may be out of all bounds where another takes it back, and its effect endless.
        amount_P = np.minimum(amount_P, _BOUND)
        without_P = alpha_P - self.sign_P[push_P] * amount_P
        possible_P = without_P > 0
        safe_P = np.where(possible_P, without_P, 1.0)
        with np.errstate(over="ignore"):
            effect_P = amount_P / safe_P * np.maximum(1.0, np.sqrt(safe_P) * self.per_spread)
        return np.where(possible_P, effect_P, np.inf)

    def _finding(self, number: int) -> Finding:
        rule, push = self.pushes[number]
        name = self.spec.rules[rule].name
        verb = f"{push.verb}s"
        if len(push.experts) == self.spec.model.experts:
            message = f"`{name}` {verb} every expert alike: that changes how sharp the prior is, and no expert's mean"
        else:
            message = (
                f"`{name}` {verb} {index_set(push.experts)} by {describe_value(push.by)}, which nowhere changes an "
                f"expert's mean, or its chance to be among the top {self.spec.model.top_k}, by {WEAK:.0%} of itself"
            )
        return Finding("weak-preference", Severity.WARNING, message, push.span, (), self.first[number])


def passing_density(part: float) -> float:
    """φ(z) / part for the threshold z that `part` of a normal population passes: 0 where all of it does."""
    if part >= 1.0:
        return 0.0
    normal = NormalDist()
    return normal.pdf(normal.inv_cdf(1.0 - part)) / part
