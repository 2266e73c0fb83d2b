"""How far routing lies from a Dirichlet: which experts come first, how scores are distributed, what fits them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.routing.dirichlet_fit import fit_dirichlet
from priorlang.routing.populations import PopulationRouting
from priorlang.routing.statistics import cdf_gaps
from priorlang.table.dirichlet import kl, top_k_probability


@dataclass(frozen=True, eq=False)
class Attainment:
    """A population against Dir(α). K experts.

    Attributes:
        tv_top: total variation between the share of tokens that have each expert first, and P(argmax p = k).
        top_share: [K], that share.
        top_asked: [K], P(argmax p = k) for p ~ Dir(α).
        ks: [K], the largest gap between the CDF of p_k and its Beta marginal; None without a histogram.
        rms: [K], the root mean square of that gap over tokens, the square root of what the loss sums.
        fitted: [K], α of the Dirichlet that fits best.
        kl: KL(Dir(fitted) ‖ Dir(α)), in nats.
    """

    tv_top: float
    top_share: NDArray[np.float64]
    top_asked: NDArray[np.float64]
    ks: NDArray[np.float64] | None
    rms: NDArray[np.float64] | None
    fitted: NDArray[np.float64]
    kl: float


def attainment(population: PopulationRouting, alpha: NDArray[np.float64]) -> Attainment:
    """Measure a population that has tokens against a prior α [K]."""
    share = population.top / population.tokens
    asked = top_k_probability(alpha, 1)
    fitted = fit_dirichlet(population.log_probability / population.tokens)
    ks, rms = (None, None) if population.bins is None else cdf_gaps(population.bins, alpha)
    return Attainment(
        0.5 * float(np.abs(share - asked).sum()), share, asked, ks, rms, fitted, kl(fitted, alpha)
    )
