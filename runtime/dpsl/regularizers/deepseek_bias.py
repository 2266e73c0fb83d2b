"""Loss-free balancing (Wang et al., arXiv 2408.15664; DeepSeek-V3, arXiv 2412.19437): a bias for the choice alone."""

from __future__ import annotations

import torch
from torch import Tensor


def updated_bias(bias_K: Tensor, slots_K: Tensor, rate: float, *, center: bool = False) -> Tensor:
    """The bias b + u·sign(mean(c) − c): experts that took less than their share become likelier to be chosen.

    Args:
        bias_K: b, float32.
        slots_K: c, top-k slots that each expert took in the whole optimizer step, on all ranks.
        rate: u.
        center: shift the change to a mean of 0, as torchtitan does; b then keeps its mean.
    """
    change_K = rate * torch.sign(slots_K.mean() - slots_K).to(bias_K.dtype)
    return bias_K + (change_K - change_K.mean() if center else change_K)
