"""Tables of Beta marginals built where they are read, for α that changes from step to step or is learned.

The same nodes as `priorlang.table.marginals`, without SciPy and without leaving the device: h between two nodes
is integrated by 4-point Gauss-Legendre, and added up from the tail that lies before the first. The sums that
give F also give ∂F/∂a and ∂F/∂b, with ln p − ψ(a) + ψ(a + b) and ln(1 − p) − ψ(b) + ψ(a + b) as weights.

Nodes are within 4e-8 of SciPy's for shapes in `ACCURATE_SHAPE`, so that F and h read from them are as close as
those of a compiled table.

Dimensions: P marginals, N nodes, G quadrature points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dpsl.beta import log_beta, log_weight, logit_quantile, nearer_tail
from priorlang.table.marginals import NARROWEST, NODES, REACH, TAIL

INTERVALS = NODES - 1


@dataclass(frozen=True, eq=False)
class LiveTables:
    """P marginals at their nodes, in float64.

    Attributes:
        nodes_PN3: F, h and h′ = dh/dℓ.
        window_P2: the first and the last node, in ℓ.
        by_shape_PN22: ∂F/∂a and ∂F/∂b, and the derivatives of both by ℓ: [..., 0, 1] is ∂F/∂b, [..., 1, 0] ∂h/∂a.
    """

    nodes_PN3: Tensor
    window_P2: Tensor
    by_shape_PN22: Tensor


@torch.no_grad()
def tabulate(a_P: Tensor, b_P: Tensor) -> LiveTables:
    """The marginals Beta(a, b) at their nodes.

    Args:
        a_P: first shapes α_k, positive, float64.
        b_P: second shapes A − α_k.
    """
    window_P2 = _window(a_P, b_P)
    a_P1, b_P1 = a_P[:, None], b_P[:, None]
    step_P1 = (window_P2[:, 1:] - window_P2[:, :1]) / INTERVALS
    place_N = torch.arange(NODES, dtype=torch.float64, device=a_P.device)
    ell_PN = window_P2[:, :1] + step_P1 * place_N
    norm_P1 = log_beta(a_P1, b_P1)
    both_P1 = torch.digamma(a_P1 + b_P1)
    psi_P12 = torch.stack([torch.digamma(a_P1), torch.digamma(b_P1)], -1) - both_P1[..., None]

    def slopes(ell_PM: Tensor) -> tuple[Tensor, Tensor]:
        """h, and its derivatives by the two shapes, at any places."""
        h_PM = (log_weight(ell_PM, a_P1, b_P1) - norm_P1).exp()
        logs_PM2 = torch.nn.functional.logsigmoid(torch.stack([ell_PM, -ell_PM], -1))
        return h_PM, h_PM[..., None] * (logs_PM2 - psi_P12)

    between_G = torch.from_numpy((1 + _POINTS) / 2).to(a_P.device)
    inner_PM = (ell_PN[:, :-1, None] + step_P1[..., None] * between_G).flatten(1)
    h_PM, by_shape_PM2 = slopes(inner_PM)
    share_G1 = torch.from_numpy(_WEIGHTS / 2).to(a_P.device)[:, None]
    parts_PM3 = torch.cat([h_PM[..., None], by_shape_PM2], -1).view(len(a_P), INTERVALS, -1, 3)
    gained_PN3 = (parts_PM3 * share_G1).sum(2).mul_(step_P1[..., None]).cumsum(1)

    before = nearer_tail(ell_PN[:, 0], a_P, b_P, shape_slopes=True)
    mass_P = before.log.exp()
    sign_P = torch.where(before.lower, 1.0, -1.0)
    first_P3 = torch.stack(
        [
            torch.where(before.lower, mass_P, 1 - mass_P),
            sign_P * mass_P * before.by_a,
            sign_P * mass_P * before.by_b,
        ],
        -1,
    )[:, None]
    sums_PN3 = torch.cat([first_P3, first_P3 + gained_PN3], 1)

    h_PN, by_shape_PN2 = slopes(ell_PN)
    bend_PN = h_PN * (a_P1 * (-ell_PN).sigmoid() - b_P1 * ell_PN.sigmoid())
    return LiveTables(
        nodes_PN3=torch.stack([sums_PN3[..., 0].clamp(0, 1), h_PN, bend_PN], -1),
        window_P2=window_P2,
        by_shape_PN22=torch.stack([sums_PN3[..., 1:], by_shape_PN2], -2),
    )


def _window(a_P: Tensor, b_P: Tensor) -> Tensor:
    """The nodes' range [P, 2]: where F lies in [TAIL, 1 − TAIL], cut where the tails become power laws."""
    tail_P = torch.full_like(a_P, TAIL)
    first_P = -REACH - b_P.clamp(min=1).log()
    last_P = REACH + a_P.clamp(min=1).log()
    lo_P = logit_quantile(tail_P, a_P, b_P).clamp(first_P, last_P)
    hi_P = (-logit_quantile(tail_P, b_P, a_P)).clamp(first_P, last_P)
    middle_P = (lo_P + hi_P) / 2
    half_P = ((hi_P - lo_P) / 2).maximum(NARROWEST * middle_P.abs().clamp(min=1))
    return torch.stack([middle_P - half_P, middle_P + half_P], -1)


_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(4)
