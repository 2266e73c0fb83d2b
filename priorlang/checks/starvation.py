"""Token classes that prefer fewer experts than each token is routed to.

With m = α / A and x = max(0, m − 1/E), a class prefers n_c = (Σx)² / Σx² experts in effect: 2 where two experts
share the preference alike, and less where one of them has most of it. A class without a preference worth the
name prefers all E. The shortfall of a layer, D = Σ share_c · max(0, 1 − n_c/k), orders the settings of the paper's
Table 10 as their accuracies do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.blame import called, place_of, preferring
from priorlang.checks.witness import Witness, witness
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.semantics.describe import index_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.checks.shares import GroupShares
    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Block

SHORTFALL = 0.25
"""D above which a layer asks too many of its tokens for too few experts."""

WORTH_THE_NAME = 1.05
"""Where no mean exceeds the uniform one by this factor, nothing is preferred."""

_ROUNDING = 1e-9


def preferred_experts(alpha_nE: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many experts a prior prefers in effect, n_c.

    Args:
        alpha_nE: [n, E], above 0.

    Returns:
        [n], from 1 to E.
    """
    experts = alpha_nE.shape[1]
    mean_nE = alpha_nE / alpha_nE.sum(axis=1, keepdims=True)
    above_nE = np.maximum(mean_nE - 1.0 / experts, 0.0)
    worth_n = mean_nE.max(axis=1) * experts >= WORTH_THE_NAME
    squares_n = np.where(worth_n, (above_nE**2).sum(axis=1), 1.0)
    return np.where(worth_n, above_nE.sum(axis=1) ** 2 / squares_n, float(experts))


@dataclass
class _Starved:
    """The worst cell that a rule leaves too few experts."""

    preferred: float
    experts: tuple[int, ...]
    where: Witness
    share: NDArray[np.float64]
    """[L], of all tokens, those that the rule starves in each layer."""


class Starvation:
    """`starved-class` for each rule that asks for it, and `shortfall` for the layers where shares make it grave."""

    def __init__(self, spec: Spec, shares: GroupShares | None) -> None:
        self.spec = spec
        self.shares = shares
        self.starved: dict[int, _Starved] = {}
        self.shortfall_L = np.zeros(len(spec.model.routed))
        self.part: dict[int, NDArray[np.float64]] = {}

    def see(self, block: Block) -> None:
        """Take note of a block."""
        cells = np.flatnonzero(block.asked.shaped_n)
        preferred_n = preferred_experts(block.alpha[cells])
        top_k = self.spec.model.top_k
        few = preferred_n < top_k - _ROUNDING
        cells, preferred_n = cells[few], preferred_n[few]
        if not len(cells):
            return
        blamed_n = preferring(block, cells)
        share_n = self.shares.fraction_G[block.groups_n[cells]] if self.shares else np.zeros(len(cells))
        layers = list(block.layers)
        for rule in np.unique(blamed_n).tolist():
            mine = np.flatnonzero(blamed_n == rule)
            worst = mine[int(np.argmin(preferred_n[mine]))]
            known = self.starved.get(rule)
            if known is None or preferred_n[worst] < known.preferred - _ROUNDING:
                cell = int(cells[worst])
                experts = tuple(np.flatnonzero(block.alpha[cell] > block.alpha[cell].mean()).tolist())
                where = witness(self.spec, block.layer, block.token_class(cell))
                share = known.share if known else np.zeros(len(self.shortfall_L))
                self.starved[rule] = _Starved(float(preferred_n[worst]), experts, where, share)
            self.starved[rule].share[layers] += share_n[mine].sum()
            missing = float((share_n[mine] * (1.0 - preferred_n[mine] / top_k)).sum())
            self.shortfall_L[layers] += missing
            self.part.setdefault(rule, np.zeros(len(self.shortfall_L)))[layers] += missing

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        found = [self._starved_class(rule) for rule in sorted(self.starved)]
        if self.shares is not None and self.shortfall_L.max(initial=0.0) > SHORTFALL:
            found.append(self._shortfall())
        return found

    def _starved_class(self, rule: int) -> Finding:
        starved = self.starved[rule]
        model = self.spec.model
        count = f"{starved.preferred:.3g} expert{'s' if starved.preferred > 1 + _ROUNDING else ''}"
        tokens = "its tokens"
        if self.shares is not None:
            tokens += f" ({starved.share.max():.3g} of all)"
        message = (
            f"{called(self.spec, rule)} leaves {tokens} to prefer {count} of {model.experts} "
            f"({index_set(starved.experts)}), and each is routed to {model.top_k}"
        )
        place = place_of(self.spec, rule)
        return Finding("starved-class", Severity.WARNING, message, place, (), starved.where)

    def _shortfall(self) -> Finding:
        assert self.shares is not None
        spec, worst = self.spec, int(np.argmax(self.shortfall_L))
        heaviest = max(sorted(self.part), key=lambda rule: float(self.part[rule][worst]))
        layers = np.flatnonzero(self.shortfall_L > SHORTFALL)
        of_all = len(layers) == len(spec.model.routed)
        routed = index_set(spec.model.routed[position] for position in layers.tolist())
        where = "in every layer" if of_all else f"in layers {routed}"
        message = (
            f"{where}, {self.shortfall_L[worst]:.3g} of all top-{spec.model.top_k} slots have no preferred expert to "
            f"go to, above {SHORTFALL}; {called(spec, heaviest)} leaves {self.part[heaviest][worst]:.3g} of "
            f"them{self.shares.note}"
        )
        place = place_of(spec, heaviest)
        return Finding("shortfall", Severity.WARNING, message, place, (), self.starved[heaviest].where)
