"""Batch shaping (Bejnordi et al., ICLR 2020, arXiv 1907.06627): each gate's values over a batch follow a Beta.

DPSL compares all gates of a token with one Dirichlet, through its marginals and in ℓ = logit p; this is its predecessor,
kept as published: one Beta for each gate, the empirical CDF i/(N + 1), and in the backward pass a density that is clipped.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import logsigmoid

from dpsl.beta import log_slope
from dpsl.ecdf import empirical_cdf
from dpsl.marginals import MarginalTables
from dpsl.one_vs_rest import one_vs_rest
from priorlang.table.marginals import build_marginals

LEAST_DENSITY, LARGEST_DENSITY = 1e-3, 100.0


def batch_shaping(
    logits_NK: Tensor,
    counted_N: Tensor,
    a: float,
    b: float,
    group: dist.ProcessGroup | None = None,
) -> tuple[Tensor, Tensor]:
    """Σ_k (1/N) Σ_i (F(p_(i)k; a, b) − i/(N + 1))², p_(i)k the i-th smallest of gate k, and its gradient by the logits.

    The gradient takes the density of the Beta, clipped to [1e-3, 100], for dF/dp. With a group it is the one of this
    rank's tokens times the ranks, as data parallelism averages.

    Args:
        logits_NK: logits before the softmax; −∞ bars an expert, which then counts with p = 0.
        counted_N: False for padding.
        a: the Beta's first shape.
        b: its second.
        group: the ranks whose tokens make up a batch, each of which must call this; None: this one alone.

    Returns:
        The value, over all ranks of the group, and the gradient [N, K] of it.
    """
    quiet_NK = logits_NK.masked_fill(~counted_N[:, None], 0.0).float()
    p_NK = quiet_NK.softmax(-1)
    ell_KN = one_vs_rest(quiet_NK.t().clone()).ell_KN
    cdf_KN, _ = _tables(a, b, ell_KN.device).read(ell_KN, torch.zeros_like(ell_KN[:, :1], dtype=torch.int64))
    target_KN, tokens = _targets(ell_KN, (~counted_N).long(), group)
    gap_NK = (cdf_KN - target_KN).t().masked_fill(~counted_N[:, None], 0.0)
    value = gap_NK.square().sum() / tokens
    ranks = 1
    if group is not None:
        dist.all_reduce(value, group=group)
        ranks = dist.get_world_size(group)
    along_NK = 2 * gap_NK * _clipped_density(ell_KN.t(), a, b) * (ranks / tokens)
    gradient_NK = p_NK * (along_NK - (p_NK * along_NK).sum(-1, keepdim=True))
    return value.to(logits_NK.dtype), gradient_NK.to(logits_NK.dtype)


@lru_cache(maxsize=16)
def _tables(a: float, b: float, device: torch.device) -> MarginalTables:
    """The CDF of a Beta, tabulated in ℓ."""
    nodes, window = build_marginals(np.array([a]), np.array([b]))
    return MarginalTables.from_arrays(nodes, window, device)


def _targets(ell_KN: Tensor, bucket_N: Tensor, group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """The empirical CDF i/(N + 1) of every token and gate, and N, at least 1."""
    places = empirical_cdf(ell_KN, bucket_N, 2, target="eq4", ranks="sort", group=group)
    tokens = places.sizes()[0].float()
    target_KN = places.target(places.coordinate_KN, bucket_N)
    return target_KN * (tokens / (tokens + 1)), tokens.clamp(min=1)


def _clipped_density(ell_NK: Tensor, a: float, b: float) -> Tensor:
    """The density of p, by way of ℓ, where neither end saturates: p^(a−1) (1 − p)^(b−1) / B(a, b)."""
    log_density_NK = log_slope(ell_NK, a, b) - logsigmoid(ell_NK) - logsigmoid(-ell_NK)
    return log_density_NK.clamp(math.log(LEAST_DENSITY), math.log(LARGEST_DENSITY)).exp()
