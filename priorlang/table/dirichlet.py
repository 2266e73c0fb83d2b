"""What a Dirichlet prior implies: means, how far it lies from another, how often each expert enters the top k."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NODES = 256
_TAIL = 1e-10
_REACH = 20.0
"""How far, in powers of e, the nodes come nearer to the right end."""
_SMALLEST = 1e-280
_FEW = 4
"""Competitors that are joined one by one."""
_MANY = 8
"""Different concentrations beyond which they share their nodes."""
_STEP = 0.125
"""Between shared nodes, in standard deviations of the sharpest ln Y, and at most."""
_MOST_NODES, _MOST_NUMBERS = 8192, 20_000_000
_SHARPEST = 1e-6
"""Least standard deviation of ln Y that is told apart; reached at α = 1e12."""
_LARGEST_TOTAL = 1e12
"""Beyond it the terms of a KL divergence cancel to noise."""


def mean(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected routing probability α_k / A of each expert."""
    return np.asarray(alpha / alpha.sum())


def kl(alpha: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """KL(Dir(alpha) ‖ Dir(other)) in nats; infinite where a 64-bit number cannot tell it."""
    from scipy.special import gammaln, psi

    total = alpha.sum()
    if max(total, other.sum()) > _LARGEST_TOTAL:
        return np.inf
    with np.errstate(all="ignore"):
        value = (
            gammaln(total)
            - gammaln(other.sum())
            - np.sum(gammaln(alpha) - gammaln(other))
            + np.sum((alpha - other) * (psi(alpha) - psi(total)))
        )
    return max(0.0, float(value)) if np.isfinite(value) else np.inf


def top_k_probability(alpha: NDArray[np.float64], top_k: int) -> NDArray[np.float64]:
    """P(expert k is among the `top_k` largest) for p ~ Dir(α), to about 1e-6.

    With independent Y_k ~ Gamma(α_k), p = Y / ΣY keeps the order of Y. So the probability is the
    integral over y of the density of Y_k times the chance that fewer than `top_k` others exceed y,
    taken by the trapezoid rule in ln(c − ln y), c near the largest ln y: a small α spreads ln Y over a
    long tail to the left, and what others do matters near its right end.

    Args:
        alpha: [K], finite and above 0.
        top_k: between 1 and K.

    Returns:
        [K], summing to `top_k`.
    """
    values, which, counts = np.unique(np.maximum(alpha, _SMALLEST), return_inverse=True, return_counts=True)
    if len(values) == 1 or top_k >= len(alpha):
        return np.full(len(alpha), min(1.0, top_k / len(alpha)))
    found = _all_enter(values, counts, top_k) if len(values) > _MANY else None
    if found is None:
        found = np.array([_enters(values, counts, index, top_k) for index in range(len(values))])
    result = found[which.ravel()]
    return np.asarray(result * (top_k / result.sum()))


def top_k_load(alpha_RK: NDArray[np.float64], top_k: int) -> NDArray[np.float64]:
    """Expected fraction of the top-k slots of each expert, [R, K], for each of many priors.

    Priors that differ only in which expert has which α are worked out once.
    """
    slots = min(top_k, alpha_RK.shape[1])
    found: dict[bytes, dict[float, float]] = {}
    load_RK = np.empty_like(alpha_RK)
    for row, alpha_K in enumerate(alpha_RK):
        values = np.sort(alpha_K)
        of_value = found.get(values.tobytes())
        if of_value is None:
            chances = top_k_probability(values, slots) / slots
            of_value = found[values.tobytes()] = dict(zip(values.tolist(), chances.tolist(), strict=True))
        load_RK[row] = [of_value[alpha] for alpha in alpha_K.tolist()]
    return load_RK


def _enters(values: NDArray[np.float64], counts: NDArray[np.int64], index: int, top_k: int) -> float:
    """P(one expert with concentration `values[index]` is among the top k)."""
    shape = float(values[index])
    low, high = _log_quantile(shape, _TAIL), _log_quantile(shape, 1.0 - _TAIL)
    distance, step = np.linspace(-_REACH, 0.0, _NODES, retstep=True)
    from_high = (high - low) * np.exp(distance)
    log_y = high - from_high
    fewer = np.zeros((top_k, _NODES))
    fewer[0] = 1.0
    for other, count in enumerate(counts.tolist()):
        fewer = _joined(fewer, _distribution(float(values[other]), log_y), count - (other == index))
    return float(np.sum(_density(shape, log_y) * fewer.sum(axis=0) * from_high) * step)


def _all_enter(
    values: NDArray[np.float64], counts: NDArray[np.int64], top_k: int
) -> NDArray[np.float64] | None:
    """The same for every concentration at once, on nodes in ln y that all of them share.

    What all the others do is what those before and those after do together, so the work grows with the number of
    concentrations and not with its square. None where α are so far apart that they share no nodes.
    """
    from scipy.special import polygamma

    low = min(_log_quantile(shape, _TAIL) for shape in values.tolist())
    high = max(_log_quantile(shape, 1.0 - _TAIL) for shape in values.tolist())
    sharpest = float(np.sqrt(polygamma(1, values[-1])))
    step = _STEP * min(1.0, sharpest)
    nodes = int((high - low) / step) + 2 if np.isfinite(high - low) else _MOST_NODES + 1
    if nodes > _MOST_NODES or len(values) * top_k * nodes > _MOST_NUMBERS:
        return None
    log_y = np.asarray(low + step * np.arange(nodes), dtype=np.float64)
    below_DN = [_distribution(shape, log_y) for shape in values.tolist()]
    nobody = np.zeros((top_k, nodes))
    nobody[0] = 1.0
    after = [nobody]
    for below, count in zip(below_DN[:0:-1], counts[:0:-1].tolist(), strict=True):
        after.append(_joined(after[-1], below, count))
    before, found = nobody, np.empty(len(values))
    for place, (below, count) in enumerate(zip(below_DN, counts.tolist(), strict=True)):
        others = _joined(before, below, count - 1)
        at_most = np.cumsum(after.pop(), axis=0)[::-1]
        found[place] = np.sum(_density(float(values[place]), log_y) * (others * at_most).sum(axis=0)) * step
        before = _joined(others, below, 1)
    return found


def _joined(fewer: NDArray[np.float64], below: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The distribution [top_k, N] of how many exceed y, with `count` more that each lie below it by chance `below`."""
    from scipy.special import gammaln, xlogy

    if count <= _FEW:
        for _ in range(count):
            grown = fewer * below
            grown[1:] += fewer[:-1] * (1.0 - below)
            fewer = grown
        return fewer
    above = np.arange(min(len(fewer), count + 1))[:, None]
    ways = gammaln(count + 1.0) - gammaln(above + 1.0) - gammaln(count - above + 1.0)
    binomial = np.exp(ways + xlogy(above, 1.0 - below) + xlogy(count - above, below))
    joined = np.zeros_like(fewer)
    for number, chance in enumerate(binomial):
        joined[number:] += fewer[: len(fewer) - number] * chance
    return joined


def _density(shape: float, log_y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density of ln Y for Y ~ Gamma(shape); a sharp normal where `shape` is so large that floats are coarse."""
    from scipy.special import gammaln

    if shape > _SHARPEST**-2:
        z = (log_y - np.log(shape)) / _SHARPEST
        return np.asarray(np.exp(-0.5 * z * z) / (_SHARPEST * np.sqrt(2.0 * np.pi)))
    return np.asarray(np.exp(shape * log_y - np.exp(log_y) - gammaln(shape)))


def _distribution(shape: float, log_y: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(Y ≤ y) for Y ~ Gamma(shape); the leading term y^shape / Γ(shape + 1) where y underflows."""
    from scipy.special import gammainc, gammaln, ndtr

    if shape > _SHARPEST**-2:
        return np.asarray(ndtr((log_y - np.log(shape)) / _SHARPEST))
    leading = np.exp(np.minimum(shape * log_y - gammaln(shape + 1.0), 0.0))
    return np.where(log_y < -500.0, leading, gammainc(shape, np.exp(np.clip(log_y, -500.0, 700.0))))


def _log_quantile(shape: float, chance: float) -> float:
    """Ln of a quantile of Gamma(shape); the leading term where the quantile underflows."""
    from scipy.special import gammaincinv, gammaln, ndtri

    if shape > _SHARPEST**-2:
        return float(np.log(shape) + _SHARPEST * ndtri(chance))
    quantile = float(gammaincinv(shape, chance))
    if quantile > 1e-200:
        return float(np.log(quantile))
    return float((np.log(chance) + gammaln(shape + 1.0)) / shape)
