"""A pseudo-random place for tokens whose ℓ cannot be told apart.

Where all logits are equal, places by token order or their mean give every expert the same gradient, so that a
router cannot leave this saddle. Places that are independent from expert to expert lead out of it. They depend
on the token's index and the expert alone, so that equal input gives equal output on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def tie_place(experts: int, tokens: int, device: torch.device) -> Tensor:
    """A place [K, N] in [0, 1) for each expert and token, float32, a multiple of 2⁻²⁴."""
    index_N = torch.arange(tokens, device=device)
    expert_K1 = torch.arange(experts, device=device)[:, None]
    return (
        _mixed(index_N * 0x9E3779B1 + expert_K1 * 0x85EBCA77).bitwise_right_shift_(8).float().mul_(2.0**-24)
    )


def _mixed(bits: Tensor) -> Tensor:
    """The finaliser `lowbias32` of a 32-bit hash, in int64."""
    bits = bits & _32_BITS
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = ((bits ^ (bits >> shift)) * factor).bitwise_and_(_32_BITS)
    return bits ^ (bits >> 16)


_32_BITS = 0xFFFFFFFF
