"""Beta marginals as functions of ℓ = logit p: the CDF F and h = dF/dℓ = p(1 − p)·pdf(p).

Float32 reads the tables of `priorlang.table.marginals`, whose accuracy is stated there. Float64 α gives the
values of SciPy, on the CPU, for tests and studies.

Dimensions: R priors, K experts, P distinct marginals, N tokens, M = 128·P nodes.
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
    """Tables of P marginals, laid out for look-up: nodes of all marginals in one row per quantity."""

    cdf_M: Tensor
    slope_M: Tensor
    curvature_M: Tensor
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
        """Lay out `marginal` [P, 128, 3] and `window` [P, 2] as `build_marginals` returns them."""
        nodes_P3N = torch.from_numpy(np.ascontiguousarray(marginal.transpose(2, 0, 1)))
        lo_P, hi_P = torch.from_numpy(window.astype(np.float64)).unbind(1)
        step_P = (hi_P - lo_P) / (NODES - 1)
        first_P3, last_P3 = (torch.from_numpy(marginal[:, end, :].astype(np.float64)) for end in (0, -1))
        left_P = first_P3[:, 1] / first_P3[:, 0].clamp(min=_ULP) * step_P
        right_P = last_P3[:, 1] / (1 - last_P3[:, 0]).clamp(min=_ULP) * step_P

        def placed(values: Tensor) -> Tensor:
            return values.reshape(-1).to(device, torch.float32)

        return cls(
            cdf_M=placed(nodes_P3N[0]),
            slope_M=placed(nodes_P3N[1]),
            curvature_M=placed(nodes_P3N[2]),
            lo_P=placed(lo_P),
            step_P=placed(step_P),
            left_P=placed(left_P.clamp(min=_SLOWEST)),
            right_P=placed(right_P.clamp(min=_SLOWEST)),
        )

    def read(self, ell_KN: Tensor, pair_KN: Tensor) -> tuple[Tensor, Tensor]:
        """F and h at ℓ [K, N] for marginals `pair_KN`, which may be [K, 1]; dtype of ℓ."""
        dtype = ell_KN.dtype
        step_KN = _at(self.step_P, pair_KN, dtype)
        x_KN = (ell_KN - _at(self.lo_P, pair_KN, dtype)) / step_KN
        inside_KN = x_KN.clamp(0, NODES - 1)
        node_KN = inside_KN.int().clamp_(0, NODES - 2)
        t_KN = inside_KN - node_KN
        index_dtype = torch.int32 if len(self.cdf_M) < 2**31 else torch.int64
        start_KN = pair_KN.to(index_dtype).mul_(NODES).add(node_KN)
        end_KN = start_KN + 1

        # Derivatives at either node per node spacing: F, F′ = h, F″/2 = h′/2.
        slope_start, slope_end = _at(self.slope_M, start_KN, dtype), _at(self.slope_M, end_KN, dtype)
        bend_start = _at(self.curvature_M, start_KN, dtype).mul_(step_KN)
        bend_end = _at(self.curvature_M, end_KN, dtype).mul_(step_KN)
        cdf_KN = _quintic(
            t_KN,
            _at(self.cdf_M, start_KN, dtype),
            _at(self.cdf_M, end_KN, dtype),
            slope_start * step_KN,
            slope_end * step_KN,
            bend_start * (step_KN / 2),
            bend_end * (step_KN / 2),
        )
        slope_KN = _cubic(t_KN, slope_start, slope_end, bend_start, bend_end)
        beyond_KN = x_KN.sub_(inside_KN)
        decay_KN = beyond_KN.clamp(max=0).mul_(_at(self.left_P, pair_KN, dtype))
        decay_KN.sub_(beyond_KN.clamp(min=0).mul_(_at(self.right_P, pair_KN, dtype)))
        decay_KN.clamp_(min=_NOTHING).exp_()
        # Beyond the last node 1 − F decays: F = 1 − (1 − F₁)·decay = F₁·decay + (1 − decay).
        gained_KN = beyond_KN.sign_().clamp_(min=0).mul_(1 - decay_KN)
        return cdf_KN.mul_(decay_KN).add_(gained_KN), slope_KN.mul_(decay_KN)


_ULP = 2.0**-24
"""Where F at the window's end rounds to 0 or 1 the tail's rate is bounded by float32's last bit."""

_NOTHING = -80.0
"""Exponents end here: smaller ones take a slow path in libm."""

_SLOWEST = 1e-30
"""Keeps 0·∞ out of the tails at ℓ = ±∞."""


def _at(values: Tensor, index_KN: Tensor, dtype: torch.dtype) -> Tensor:
    """Values at the indices; one-dimensional index_select is the fastest gather on the CPU."""
    return values.index_select(0, index_KN.reshape(-1)).view(index_KN.shape).to(dtype)


def _cubic(t: Tensor, start: Tensor, end: Tensor, d_start: Tensor, d_end: Tensor) -> Tensor:
    """The cubic on [0, 1] with the given values and derivatives at its ends. Overwrites the ends'."""
    rise = end.sub_(start)
    third = d_end.add_(d_start).sub_(rise, alpha=2)
    second = rise.sub_(d_start).sub_(third)
    return third.mul_(t).add_(second).mul_(t).add_(d_start).mul_(t).add_(start)


def _quintic(
    t: Tensor, start: Tensor, end: Tensor, d_start: Tensor, d_end: Tensor, c_start: Tensor, c_end: Tensor
) -> Tensor:
    """As the cubic, with half the second derivatives `c` at its ends as well. Overwrites the ends'."""
    # What start, derivative and curvature at 0 leave to be made up at 1: in value, slope and curvature.
    value = end.sub_(start).sub_(d_start).sub_(c_start)
    slope = d_end.sub_(d_start).sub_(c_start, alpha=2)
    curvature = c_end.sub_(c_start)
    fifth = (value * 6).sub_(slope, alpha=3).add_(curvature)
    fourth = (slope * 7).sub_(value, alpha=15).sub_(curvature, alpha=2)
    third = value.mul_(10).sub_(slope, alpha=4).add_(curvature)
    polynomial = fifth.mul_(t).add_(fourth).mul_(t).add_(third).mul_(t).add_(c_start)
    return polynomial.mul_(t).add_(d_start).mul_(t).add_(start)


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
