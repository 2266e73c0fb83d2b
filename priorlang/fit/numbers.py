"""Fitted α → the roundest numbers that say the same within a tolerance."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from priorlang.table.dirichlet import kl

_COARSE = (Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(1, 10), Fraction(1, 20), Fraction(1, 40))
_FINE = tuple(
    Fraction(digit, 10**places) for places in range(2, 13) for digit in ((5, 1) if places > 2 else (1,))
)
STEPS = _COARSE + _FINE
"""From coarse to fine; 0.75 and 1.25 are multiples of 1/4."""

Alpha = tuple[Fraction, ...]


def readable(alpha: NDArray[np.float64], budget: float) -> list[Alpha]:
    """The same α [N, K] in round numbers: few distinct ones in a row, and all of them multiples of one step.

    Args:
        alpha: [N, K].
        budget: KL(Dir(fitted) ‖ Dir(rounded)) that each row may cost, half for joining its levels and half for
            rounding them.
    """
    levelled = [_levelled(row, budget / 2.0) for row in alpha]
    for step in STEPS:
        rounded = [tuple(step * round(Fraction(float(value)) / step) for value in row) for row in levelled]
        if all(_cost(row, numbers) <= budget for row, numbers in zip(alpha, rounded, strict=True)):
            return rounded
    return [tuple(Fraction(float(value)) for value in row) for row in alpha]


def _levelled(alpha: NDArray[np.float64], budget: float) -> NDArray[np.float64]:
    """One number for neighbours among the sorted values, as long as the budget lasts."""
    order = np.argsort(alpha, kind="stable")
    groups = [[int(place)] for place in order]
    levels = alpha
    while len(groups) > 1:
        trials = []
        for place, (low, high) in enumerate(pairwise(groups)):
            joined = [*groups[:place], low + high, *groups[place + 2 :]]
            trial = _means(alpha, joined)
            trials.append((kl(alpha, trial), joined, trial))
        cost, joined, trial = min(trials, key=lambda found: found[0])
        if cost > budget:
            break
        groups, levels = joined, trial
    return levels


def _means(alpha: NDArray[np.float64], groups: list[list[int]]) -> NDArray[np.float64]:
    """Geometric means of groups: KL between Dirichlets is nearer to even in ln α than in α."""
    means = np.empty_like(alpha)
    for group in groups:
        means[group] = np.exp(np.log(alpha[group]).mean())
    return means


def _cost(fitted: NDArray[np.float64], rounded: Alpha) -> float:
    numbers = np.array([float(value) for value in rounded])
    return kl(fitted, numbers) if (numbers > 0).all() else np.inf
