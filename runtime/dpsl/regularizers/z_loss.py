"""Router z-loss (Zoph et al., arXiv 2202.08906): keeps logits small."""

from __future__ import annotations

from torch import Tensor

from dpsl.regularizers.router_sums import RouterSums


def z_loss(sums: RouterSums) -> Tensor:
    """The mean of logsumexp(z)² over the tokens that count: [L]; 0 where none does."""
    return sums.square_LG.sum(-1) / sums.tokens_LG.sum(-1).clamp(min=1)
