"""Beta marginals as functions of ℓ = logit p: the CDF F and h = dF/dℓ = p(1 − p)·pdf(p).

Float32 reads the tables of `priorlang.table.marginals`, whose accuracy is stated there. Float64 α gives the
values of SciPy, on the CPU, for tests and studies.

Dimensions: R priors, K experts, P distinct marginals, N tokens, M = 127·P intervals between nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from priorlang.table.marginals import NODES, beta_in_logit, build_marginals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.table.prior_table import PriorTable


@dataclass(frozen=True, eq=False)
class BetaMarginals:
    """The Beta marginals of R priors over K experts.

    Attributes:
        pair_RK: which marginal (α_k, A − α_k) an expert has under a prior, int64.
        tables: the marginals tabulated, or None where they are computed exactly.
        shape_P2: (a, b) of each marginal, float64, where they are computed exactly; else None.
    """

    pair_RK: Tensor
    tables: MarginalTables | None
    shape_P2: NDArray[np.float64] | None = None

    @classmethod
    def from_table(cls, table: PriorTable, device: torch.device | str | None = None) -> BetaMarginals:
        """The marginals that a prior table carries."""
        pair_RK = torch.as_tensor(table.pair, dtype=torch.int64, device=device)
        return cls(pair_RK, MarginalTables.from_arrays(table.marginal, table.window, device))

    @classmethod
    def from_alpha(
        cls, alpha_RK: Tensor, dtype: torch.dtype, device: torch.device | str | None = None
    ) -> BetaMarginals:
        """The marginals of Dirichlet priors; tables are kept and shared between calls with equal values.

        Args:
            alpha_RK: concentrations, all positive and finite, K at least 2.
            dtype: float64 for exact values, float32 for tables.
            device: where the tables are read.
        """
        alpha = np.ascontiguousarray(alpha_RK.detach().to("cpu", torch.float64).numpy())
        place = torch.device("cpu" if device is None else device)
        return _from_values(alpha.tobytes(), alpha.shape, dtype == torch.float64, place)

    @property
    def experts(self) -> int:
        """K."""
        return int(self.pair_RK.shape[1])

    def evaluate(self, ell_NK: Tensor, row_N: Tensor) -> tuple[Tensor, Tensor]:
        """F and h of every token and expert.

        Args:
            ell_NK: one-vs-rest logits, float32 or float64; fastest where its transpose is contiguous.
            row_N: the prior of each token, int64 in [0, R).

        Returns:
            F_NK and h_NK in the dtype and memory order of ell_NK.
        """
        ell_KN = ell_NK.t()
        if len(self.pair_RK) == 1:
            pair_KN = self.pair_RK.t()
        else:
            pair_KN = self.pair_RK.t().contiguous().index_select(1, row_N)
        if self.tables is None:
            cdf_KN, slope_KN = self._exact(ell_KN, pair_KN)
        else:
            cdf_KN, slope_KN = self.tables.read(ell_KN, pair_KN)
        return cdf_KN.t(), slope_KN.t()

    def _exact(self, ell_KN: Tensor, pair_KN: Tensor) -> tuple[Tensor, Tensor]:
        assert self.shape_P2 is not None
        shape_KN2 = self.shape_P2[pair_KN.cpu().numpy()]
        ell = ell_KN.detach().to("cpu", torch.float64).numpy()
        cdf, slope, _ = beta_in_logit(ell, shape_KN2[..., 0], shape_KN2[..., 1])
        return torch.from_numpy(cdf).to(ell_KN), torch.from_numpy(slope).to(ell_KN)


@dataclass(frozen=True, eq=False)
class MarginalTables:
    """Tables of P marginals as polynomials of the place t in [0, 1] between two nodes, Δ apart.

    F is the quintic that has F, h and h′ at both nodes, and h the cubic that has h and h′ there:

        h = c₀ + t (2·c₁ + t (c₂ + t·c₃))        F = F₀ + t·Δ (c₀ + t (c₁ + t (f₃ + t (f₄ + t·f₅))))
    """

    coefficient_8M: Tensor
    """F₀, c₀ … c₃, f₃ … f₅ of every interval of every marginal."""
    lo_P: Tensor
    step_P: Tensor
    left_P: Tensor
    """Decay rate of F beyond the first node, per node spacing."""
    right_P: Tensor
    """Decay rate of 1 − F beyond the last node, per node spacing."""

    @classmethod
    def from_arrays(
        cls,
        marginal: NDArray[np.float32],
        window: NDArray[np.float32],
        device: torch.device | str | None = None,
    ) -> MarginalTables:
        """Make the polynomials of `marginal` [P, 128, 3] and `window` [P, 2], as `build_marginals` returns them."""
        nodes_3PN = torch.from_numpy(marginal.astype(np.float64)).permute(2, 0, 1)
        lo_P, hi_P = torch.from_numpy(window.astype(np.float64)).unbind(1)
        step_P = (hi_P - lo_P) / INTERVALS
        left_P = nodes_3PN[1, :, 0] / nodes_3PN[0, :, 0].clamp(min=_ULP) * step_P
        right_P = nodes_3PN[1, :, -1] / (1 - nodes_3PN[0, :, -1]).clamp(min=_ULP) * step_P

        step_P1 = step_P[:, None]
        (cdf, rise), (slope, slope_rise), (bend, bend_rise) = (
            (values_PN[:, :-1], values_PN.diff(dim=1)) for values_PN in nodes_3PN
        )
        bend, bend_rise = bend * step_P1, bend_rise * step_P1
        # What F₀, h₀ and h₀′ leave to be made up at the next node, in value, slope and half the curvature.
        value, slope_rest, bend_rest = rise / step_P1 - slope - bend / 2, slope_rise - bend, bend_rise / 2
        coefficients = (
            cdf,
            slope,
            bend / 2,
            3 * (slope_rise - bend) - bend_rise,
            2 * (bend - slope_rise) + bend_rise,
            10 * value - 4 * slope_rest + bend_rest,
            -15 * value + 7 * slope_rest - 2 * bend_rest,
            6 * value - 3 * slope_rest + bend_rest,
        )

        def placed(values: Tensor) -> Tensor:
            return values.to(device, torch.float32)

        return cls(
            coefficient_8M=placed(torch.stack(coefficients).reshape(len(coefficients), -1)),
            lo_P=placed(lo_P),
            step_P=placed(step_P),
            left_P=placed(left_P.clamp(min=_SLOWEST)),
            right_P=placed(right_P.clamp(min=_SLOWEST)),
        )

    def read(self, ell_KN: Tensor, pair_KN: Tensor) -> tuple[Tensor, Tensor]:
        """F and h at ℓ [K, N] for marginals `pair_KN`, which may be [K, 1]; dtype of ℓ."""
        dtype = ell_KN.dtype
        step_KN = _at(self.step_P, pair_KN, dtype)
        x_KN = (ell_KN - _at(self.lo_P, pair_KN, dtype)).div_(step_KN)
        inside_KN = x_KN.clamp(0, INTERVALS)
        interval_KN = inside_KN.int().clamp_(0, INTERVALS - 1)
        t_KN = inside_KN - interval_KN
        index_dtype = torch.int32 if self.coefficient_8M.shape[1] < 2**31 else torch.int64
        index_KN = (pair_KN * INTERVALS).to(index_dtype) + interval_KN

        found_8KN = self.coefficient_8M.index_select(1, index_KN.reshape(-1)).to(dtype).view(-1, *x_KN.shape)
        f0, c0, c1, c2, c3, f3, f4, f5 = found_8KN.unbind(0)
        cdf_KN = f5.mul_(t_KN).add_(f4).mul_(t_KN).add_(f3).mul_(t_KN).add_(c1).mul_(t_KN).add_(c0)
        cdf_KN.mul_(t_KN).mul_(step_KN).add_(f0)
        slope_KN = c3.mul_(t_KN).add_(c2).mul_(t_KN).add_(c1, alpha=2).mul_(t_KN).add_(c0)
        if x_KN.device.type == "cpu" and torch.equal(x_KN, inside_KN):
            return cdf_KN, slope_KN
        beyond_KN = x_KN.sub_(inside_KN)
        left_KN, right_KN = _at(self.left_P, pair_KN, dtype), _at(self.right_P, pair_KN, dtype)
        return _with_tails(cdf_KN, slope_KN, beyond_KN, left_KN, right_KN)


def _with_tails(
    cdf_KN: Tensor, slope_KN: Tensor, beyond_KN: Tensor, left_KN: Tensor, right_KN: Tensor
) -> tuple[Tensor, Tensor]:
    """F and h where ℓ lies `beyond` the window, in node spacings, given those at its end. In place."""
    decay_KN = beyond_KN.clamp(max=0).mul_(left_KN).sub_(beyond_KN.clamp(min=0).mul_(right_KN))
    decay_KN.clamp_(min=_NOTHING).exp_()
    # Beyond the last node 1 − F decays: F = 1 − (1 − F₁)·decay = F₁·decay + (1 − decay).
    gained_KN = beyond_KN.sign_().clamp_(min=0).mul_(1 - decay_KN)
    return cdf_KN.mul_(decay_KN).add_(gained_KN), slope_KN.mul_(decay_KN)


INTERVALS = NODES - 1

_ULP = 2.0**-24
"""Where F at the window's end rounds to 0 or 1 the tail's rate is bounded by float32's last bit."""

_NOTHING = -80.0
"""Exponents end here: smaller ones take a slow path in libm."""

_SLOWEST = 1e-30
"""Keeps 0·∞ out of the tails at ℓ = ±∞."""


def _at(values: Tensor, index_KN: Tensor, dtype: torch.dtype) -> Tensor:
    """Values at the indices, in the shape of the indices."""
    return values.index_select(0, index_KN.reshape(-1)).view(index_KN.shape).to(dtype)


@lru_cache(maxsize=64)
def _from_values(
    alpha_bytes: bytes, shape: tuple[int, int], exact: bool, device: torch.device
) -> BetaMarginals:
    alpha_RK = np.frombuffer(alpha_bytes, np.float64).reshape(shape)
    others_RK = _sum_of_others(alpha_RK)
    shapes = np.stack([alpha_RK, others_RK], axis=-1).reshape(-1, 2)
    shape_P2, pair = np.unique(shapes, axis=0, return_inverse=True)
    pair_RK = torch.as_tensor(pair.reshape(shape), dtype=torch.int64, device=device)
    if exact:
        return BetaMarginals(pair_RK, None, shape_P2)
    marginal, window = build_marginals(shape_P2[:, 0], shape_P2[:, 1])
    return BetaMarginals(pair_RK, MarginalTables.from_arrays(marginal, window, device))


def _sum_of_others(alpha_RK: NDArray[np.float64]) -> NDArray[np.float64]:
    """A − α_k without cancellation: what stands before each entry plus what stands after."""
    edge_R1 = np.zeros((len(alpha_RK), 1))
    before_RK = np.cumsum(np.hstack([edge_R1, alpha_RK[:, :-1]]), axis=1)
    after_RK = np.cumsum(np.hstack([edge_R1, alpha_RK[:, :0:-1]]), axis=1)[:, ::-1]
    others_RK: NDArray[np.float64] = before_RK + after_RK
    return others_RK
