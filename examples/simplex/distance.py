"""How far points lie from a Dirichlet: in each marginal, which the loss sees, and in two ways that it does not.

Dimensions: N points, K categories.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

Floats = NDArray[np.float64]


def marginal_distance(probability_NK: Floats, alpha_K: Floats) -> float:
    """Largest Kolmogorov–Smirnov distance of a category to its Beta(α_k, A − α_k)."""
    others_K = alpha_K.sum() - alpha_K
    return max(
        _kolmogorov_smirnov(*column) for column in zip(probability_NK.T, alpha_K, others_K, strict=True)
    )


def pair_distance(probability_NK: Floats, alpha_K: Floats) -> float:
    """The same of p_i / (p_i + p_j), which under Dir(α) is Beta(α_i, α_j): a matter of the joint distribution."""
    return max(
        _kolmogorov_smirnov(probability_NK[:, i] / probability_NK[:, [i, j]].sum(1), alpha_K[i], alpha_K[j])
        for i, j in combinations(range(len(alpha_K)), 2)
    )


def covariance_error(probability_NK: Floats, alpha_K: Floats) -> float:
    """‖C − C*‖ / ‖C*‖ in the Frobenius norm, C* the covariance of Dir(α)."""
    expected_KK = dirichlet_covariance(alpha_K)
    found_KK = np.cov(probability_NK, rowvar=False)
    return float(np.linalg.norm(found_KK - expected_KK) / np.linalg.norm(expected_KK))


def dirichlet_covariance(alpha_K: Floats) -> Floats:
    """Covariance [K, K] of Dir(α): (diag(m) − m mᵀ) / (A + 1), m = α / A."""
    total = alpha_K.sum()
    mean_K = alpha_K / total
    return np.asarray((np.diag(mean_K) - np.outer(mean_K, mean_K)) / (total + 1))


def _kolmogorov_smirnov(value_N: Floats, a: float, b: float) -> float:
    """Largest distance between the empirical CDF of the values and Beta(a, b)."""
    points = len(value_N)
    cdf_N = betainc(a, b, np.sort(value_N))
    rank_N = np.arange(points) / points
    return float(np.maximum(rank_N + 1 / points - cdf_N, cdf_N - rank_N).max())
