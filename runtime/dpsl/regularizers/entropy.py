"""Entropies of routing: of each token's distribution, and of the mean one."""

from __future__ import annotations

import torch
from torch import Tensor

from dpsl.regularizers.router_sums import RouterSums


def confidence(sums: RouterSums) -> Tensor:
    """−(1/T) Σ_n Σ_k p ln p, the mean entropy of a token: [L]; 0 where every token is sure, ln K at most."""
    return sums.entropy_LG.sum(-1) / sums.tokens_LG.sum(-1).clamp(min=1)


def balance(sums: RouterSums) -> Tensor:
    """Σ_k p̄ ln p̄, minus the entropy of the mean distribution: [L]; −ln K where it is even, 0 where it is one expert."""
    mean_LK = sums.probability_LGK.sum(1) / sums.tokens_LG.sum(-1, keepdim=True).clamp(min=1)
    log_LK = mean_LK.clamp(min=torch.finfo(mean_LK.dtype).tiny).log()
    return (mean_LK * log_LK).sum(-1)
