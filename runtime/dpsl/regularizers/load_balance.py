"""Load balance (Shazeer et al., arXiv 1701.06538; Fedus et al., arXiv 2101.03961), and whose definition is meant."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor

from dpsl.regularizers.router_sums import RouterSums

Reference: TypeAlias = Literal["hf", "switch", "deepspeed", "megatron"]


def load_balance(sums: RouterSums, reference: Reference | None = None) -> Tensor:
    """K / (k·T) · Σ_i c_i · P_i over the T tokens that count: 1 where balanced, K / k on k experts alone.

    c_i is how many top-k slots expert i took (without gradient), P_i its mean probability. References:

        hf         K Σ (c/T) P, the tokens of all layers pooled: k where balanced
        switch     K Σ f P, for k = 1: the normalised one
        megatron   K / (k·T²) Σ c Σp: the normalised one
        deepspeed  K Σ f P where f counts first choices alone, for k = 1 and 2; the normalised one above

    Args:
        sums: of the layers; with groups, each sequence counts alike.
        reference: whose definition; None: the normalised one.

    Returns:
        [L], for `hf` [1]; 0 where no token counts.
    """
    if reference == "hf":
        sums = sums.pooled()
    first_only = reference == "deepspeed" and sums.top_k <= _FIRST_CHOICES
    taken_LGK = sums.first_LGK if first_only else sums.slots_LGK
    balanced = 1 if first_only or reference == "hf" else sums.top_k
    share_LGK = taken_LGK / sums.counted_LG[..., None].clamp(min=1)
    mean_LGK = sums.probability_LGK / sums.tokens_LG[..., None].clamp(min=1)
    value_LG = sums.experts / balanced * (share_LGK * mean_LGK).sum(-1)
    return value_LG.sum(-1) / (sums.tokens_LG > 0).sum(-1).clamp(min=1)


_FIRST_CHOICES = 2
"""DeepSpeed's top1gating and top2gating count first choices, its topkgating all."""
