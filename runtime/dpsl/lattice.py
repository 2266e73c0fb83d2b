"""The bins of ℓ: a dyadic lattice, so that histograms of any parts of a batch add up to that of the whole.

A lattice is chosen by the smallest and largest ℓ alone. Its bins are 2^level / PER_UNIT wide and begin at
multiples of their width, so that a wider lattice merges whole bins of a narrower one: a histogram coarsened to
the lattice of the whole equals the one counted there, bin by bin, however the tokens were split into ranks or
micro-batches. The level is the least at which the bins reach from end to end; they are at least half in use.

Dimensions: N tokens, K experts, Q populations (or any buckets), B bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dpsl.blocks import token_blocks

BINS = 1024
"""Bins per population and expert."""

REACH = 64.0
"""Bins divide ℓ / (1 + |ℓ| / REACH): even where most tokens are, wider farther out, and never beyond ±REACH.

At small α much of a population lies far out, where F still rises: at α = .05 a fifth of it below ℓ = −30.
"""

PER_UNIT = 1.6180340051651001
"""Bins per unit of ℓ at level 0, a float32.

Not a fraction: logits of low precision, which are dyadic themselves, then lie anywhere within their bins.
"""


def squeezed(ell: Tensor) -> Tensor:
    """ℓ on the axis that the bins divide."""
    return ell / (ell.abs() * (1 / REACH) + 1)


def ends(ell_KN: Tensor, bucket_N: Tensor, buckets: int) -> Tensor:
    """−min and max of squeezed ℓ, per expert and bucket [2, K, Q]; −∞ where there is no token.

    Those of several parts combine by `torch.maximum`, or one all-reduce.
    """
    if buckets == 1 and len(bucket_N):
        return squeezed(torch.stack([-ell_KN.amin(1), ell_KN.amax(1)]))[..., None]
    ends_2KQ = ell_KN.new_full((2, len(ell_KN), buckets), -torch.inf)
    for block in token_blocks(len(bucket_N), len(ell_KN), ell_KN.device):
        index_KN = bucket_N[block].expand_as(ell_KN[:, block])
        ends_2KQ[0].scatter_reduce_(1, index_KN, -ell_KN[:, block], "amax")
        ends_2KQ[1].scatter_reduce_(1, index_KN, ell_KN[:, block], "amax")
    return torch.where(ends_2KQ == -torch.inf, ends_2KQ, squeezed(ends_2KQ))


@dataclass(frozen=True, eq=False)
class Lattice:
    """Where the bins of each expert and bucket lie.

    Attributes:
        level_KQ: binary logarithm of the width of a bin times PER_UNIT, int32.
        first_KQ: number of the lowest of the BINS bins, counted from the one that begins at 0, int32.
        tied_KQ: all ℓ are one value, or there are none.
    """

    level_KQ: Tensor
    first_KQ: Tensor
    tied_KQ: Tensor

    @classmethod
    def spanning(cls, ends_2KQ: Tensor) -> Lattice:
        """The lattice of the given ends. That of wider ends is never at a lower level."""
        low_KQ, high_KQ = (-ends_2KQ[0] * PER_UNIT).nan_to_num(), (ends_2KQ[1] * PER_UNIT).nan_to_num()
        empty_KQ = high_KQ < low_KQ
        low_KQ, high_KQ = low_KQ.masked_fill(empty_KQ, 0.0), high_KQ.masked_fill(empty_KQ, 0.0)
        span_KQ = high_KQ - low_KQ
        far_KQ = torch.maximum(low_KQ.abs(), high_KQ.abs())
        level_KQ = torch.maximum(
            _exponent(span_KQ) - (BINS.bit_length() - 1), _exponent(far_KQ) - _EXACT_BITS
        ).clamp_(min=_LOWEST_LEVEL)
        # The ends may lie in one bin more than their distance takes.
        reach_KQ = _number(high_KQ, level_KQ) - _number(low_KQ, level_KQ)
        level_KQ += reach_KQ >= BINS
        return cls(level_KQ, _number(low_KQ, level_KQ), span_KQ == 0)

    def per_ell(self, dtype: torch.dtype) -> Tensor:
        """Bins per unit of ℓ, [K, Q]."""
        return power_of_two(-self.level_KQ).to(dtype) * PER_UNIT

    def base(self) -> Tensor:
        """What turns a bin's number into its place among all bins of all experts and buckets, [K, Q]."""
        bins = self.level_KQ.numel() * BINS
        dtype = torch.int32 if bins < 2**31 else torch.int64
        start = torch.arange(0, bins, BINS, dtype=dtype, device=self.level_KQ.device)
        return start.view_as(self.first_KQ) - self.first_KQ


def coarsen(counts_KQB: Tensor, narrow: Lattice, wide: Lattice) -> Tensor:
    """Counts on a lattice whose ends contain those of the narrower one that they were counted on."""
    number_KQB = narrow.first_KQ[..., None] + torch.arange(BINS, dtype=torch.int32, device=counts_KQB.device)
    shift_KQ1 = (wide.level_KQ - narrow.level_KQ).clamp(0, 31)[..., None]
    bin_KQB = ((number_KQB >> shift_KQ1) - wide.first_KQ[..., None]).clamp_(0, BINS - 1)
    return torch.zeros_like(counts_KQB).scatter_add_(2, bin_KQB.long(), counts_KQB)


def power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent, exact on any device; float32, for int32 exponents from −126 to 127."""
    return ((exponent + 127) << 23).view(torch.float32)


def _number(value: Tensor, level: Tensor) -> Tensor:
    """The number of the bin that holds a value in units of level 0, int32."""
    return (value * power_of_two(-level)).floor().int()


def _exponent(value: Tensor) -> Tensor:
    """The least e with |value| < 2^e, far below every other where value is 0."""
    return torch.where(value == 0, 2 * _LOWEST_LEVEL, torch.frexp(value).exponent)


_EXACT_BITS = 22
"""Numbers of bins stay below 2²²: float32 then holds them and a position within."""

_LOWEST_LEVEL = -100
