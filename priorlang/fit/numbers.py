"""Fitted α → the roundest numbers that say the same within a tolerance."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from priorlang.fit.divergence import distances
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
    """One number for neighbours among the sorted values, as long as the budget lasts.

    The number is their geometric mean: KL between Dirichlets is nearer to even in ln α than in α.
    """
    order = np.argsort(alpha, kind="stable")
    log_alpha = np.log(alpha[order])
    ends = list(range(len(alpha) + 1))
    levels = alpha[order]
    while len(ends) > 2:
        joined = [(low, high) for low, high in zip(ends, ends[2:], strict=False)]
        trials = np.tile(levels, (len(joined), 1))
        for trial, (low, high) in zip(trials, joined, strict=True):
            trial[low:high] = np.exp(log_alpha[low:high].mean())
        costs = distances(alpha[order][None, :], trials)[0]
        best = int(costs.argmin())
        if costs[best] > budget:
            break
        levels = trials[best]
        del ends[best + 1]
    result = np.empty_like(alpha)
    result[order] = levels
    return result


def _cost(fitted: NDArray[np.float64], rounded: Alpha) -> float:
    numbers = np.array([float(value) for value in rounded])
    return kl(fitted, numbers) if (numbers > 0).all() else np.inf
