"""Ranks by histogram: ℓ counted into the bins of a lattice, per expert and population.

Counting and ranking are apart, so that counts of other ranks and micro-batches can be added in between:

    ends → Lattice → counted → CarriedHistogram, merged with others → HistogramCdf

Dimensions: N tokens, K experts, Q buckets, B bins, M = K·Q·B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from dpsl.blocks import token_blocks
from dpsl.lattice import BINS, CLIP, Lattice, coarsen, ends
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
        cls, ell_KN: Tensor, bucket_N: Tensor, buckets: int, group: ProcessGroup | None = None
    ) -> CarriedHistogram:
        """Count ℓ, over all ranks of a group, each of which must call this."""
        ends_2KQ = ends(ell_KN, bucket_N, buckets)
        if group is not None:
            dist.all_reduce(ends_2KQ, dist.ReduceOp.MAX, group=group)
        lattice = Lattice.spanning(ends_2KQ)
        counts_KQB = counted(ell_KN, bucket_N, lattice)
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


def counted(ell_KN: Tensor, bucket_N: Tensor, lattice: Lattice) -> Tensor:
    """Tokens in each bin [K, Q, B], int32."""
    counts_KQB = torch.zeros((*lattice.level_KQ.shape, BINS), dtype=torch.int32, device=ell_KN.device)
    place = _Placement(lattice.per_ell(ell_KN.dtype), lattice.base())
    for block in token_blocks(len(bucket_N), len(ell_KN), ell_KN.device):
        bin_M, _ = place(ell_KN[:, block], bucket_N[block])
        count(bin_M, out=counts_KQB.view(-1))
    return counts_KQB


@dataclass(frozen=True, eq=False)
class HistogramCdf:
    """Expected places, by linear interpolation within the bins.

    A token expects the n − 1 others in its bin to lie below it in proportion to its own position there, so
    that a token alone in its bin has its exact place. Where all ℓ of an expert and population are one value,
    the position is pseudo-random.
    """

    own: CarriedHistogram
    """The tokens counted, of all ranks, without those carried."""
    ell_KN: Tensor
    bucket_N: Tensor
    scale: TargetScale
    tied_KQ: Tensor
    place: _Placement
    below_M: Tensor
    """Tokens in the bins below, of each expert, bucket and bin."""
    others_M: Tensor
    """Tokens in the bin, but one."""

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
        counts_KQB = whole.counts_KQB
        below_KQB = counts_KQB.cumsum(-1, dtype=torch.int32).sub_(counts_KQB)
        below_M, others_M = (values.reshape(-1).to(ell_KN.dtype) for values in (below_KQB, counts_KQB - 1))
        place = _Placement(whole.lattice.per_ell(ell_KN.dtype), whole.lattice.base())
        return cls(own, ell_KN, bucket_N, scale, whole.lattice.tied_KQ, place, below_M, others_M)

    def sizes(self) -> Tensor:
        """Tokens of each bucket [Q]."""
        return self.scale.tokens_Q

    def target(self, block: slice) -> Tensor:
        """Rank targets of a block of tokens."""
        bucket_N = self.bucket_N[block]
        bin_M, within_KN = self.place(self.ell_KN[:, block], bucket_N)
        if within_KN.device.type != "cpu" or bool(self.tied_KQ.any()):
            random_KN = tie_place(block, len(within_KN), within_KN.device).to(within_KN.dtype)
            within_KN = torch.where(per_token(self.tied_KQ, bucket_N), random_KN, within_KN)
        others_KN = self.others_M.index_select(0, bin_M).view_as(within_KN)
        below_KN = self.below_M.index_select(0, bin_M).view_as(within_KN)
        return self.scale.apply_(within_KN.mul_(others_KN).add_(below_KN), bucket_N)


@dataclass(frozen=True, eq=False)
class _Placement:
    """Finds the bins of ℓ on a lattice."""

    per_ell_KQ: Tensor
    base_KQ: Tensor

    def __call__(self, ell_KN: Tensor, bucket_N: Tensor) -> tuple[Tensor, Tensor]:
        """The bin of each ℓ, numbered over experts and buckets and flattened, and its position there in [0, 1)."""
        place_KN = ell_KN.clamp(-CLIP, CLIP).mul_(per_token(self.per_ell_KQ, bucket_N))
        number_KN = place_KN.floor()
        place_KN.sub_(number_KN)
        bin_KN = number_KN.int() + per_token(self.base_KQ, bucket_N)
        # NaN has no number; it must not reach beyond the tables.
        return bin_KN.clamp_(0, self.base_KQ.numel() * BINS - 1).view(-1), place_KN


def per_token(values: Tensor, bucket_N: Tensor) -> Tensor:
    """Values per bucket, in the last dimension, as values per token; a single bucket's are broadcast."""
    return values if values.shape[-1] == 1 else values.index_select(-1, bucket_N)


def count(index_M: Tensor, size: int = 0, out: Tensor | None = None) -> Tensor:
    """How often each of 0…size−1 occurs, int32, added to `out`; unlike bincount, no device has to wait."""
    out = torch.zeros(size, dtype=torch.int32, device=index_M.device) if out is None else out
    one = torch.ones((), dtype=torch.int32, device=index_M.device)
    return out.index_add_(0, index_M, one.expand(len(index_M)))
