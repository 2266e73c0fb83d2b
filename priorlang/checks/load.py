"""How evenly a prior spreads the tokens: the top-k load it implies for each expert, given token shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.blame import DEFAULT, called, given, place_of
from priorlang.checks.witness import Witness, witness
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.semantics.describe import index_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.checks.shares import GroupShares
    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Block

OVERLOADED = 1.25
UNDERLOADED = 0.75
"""Loads relative to uniform, beyond which a layer is called uneven. Setting I of the paper's Table 10, its best,
reaches the upper one at 95 % vision."""

MOST_PRIORS = 2000
"""Distinct priors whose loads are worked out; lighter ones are left out, and the rest are scaled up for them."""

LEAST_COVER = 0.99
"""Share of a layer's tokens that those must have; else nothing is said of the layer."""


class Loads:
    """`load-imbalance` for the layers that the prior would load unevenly, at the rule that does most of it."""

    def __init__(self, spec: Spec, shares: GroupShares | None) -> None:
        self.spec = spec
        self.shares = shares
        layers = len(spec.model.routed)
        self.mass: dict[bytes, NDArray[np.float64]] = {}
        """α → its share of the tokens of each layer, [L]."""
        self.pushed_LE: dict[int, NDArray[np.float64]] = {}
        """Rule → what it adds to each expert in each layer, times the share of the tokens it adds it for."""
        self.first: dict[tuple[int, int], Witness] = {}
        self._nothing = np.zeros(layers)

    def see(self, block: Block) -> None:
        """Take note of a block."""
        cells = np.flatnonzero(block.asked.shaped_n)
        share_n = self._shares_of(block, cells)
        if share_n is None:
            return
        layers = list(block.layers)
        alpha_nE = np.ascontiguousarray(block.alpha[cells])
        for row, share in zip(alpha_nE, share_n.tolist(), strict=True):
            if share > 0:
                self.mass.setdefault(row.tobytes(), self._nothing.copy())[layers] += share
        self._note_rules(block, cells, share_n)

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        if not self.mass:
            return []
        relative_LE, cover_L = self.relative_loads()
        grave_L = (cover_L >= LEAST_COVER) & (
            (relative_LE.max(axis=1) > OVERLOADED) | (relative_LE.min(axis=1) < UNDERLOADED)
        )
        if not grave_L.any():
            return []
        away_L = np.where(grave_L, np.abs(np.log(np.maximum(relative_LE, 1e-9))).max(axis=1), 0.0)
        worst = int(away_L.argmax())
        layers = [self.spec.model.routed[position] for position in np.flatnonzero(grave_L).tolist()]
        where = "in every layer" if len(layers) == len(relative_LE) else f"in layers {index_set(layers)}"
        rule, expert = self._responsible(worst, relative_LE[worst])
        most, least = relative_LE[worst].max(), relative_LE[worst].min()
        note = self.shares.note if self.shares else ""
        message = (
            f"{where}, the prior sends expert{_which(relative_LE[worst], most)} {most:.3g} times and "
            f"expert{_which(relative_LE[worst], least)} {least:.3g} times an even share of the tokens; "
            f"{called(self.spec, rule)} does most of it{note}"
        )
        found = self.first.get((rule, expert))
        place = place_of(self.spec, rule)
        return [Finding("load-imbalance", Severity.WARNING, message, place, (), found)]

    def relative_loads(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[L, E], the loads that the prior implies, 1 where even; and [L], the share of shaped tokens behind them."""
        from priorlang.table.dirichlet import top_k_load

        model = self.spec.model
        heaviest = sorted(self.mass.items(), key=lambda item: (-float(item[1].sum()), item[0]))[:MOST_PRIORS]
        even_NE = (
            top_k_load(np.array([np.frombuffer(key) for key, _ in heaviest]), model.top_k) * model.experts
        )
        mass_NL = np.array([mass for _, mass in heaviest])
        shaped_L = np.sum(list(self.mass.values()), axis=0)
        seen_L = mass_NL.sum(axis=0)
        safe_L = np.where(seen_L > 0, seen_L, 1.0)
        load_LE = mass_NL.T @ even_NE / safe_L[:, None]
        cover_L = np.where(shaped_L > 0, seen_L / np.where(shaped_L > 0, shaped_L, 1.0), 0.0)
        return load_LE, cover_L

    def _shares_of(self, block: Block, cells: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """The share of each cell; without shares known only where all token classes ask for the same."""
        if self.shares is not None:
            return self.shares.fraction_G[block.groups_n[cells]]
        alone = len(cells) == block.space.matching.group_count
        if not alone or not (block.alpha[cells] == block.alpha[cells[0]]).all():
            return None
        return np.full(len(cells), 1.0 / len(cells))

    def _note_rules(self, block: Block, cells: NDArray[np.int64], share_n: NDArray[np.float64]) -> None:
        layers = list(block.layers)
        pushed_RE, base_RE = given(block.amounts)
        given_RE = pushed_RE + base_RE
        active_Rn = block.asked.active_Rn[:, cells]
        weight_R = active_Rn @ share_n
        for rule in np.flatnonzero(weight_R > 0).tolist():
            added = self.pushed_LE.setdefault(rule, np.zeros((len(self._nothing), given_RE.shape[1])))
            added[layers] += weight_R[rule] * (given_RE[rule] - given_RE[rule].mean())
            cell = int(cells[np.flatnonzero(active_Rn[rule] & (share_n > 0))[0]])
            for expert in np.flatnonzero(given_RE[rule]).tolist():
                if (rule, expert) not in self.first:
                    self.first[rule, expert] = witness(self.spec, block.layer, block.token_class(cell))

    def _responsible(self, layer: int, relative_E: NDArray[np.float64]) -> tuple[int, int]:
        """The rule that adds most to the expert with most load; the default where none does."""
        expert = int(relative_E.argmax())
        added = {rule: float(pushed[layer, expert]) for rule, pushed in self.pushed_LE.items()}
        rule = max(sorted(added), key=added.__getitem__, default=DEFAULT)
        return (rule if rule != DEFAULT and added[rule] > 0 else DEFAULT), expert


def _which(relative_E: NDArray[np.float64], load: float) -> str:
    experts = np.flatnonzero(np.isclose(relative_E, load, rtol=1e-6)).tolist()
    return f"{'s' if len(experts) > 1 else ''} {index_set(experts)}"
