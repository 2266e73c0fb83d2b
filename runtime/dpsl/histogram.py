"""Ranks by histogram: ℓ counted into the bins of a lattice, per expert and population.

Counting and ranking are apart, so that counts of other ranks and micro-batches can be added in between:

    ends → Lattice → counted → CarriedHistogram, merged with others → HistogramCdf

Dimensions: N tokens, K experts, Q buckets, B bins, M = K·Q·B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from dpsl.blocks import token_blocks
from dpsl.kernels import Kernels
from dpsl.kernels.compiled import using
from dpsl.lattice import BINS, REACH, Lattice, coarsen, ends, squeezed
from dpsl.ties import tie_place

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from dpsl.ecdf import TargetScale


@dataclass(frozen=True, eq=False)
class CarriedHistogram:
    """Tokens counted: what one needs to know of them to rank others among them.

    Attributes:
        ends_2KQ: −min and max of ℓ per expert and population.
        lattice: that of the ends.
        counts_KQB: tokens in each bin, int32.
        tokens_Q: tokens of each population, int64.
    """

    ends_2KQ: Tensor
    lattice: Lattice
    counts_KQB: Tensor
    tokens_Q: Tensor

    @classmethod
    def of(
        cls,
        ell_KN: Tensor,
        bucket_N: Tensor,
        buckets: int,
        group: ProcessGroup | None = None,
        kernels: Kernels = "torch",
    ) -> CarriedHistogram:
        """Count ℓ, over all ranks of a group, each of which must call this."""
        return cls.counting(
            ends(ell_KN, bucket_N, buckets),
            lambda lattice: counted(ell_KN, bucket_N, lattice, kernels),
            group,
        )

    @classmethod
    def counting(
        cls, ends_2KQ: Tensor, counted_on: Callable[[Lattice], Tensor], group: ProcessGroup | None
    ) -> CarriedHistogram:
        """Count on the lattice of the ends of all ranks, by a function that counts this rank's tokens."""
        if group is not None:
            dist.all_reduce(ends_2KQ, dist.ReduceOp.MAX, group=group)
        lattice = Lattice.spanning(ends_2KQ)
        counts_KQB = counted_on(lattice)
        if group is not None:
            dist.all_reduce(counts_KQB, group=group)
        return cls(ends_2KQ, lattice, counts_KQB, counts_KQB[0].sum(-1))

    def merged(self, other: CarriedHistogram) -> CarriedHistogram:
        """The histogram of both, as if all tokens had been counted at once."""
        ends_2KQ = torch.maximum(self.ends_2KQ, other.ends_2KQ)
        lattice = Lattice.spanning(ends_2KQ)
        mine, others = (coarsen(part.counts_KQB, part.lattice, lattice) for part in (self, other))
        return CarriedHistogram(ends_2KQ, lattice, mine + others, self.tokens_Q + other.tokens_Q)

    def first(self, buckets: int) -> CarriedHistogram:
        """That of the first buckets alone."""
        kept = slice(0, buckets)
        lattice = Lattice(*(part[:, kept] for part in vars(self.lattice).values()))
        return CarriedHistogram(
            self.ends_2KQ[..., kept], lattice, self.counts_KQB[:, kept], self.tokens_Q[kept]
        )

    def padded(self, buckets: int) -> CarriedHistogram:
        """The same with empty buckets added at the end."""
        experts, more = len(self.counts_KQB), buckets - len(self.tokens_Q)
        ends_2KQ = torch.cat([self.ends_2KQ, self.ends_2KQ.new_full((2, experts, more), -torch.inf)], dim=2)
        counts_KQB = torch.cat([self.counts_KQB, self.counts_KQB.new_zeros((experts, more, BINS))], dim=1)
        tokens_Q = torch.cat([self.tokens_Q, self.tokens_Q.new_zeros(more)])
        return CarriedHistogram(ends_2KQ, Lattice.spanning(ends_2KQ), counts_KQB, tokens_Q)


def counted(ell_KN: Tensor, bucket_N: Tensor, lattice: Lattice, kernels: Kernels = "torch") -> Tensor:
    """Tokens in each bin [K, Q, B], int32."""
    counts_KQB = torch.zeros((*lattice.level_KQ.shape, BINS), dtype=torch.int32, device=ell_KN.device)
    bins = Bins.on(lattice, ell_KN.dtype)
    count_block = using(kernels, _count)
    for block in token_blocks(len(bucket_N), len(ell_KN), ell_KN.device, kernels):
        count_block(ell_KN[:, block], bucket_N[block], bins, counts_KQB.view(-1))
    return counts_KQB


def _count(ell_KN: Tensor, bucket_N: Tensor, bins: Bins, counts_M: Tensor) -> None:
    bin_M, _ = bins.locate(ell_KN, bucket_N)
    count(bin_M, out=counts_M)


@dataclass(frozen=True, eq=False)
class HistogramCdf:
    """Expected places, by linear interpolation within the bins.

    A token expects the n − 1 others in its bin to lie below it in proportion to its own position there, so
    that a token alone in its bin has its exact place. Where all ℓ of an expert and population are one value,
    the position is pseudo-random.

    Attributes:
        coordinate_KN: where each token stands: ℓ, or a pseudo-random place.
        bins: which bin that is.
        target_2M: see `target_table`.
        own: the tokens counted, of all ranks, without those carried.
        whole: those carried included.
    """

    coordinate_KN: Tensor
    bins: Bins
    target_2M: Tensor
    own: CarriedHistogram
    whole: CarriedHistogram

    @classmethod
    def of(
        cls,
        ell_KN: Tensor,
        bucket_N: Tensor,
        scale: TargetScale,
        own: CarriedHistogram,
        whole: CarriedHistogram,
    ) -> HistogramCdf:
        """The CDF of the whole, at the tokens of ℓ."""
        target_2M = target_table(whole.counts_KQB, scale, ell_KN.dtype)
        bins, coordinate_KN = Bins.on(whole.lattice, ell_KN.dtype), ell_KN
        tied_KQ = whole.lattice.tied_KQ
        if ell_KN.device.type != "cpu" or bool(tied_KQ.any()):
            random_KN = tie_place(len(ell_KN), len(bucket_N), ell_KN.device).to(ell_KN.dtype)
            # What is squeezed to them: positions in [0, 1), the first bin of unit width.
            random_KN = random_KN / (1 - random_KN * (1 / REACH))
            coordinate_KN = torch.where(per_token(tied_KQ, bucket_N), random_KN, ell_KN)
            bins = bins.of_unit_width(tied_KQ)
        return cls(coordinate_KN, bins, target_2M, own, whole)

    def sizes(self) -> Tensor:
        """Tokens of each bucket [Q]."""
        return self.whole.tokens_Q

    def target(self, coordinate_KN: Tensor, bucket_N: Tensor) -> Tensor:
        """Rank targets of the tokens at some of the coordinates."""
        bin_M, within_KN = self.bins.locate(coordinate_KN, bucket_N)
        lower_KN, growth_KN = (
            values_M.index_select(0, bin_M).view_as(within_KN) for values_M in self.target_2M
        )
        target_KN: Tensor = lower_KN.addcmul_(growth_KN, within_KN)
        return target_KN


def target_table(counts_KQB: Tensor, scale: TargetScale, dtype: torch.dtype) -> Tensor:
    """The target at the lower edge of each bin, and how much it grows to the upper one [2, M]."""
    below_KQB = counts_KQB.cumsum(-1, dtype=torch.int32).sub_(counts_KQB)
    # In float64 at first: float32 counts whole numbers to 2²⁴ only.
    factor_Q1 = scale.factor_Q.double()[:, None]
    lower_KQB = (below_KQB + scale.offset) * factor_Q1
    return torch.stack([lower_KQB, (counts_KQB - 1) * factor_Q1]).flatten(1).to(dtype)


@dataclass(frozen=True, eq=False)
class Bins:
    """Finds the bins of ℓ on a lattice.

    Attributes:
        per_ell_KQ: bins per unit of ℓ.
        base_KQ: see `Lattice.base`.
    """

    per_ell_KQ: Tensor
    base_KQ: Tensor

    @classmethod
    def on(cls, lattice: Lattice, dtype: torch.dtype) -> Bins:
        """The bins of a lattice for ℓ of a dtype."""
        return cls(lattice.per_ell(dtype), lattice.base())

    def of_unit_width(self, some_KQ: Tensor) -> Bins:
        """The same, where for some experts and buckets [0, 1) is the first bin."""
        start_KQ = torch.arange(0, some_KQ.numel() * BINS, BINS, device=some_KQ.device).view_as(some_KQ)
        return Bins(
            self.per_ell_KQ.masked_fill(some_KQ, 1.0),
            torch.where(some_KQ, start_KQ.to(self.base_KQ.dtype), self.base_KQ),
        )

    def locate(self, ell_KN: Tensor, bucket_N: Tensor) -> tuple[Tensor, Tensor]:
        """The bin of each ℓ, numbered over experts and buckets and flattened, and its position there in [0, 1)."""
        place_KN = squeezed(ell_KN).mul_(per_token(self.per_ell_KQ, bucket_N))
        number_KN = place_KN.floor()
        place_KN.sub_(number_KN)
        bin_KN = number_KN.int() + per_token(self.base_KQ, bucket_N)
        # NaN has no number; it must not reach beyond the tables.
        return bin_KN.clamp_(0, self.base_KQ.numel() * BINS - 1).reshape(-1), place_KN


def per_token(values: Tensor, bucket_N: Tensor) -> Tensor:
    """Values per bucket, in the last dimension, as values per token; a single bucket's are broadcast."""
    return values if values.shape[-1] == 1 else values.index_select(-1, bucket_N)


def count(index_M: Tensor, size: int = 0, out: Tensor | None = None) -> Tensor:
    """How often each of 0…size−1 occurs, int32, added to `out`; unlike bincount, no device has to wait."""
    out = torch.zeros(size, dtype=torch.int32, device=index_M.device) if out is None else out
    one = torch.ones((), dtype=torch.int32, device=index_M.device)
    return out.index_add_(0, index_M, one.expand(len(index_M)))
