"""The gradient of the shaping loss by α, for concentrations that are learned or computed.

With F_k = F(ℓ_k; α_k, A − α_k), a change of α_k moves the first shape of marginal k and the second of all others:

    ∂L/∂α_k = Σ_n u_k ∂F_k/∂a + Σ_{j≠k} Σ_n u_j ∂F_j/∂b,      u = ∂L/∂F.

Dimensions: R priors, K experts, P marginals, N tokens, M = 128·P nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dpsl.live_tables import INTERVALS, LiveTables
from priorlang.table.marginals import NODES


@dataclass(frozen=True, eq=False)
class ShapeSlopes:
    """∂F/∂a and ∂F/∂b of every marginal, read by cubic Hermite interpolation between its nodes.

    Attributes:
        pair_RK: which marginal an expert has under a prior, int64.
        tables: the marginals at their nodes.
    """

    pair_RK: Tensor
    tables: LiveTables

    def nothing(self) -> Tensor:
        """A gradient of 0, to add others to."""
        return torch.zeros(self.pair_RK.shape, dtype=torch.float64, device=self.pair_RK.device)

    def gradient_to_alpha(self, ell_KN: Tensor, upstream_KN: Tensor, row_N: Tensor) -> Tensor:
        """∂L/∂α [R, K] in float64.

        Args:
            ell_KN: one-vs-rest logits.
            upstream_KN: ∂L/∂F; 0 for tokens that do not count.
            row_N: the prior of each token.
        """
        sums_RK2 = ell_KN.new_zeros((*self.pair_RK.shape, 2), dtype=torch.float64)
        pair_KN = self.pair_RK.t()[:, row_N]
        through_KN2 = self._read(ell_KN.double(), pair_KN).mul_(upstream_KN.double()[..., None])
        sums_RK2.index_add_(0, row_N, through_KN2.transpose(0, 1))
        first_RK, second_RK = sums_RK2.unbind(-1)
        return first_RK + second_RK.sum(1, keepdim=True) - second_RK

    def _read(self, ell_KN: Tensor, pair_KN: Tensor) -> Tensor:
        """∂F/∂a and ∂F/∂b [K, N, 2] at ℓ."""
        lo_KN, hi_KN = self.tables.window_P2[pair_KN].unbind(-1)
        step_KN = (hi_KN - lo_KN) / INTERVALS
        place_KN = ((ell_KN - lo_KN) / step_KN).clamp(0, INTERVALS)
        interval_KN = place_KN.long().clamp_(max=INTERVALS - 1)
        t_KN1 = (place_KN - interval_KN)[..., None]
        by_shape_M22 = self.tables.by_shape_PN22.flatten(0, 1)
        low_KN22 = by_shape_M22[pair_KN * NODES + interval_KN]
        high_KN22 = by_shape_M22[pair_KN * NODES + interval_KN + 1]
        at_low, at_high = low_KN22[..., 0, :], high_KN22[..., 0, :]
        rise = at_high - at_low
        bend_low = low_KN22[..., 1, :] * step_KN[..., None] - rise
        bend_high = high_KN22[..., 1, :] * step_KN[..., None] - rise
        s_KN1 = 1 - t_KN1
        inside = at_low + t_KN1 * (rise + s_KN1 * (s_KN1 * bend_low - t_KN1 * bend_high))
        return self._with_tails(inside, ell_KN, lo_KN, hi_KN, pair_KN)

    def _with_tails(
        self, inside_KN2: Tensor, ell_KN: Tensor, lo_KN: Tensor, hi_KN: Tensor, pair_KN: Tensor
    ) -> Tensor:
        """Beyond the window F is a power of p, C·p^κ, whose derivative by a is F·(ln C)′ + F·ln p; mirrored right."""
        first_P3, last_P3 = self.tables.nodes_PN3[:, 0], self.tables.nodes_PN3[:, -1]
        below_KN, above_KN = (lo_KN - ell_KN).clamp(min=0), (ell_KN - hi_KN).clamp(min=0)
        mass_P2 = torch.stack([first_P3[:, 0], 1 - last_P3[:, 0]], -1).clamp(min=_LEAST)
        rate_P2 = torch.stack([first_P3[:, 1], last_P3[:, 1]], -1) / mass_P2
        mass_KN2, rate_KN2 = mass_P2[pair_KN], rate_P2[pair_KN]
        beyond_KN2 = torch.stack([below_KN, above_KN], -1).clamp(max=_FARTHEST)
        decay_KN2 = (-rate_KN2 * beyond_KN2).exp()
        grown_KN2 = torch.stack([-below_KN, above_KN], -1).clamp(-_FARTHEST, _FARTHEST) * mass_KN2
        return (inside_KN2 + grown_KN2) * decay_KN2.prod(-1, keepdim=True)


_LEAST = 1e-300
_FARTHEST = 1e6
"""Keeps 0·∞ out of the tails."""
