"""Load balance (Shazeer et al., arXiv 1701.06538; Fedus et al., arXiv 2101.03961), normalised: balanced is 1."""

from __future__ import annotations

import torch
from torch import Tensor


def load_balance(logits_NK: Tensor, indices_Nk: Tensor, counted_N: Tensor) -> Tensor:
    """K / (k·T) · Σ_i c_i · P_i over the T tokens that count.

    c_i is how many top-k slots expert i took (without gradient), P_i its mean probability. Balanced routing gives
    1, collapse onto k experts with all the probability K / k. Other code bases scale it differently: transformers' is
    k times this, over layers pooled.

    Args:
        logits_NK: router logits before the softmax, N tokens, K experts.
        indices_Nk: the chosen experts.
        counted_N: False for padding.

    Returns:
        A scalar; 0 where no token counts.
    """
    experts, top_k = logits_NK.shape[-1], indices_Nk.shape[-1]
    tokens = counted_N.sum().clamp(min=1)
    weight_Nk = counted_N[:, None].expand_as(indices_Nk).to(logits_NK.dtype)
    count_K = torch.zeros(experts, dtype=logits_NK.dtype, device=logits_NK.device)
    count_K = count_K.index_add(0, indices_Nk.flatten(), weight_Nk.flatten())
    mean_K = logits_NK.softmax(-1).where(counted_N[:, None], 0.0).sum(0) / tokens
    return experts / (top_k * tokens) * (count_K * mean_K).sum()
