"""Beta marginals as functions of ℓ = logit p: the CDF F and h = dF/dℓ = p(1 − p)·pdf(p).

Float32 reads the tables of `priorlang.table.marginals`, whose accuracy is stated there. Float64 α gives the
values of SciPy, on the CPU, for tests and studies.

Dimensions: R priors, K experts, P distinct marginals, N tokens, M = 508·P intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dpsl.concentration import ShapeSlopes
from dpsl.live_tables import tabulate
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
        shape_slopes: how F changes with the shapes, where α is learned; else None.
    """

    pair_RK: Tensor
    tables: MarginalTables | None
    shape_P2: NDArray[np.float64] | None = None
    shape_slopes: ShapeSlopes | None = None

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

    @classmethod
    def from_learned(cls, alpha_RK: Tensor, dtype: torch.dtype) -> BetaMarginals:
        """The marginals of priors that change with every call: tables built on their device, kept by nobody.

        Args:
            alpha_RK: concentrations, float64, all positive and finite, K at least 2.
            dtype: float64 for exact values, float32 for tables.
        """
        shape_P2 = torch.stack([alpha_RK, _sum_of_others(alpha_RK)], -1).view(-1, 2)
        pair_RK = torch.arange(len(shape_P2), device=alpha_RK.device).view(alpha_RK.shape)
        live = tabulate(*shape_P2.unbind(1))
        slopes = ShapeSlopes(pair_RK, live)
        if dtype == torch.float64:
            return cls(pair_RK, None, shape_P2.cpu().numpy(), slopes)
        return cls(pair_RK, MarginalTables.from_nodes(live.nodes_PN3, live.window_P2), None, slopes)

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
    """Tables of P marginals as polynomials of the place t in [0, 1] within an interval of width Δ:

        h = c₀ + t (c₁ + t·c₂)        F = F₀ + Δ·t (c₀ + t (c₁/2 + t·c₂/3))

    An interval is a quarter of the distance between two nodes of the table. There the quintic through F, h and
    h′ of both nodes gives F₀, and the cubic through h and h′ gives h at the ends and in the middle.

    Attributes:
        coefficient_4M: F₀, c₀, c₁, c₂ of every interval of every marginal.
        lo_P: ℓ at the first node.
        step_P: Δ.
        left_P: decay rate of F before the first node, per Δ.
        right_P: decay rate of 1 − F beyond the last node, per Δ.
    """

    coefficient_4M: Tensor
    lo_P: Tensor
    step_P: Tensor
    left_P: Tensor
    right_P: Tensor

    @classmethod
    def from_arrays(
        cls,
        marginal: NDArray[np.float32],
        window: NDArray[np.float32],
        device: torch.device | str | None = None,
    ) -> MarginalTables:
        """Make the polynomials of `marginal` [P, 128, 3] and `window` [P, 2], as `build_marginals` returns them."""
        nodes_PN3, window_P2 = torch.from_numpy(marginal), torch.from_numpy(window)
        made = cls.from_nodes(nodes_PN3.double(), window_P2.double())
        return cls(*(values.to(device) for values in vars(made).values()))

    @classmethod
    def from_nodes(cls, nodes_PN3: Tensor, window_P2: Tensor) -> MarginalTables:
        """Make the polynomials of nodes (F, h, h′) [P, 128, 3] on windows [P, 2], both float64, where they are."""
        lo_P, hi_P = window_P2.unbind(1)
        between_P11 = ((hi_P - lo_P) / (NODES - 1))[:, None, None]
        nodes_3PN1 = nodes_PN3.movedim(-1, 0)[..., None]
        (cdf, rise), (slope, slope_rise), (bend, bend_rise) = (
            (values_PN1[:, :-1], values_PN1.diff(dim=1)) for values_PN1 in nodes_3PN1
        )
        bend, bend_rise = bend * between_P11, bend_rise * between_P11
        # What F₀, h₀ and h₀′ leave to be made up at the next node, in value, slope and half the curvature.
        value, slope_rest, bend_rest = rise / between_P11 - slope - bend / 2, slope_rise - bend, bend_rise / 2
        at = torch.arange(2 * PIECES + 1, dtype=cdf.dtype, device=cdf.device) / (2 * PIECES)
        fifth = -15 * value + 7 * slope_rest - 2 * bend_rest + at * (6 * value - 3 * slope_rest + bend_rest)
        third = 10 * value - 4 * slope_rest + bend_rest + at * fifth
        cdf_PNJ = cdf + between_P11 * at * (slope + at * (bend / 2 + at * third))
        curve = 3 * slope_rest - bend_rise + at * (bend_rise - 2 * slope_rest)
        slope_PNJ = slope + at * (bend + at * curve)
        start, middle, end = slope_PNJ[..., :-1:2], slope_PNJ[..., 1::2], slope_PNJ[..., 2::2]
        coefficients = (
            cdf_PNJ[..., :-1:2], start, 4 * middle - 3 * start - end, 2 * (start + end) - 4 * middle,
        )  # fmt: skip
        step_P = between_P11.flatten() / PIECES
        left_P = nodes_PN3[:, 0, 1] / nodes_PN3[:, 0, 0].clamp(min=_ULP) * step_P
        right_P = nodes_PN3[:, -1, 1] / (1 - nodes_PN3[:, -1, 0]).clamp(min=_ULP) * step_P
        return cls(
            coefficient_4M=torch.stack(coefficients).flatten(1).float(),
            lo_P=lo_P.float(),
            step_P=step_P.float(),
            left_P=left_P.clamp(min=_SLOWEST).float(),
            right_P=right_P.clamp(min=_SLOWEST).float(),
        )

    def read(self, ell_KN: Tensor, pair_KN: Tensor) -> tuple[Tensor, Tensor]:
        """F and h at ℓ [K, N] for marginals `pair_KN`, which may be [K, 1]; dtype of ℓ."""
        dtype = ell_KN.dtype
        step_KN = _at(self.step_P, pair_KN, dtype)
        x_KN = (ell_KN - _at(self.lo_P, pair_KN, dtype)).div_(step_KN)
        inside_KN = x_KN.clamp(0, INTERVALS)
        interval_KN = inside_KN.int().clamp_(0, INTERVALS - 1)  # NaN becomes any integer
        t_KN = inside_KN - interval_KN
        index_M = interval_KN.add_((pair_KN * INTERVALS).int()).reshape(-1)
        f0, c0, c1, c2 = (
            values_M.index_select(0, index_M).to(dtype).view_as(t_KN) for values_M in self.coefficient_4M
        )
        cdf_KN = (c2 * (1 / 3)).mul_(t_KN).add_(c1, alpha=0.5).mul_(t_KN).add_(c0)
        cdf_KN = cdf_KN.mul_(t_KN).mul_(step_KN).add_(f0)
        slope_KN = c2.mul_(t_KN).add_(c1).mul_(t_KN).add_(c0)
        if not torch.compiler.is_compiling() and x_KN.device.type == "cpu" and torch.equal(x_KN, inside_KN):
            return cdf_KN, slope_KN
        beyond_KN = x_KN.sub_(inside_KN)
        left_KN, right_KN = _at(self.left_P, pair_KN, dtype), _at(self.right_P, pair_KN, dtype)
        return _with_tails(cdf_KN, slope_KN, beyond_KN, left_KN, right_KN)


def _with_tails(
    cdf_KN: Tensor, slope_KN: Tensor, beyond_KN: Tensor, left_KN: Tensor, right_KN: Tensor
) -> tuple[Tensor, Tensor]:
    """F and h where ℓ lies `beyond` the window, in intervals, given those at its end. In place."""
    decay_KN = beyond_KN.clamp(max=0).mul_(left_KN).sub_(beyond_KN.clamp(min=0).mul_(right_KN))
    decay_KN.clamp_(min=_NOTHING).exp_()
    # Beyond the last node 1 − F decays: F = 1 − (1 − F₁)·decay = F₁·decay + (1 − decay).
    gained_KN = beyond_KN.sign_().clamp_(min=0).mul_(1 - decay_KN)
    return cdf_KN.mul_(decay_KN).add_(gained_KN), slope_KN.mul_(decay_KN)


PIECES = 4
"""Intervals between two nodes: enough for parabolas to follow h as closely as the cubic does."""

INTERVALS = PIECES * (NODES - 1)

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
    others_RK = _sum_of_others(torch.from_numpy(alpha_RK.copy())).numpy()
    shapes = np.stack([alpha_RK, others_RK], axis=-1).reshape(-1, 2)
    shape_P2, pair = np.unique(shapes, axis=0, return_inverse=True)
    pair_RK = torch.as_tensor(pair.reshape(shape), dtype=torch.int64, device=device)
    if exact:
        return BetaMarginals(pair_RK, None, shape_P2)
    marginal, window = build_marginals(shape_P2[:, 0], shape_P2[:, 1])
    return BetaMarginals(pair_RK, MarginalTables.from_arrays(marginal, window, device))


def _sum_of_others(alpha_RK: Tensor) -> Tensor:
    """A − α_k without cancellation: what stands before each entry plus what stands after."""
    edge_R1 = alpha_RK.new_zeros((len(alpha_RK), 1))
    before_RK = torch.cat([edge_R1, alpha_RK[:, :-1]], 1).cumsum(1)
    after_RK = torch.cat([edge_R1, alpha_RK.flip(1)[:, :-1]], 1).cumsum(1).flip(1)
    return before_RK + after_RK
