"""Where each token stands in the empirical CDF of its population: the rank target t of the loss.

Exact ranks sort ℓ; fast ranks count it into histograms, which add over ranks and micro-batches. Either way
one pass serves all populations and experts, and with a process group the CDF is that of all ranks' tokens.

A token at place i (from 0) of B in its population has the target

    eq4    (i + 1) / B       the paper's Eq. 4
    mid    (i + ½) / B
    ustat  i / (B − 1)       unbiased: its expected distance to u, given u, is 0

Ties: sorting places equal ℓ in token order (with a group, rank by rank), histograms give all of them their
mean place. The loss of Eq. 4 does not depend on the order among ties, its gradient does; with all logits equal
and equal α, either rule gives every expert the same gradient, so that a router cannot leave this saddle.

Dimensions: N tokens, K experts, Q buckets: the P populations, and one for ignored tokens where there are any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from dpsl.blocks import token_blocks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Target = Literal["eq4", "mid", "ustat"]
RankMethod = Literal["sort", "histogram"]
TARGETS: tuple[str, ...] = get_args(Target)
RANK_METHODS: tuple[str, ...] = get_args(RankMethod)

BINS = 1024
"""Bins per population and expert, spread over the range its ℓ take."""

CLIP = 30.0
"""ℓ beyond ±30, p within 1e-13 of 0 or 1, count into the outermost bins."""


class EmpiricalCdf(Protocol):
    """The empirical CDFs of all populations and experts."""

    def sizes(self) -> Tensor:
        """Tokens of each bucket [Q] on all ranks of the group, int64."""

    def target(self, block: slice) -> Tensor:
        """Rank targets [K, n] of a block of tokens; anything finite for ignored ones."""


def empirical_cdf(
    ell_KN: Tensor,
    bucket_N: Tensor,
    buckets: int,
    *,
    target: Target = "eq4",
    ranks: RankMethod = "sort",
    group: ProcessGroup | None = None,
) -> EmpiricalCdf:
    """Rank every token within its bucket, per expert.

    With a group, every rank must call this, with or without tokens, with the same buckets and options.

    Args:
        ell_KN: one-vs-rest logits, float32 or float64, contiguous.
        bucket_N: bucket of each token, int64 in [0, Q).
        buckets: Q. With a group, the last bucket may receive more ignored tokens.
        target: which t, see above.
        ranks: exact, or within the resolution of the histograms.
        group: the ranks whose tokens make up the populations; None for this process alone.
    """
    tokens_Q = count(bucket_N, buckets).long()
    if group is not None:
        dist.all_reduce(tokens_Q, group=group)
    scale = TargetScale.of(tokens_Q, target, ell_KN.dtype)
    if ranks == "histogram":
        return HistogramCdf.of(ell_KN, bucket_N, scale, group)
    if group is None:
        return SortedCdf(_places(ell_KN, bucket_N, tokens_Q), bucket_N, scale)
    return SortedCdf(_gathered_places(ell_KN, bucket_N, tokens_Q, group), bucket_N, scale)


@dataclass(frozen=True, eq=False)
class TargetScale:
    """From places to targets: t = (place + offset) · factor of the bucket."""

    tokens_Q: Tensor
    offset: float
    factor_Q: Tensor

    @classmethod
    def of(cls, tokens_Q: Tensor, target: Target, dtype: torch.dtype) -> TargetScale:
        """The scale of a target for buckets of the given sizes."""
        whole_Q = tokens_Q - 1 if target == "ustat" else tokens_Q
        offset = {"eq4": 1.0, "mid": 0.5, "ustat": 0.0}[target]
        return cls(tokens_Q, offset, 1 / whole_Q.clamp(min=1).to(dtype))

    def apply_(self, place_KN: Tensor, bucket_N: Tensor) -> Tensor:
        """Turn places into targets, in place."""
        return place_KN.add_(self.offset).mul_(per_token(self.factor_Q, bucket_N))


# Exact places


@dataclass(frozen=True, eq=False)
class SortedCdf:
    """Exact places."""

    place_KN: Tensor
    bucket_N: Tensor
    scale: TargetScale

    def sizes(self) -> Tensor:
        """Tokens of each bucket [Q]."""
        return self.scale.tokens_Q

    def target(self, block: slice) -> Tensor:
        """Rank targets of a block of tokens."""
        return self.scale.apply_(self.place_KN[:, block].clone(), self.bucket_N[block])


def _places(ell_KN: Tensor, bucket_N: Tensor, tokens_Q: Tensor) -> Tensor:
    """Place 0…B−1 of each token in its bucket, per expert; ties in token order."""
    order_KN = _order(ell_KN, bucket_N, len(tokens_Q))
    start_Q = tokens_Q.cumsum(0) - tokens_Q
    along_N = torch.arange(len(bucket_N), device=ell_KN.device)
    place_N = along_N - start_Q.repeat_interleave(tokens_Q, output_size=len(bucket_N))
    return torch.empty_like(ell_KN).scatter_(1, order_KN, place_N.to(ell_KN.dtype).expand_as(ell_KN))


def _order(ell_KN: Tensor, bucket_N: Tensor, buckets: int) -> Tensor:
    """Token indices sorted by (bucket, ℓ, index), per expert.

    Where bucket, float32 ℓ and index fit one int64 key together, one sort of keys does it, and yields the
    indices as its low bits.
    """
    tokens = len(bucket_N)
    index_bits = max(tokens - 1, 1).bit_length()
    if ell_KN.dtype == torch.float32 and (buckets - 1).bit_length() + 32 + index_bits <= 63:
        low_N = (bucket_N << (32 + index_bits)) + torch.arange(tokens, device=bucket_N.device)
        key_KN = torch.empty_like(ell_KN, dtype=torch.int64)
        for block in token_blocks(tokens, len(ell_KN), ell_KN.device):
            # Flipping the bits of negative floats makes integers in their order; + 0.0 makes −0 equal 0.
            bits_KN = (ell_KN[:, block] + 0.0).view(torch.int32)
            bits_KN.bitwise_xor_((bits_KN >> 31).bitwise_and_(0x7FFFFFFF))
            place_KN = bits_KN.long().add_(2**31).bitwise_left_shift_(index_bits)
            torch.add(place_KN, low_N[block], out=key_KN[:, block])
        return _sort_(key_KN).bitwise_and_((1 << index_bits) - 1)
    order_KN = ell_KN.argsort(dim=1, stable=True)
    return order_KN.gather(1, bucket_N[order_KN].argsort(dim=1, stable=True))


def _sort_(key_KN: Tensor) -> Tensor:
    """Sort each row of integers; NumPy sorts them in place and without the indices that torch adds."""
    if key_KN.device.type != "cpu":
        return key_KN.sort(dim=1).values
    key_KN.numpy().sort(axis=1)
    return key_KN


def _gathered_places(ell_KN: Tensor, bucket_N: Tensor, tokens_Q: Tensor, group: ProcessGroup) -> Tensor:
    """Places among the tokens of all ranks: each rank sorts all of them and keeps its own.

    Ranks with fewer tokens than others fill up with ignored ones.
    """
    world, own, tokens = dist.get_world_size(group), dist.get_rank(group), len(bucket_N)
    most = torch.tensor([tokens], device=ell_KN.device)
    dist.all_reduce(most, dist.ReduceOp.MAX, group=group)
    padding = int(most) - tokens
    padded_KN = torch.nn.functional.pad(ell_KN, (0, padding))
    padded_N = torch.nn.functional.pad(bucket_N, (0, padding), value=len(tokens_Q) - 1)
    all_KN = [torch.empty_like(padded_KN) for _ in range(world)]
    all_N = [torch.empty_like(padded_N) for _ in range(world)]
    dist.all_gather(all_KN, padded_KN, group=group)
    dist.all_gather(all_N, padded_N, group=group)
    joined_N = torch.cat(all_N)
    place_KN = _places(torch.cat(all_KN, dim=1), joined_N, count(joined_N, len(tokens_Q)))
    start = own * int(most)
    return place_KN[:, start : start + tokens]


# Places by histogram


@dataclass(frozen=True, eq=False)
class HistogramCdf:
    """Expected places, by linear interpolation within the bins of a histogram per expert and population.

    A token expects the n − 1 others in its bin to lie below it in proportion to its own position there, so
    that a token alone in its bin has its exact place.
    """

    ell_KN: Tensor
    bucket_N: Tensor
    scale: TargetScale
    grid: BinGrid
    below_M: Tensor
    """Tokens in the bins below, of each expert, bucket and bin."""
    others_M: Tensor
    """Tokens in the bin, but one."""

    @classmethod
    def of(
        cls, ell_KN: Tensor, bucket_N: Tensor, scale: TargetScale, group: ProcessGroup | None
    ) -> HistogramCdf:
        """Count all tokens, of all ranks."""
        grid = BinGrid.spanning(ell_KN, bucket_N, len(scale.tokens_Q), group)
        shape_KQB = (len(ell_KN), len(scale.tokens_Q), BINS)
        counts_KQB = torch.zeros(shape_KQB, dtype=torch.int32, device=ell_KN.device)
        for block in token_blocks(len(bucket_N), len(ell_KN), ell_KN.device):
            index_M, _ = grid.locate(ell_KN[:, block], bucket_N[block])
            count(index_M, out=counts_KQB.view(-1))
        if group is not None:
            dist.all_reduce(counts_KQB, group=group)
        below_KQB = counts_KQB.cumsum(-1, dtype=torch.int32).sub_(counts_KQB)
        below_M, others_M = (values.view(-1).to(ell_KN.dtype) for values in (below_KQB, counts_KQB - 1))
        return cls(ell_KN, bucket_N, scale, grid, below_M, others_M)

    def sizes(self) -> Tensor:
        """Tokens of each bucket [Q]."""
        return self.scale.tokens_Q

    def target(self, block: slice) -> Tensor:
        """Rank targets of a block of tokens."""
        bucket_N = self.bucket_N[block]
        index_M, within_KN = self.grid.locate(self.ell_KN[:, block], bucket_N)
        others_KN = self.others_M.index_select(0, index_M).view_as(within_KN)
        below_KN = self.below_M.index_select(0, index_M).view_as(within_KN)
        return self.scale.apply_(within_KN.mul_(others_KN).add_(below_KN), bucket_N)


@dataclass(frozen=True, eq=False)
class BinGrid:
    """Where the bins of each expert and bucket lie in ℓ."""

    lowest_KQ: Tensor
    bins_per_ell_KQ: Tensor
    first_bin_KQ: Tensor

    @classmethod
    def spanning(cls, ell_KN: Tensor, bucket_N: Tensor, buckets: int, group: ProcessGroup | None) -> BinGrid:
        """The grid from the smallest to the largest ℓ on all ranks, within ±CLIP."""
        # One reduction serves both ends: −min(ℓ) = max(−ℓ).
        ends_2KQ = ell_KN.new_full((2, len(ell_KN), buckets), -torch.inf)
        for block in token_blocks(len(bucket_N), len(ell_KN), ell_KN.device):
            clipped_KN = ell_KN[:, block].clamp(-CLIP, CLIP)
            for side, values_KN in ((1, clipped_KN), (0, -clipped_KN)):
                if buckets == 1:
                    torch.maximum(ends_2KQ[side], values_KN.amax(1, keepdim=True), out=ends_2KQ[side])
                else:
                    index_KN = bucket_N[block].expand_as(values_KN)
                    ends_2KQ[side].scatter_reduce_(1, index_KN, values_KN, "amax")
        if group is not None:
            dist.all_reduce(ends_2KQ, dist.ReduceOp.MAX, group=group)
        lowest_KQ, width_KQ = -ends_2KQ[0], ends_2KQ.sum(0)
        spread_KQ = width_KQ > _NO_WIDTH
        bins = len(ell_KN) * buckets * BINS
        index_dtype = torch.int32 if bins < 2**31 else torch.int64
        return cls(
            # Values that are all equal stand in the middle of the first bin.
            lowest_KQ=torch.where(spread_KQ, lowest_KQ, lowest_KQ - 1),
            bins_per_ell_KQ=torch.where(spread_KQ, BINS / width_KQ, 0.5),
            first_bin_KQ=torch.arange(0, bins, BINS, dtype=index_dtype, device=ell_KN.device).view_as(
                width_KQ
            ),
        )

    def locate(self, ell_KN: Tensor, bucket_N: Tensor) -> tuple[Tensor, Tensor]:
        """The bin of each ℓ, numbered over experts and buckets and flattened, and its position there in [0, 1]."""
        place_KN = ell_KN.clamp(-CLIP, CLIP).sub_(per_token(self.lowest_KQ, bucket_N))
        place_KN.mul_(per_token(self.bins_per_ell_KQ, bucket_N))
        bin_KN = place_KN.int().clamp_(0, BINS - 1)
        within_KN = place_KN.sub_(bin_KN)
        return bin_KN.add(per_token(self.first_bin_KQ, bucket_N)).reshape(-1), within_KN


_NO_WIDTH = 1e-20
"""Narrower ranges hold one value as far as float32 can tell."""


def per_token(values: Tensor, bucket_N: Tensor) -> Tensor:
    """Values per bucket, in the last dimension, as values per token; a single bucket's are broadcast."""
    return values if values.shape[-1] == 1 else values.index_select(-1, bucket_N)


def count(index_M: Tensor, size: int = 0, out: Tensor | None = None) -> Tensor:
    """How often each of 0…size−1 occurs, int32, added to `out`; unlike bincount, no device has to wait."""
    out = torch.zeros(size, dtype=torch.int32, device=index_M.device) if out is None else out
    one = torch.ones((), dtype=torch.int32, device=index_M.device)
    return out.index_add_(0, index_M, one.expand(len(index_M)))
