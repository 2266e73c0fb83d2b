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
    from priorlang.table.matching import Matching

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
    # In parts of the largest first: sums of huge numbers overflow.
    part_nE = alpha_nE / alpha_nE.max(axis=1, keepdims=True)
    mean_nE = part_nE / part_nE.sum(axis=1, keepdims=True)
    above_nE = np.maximum(mean_nE - 1.0 / experts, 0.0)
    worth_n = mean_nE.max(axis=1) * experts >= WORTH_THE_NAME
    squares_n = np.where(worth_n, (above_nE**2).sum(axis=1), 1.0)
    return np.where(worth_n, above_nE.sum(axis=1) ** 2 / squares_n, float(experts))


@dataclass
class _Starved:
    """The worst cell that a rule leaves too few experts."""

    preferred: float
    experts: tuple[int, ...]
    layer: int
    group: int


class Starvation:
    """`starved-class` for each rule that asks for it, and `shortfall` for the layers where shares make it grave."""

    def __init__(self, spec: Spec, shares: GroupShares | None) -> None:
        self.spec = spec
        self.shares = shares
        self.matching: Matching | None = None
        self.starved: dict[int, _Starved] = {}
        self.shortfall_L = np.zeros(len(spec.model.routed))
        self.share: dict[int, NDArray[np.float64]] = {}
        """Rule → of all tokens, those that it starves in each layer, [L]."""
        self.part: dict[int, NDArray[np.float64]] = {}
        """Rule → its part of the shortfall, [L]."""

    def see(self, block: Block) -> None:
        """Take note of a block."""
        self.matching = block.space.matching
        cells = np.flatnonzero(block.asked.shaped_n)
        preferred_n = preferred_experts(block.alpha[cells])
        top_k = self.spec.model.top_k
        few = preferred_n < top_k - _ROUNDING
        cells, preferred_n = cells[few], preferred_n[few]
        if not len(cells):
            return
        blamed_n = preferring(block, cells)
        worst_first = np.argsort(preferred_n, kind="stable")
        rules, first = np.unique(blamed_n[worst_first], return_index=True)
        for rule, worst in zip(rules.tolist(), worst_first[first].tolist(), strict=True):
            known = self.starved.get(rule)
            if known is None or preferred_n[worst] < known.preferred - _ROUNDING:
                self.starved[rule] = self._starved(block, int(cells[worst]), float(preferred_n[worst]))
        if self.shares is not None:
            share_n = self.shares.fraction_G[block.groups_n[cells]]
            self._weigh(list(block.layers), blamed_n, share_n, share_n * (1.0 - preferred_n / top_k))

    def _starved(self, block: Block, cell: int, preferred: float) -> _Starved:
        alpha_E = block.alpha[cell]
        experts = tuple(np.flatnonzero(alpha_E > alpha_E.mean()).tolist())
        return _Starved(preferred, experts, block.layer, int(block.groups_n[cell]))

    def _weigh(
        self,
        layers: list[int],
        blamed_n: NDArray[np.int64],
        share_n: NDArray[np.float64],
        missing_n: NDArray[np.float64],
    ) -> None:
        """Add up, for some layers, the tokens that each rule starves and the slots that it leaves empty."""
        self.shortfall_L[layers] += missing_n.sum()
        for rule in np.unique(blamed_n).tolist():
            mine = blamed_n == rule
            self.share.setdefault(rule, np.zeros(len(self.shortfall_L)))[layers] += share_n[mine].sum()
            self.part.setdefault(rule, np.zeros(len(self.shortfall_L)))[layers] += missing_n[mine].sum()

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
            tokens += f" ({self.share[rule].max():.3g} of all)"
        message = (
            f"{called(self.spec, rule)} leaves {tokens} to prefer {count} of {model.experts} "
            f"({index_set(starved.experts)}), and each is routed to {model.top_k}"
        )
        place = place_of(self.spec, rule)
        return Finding("starved-class", Severity.WARNING, message, place, (), self._where(starved))

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
        return Finding("shortfall", Severity.WARNING, message, place, (), self._where(self.starved[heaviest]))

    def _where(self, starved: _Starved) -> Witness:
        assert self.matching is not None
        return witness(self.spec, starved.layer, self.matching.first_class(starved.group))
