"""Which rule a cell's prior is owed to: where a finding about α points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.diagnostics.span import Span
    from priorlang.semantics.spec import RuleSpec, Spec
    from priorlang.table.amounts import Amounts
    from priorlang.table.blocks import Block

DEFAULT = -1
"""The position that stands for `default`."""

_BOUND = 1e300
"""Sums of a few thousand such numbers are finite."""


def preferring(block: Block, cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of n cells, the rule that gives most to the experts above the average; `DEFAULT` where none does."""
    alpha_nE = block.alpha[cells]
    above_nE = np.maximum(alpha_nE - alpha_nE.mean(axis=1, keepdims=True), 0.0)
    pushed_RE, base_RE = given(block.amounts)
    given_RE = pushed_RE + base_RE - base_RE.mean(axis=1, keepdims=True)
    if not len(given_RE):
        return np.full(len(cells), DEFAULT)
    given_RE /= max(1.0, np.abs(given_RE).max())
    score_Rn = np.where(block.asked.active_Rn[:, cells], given_RE @ above_nE.T, 0.0)
    return np.where(score_Rn.max(axis=0) > 0, score_Rn.argmax(axis=0), DEFAULT)


def given(amounts: Amounts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each rule gives each expert: by `prefer` and `avoid`, and by its base, 0 where it writes none.

    What is out of all bounds, because other rules take it back, counts as `_BOUND`.

    Returns:
        [R, E] and [R, E].
    """
    pushed_RE = amounts.rounded(amounts.prefer_RE - amounts.avoid_RE)
    base_RE = np.zeros_like(pushed_RE)
    for rule in np.flatnonzero(amounts.base_R >= 0):
        base_RE[rule] = amounts.rounded(amounts.bases[amounts.base_R[rule]])
    return pushed_RE.clip(-_BOUND, _BOUND), base_RE.clip(-_BOUND, _BOUND)


def most_particular(block: Block, cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of n cells, the active rule that matches fewest cells in all; `DEFAULT` where none is active."""
    breadth_R = block.space.breadth
    if not len(breadth_R):
        return np.full(len(cells), DEFAULT)
    active_Rn = block.asked.active_Rn[:, cells]
    breadth_Rn = np.where(active_Rn, breadth_R[:, None], np.inf)
    return np.where(active_Rn.any(axis=0), breadth_Rn.argmin(axis=0), DEFAULT)


def rule_at(spec: Spec, position: int) -> RuleSpec:
    """A rule by its position, or the default."""
    return spec.default if position == DEFAULT else spec.rules[position]


def called(spec: Spec, position: int) -> str:
    """How messages call a rule or the default."""
    return "`default`" if position == DEFAULT else f"rule `{spec.rules[position].name}`"


def place_of(spec: Spec, position: int) -> Span:
    """Where a finding about a rule stands: at its name, so that `allow … in` finds it."""
    return rule_at(spec, position).name_span
