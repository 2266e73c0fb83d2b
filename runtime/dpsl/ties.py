"""A pseudo-random order of tokens whose ℓ cannot be told apart.

Where all logits are equal, places by token order or their mean give every expert the same gradient, so that a
router cannot leave this saddle. Places that are independent from expert to expert lead out of it. They depend
on the token's index and the expert alone, so that equal input gives equal output on any device.

Dimensions: N tokens, K experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def tie_place(experts: int, tokens: int, device: torch.device) -> Tensor:
    """A place [K, N] in [0, 1) for each expert and token, float32, a multiple of 2⁻²⁴: for histograms."""
    index_N = torch.arange(tokens, device=device)
    expert_K1 = torch.arange(experts, device=device)[:, None]
    return (
        _mixed(index_N * 0x9E3779B1 + expert_K1 * 0x85EBCA77).bitwise_right_shift_(8).float().mul_(2.0**-24)
    )


@dataclass(frozen=True, eq=False)
class TieOrder:
    """A permutation of the numbers of some bits for each expert, and the way back: for sorting.

    x → (x·a mod 2^bits, its upper half folded onto the lower)·b mod 2^bits, with odd a and b.
    """

    bits: int
    a_K1: Tensor
    b_K1: Tensor

    @classmethod
    def of(cls, experts: int, bits: int, device: torch.device) -> TieOrder:
        """The permutations for so many experts."""
        expert_K1 = torch.arange(1, experts + 1, device=device)[:, None]
        return cls(bits, _mixed(expert_K1 * 2) | 1, _mixed(expert_K1 * 2 + 1) | 1)

    def __call__(self, index_N: Tensor) -> Tensor:
        """Places [K, N] of the indices."""
        return self._folded(index_N * self.a_K1).mul_(self.b_K1).bitwise_and_(self._mask)

    def index_(self, place_KN: Tensor) -> Tensor:
        """The indices that have these places, whose higher bits may hold anything; in place."""
        folded_KN = self._folded(place_KN.mul_(_inverse(self.b_K1)))
        return folded_KN.mul_(_inverse(self.a_K1)).bitwise_and_(self._mask)

    @property
    def _mask(self) -> int:
        return (1 << self.bits) - 1

    def _folded(self, value_KN: Tensor) -> Tensor:
        """Its own inverse."""
        value_KN.bitwise_and_(self._mask)
        return value_KN.bitwise_xor_(value_KN >> ((self.bits + 1) // 2))


def _inverse(odd: Tensor) -> Tensor:
    """The inverse modulo 2⁶⁴, by Newton's method: each step doubles the bits that are right, 3 at first."""
    inverse = odd
    for _ in range(5):
        inverse = inverse * (2 - odd * inverse)
    return inverse


def _mixed(bits: Tensor) -> Tensor:
    """The finaliser `lowbias32` of a 32-bit hash, in int64."""
    bits = bits & _32_BITS
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = ((bits ^ (bits >> shift)) * factor).bitwise_and_(_32_BITS)
    return bits ^ (bits >> 16)


_32_BITS = 0xFFFFFFFF
