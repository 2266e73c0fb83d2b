"""The Dirichlet-Prior Shaping Loss (arXiv 2510.01185, Eq. 4) with its gradient in closed form.

    L = Σ_k (1/B) Σ_j [t_j − F(p_k(j); α_k, A − α_k)]²        A = Σ α

per population of B tokens. The rank target t has no gradient. Value and gradient come from one pass in
ℓ = logit p, which is finite at any logit gap where autograd through p is not.

Dimensions: N tokens, K experts, P populations, R priors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from dpsl.arguments import (
    Inputs,
    Reduction,
    check_alpha,
    check_logits,
    check_options,
    check_population,
    log_probabilities,
)
from dpsl.blocks import token_blocks
from dpsl.ecdf import EmpiricalCdf, RankMethod, Target, empirical_cdf
from dpsl.histogram import CarriedHistogram, HistogramCdf
from dpsl.kernels import Kernels, chosen
from dpsl.kernels.compiled import using
from dpsl.marginals import BetaMarginals
from dpsl.one_vs_rest import OneVsRest, gradient_to_logits, one_vs_rest

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def dirichlet_prior_shaping_loss(
    logits: Tensor,
    alpha: Tensor,
    population: Tensor | None = None,
    target: Target = "eq4",
    ranks: RankMethod = "sort",
    reduction: Reduction = "tokens",
    min_population: int = 1,
    inputs: Inputs = "logits",
) -> Tensor:
    """Distance of each population's routing probabilities from its Dirichlet prior (Eq. 4, without λ).

    Half-precision logits are computed in float32. Float64 logits take the Beta functions of SciPy.

    Args:
        logits: [N, K] router logits, K at least 2; or any other categorical distribution's.
        alpha: [K] one prior for all, or [P, K] one prior per population; positive. Where it requires grad it
            gets one, from tables built in this call.
        population: [N] int64 in [0, P), the empirical CDF a token belongs to; below 0 the token is ignored.
            None: all tokens are population 0. With alpha [K] any number of populations share the prior.
        target: rank of the j-th of B tokens: "eq4" j/B, "mid" (j − ½)/B, "ustat" (j − 1)/(B − 1).
        ranks: "sort" exact, "histogram" faster, to about 1e-3 of the gradient.
        reduction: over populations: "tokens" weighted by their share of the tokens, "sum", or "mean" over
            the non-empty ones.
        min_population: smaller populations are left out, as if their tokens were ignored. With "ustat", which
            is undefined for a single token, populations of 1 always are.
        inputs: "logits", or "probabilities" where rows sum to 1. Prefer logits: a probability near 1 has lost
            what they still know.

    Returns:
        The loss, a float32 scalar (float64 for float64 logits); 0 where no population is left.

    Raises:
        ValueError: a shape, type, value or option does not fit.
    """
    check_options(target, ranks, reduction, min_population, inputs)
    check_logits(logits)
    if inputs == "probabilities":
        logits = log_probabilities(logits)
    alpha_RK = check_alpha(alpha, experts=logits.shape[1])
    population_N, populations = check_population(population, logits, alpha_RK, shared=alpha.ndim == 1)
    if alpha_RK.requires_grad:
        alpha_RK = alpha_RK.to(logits.device)
        marginals = BetaMarginals.from_learned(alpha_RK.detach(), working_dtype(logits))
    else:
        marginals = BetaMarginals.from_alpha(alpha_RK, working_dtype(logits), logits.device)
    row_N = torch.zeros_like(population_N) if len(alpha_RK) == 1 else population_N
    options = {
        "target": target, "ranks": ranks, "reduction": reduction, "min_population": min_population,
    }  # fmt: skip
    apply: Callable[..., Tensor] = _ShapingLoss.apply
    return apply(logits, alpha_RK, row_N, population_N, marginals, populations, options)


@dataclass(frozen=True, eq=False)
class ShapingResult:
    """The shaping loss of one router and its gradient.

    Attributes:
        value: scalar Σ_P share · λ · L; with a group the same on every rank.
        gradient_NK: d value / d logits, times the size of the group if there is one. Float32 for half-precision
            logits: in float16 it would underflow before a loss scale reaches it.
        value_P: L of each population, without share and λ; 0 for those left out.
        tokens_P: tokens of each population, carried ones included, left out or not, int64.
        nonfinite: tokens of this process, ignored ones aside, whose logits hold NaN or +∞, an int64 scalar on the
            device. If there are any, the value is NaN, and no gradient means anything.
        histogram: what this call counted, over the group and without what was carried; None with exact ranks.
        gradient_RK: d value / d α, times the size of the group, float64; None where α is not learned.
    """

    value: Tensor
    gradient_NK: Tensor
    value_P: Tensor
    tokens_P: Tensor
    nonfinite: Tensor
    histogram: CarriedHistogram | None
    gradient_RK: Tensor | None


def shaping_loss_and_gradient(
    logits_NK: Tensor,
    row_N: Tensor,
    population_N: Tensor,
    marginals: BetaMarginals,
    *,
    populations: int,
    weight_R: Tensor | None = None,
    target: Target = "eq4",
    ranks: RankMethod = "sort",
    reduction: Reduction = "tokens",
    min_population: int = 1,
    group: ProcessGroup | None = None,
    carried: CarriedHistogram | None = None,
) -> ShapingResult:
    """Value and gradient of the shaping loss of one router, outside autograd. Arguments are not checked.

    With a group the populations span its ranks. Every rank must call this, with or without tokens. Its
    gradient is multiplied by the group's size, because data parallelism averages gradients over ranks.

    Args:
        logits_NK: router logits, any float dtype.
        row_N: the prior of each token, int64 in [0, R); any value for ignored tokens.
        population_N: int64 in [0, P), below 0 for ignored tokens, whose logits may be anything.
        marginals: of the R priors.
        populations: P.
        weight_R: λ of each prior; None: 1.
        target: see `dirichlet_prior_shaping_loss`, as are the following.
        ranks: exact or by histogram.
        reduction: over populations.
        min_population: smaller populations, counted over the group, are left out.
        group: ranks that share their populations; None for this process alone.
        carried: histogram of tokens of other micro-batches, of the P populations. These tokens are ranked
            among them, and B counts both, while value and gradient sum over these tokens alone: so those of
            micro-batches add up to those of the whole. Needs ranks="histogram".
    """
    with torch.no_grad():
        tokens, experts = logits_NK.shape
        kernels = _kernels(logits_NK, marginals, ranks)
        idle = (population_N < 0).nonzero().squeeze(1)
        bucket_N, buckets = _buckets(population_N, populations, len(idle), group)
        row_N = row_N.index_fill(0, idle, 0)
        routing, nonfinite = _routing(logits_NK, idle, kernels)
        ell_KN = routing.ell_KN
        ecdf = empirical_cdf(
            ell_KN, bucket_N, buckets,
            target=target, ranks=ranks, group=group, carried=carried, kernels=kernels,
        )  # fmt: skip

        tokens_P = ecdf.sizes()[:populations]
        smallest = max(min_population, 2 if target == "ustat" else 1)
        per_token_P = _per_token_coefficient(tokens_P, smallest, reduction)
        weight_N = ell_KN.new_ones(tokens) if weight_R is None else weight_R.to(ell_KN)[row_N]
        coefficient_N = torch.cat([per_token_P, per_token_P.new_zeros(1)])[bucket_N].to(ell_KN) * weight_N
        if group is not None:
            coefficient_N *= dist.get_world_size(group)

        learned = marginals.shape_slopes
        gradient_RK = learned.nothing() if learned is not None else None
        squared_N = ell_KN.new_empty(tokens)
        compare, carry_back = using(kernels, _compare), using(kernels, _carry_back)
        for block in token_blocks(tokens, experts, ell_KN.device, kernels):
            own = OneVsRest(ell_KN[:, block], routing.top_1N[:, block])
            distance_KN, slope_KN = compare(
                own.ell_KN, ecdf.coordinate_KN[:, block], bucket_N[block], row_N[block], ecdf, marginals
            )
            if learned is not None and gradient_RK is not None:
                by_cdf_KN = 2 * coefficient_N[block] * distance_KN
                gradient_RK += learned.gradient_to_alpha(own.ell_KN, by_cdf_KN, row_N[block])
            # Each block of ℓ makes room for its gradient.
            ell_KN[:, block], squared_N[block] = carry_back(distance_KN, slope_KN, *own, coefficient_N[block])
        gradient_KN = ell_KN.index_fill_(1, idle, 0.0)
        squared_N.index_fill_(0, idle, 0.0)

        sums_2P = _sums(torch.stack([squared_N, squared_N * weight_N]), bucket_N, populations, group)
        value_P = torch.where(per_token_P > 0, sums_2P[0] / tokens_P.clamp(min=1), 0.0)
        return ShapingResult(
            value=(per_token_P * sums_2P[1]).sum().to(ell_KN.dtype),
            gradient_NK=gradient_KN.t(),
            value_P=value_P.to(ell_KN.dtype),
            tokens_P=tokens_P,
            nonfinite=nonfinite,
            histogram=ecdf.own.first(populations) if isinstance(ecdf, HistogramCdf) else None,
            gradient_RK=gradient_RK,
        )


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


def observe(
    logits_NK: Tensor, population_N: Tensor, populations: int, group: ProcessGroup | None = None
) -> CarriedHistogram:
    """Only count the tokens, over all ranks of a group: a histogram to carry. Arguments are not checked.

    Args:
        logits_NK: router logits, any float dtype.
        population_N: int64 in [0, P), below 0 for ignored tokens.
        populations: P.
        group: ranks that share their populations, each of which must call this.
    """
    with torch.no_grad():
        idle = (population_N < 0).nonzero().squeeze(1)
        bucket_N, buckets = _buckets(population_N, populations, len(idle), group)
        kernels = _kernels(logits_NK, None, "histogram")
        routing, _ = _routing(logits_NK, idle, kernels)
        counts = CarriedHistogram.of(routing.ell_KN, bucket_N, buckets, group, kernels)
        return counts.first(populations)


def _kernels(logits_NK: Tensor, marginals: BetaMarginals | None, ranks: RankMethod) -> Kernels:
    tables = marginals is None or marginals.tables is not None
    return chosen(logits_NK.numel(), logits_NK.device, tables=tables, histogram=ranks == "histogram")


def _buckets(
    population_N: Tensor, populations: int, idle: int, group: ProcessGroup | None
) -> tuple[Tensor, int]:
    """The bucket of each token, and their number: a last one takes ignored tokens, where there may be any."""
    # Ranks of a group must agree on the buckets, whether or not each has tokens to ignore.
    buckets = populations + (1 if idle or group is not None else 0)
    return population_N.masked_fill(population_N < 0, populations), buckets


def _routing(logits_NK: Tensor, idle: Tensor, kernels: Kernels) -> tuple[OneVsRest, Tensor]:
    """One-vs-rest logits in the working precision, 0 for idle tokens; and how many others are not finite."""
    tokens, experts = logits_NK.shape
    ell_KN = logits_NK.new_empty((experts, tokens), dtype=working_dtype(logits_NK))
    top_1N = torch.empty((1, tokens), dtype=torch.int64, device=logits_NK.device)
    transposed, to_ell = using(kernels, _transposed), using(kernels, one_vs_rest)
    for block in token_blocks(tokens, experts, ell_KN.device, kernels):
        ell_KN[:, block], top_1N[:, block] = to_ell(transposed(logits_NK[block].t(), ell_KN.dtype))
    ell_KN.index_fill_(1, idle, 0.0)
    return OneVsRest(ell_KN, top_1N), ell_KN[0].isnan().sum()


def _transposed(logits_KN: Tensor, dtype: torch.dtype) -> Tensor:
    # Apart from what follows, whose compiled loops then run along contiguous memory.
    return logits_KN.to(dtype).contiguous()


def _sums(values_2N: Tensor, bucket_N: Tensor, populations: int, group: ProcessGroup | None) -> Tensor:
    """Sums over each population and all ranks, float64."""
    sums_2Q = values_2N.new_zeros((2, populations + 1), dtype=torch.float64)
    sums_2Q.index_add_(1, bucket_N, values_2N.double())
    if group is not None:
        dist.all_reduce(sums_2Q, group=group)
    return sums_2Q[:, :-1]


def _per_token_coefficient(tokens_P: Tensor, smallest: int, reduction: Reduction) -> Tensor:
    """The share over B of each population, float64; 0 for populations left out."""
    kept_P = tokens_P >= smallest
    tokens_P = tokens_P.double()
    if reduction == "tokens":
        return kept_P / (tokens_P * kept_P).sum().clamp(min=1)
    each_P = kept_P / tokens_P.clamp(min=1)
    return each_P if reduction == "sum" else each_P / kept_P.sum().clamp(min=1)


def working_dtype(logits: Tensor) -> torch.dtype:
    """What logits are computed in: float64 if they are, else float32."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


class _ShapingLoss(torch.autograd.Function):
    """Keeps nothing for the backward pass but the finished gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        _alpha_RK: Tensor,
        row_N: Tensor,
        population_N: Tensor,
        marginals: BetaMarginals,
        populations: int,
        options: dict[str, Any],
    ) -> Tensor:
        result = shaping_loss_and_gradient(
            logits, row_N, population_N, marginals, populations=populations, **options
        )
        ctx.save_for_backward(result.gradient_NK, result.gradient_RK)
        ctx.logits_dtype = logits.dtype
        return result.value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient_NK, gradient_RK = ctx.saved_tensors
        by_alpha_RK = None if gradient_RK is None else gradient * gradient_RK
        return (gradient * gradient_NK).to(ctx.logits_dtype), by_alpha_RK, None, None, None, None, None
