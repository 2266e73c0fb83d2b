"""What a Dirichlet prior implies: means, and how often each expert enters the top k."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NODES = 1024
_TAIL = 1e-10


def mean(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected routing probability α_k / A of each expert."""
    return np.asarray(alpha / alpha.sum())


def top_k_probability(alpha: NDArray[np.float64], top_k: int) -> NDArray[np.float64]:
    """P(expert k is among the `top_k` largest) for p ~ Dir(α), to about 1e-6.

    With independent Y_k ~ Gamma(α_k), p = Y / ΣY keeps the order of Y. So the probability is the
    integral over y of the density of Y_k times the chance that fewer than `top_k` others exceed y,
    taken by the trapezoid rule in ln y, where the density falls off smoothly on both sides.

    Args:
        alpha: [K], above 0.
        top_k: between 1 and K.

    Returns:
        [K], summing to `top_k`.
    """
    values, which, counts = np.unique(alpha, return_inverse=True, return_counts=True)
    if top_k >= len(alpha):
        return np.ones(len(alpha))
    found = np.array([_enters(values, counts, index, top_k) for index in range(len(values))])
    result = found[which.ravel()]
    return np.asarray(result * (top_k / result.sum()))


def _enters(values: NDArray[np.float64], counts: NDArray[np.int64], index: int, top_k: int) -> float:
    """P(one expert with concentration `values[index]` is among the top k)."""
    from scipy.special import gammaincc, gammaincinv, gammaln

    shape = values[index]
    low = _log_quantile(shape, _TAIL)
    high = float(np.log(gammaincinv(shape, 1.0 - _TAIL)))
    log_y, step = np.linspace(low, high, _NODES, retstep=True)
    y = np.exp(log_y)
    density = np.exp(shape * log_y - y - gammaln(shape))
    fewer = np.zeros((top_k, _NODES))
    fewer[0] = 1.0
    for other, count in zip(values, counts, strict=True):
        others = int(count) - int(other == shape)
        above = gammaincc(other, y)
        for _ in range(others):
            # One more competitor: the count above y grows by one with chance `above`.
            grown = fewer * (1.0 - above)
            grown[1:] += fewer[:-1] * above
            fewer = grown
    return float(np.sum(density * fewer.sum(axis=0)) * step)


def _log_quantile(shape: float, tail: float) -> float:
    """Ln of the `tail` quantile of Gamma(shape); the leading term where the quantile underflows."""
    from scipy.special import gammaincinv, gammaln

    quantile = float(gammaincinv(shape, tail))
    if quantile > 1e-250:
        return float(np.log(quantile))
    return float((np.log(tail) + gammaln(shape + 1.0)) / shape)
