"""Where each token stands in the empirical CDF of its population: the rank target t of the loss.

Exact ranks sort ℓ; fast ranks count it into histograms, which add over ranks and micro-batches. Either way
one pass serves all populations and experts, and with a process group the CDF is that of all ranks' tokens.

A token at place i (from 0) of B in its population has the target

    eq4    (i + 1) / B       the paper's Eq. 4
    mid    (i + ½) / B
    ustat  i / (B − 1)       unbiased: its expected distance to u, given u, is 0

Among equal ℓ the order is pseudo-random and differs by expert: see `dpsl.ties`.

Histograms may be carried from one micro-batch to the next: the CDF is then that of all tokens counted.

Dimensions: N tokens, K experts, Q buckets: the P populations, and one for ignored tokens where there are any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from dpsl.blocks import token_blocks
from dpsl.histogram import CarriedHistogram, HistogramCdf, count, per_token
from dpsl.kernels import Kernels
from dpsl.ties import TieOrder

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Target = Literal["eq4", "mid", "ustat"]
RankMethod = Literal["sort", "histogram"]
TARGETS: tuple[str, ...] = get_args(Target)
RANK_METHODS: tuple[str, ...] = get_args(RankMethod)


class EmpiricalCdf(Protocol):
    """The empirical CDFs of all populations and experts."""

    def sizes(self) -> Tensor:
        """Tokens of each bucket [Q] on all ranks of the group and carried, int64."""

    @property
    def coordinate_KN(self) -> Tensor:  # noqa: N802
        """What tells each token's place."""

    def target(self, coordinate_KN: Tensor, bucket_N: Tensor) -> Tensor:
        """Rank targets [K, n] of some tokens by their coordinates and buckets; anything for ignored ones."""


def empirical_cdf(
    ell_KN: Tensor,
    bucket_N: Tensor,
    buckets: int,
    *,
    target: Target = "eq4",
    ranks: RankMethod = "sort",
    group: ProcessGroup | None = None,
    carried: CarriedHistogram | None = None,
    kernels: Kernels = "torch",
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
        carried: further tokens of the first populations, to be ranked among; histograms only.
        kernels: what counts, see `dpsl.kernels`.
    """
    if ranks == "histogram":
        own = CarriedHistogram.of(ell_KN, bucket_N, buckets, group, kernels)
        whole = own if carried is None else own.merged(carried.padded(buckets))
        scale = TargetScale.of(whole.tokens_Q, target, ell_KN.dtype)
        return HistogramCdf.of(ell_KN, bucket_N, scale, own, whole)
    assert carried is None
    tokens_Q = count(bucket_N, buckets).long()
    if group is not None:
        dist.all_reduce(tokens_Q, group=group)
    scale = TargetScale.of(tokens_Q, target, ell_KN.dtype)
    if group is None:
        return SortedCdf(_places(ell_KN, bucket_N, tokens_Q), scale)
    return SortedCdf(_gathered_places(ell_KN, bucket_N, tokens_Q, group), scale)


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


# Exact places


@dataclass(frozen=True, eq=False)
class SortedCdf:
    """Exact places."""

    coordinate_KN: Tensor
    scale: TargetScale

    def sizes(self) -> Tensor:
        """Tokens of each bucket [Q]."""
        return self.scale.tokens_Q

    def target(self, coordinate_KN: Tensor, bucket_N: Tensor) -> Tensor:
        """Rank targets of the tokens at some of the places."""
        return (coordinate_KN + self.scale.offset).mul_(per_token(self.scale.factor_Q, bucket_N))


def _places(ell_KN: Tensor, bucket_N: Tensor, tokens_Q: Tensor) -> Tensor:
    """Place 0…B−1 of each token in its bucket, per expert; ties in token order."""
    order_KN = _order(ell_KN, bucket_N, len(tokens_Q))
    start_Q = tokens_Q.cumsum(0) - tokens_Q
    along_N = torch.arange(len(bucket_N), device=ell_KN.device)
    place_N = along_N - start_Q.repeat_interleave(tokens_Q, output_size=len(bucket_N))
    return torch.empty_like(ell_KN).scatter_(1, order_KN, place_N.to(ell_KN.dtype).expand_as(ell_KN))


def _order(ell_KN: Tensor, bucket_N: Tensor, buckets: int) -> Tensor:
    """Token indices sorted by (bucket, ℓ, pseudo-random place), per expert.

    Where bucket, float32 ℓ and place fit one int64 key together, one sort of keys does it, and yields the
    indices by its low bits.
    """
    experts, tokens = ell_KN.shape
    index_N = torch.arange(tokens, device=bucket_N.device)
    index_bits = max(tokens - 1, 1).bit_length()
    ties = TieOrder.of(experts, index_bits, ell_KN.device)
    if ell_KN.dtype == torch.float32 and (buckets - 1).bit_length() + 32 + index_bits <= 63:
        bucket_part_N = bucket_N << (32 + index_bits)
        key_KN = torch.empty_like(ell_KN, dtype=torch.int64)
        for block in token_blocks(tokens, experts, ell_KN.device):
            # Flipping the bits of negative floats makes integers in their order; + 0.0 makes −0 equal 0.
            bits_KN = (ell_KN[:, block] + 0.0).view(torch.int32)
            bits_KN.bitwise_xor_((bits_KN >> 31).bitwise_and_(0x7FFFFFFF))
            place_KN = bits_KN.long().add_(2**31).bitwise_left_shift_(index_bits)
            low_KN = ties(index_N[block]).add_(bucket_part_N[block])
            torch.add(place_KN, low_KN, out=key_KN[:, block])
        order_KN = _sort_(key_KN)
        for block in token_blocks(tokens, experts, ell_KN.device):
            order_KN[:, block] = ties.index_(order_KN[:, block].clone())
        return order_KN
    order_KN = ties(index_N).argsort(dim=1)
    order_KN = order_KN.gather(1, ell_KN.gather(1, order_KN).argsort(dim=1, stable=True))
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
