"""Router z-loss (Zoph et al., arXiv 2202.08906): keeps logits small."""

from __future__ import annotations

from torch import Tensor


def z_loss(logits_NK: Tensor, counted_N: Tensor) -> Tensor:
    """The mean of logsumexp(z)² over the tokens that count.

    Args:
        logits_NK: router logits before the softmax, N tokens, K experts.
        counted_N: False for padding.

    Returns:
        A scalar; 0 where no token counts.
    """
    square_N = logits_NK.logsumexp(-1).square()
    return square_N.where(counted_N, 0.0).sum() / counted_N.sum().clamp(min=1)
