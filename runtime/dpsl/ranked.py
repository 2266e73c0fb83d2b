"""Tokens ranked among their populations by torch operations, and the gradient from there to the logits.

`dpsl.kernels.triton_loss.TritonRanked` does the same on a GPU.

Dimensions: N tokens, K experts, P populations, R priors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from dpsl.blocks import token_blocks
from dpsl.ecdf import EmpiricalCdf, RankMethod, Target, empirical_cdf
from dpsl.histogram import CarriedHistogram, HistogramCdf
from dpsl.kernels import Kernels
from dpsl.kernels.compiled import using
from dpsl.marginals import BetaMarginals
from dpsl.one_vs_rest import OneVsRest, gradient_to_logits, one_vs_rest

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Gradient(NamedTuple):
    """What ranked tokens yield; all 0 for ignored ones.

    Attributes:
        gradient_NK: of Σ_n c_n Σ_k (F − t)², by the logits.
        squared_N: Σ_k (F − t)².
        gradient_RK: by α, float64, where it is learned.
    """

    gradient_NK: Tensor
    squared_N: Tensor
    gradient_RK: Tensor | None


class Ranked(Protocol):
    """Tokens whose places in their populations are known."""

    def sizes(self) -> Tensor:
        """Tokens of each population [P], int64, over the group and carried."""

    def histogram(self) -> CarriedHistogram | None:
        """What was counted over the group, without what was carried."""

    def gradient(self, coefficient_N: Tensor) -> Gradient:
        """The gradient where token n has the coefficient c_n. To be called once."""


@dataclass(frozen=True, eq=False)
class TorchRanked:
    """Ranked by torch operations, one by one or compiled."""

    routing: OneVsRest
    bucket_N: Tensor
    row_N: Tensor
    idle: Tensor
    ecdf: EmpiricalCdf
    marginals: BetaMarginals
    populations: int
    kernels: Kernels

    @classmethod
    def of(
        cls,
        logits_NK: Tensor,
        row_N: Tensor,
        population_N: Tensor,
        marginals: BetaMarginals,
        populations: int,
        *,
        target: Target,
        ranks: RankMethod,
        group: ProcessGroup | None,
        carried: CarriedHistogram | None,
        kernels: Kernels,
    ) -> TorchRanked:
        """Rank tokens; see `dpsl.loss.shaping_loss_and_gradient` for the arguments."""
        routing, bucket_N, buckets, idle = _routed(logits_NK, population_N, populations, group, kernels)
        ecdf = empirical_cdf(
            routing.ell_KN, bucket_N, buckets,
            target=target, ranks=ranks, group=group, carried=carried, kernels=kernels,
        )  # fmt: skip
        return cls(routing, bucket_N, row_N, idle, ecdf, marginals, populations, kernels)

    def sizes(self) -> Tensor:
        """Tokens of each population [P]."""
        return self.ecdf.sizes()[: self.populations]

    def histogram(self) -> CarriedHistogram | None:
        """What was counted; None with exact ranks."""
        return self.ecdf.own.first(self.populations) if isinstance(self.ecdf, HistogramCdf) else None

    def gradient(self, coefficient_N: Tensor) -> Gradient:
        """The gradient, which takes the place of ℓ."""
        ell_KN, top_1N = self.routing
        experts, tokens = ell_KN.shape
        squared_N = ell_KN.new_empty(tokens)
        learned = self.marginals.shape_slopes
        gradient_RK = learned.nothing() if learned is not None else None
        compare, carry_back = using(self.kernels, _compare), using(self.kernels, _carry_back)
        for block in token_blocks(tokens, experts, ell_KN.device, self.kernels):
            own = OneVsRest(ell_KN[:, block], top_1N[:, block])
            bucket_N, row_N, of_token_N = self.bucket_N[block], self.row_N[block], coefficient_N[block]
            coordinate_KN = self.ecdf.coordinate_KN[:, block]
            distance_KN, slope_KN = compare(
                own.ell_KN, coordinate_KN, bucket_N, row_N, self.ecdf, self.marginals
            )
            if learned is not None and gradient_RK is not None:
                gradient_RK += learned.gradient_to_alpha(own.ell_KN, 2 * of_token_N * distance_KN, row_N)
            ell_KN[:, block], squared_N[block] = carry_back(distance_KN, slope_KN, *own, of_token_N)
        ell_KN.index_fill_(1, self.idle, 0.0)
        squared_N.index_fill_(0, self.idle, 0.0)
        return Gradient(ell_KN.t(), squared_N, gradient_RK)


def observed(
    logits_NK: Tensor, population_N: Tensor, populations: int, group: ProcessGroup | None, kernels: Kernels
) -> CarriedHistogram:
    """Tokens counted, over all ranks of a group."""
    routing, bucket_N, buckets, _ = _routed(logits_NK, population_N, populations, group, kernels)
    return CarriedHistogram.of(routing.ell_KN, bucket_N, buckets, group, kernels).first(populations)


def working_dtype(logits: Tensor) -> torch.dtype:
    """What logits are computed in: float64 if they are, else float32."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _routed(
    logits_NK: Tensor, population_N: Tensor, populations: int, group: ProcessGroup | None, kernels: Kernels
) -> tuple[OneVsRest, Tensor, int, Tensor]:
    """One-vs-rest logits, 0 for ignored tokens; the bucket of each token; their number; the ignored tokens.

    A last bucket takes ignored tokens, where there may be any.
    """
    tokens, experts = logits_NK.shape
    idle = (population_N < 0).nonzero().squeeze(1)
    # Ranks of a group must agree on the buckets, whether or not each has tokens to ignore.
    buckets = populations + (1 if len(idle) or group is not None else 0)
    ell_KN = logits_NK.new_empty((experts, tokens), dtype=working_dtype(logits_NK))
    top_1N = torch.empty((1, tokens), dtype=torch.int64, device=logits_NK.device)
    transposed, to_ell = using(kernels, _transposed), using(kernels, one_vs_rest)
    for block in token_blocks(tokens, experts, ell_KN.device, kernels):
        ell_KN[:, block], top_1N[:, block] = to_ell(transposed(logits_NK[block].t(), ell_KN.dtype))
    ell_KN.index_fill_(1, idle, 0.0)
    return OneVsRest(ell_KN, top_1N), population_N.index_fill(0, idle, populations), buckets, idle


def _transposed(logits_KN: Tensor, dtype: torch.dtype) -> Tensor:
    # Apart from what follows, whose compiled loops then run along contiguous memory.
    return logits_KN.to(dtype).contiguous()


def _compare(
    ell_KN: Tensor,
    coordinate_KN: Tensor,
    bucket_N: Tensor,
    row_N: Tensor,
    ecdf: EmpiricalCdf,
    marginals: BetaMarginals,
) -> tuple[Tensor, Tensor]:
    """F − t and h = dF/dℓ."""
    cdf_NK, slope_NK = marginals.evaluate(ell_KN.t(), row_N)
    return cdf_NK.t().sub_(ecdf.target(coordinate_KN, bucket_N)), slope_NK.t()


def _carry_back(
    distance_KN: Tensor, slope_KN: Tensor, ell_KN: Tensor, top_1N: Tensor, coefficient_N: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient with respect to the logits, and Σ_k (F − t)²."""
    squared_N = distance_KN.square().sum(0)
    upstream_KN = slope_KN * distance_KN * (2 * coefficient_N)
    return gradient_to_logits(upstream_KN, OneVsRest(ell_KN, top_1N)), squared_N
