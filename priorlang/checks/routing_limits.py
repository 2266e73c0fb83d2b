"""From where on routing is said to differ from a prior, given the number of experts and of tokens.

`python -m tests.benchmarks.routing_thresholds` measures how often these limits are wrong;
docs/checks/routing.md has the figures. The noise terms are those of independent tokens; tokens of one sequence
are not, so a limit is a little too strict where a few hundred tokens come from a handful of sequences.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

TV_TOP = 0.30
TV_TOP_STRONG = 0.50
DEFICIT = 0.10
"""Tokens in which a preferred expert should come first and does not, as a fraction of all."""
UNEVEN = 0.10
"""Total variation from an even share, above which a router has an order at all."""
KS = 0.10
RMS = 0.06
KL_PER_EXPERT = 0.0125
"""Nats. KL grows with the number of experts where every marginal is equally far off: .05 at four experts."""
_DEVIATIONS = 2.33
"""Standard deviations of noise that a limit leaves room for: 1 % on one side."""


def preferred_experts(asked: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[K], experts that should come first more often than the average; none under a symmetric prior."""
    return asked > (1.0 + 1e-6) / len(asked)


def deficit(share: NDArray[np.float64], asked: NDArray[np.float64]) -> float:
    """How much less often than asked one of the preferred experts comes first; below 0 where more often."""
    preferred = preferred_experts(asked)
    return float(asked[preferred].sum() - share[preferred].sum())


def deficit_limit(asked: NDArray[np.float64], tokens: int) -> float:
    """Above it the deficit is more than what a sample of this size shows by chance."""
    part = float(asked[preferred_experts(asked)].sum())
    return DEFICIT + _DEVIATIONS * math.sqrt(part * (1.0 - part) / tokens)


def tv_top_noise(asked: NDArray[np.float64], tokens: int) -> float:
    """The TVtop that tokens drawn from the prior itself show on average."""
    return float(0.5 * np.sqrt(2.0 * asked * (1.0 - asked) / (math.pi * tokens)).sum())


def differs(share: NDArray[np.float64], asked: NDArray[np.float64], tokens: int) -> bool:
    """Whether a router has an order, and it is not the prior's.

    A router in the prior's order may be surer of it than the prior asks, and uneven among equals: both raise
    TVtop, neither the deficit.
    """
    even = np.full(len(asked), 1.0 / len(asked))
    uneven = 0.5 * float(np.abs(share - even).sum())
    return uneven > UNEVEN + tv_top_noise(even, tokens) and deficit(share, asked) > deficit_limit(
        asked, tokens
    )


def ks_limit(experts: int, tokens: int) -> float:
    """For the largest KS distance over the experts; noise by Dvoretzky–Kiefer–Wolfowitz at 1 %."""
    return math.hypot(KS, math.sqrt(math.log(200.0 * experts) / (2.0 * tokens)))


def rms_limit(experts: int, tokens: int) -> float:
    """For the largest RMS gap over the experts; noise by the tail e^{−π²x/2} of Cramér and von Mises at 1 %."""
    return math.hypot(RMS, math.sqrt((0.743 + 2.0 / math.pi**2 * math.log(experts)) / tokens))


def kl_limit(experts: int, tokens: int) -> float:
    """For KL(fitted ‖ prior); noise by Wilks: 2·tokens·KL of an attained prior is χ² with K degrees.

    Infinite for fewer tokens than twice the experts, where that does not hold.
    """
    if tokens < 2 * experts:
        return math.inf
    quantile = experts + _DEVIATIONS * math.sqrt(2.0 * experts)
    return KL_PER_EXPERT * experts + quantile / (2.0 * tokens)
