"""Beta marginals as tables in ℓ = logit p: built once in float64, read by the engine in float32.

F is the Beta(a, b) CDF, h = dF/dℓ = p(1 − p)·pdf(p). Both are smooth in ℓ, fall off as exponentials on
either side, and do not saturate the way functions of p do.

Reading a table, with nodes i = 0…127 uniform on the window [lo, hi] and spacing Δ:

- inside, F is the quintic Hermite interpolant of (F, Δ·h, Δ²·h′) and h the cubic one of (h, Δ·h′);
- left of lo,   F = F₀ e^{κ(ℓ − lo)} and h = h₀ e^{κ(ℓ − lo)} with κ = h₀ / F₀;
- right of hi,  1 − F = (1 − F₁) e^{−κ(ℓ − hi)} and h = h₁ e^{−κ(ℓ − hi)} with κ = h₁ / (1 − F₁).

Accuracy, measured against float64 with everything read in float32, ℓ in [−60, 60]: for a and b in
`ACCURATE_SHAPE` F is within 7e-7 and h within 1.2e-5 of its peak (medians 1.6e-7 and 2e-6); what is left of F
is the rounding of ℓ itself. For smaller shapes F stays as close while h loses its sharp corner: 1.3e-4 of its
peak at a = 1e-3, 2.5e-3 at 1e-5. A cubic for F would do, at 1.8e-6, but its error has one sign over a node's
width, and sums over the experts.

The cut is at p·max(1, b) = e^−16 rather than at ℓ = −16: a power law holds where p is small against 1/b, so a
fixed cut would cost 2e-2 at (0.05, 5e5), and the wider window costs nothing, as its right end moves as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACCURATE_SHAPE = (0.01, 1e6)
"""The a and b for which `CDF_ERROR` and `SLOPE_ERROR` hold."""

CDF_ERROR = 1e-6
"""Largest error of F, read in float32."""

SLOPE_ERROR = 1.5e-5
"""Largest error of h, as a fraction of its peak, read in float32."""

NODES = 128
"""Nodes of one marginal."""

TAIL = 1e-7
"""Probability left outside the window on either side, where the window is not cut first."""

REACH = 16.0
"""The window is cut where p·max(1, b) or (1 − p)·max(1, a) reaches e^−16: beyond, the tail is a power law."""

NARROWEST = 2.0**-12
"""Half the width of the narrowest window, relative to its place: so that float32 tells its nodes apart."""


def build_marginals(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Tabulate the marginals Beta(a, b) in ℓ.

    Equal input gives equal bytes. A marginal does not depend on its neighbours in the arrays.

    Args:
        a: [P] first shapes, α_k.
        b: [P] second shapes, A − α_k.

    Returns:
        marginal [P, 128, 3] float32, F, h and h′ = dh/dℓ at the nodes, and window [P, 2] float32, the first
        and the last node, always lo < hi.

    Raises:
        ValueError: the shapes of the arrays differ, or a value is not positive and finite.
    """
    a_P, b_P = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a_P.ndim != 1 or a_P.shape != b_P.shape:
        raise ValueError(f"a and b must be vectors of one length, not of shapes {a_P.shape} and {b_P.shape}")
    if not (np.all(np.isfinite(a_P) & (a_P > 0)) and np.all(np.isfinite(b_P) & (b_P > 0))):
        raise ValueError("every shape of a Beta distribution must be positive and finite")
    window_P2 = _window(a_P, b_P)
    lo_P, hi_P = window_P2.astype(np.float64).T
    step_P = (hi_P - lo_P) / (NODES - 1)
    ell_PN = lo_P[:, None] + step_P[:, None] * np.arange(NODES)
    cdf_PN, slope_PN, curvature_PN = beta_in_logit(ell_PN, a_P[:, None], b_P[:, None])
    return np.stack([cdf_PN, slope_PN, curvature_PN], axis=-1).astype(np.float32), window_P2


def beta_in_logit(
    ell: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The exact F, h and h′ of Beta(a, b) at logits ℓ, in float64, without saturation at either end.

    Args:
        ell: logits, of any shape that broadcasts with a and b.
        a: first shapes.
        b: second shapes.

    Returns:
        F, h = dF/dℓ and h′ = dh/dℓ, of the broadcast shape.
    """
    from scipy.special import betainc, betaln, expit, log_expit

    ell, a, b = np.broadcast_arrays(np.asarray(ell, np.float64), a, b)
    log_scale = betaln(a, b)
    with np.errstate(over="ignore"):
        slope = np.exp(a * log_expit(ell) + b * log_expit(-ell) - log_scale)
    left = ell <= 0
    near, far = np.where(left, a, b), np.where(left, b, a)
    near_x, near_log_x = expit(-np.abs(ell)), log_expit(-np.abs(ell))
    vanishing = near_log_x < _VANISHING
    first_term = np.exp(np.where(vanishing, near * near_log_x - log_scale - np.log(near), 0.0))
    tail = np.where(vanishing, first_term, betainc(near, far, near_x))
    return np.where(left, tail, 1.0 - tail), slope, slope * (a * expit(-ell) - b * expit(ell))


_VANISHING = -600.0
"""Below this ln p the CDF is its first term p^a / (a·B(a, b)) to the last bit, and p soon underflows."""


def _window(a_P: NDArray[np.float64], b_P: NDArray[np.float64]) -> NDArray[np.float32]:
    """The nodes' range [P, 2]: where F lies in [TAIL, 1 − TAIL], cut where the tails become power laws."""
    first_P = -REACH - np.log(np.maximum(b_P, 1.0))
    last_P = REACH + np.log(np.maximum(a_P, 1.0))
    lo_P = np.clip(_logit_quantile(a_P, b_P), first_P, last_P)
    hi_P = np.clip(-_logit_quantile(b_P, a_P), first_P, last_P)
    middle_P = (lo_P + hi_P) / 2
    half_P = np.maximum((hi_P - lo_P) / 2, NARROWEST * np.maximum(np.abs(middle_P), 1.0))
    # Outwards to a binary grid, so that float32 holds lo, hi and the spacing without rounding, and the last
    # bits of the quantiles do not matter.
    grain_P = np.exp2(np.floor(np.log2(2 * half_P / (NODES - 1))) - 7)
    lo_P = np.floor((middle_P - half_P) / grain_P) * grain_P
    step_P = np.ceil((middle_P + half_P - lo_P) / (NODES - 1) / grain_P) * grain_P
    return np.stack([lo_P, lo_P + (NODES - 1) * step_P], axis=-1).astype(np.float32)


def _logit_quantile(a_P: NDArray[np.float64], b_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logit of Q(TAIL) of Beta(a, b); −∞ where the quantile underflows."""
    from scipy.special import betainccinv, betaincinv

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(betaincinv(a_P, b_P, TAIL)) - np.log(betainccinv(b_P, a_P, TAIL))
