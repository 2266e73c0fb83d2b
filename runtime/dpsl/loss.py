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

from dpsl.arguments import Reduction, check_alpha, check_logits, check_options, check_population
from dpsl.blocks import token_blocks
from dpsl.ecdf import RankMethod, Target, empirical_cdf
from dpsl.histogram import CarriedHistogram, HistogramCdf
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
) -> Tensor:
    """Distance of each population's routing probabilities from its Dirichlet prior (Eq. 4, without λ).

    Half-precision logits are computed in float32. Float64 logits take the Beta functions of SciPy.

    Args:
        logits: [N, K] router logits, K at least 2.
        alpha: [K] one prior for all, or [P, K] one prior per population; positive.
        population: [N] int64 in [0, P), the empirical CDF a token belongs to; below 0 the token is ignored.
            None: all tokens are population 0. With alpha [K] any number of populations share the prior.
        target: rank of the j-th of B tokens: "eq4" j/B, "mid" (j − ½)/B, "ustat" (j − 1)/(B − 1).
        ranks: "sort" exact, "histogram" faster, to about 1e-3 of the gradient.
        reduction: over populations: "tokens" weighted by their share of the tokens, "sum", or "mean" over
            the non-empty ones.
        min_population: smaller populations are left out, as if their tokens were ignored. With "ustat", which
            is undefined for a single token, populations of 1 always are.

    Returns:
        The loss, a float32 scalar (float64 for float64 logits); 0 where no population is left.

    Raises:
        ValueError: a shape, type, value or option does not fit.
    """
    check_options(target, ranks, reduction, min_population)
    check_logits(logits)
    alpha_RK = check_alpha(alpha, experts=logits.shape[1])
    population_N, populations = check_population(population, logits, alpha_RK, shared=alpha.ndim == 1)
    marginals = BetaMarginals.from_alpha(alpha_RK, working_dtype(logits), logits.device)
    row_N = torch.zeros_like(population_N) if len(alpha_RK) == 1 else population_N
    options = {
        "target": target, "ranks": ranks, "reduction": reduction, "min_population": min_population,
    }  # fmt: skip
    apply: Callable[..., Tensor] = _ShapingLoss.apply
    return apply(logits, row_N, population_N, marginals, populations, options)


@dataclass(frozen=True, eq=False)
class ShapingResult:
    """The shaping loss of one router and its gradient.

    Attributes:
        value: scalar Σ_P share · λ · L; with a group the same on every rank.
        gradient_NK: d value / d logits, times the size of the group if there is one. Float32 for half-precision
            logits: in float16 it would underflow before a loss scale reaches it.
        value_P: L of each population, without share and λ; 0 for those left out.
        tokens_P: tokens of each population, carried ones included, left out or not, int64.
        histogram: what this call counted, over the group and without what was carried; None with exact ranks.
    """

    value: Tensor
    gradient_NK: Tensor
    value_P: Tensor
    tokens_P: Tensor
    histogram: CarriedHistogram | None


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
        idle = (population_N < 0).nonzero().squeeze(1)
        bucket_N, buckets = _buckets(population_N, populations, len(idle), group)
        row_N = row_N.index_fill(0, idle, 0)
        blocks = token_blocks(tokens, experts, logits_NK.device)
        ell_KN, top_1N = _one_vs_rest(logits_NK, idle)
        ecdf = empirical_cdf(
            ell_KN, bucket_N, buckets, target=target, ranks=ranks, group=group, carried=carried
        )

        tokens_P = ecdf.sizes()[:populations]
        smallest = max(min_population, 2 if target == "ustat" else 1)
        per_token_P = _per_token_coefficient(tokens_P, smallest, reduction)
        weight_N = ell_KN.new_ones(tokens) if weight_R is None else weight_R.to(ell_KN)[row_N]
        coefficient_N = torch.cat([per_token_P, per_token_P.new_zeros(1)])[bucket_N].to(ell_KN) * weight_N
        if group is not None:
            coefficient_N *= dist.get_world_size(group)

        gradient_KN = ell_KN  # each block of ℓ makes room for its gradient
        squared_N = ell_KN.new_empty(tokens)
        for block in blocks:
            routing = OneVsRest(ell_KN[:, block].clone(), top_1N[:, block])
            cdf_NK, slope_NK = marginals.evaluate(routing.ell_KN.t(), row_N[block])
            distance_KN = cdf_NK.t().sub_(ecdf.target(block))
            upstream_KN = slope_NK.t().mul_(distance_KN).mul_(2 * coefficient_N[block])
            gradient_KN[:, block] = gradient_to_logits(upstream_KN, routing)
            squared_N[block] = distance_KN.square_().sum(0)
        gradient_KN.index_fill_(1, idle, 0.0)
        squared_N.index_fill_(0, idle, 0.0)

        sums_2P = _sums(torch.stack([squared_N, squared_N * weight_N]), bucket_N, populations, group)
        value_P = torch.where(per_token_P > 0, sums_2P[0] / tokens_P.clamp(min=1), 0.0)
        return ShapingResult(
            value=(per_token_P * sums_2P[1]).sum().to(ell_KN.dtype),
            gradient_NK=gradient_KN.t(),
            value_P=value_P.to(ell_KN.dtype),
            tokens_P=tokens_P,
            histogram=ecdf.own.first(populations) if isinstance(ecdf, HistogramCdf) else None,
        )


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
        ell_KN, _ = _one_vs_rest(logits_NK, idle)
        return CarriedHistogram.of(ell_KN, bucket_N, buckets, group).first(populations)


def _buckets(
    population_N: Tensor, populations: int, idle: int, group: ProcessGroup | None
) -> tuple[Tensor, int]:
    """The bucket of each token, and their number: a last one takes ignored tokens, where there may be any."""
    # Ranks of a group must agree on the buckets, whether or not each has tokens to ignore.
    buckets = populations + (1 if idle or group is not None else 0)
    return population_N.masked_fill(population_N < 0, populations), buckets


def _one_vs_rest(logits_NK: Tensor, idle: Tensor) -> OneVsRest:
    """One-vs-rest logits in the working precision, block by block; 0 for idle tokens."""
    tokens, experts = logits_NK.shape
    ell_KN = logits_NK.new_empty((experts, tokens), dtype=working_dtype(logits_NK))
    top_1N = torch.empty((1, tokens), dtype=torch.int64, device=logits_NK.device)
    for block in token_blocks(tokens, experts, logits_NK.device):
        ell_KN[:, block], top_1N[:, block] = one_vs_rest(logits_NK[block].t().to(ell_KN.dtype))
    return OneVsRest(ell_KN.index_fill_(1, idle, 0.0), top_1N)


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
    """Keeps nothing for the backward pass but the finished gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        row_N: Tensor,
        population_N: Tensor,
        marginals: BetaMarginals,
        populations: int,
        options: dict[str, Any],
    ) -> Tensor:
        result = shaping_loss_and_gradient(
            logits, row_N, population_N, marginals, populations=populations, **options
        )
        ctx.save_for_backward(result.gradient_NK)
        ctx.logits_dtype = logits.dtype
        return result.value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_NK,) = ctx.saved_tensors
        return (gradient * gradient_NK).to(ctx.logits_dtype), None, None, None, None, None
