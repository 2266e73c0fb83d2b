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
    check_finite,
    check_logits,
    check_options,
    check_population,
    check_probabilities,
    check_transforms,
    log_probabilities,
    warn_if_all_equal,
)
from dpsl.ecdf import RankMethod, Target
from dpsl.histogram import CarriedHistogram
from dpsl.kernels import Kernels, chosen
from dpsl.marginals import BetaMarginals
from dpsl.ranked import TorchRanked, observed, working_dtype

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from dpsl.kernels.triton_loss import TritonRanked


def dirichlet_prior_shaping_loss(
    logits: Tensor,
    alpha: Tensor,
    population: Tensor | None = None,
    target: Target = "eq4",
    ranks: RankMethod = "sort",
    reduction: Reduction = "tokens",
    min_population: int = 1,
    inputs: Inputs = "logits",
    check_values: bool | None = None,
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
        ranks: "sort" exact, "histogram" faster: see docs/engine.md for its error.
        reduction: over populations: "tokens" weighted by their share of the tokens, "sum", or "mean" over
            the non-empty ones.
        min_population: smaller populations are left out, as if their tokens were ignored. With "ustat", which
            is undefined for a single token, populations of 1 always are.
        inputs: "logits", or "probabilities" where rows sum to 1. Prefer logits: a probability near 1 has lost
            what they still know.
        check_values: look for logits that are not finite and rows that are no probabilities, and warn of
            populations whose logits are all equal. None: on the CPU, since elsewhere the device has to be waited
            for. Unchecked, NaN or +∞ make the loss NaN.

    Returns:
        The loss, a float32 scalar (float64 for float64 logits); 0 where no population is left.

    Raises:
        ValueError: a shape, type, value or option does not fit; logits hold NaN or infinite values.
    """
    check_transforms()
    check_options(target, ranks, reduction, min_population, inputs)
    check_logits(logits)
    given = logits
    if inputs == "probabilities":
        logits = log_probabilities(given.detach())
    alpha_RK = check_alpha(alpha, experts=logits.shape[1])
    population_N, populations = check_population(population, logits, alpha_RK, shared=alpha.ndim == 1)
    if check_values or (check_values is None and logits.device.type == "cpu"):
        if inputs == "probabilities":
            check_probabilities(given.detach(), population_N)
        check_finite(logits, population_N)
        warn_if_all_equal(logits.detach(), population_N)
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
    return apply(given, alpha_RK, logits.detach(), row_N, population_N, marginals, populations, options)


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
    layers: int = 1,
) -> ShapingResult:
    """Value and gradient of the shaping loss of one router, outside autograd. Arguments are not checked.

    Several routers with the same number of experts are one call, which on a GPU is three launches for all of
    them: their tokens stand one layer after another, each layer with populations of its own.

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
        layers: routers, each with P / layers of the populations; the value is the sum over them.
    """
    with torch.no_grad():
        ignored_N = population_N < 0
        row_N = row_N.masked_fill(ignored_N, 0)
        kernels = _kernels(logits_NK, marginals, ranks)
        ranked = _ranked(kernels).of(
            logits_NK, row_N, population_N, marginals, populations,
            target=target, ranks=ranks, group=group, carried=carried, kernels=kernels,
        )  # fmt: skip

        tokens_P = ranked.sizes()
        smallest = max(min_population, 2 if target == "ustat" else 1)
        per_token_P = _per_token_coefficient(tokens_P, smallest, reduction, layers)
        dtype = working_dtype(logits_NK)
        weight_N = torch.ones_like(row_N, dtype=dtype) if weight_R is None else weight_R.to(dtype)[row_N]
        bucket_N = population_N.masked_fill(ignored_N, populations)
        coefficient_N = torch.cat([per_token_P, per_token_P.new_zeros(1)])[bucket_N].to(dtype) * weight_N
        if group is not None:
            coefficient_N *= dist.get_world_size(group)
        gradient_NK, squared_N, gradient_RK = ranked.gradient(coefficient_N)

        sums_2P = _sums(torch.stack([squared_N, squared_N * weight_N]), bucket_N, populations, group)
        value_P = torch.where(per_token_P > 0, sums_2P[0] / tokens_P.clamp(min=1), 0.0)
        return ShapingResult(
            value=(per_token_P * sums_2P[1]).sum().to(dtype),
            gradient_NK=gradient_NK,
            value_P=value_P.to(dtype),
            tokens_P=tokens_P,
            nonfinite=squared_N.isnan().sum(),
            histogram=ranked.histogram(),
            gradient_RK=gradient_RK,
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
        kernels = _kernels(logits_NK, None, "histogram")
        if kernels == "triton":
            from dpsl.kernels import triton_loss

            return triton_loss.observed(logits_NK, population_N, populations, group)
        return observed(logits_NK, population_N, populations, group, kernels)


def _kernels(logits_NK: Tensor, marginals: BetaMarginals | None, ranks: RankMethod) -> Kernels:
    tables = marginals is None or marginals.tables is not None
    learned = marginals is not None and marginals.shape_slopes is not None
    return chosen(logits_NK, tables=tables, histogram=ranks == "histogram", learned=learned)


def _ranked(kernels: Kernels) -> type[TorchRanked] | type[TritonRanked]:
    if kernels != "triton":
        return TorchRanked
    from dpsl.kernels.triton_loss import TritonRanked

    return TritonRanked


def _sums(values_2N: Tensor, bucket_N: Tensor, populations: int, group: ProcessGroup | None) -> Tensor:
    """Sums over each population and all ranks, float64."""
    sums_2Q = values_2N.new_zeros((2, populations + 1), dtype=torch.float64)
    for sums_Q, values_N in zip(sums_2Q, values_2N, strict=True):  # far faster than along the rows at once
        sums_Q.index_add_(0, bucket_N, values_N.double())
    if group is not None:
        dist.all_reduce(sums_2Q, group=group)
    return sums_2Q[:, :-1]


def _per_token_coefficient(tokens_P: Tensor, smallest: int, reduction: Reduction, layers: int) -> Tensor:
    """The share over B of each population within its layer, float64; 0 for populations left out."""
    tokens_LP = tokens_P.view(layers, -1)
    kept_LP = tokens_LP >= smallest
    tokens_LP = tokens_LP.double()
    if reduction == "tokens":
        return (kept_LP / (tokens_LP * kept_LP).sum(1, keepdim=True).clamp(min=1)).flatten()
    each_LP = kept_LP / tokens_LP.clamp(min=1)
    if reduction == "mean":
        each_LP = each_LP / kept_LP.sum(1, keepdim=True).clamp(min=1)
    return each_LP.flatten()


class _ShapingLoss(torch.autograd.Function):
    """Keeps nothing for the backward pass but the finished gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        given: Tensor,
        _alpha_RK: Tensor,
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
        gradient_NK = result.gradient_NK
        if logits.data_ptr() != given.data_ptr():  # the logarithms of probabilities
            gradient_NK = torch.where(given > 0, gradient_NK / given.clamp(min=_LEAST), 0.0)
        ctx.save_for_backward(gradient_NK, result.gradient_RK)
        ctx.dtype = given.dtype
        return result.value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient_NK, gradient_RK = ctx.saved_tensors
        by_alpha_RK = None if gradient_RK is None else gradient * gradient_RK
        return (gradient * gradient_NK).to(ctx.dtype), by_alpha_RK, *(None,) * 6


_LEAST = torch.finfo(torch.float32).tiny
