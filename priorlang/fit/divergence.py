"""KL divergences between many Dirichlets at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, psi


def distances(fitted: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """[U, N], KL(Dir(fitted) ‖ Dir(alpha)) of each pair, in nats."""
    mean_log_p = psi(fitted) - psi(fitted.sum(-1, keepdims=True))
    own = (fitted * mean_log_p).sum(-1) - _log_normalizer(fitted)
    gap = own[:, None] - mean_log_p @ alpha.T + _log_normalizer(alpha)[None, :]
    return np.asarray(np.maximum(gap, 0.0))


def _log_normalizer(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(gammaln(alpha).sum(-1) - gammaln(alpha.sum(-1)))
