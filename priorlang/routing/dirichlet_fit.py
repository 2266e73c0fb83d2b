"""The Dirichlet that fits routing scores best, by maximum likelihood."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import polygamma, psi

LARGEST_TOTAL = 1e9
"""A of a fit at most: scores that do not vary have no finite fit."""
_SMALLEST_TOTAL = 1e-9
_NEWTON_STEPS = 6


def fit_dirichlet(mean_log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    """α of the Dirichlet whose E[ln p] is this: the maximum-likelihood fit of scores with this mean of ln p.

    ψ(α_k) = ψ(A) + mean ln p_k is solved for each α_k given A (Minka, "Estimating a Dirichlet distribution", 2000),
    and Σ α_k(A) = A for A, which has one solution.

    Args:
        mean_log_p: [K], each below 0 and finite.

    Returns:
        [K] float64; A is cut off at `LARGEST_TOTAL`.
    """

    def excess(log_total: float) -> float:
        total = np.exp(log_total)
        return float(np.log(_inverse_psi(psi(total) + mean_log_p).sum()) - log_total)

    low, high = np.log(_SMALLEST_TOTAL), np.log(LARGEST_TOTAL)
    if excess(low) <= 0:
        root = low
    elif excess(high) >= 0:
        root = high
    else:
        root = brentq(excess, low, high, xtol=1e-12, rtol=1e-14)
    return _inverse_psi(psi(np.exp(root)) + mean_log_p)


def _inverse_psi(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """ψ⁻¹, by Newton's method from Minka's first guess; 14 digits in six steps for any y."""
    x = np.where(y >= -2.22, np.exp(y) + 0.5, -1.0 / (y - psi(1.0)))
    for _ in range(_NEWTON_STEPS):
        x = x - (psi(x) - y) / polygamma(1, x)
    return np.asarray(x)
