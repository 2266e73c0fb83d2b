"""Concentrations that are sound numbers and still make a poor loss: too sharp, too flat, or beyond the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.blame import most_particular, place_of
from priorlang.checks.witness import witness
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.table.marginals import ACCURATE_SHAPE

if TYPE_CHECKING:
    from priorlang.semantics.spec import Spec
    from priorlang.table.blocks import Block
    from priorlang.table.matching import Mask

SPIKY = 0.05
"""α below which nearly all of a marginal's mass lies at 0 and at 1, where the loss has no slope to follow."""

FLAT = 1e4
"""A above which a marginal is so narrow that the empirical CDF of a batch is a step beside it."""


class Extremes:
    """`extreme-alpha` and `coarse-marginal`, once for each rule that brings a cell there."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.found: dict[tuple[str, int], Finding] = {}

    def see(self, block: Block) -> None:
        """Take note of a block."""
        alpha_nE = block.alpha
        total_n = alpha_nE.sum(axis=1)
        with np.errstate(invalid="ignore"):
            rest_nE = total_n[:, None] - alpha_nE
        shaped_n = block.asked.shaped_n & (alpha_nE > 0).all(axis=1) & np.isfinite(total_n)
        low, high = ACCURATE_SHAPE
        smallest_n, least_rest_n = alpha_nE.min(axis=1), rest_nE.min(axis=1)
        largest_n = np.maximum(alpha_nE.max(axis=1), rest_nE.max(axis=1))
        least_n = np.minimum(smallest_n, least_rest_n)
        self._note(
            "coarse-marginal", block, shaped_n & (least_n < low), lambda n: _coarse("least", least_n[n])
        )
        self._note(
            "coarse-marginal",
            block,
            shaped_n & (largest_n > high),
            lambda n: _coarse("largest", largest_n[n]),
        )
        self._note(
            "extreme-alpha",
            block,
            shaped_n & (smallest_n < SPIKY),
            lambda n: _spiky(int(alpha_nE[n].argmin()), smallest_n[n]),
        )
        self._note("extreme-alpha", block, shaped_n & (total_n > FLAT), lambda n: _flat(total_n[n]))

    def findings(self) -> list[Finding]:
        """What the blocks came to."""
        return list(self.found.values())

    def _note(self, name: str, block: Block, there_n: Mask, message: Callable[[int], str]) -> None:
        """The first such cell of each rule that is the most particular one there."""
        cells = np.flatnonzero(there_n)
        if not len(cells):
            return
        rules, first = np.unique(most_particular(block, cells), return_index=True)
        for rule, cell in zip(rules.tolist(), cells[first].tolist(), strict=True):
            if (name, rule) not in self.found:
                where = witness(self.spec, block.layer, block.token_class(cell))
                place = place_of(self.spec, rule)
                self.found[name, rule] = Finding(name, Severity.WARNING, message(cell), place, (), where)


def _spiky(expert: int, alpha: float) -> str:
    return (
        f"α of expert {expert} comes to {alpha:.4g}: below {SPIKY} nearly all of its probabilities are asked to be "
        "0 or 1, and the loss becomes spiky"
    )


def _flat(total: float) -> str:
    return (
        f"the concentrations add up to {total:.4g}: above {FLAT:,.0f} every probability is asked to be the mean "
        "itself, and the loss is flat but for one step"
    )


def _coarse(which: str, shape: float) -> str:
    low, high = ACCURATE_SHAPE
    return (
        f"the {which} shape of a marginal Beta(α, A − α) comes to {shape:.4g}; the compiled table keeps its stated "
        f"error between {low:g} and {high:,.0f}"
    )
