"""Random outputs of routers, and sums of them."""

from __future__ import annotations

import torch
from torch import Tensor

from dpsl.regularizers import RouterSums, router_sums


def random_case(seed: int, tokens: int, experts: int, top_k: int) -> tuple[Tensor, Tensor]:
    """Logits [N, K] in float64, and the chosen experts."""
    generator = torch.Generator().manual_seed(seed)
    logits_NK = torch.randn(tokens, experts, generator=generator, dtype=torch.float64)
    return logits_NK, logits_NK.topk(top_k, dim=-1).indices


def sums_of(logits_NK: Tensor, top_k: int = 2, *, groups: int = 1) -> RouterSums:
    """The sums where every token counts."""
    indices_Nk = logits_NK.topk(top_k, dim=-1).indices
    return router_sums(logits_NK, indices_Nk, torch.ones(len(logits_NK), dtype=torch.bool), groups=groups)
