"""Histogram and gradient of the shaping loss by Triton: three launches that read the logits once each.

The plain forms are `dpsl.lattice.ends`, `dpsl.histogram.counted`, and `dpsl.loss` with its parts. Between the
launches stands what is small: the lattice, all-reduces, and the cumulative sums of the bins. Layers of one step
are one call: their tokens stand one after another, each layer with buckets of its own.

On a CPU this runs under Triton's interpreter (TRITON_INTERPRET=1), for tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import triton
from torch import Tensor

from dpsl.ecdf import RankMethod, Target, TargetScale
from dpsl.histogram import Bins, CarriedHistogram, target_table
from dpsl.kernels import Kernels
from dpsl.kernels.triton_kernels import count_kernel, ends_kernel, gradient_kernel
from dpsl.lattice import BINS, REACH, Lattice
from dpsl.marginals import INTERVALS, BetaMarginals
from dpsl.ranked import Gradient

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

BLOCK_ELEMENTS = 2048
"""Tokens × experts of one program."""


@dataclass(frozen=True, eq=False)
class TritonRanked:
    """Tokens ranked among their populations: see `dpsl.ranked.Ranked`."""

    logits_NK: Tensor
    bucket_N: Tensor
    row_N: Tensor
    own: CarriedHistogram
    whole: CarriedHistogram
    target_2M: Tensor
    marginals: BetaMarginals

    @classmethod
    def of(
        cls,
        logits_NK: Tensor,
        row_N: Tensor,
        population_N: Tensor,
        marginals: BetaMarginals,
        populations: int,
        *,
        target: Target,
        ranks: RankMethod,
        group: ProcessGroup | None,
        carried: CarriedHistogram | None,
        kernels: Kernels,
    ) -> TritonRanked:
        """Rank tokens by histogram; see `dpsl.loss.shaping_loss_and_gradient` for the arguments."""
        assert ranks == "histogram"
        assert kernels == "triton"
        logits_NK, bucket_N = _readable(logits_NK), _bucket(population_N, populations)
        own = _histogram(logits_NK, bucket_N, populations, group)
        whole = own if carried is None else own.merged(carried)
        scale = TargetScale.of(whole.tokens_Q, target, torch.float32)
        target_2M = target_table(whole.counts_KQB, scale, torch.float32)
        return cls(logits_NK, bucket_N, row_N.int(), own, whole, target_2M, marginals)

    def sizes(self) -> Tensor:
        """Tokens of each population [P]."""
        return self.whole.tokens_Q

    def histogram(self) -> CarriedHistogram | None:
        """What was counted over the group."""
        return self.own

    def gradient(self, coefficient_N: Tensor) -> Gradient:
        """The gradient by the logits."""
        found = gradient(
            self.logits_NK, self.bucket_N, self.row_N, coefficient_N,
            self.whole.lattice, self.target_2M, self.marginals,
        )  # fmt: skip
        return Gradient(*found, None)


def observed(
    logits_NK: Tensor, population_N: Tensor, populations: int, group: ProcessGroup | None
) -> CarriedHistogram:
    """Tokens counted, over all ranks of a group."""
    return _histogram(_readable(logits_NK), _bucket(population_N, populations), populations, group)


def _histogram(
    logits_NK: Tensor, bucket_N: Tensor, buckets: int, group: ProcessGroup | None
) -> CarriedHistogram:
    ends_2KQ = ends(logits_NK, bucket_N, buckets)
    return CarriedHistogram.counting(ends_2KQ, lambda lattice: counted(logits_NK, bucket_N, lattice), group)


def _readable(logits_NK: Tensor) -> Tensor:
    """The logits with experts contiguous, as the kernels read them."""
    return logits_NK if logits_NK.stride(1) == 1 else logits_NK.contiguous()


def _bucket(population_N: Tensor, populations: int) -> Tensor:
    """Populations, P for ignored tokens, int32."""
    return torch.where(population_N < 0, populations, population_N).int()


def ends(logits_NK: Tensor, bucket_N: Tensor, buckets: int) -> Tensor:
    """−min and max of squeezed ℓ, per expert and bucket [2, K, Q]; −∞ where there is no token.

    Args:
        logits_NK: of any float dtype up to float32, experts contiguous.
        bucket_N: int32, Q or more for ignored tokens.
        buckets: Q.
    """
    tokens, experts = logits_NK.shape
    ends_2KQ = torch.full((2, experts, buckets), -torch.inf, device=logits_NK.device)
    grid, blocks = _blocks(tokens, experts)
    ends_kernel[grid](
        logits_NK, bucket_N, ends_2KQ, tokens, experts, buckets, logits_NK.stride(0), REACH=REACH, **blocks
    )
    return ends_2KQ


def counted(logits_NK: Tensor, bucket_N: Tensor, lattice: Lattice) -> Tensor:
    """Tokens in each bin [K, Q, B], int32."""
    tokens, experts = logits_NK.shape
    buckets = lattice.level_KQ.shape[1]
    counts_KQB = torch.zeros((experts, buckets, BINS), dtype=torch.int32, device=logits_NK.device)
    bins = Bins.on(lattice, torch.float32)
    grid, blocks = _blocks(tokens, experts)
    count_kernel[grid](
        logits_NK, bucket_N, bins.per_ell_KQ, bins.base_KQ, counts_KQB,
        tokens, experts, buckets, counts_KQB.numel(), logits_NK.stride(0), REACH=REACH, **blocks,
    )  # fmt: skip
    return counts_KQB


def gradient(
    logits_NK: Tensor,
    bucket_N: Tensor,
    row_N: Tensor,
    coefficient_N: Tensor,
    lattice: Lattice,
    target_2M: Tensor,
    marginals: BetaMarginals,
) -> tuple[Tensor, Tensor]:
    """The gradient with respect to the logits [N, K], float32, and Σ_k (F − t)² [N]; both 0 for ignored tokens.

    Args:
        logits_NK: as for `ends`.
        bucket_N: the same.
        row_N: the prior of each token, int32.
        coefficient_N: share of each token times its weight, float32.
        lattice: of the histogram.
        target_2M: see `dpsl.histogram.target_table`.
        marginals: as tables.
    """
    assert marginals.tables is not None
    tables = marginals.tables
    tokens, experts = logits_NK.shape
    gradient_NK = torch.empty((tokens, experts), device=logits_NK.device)
    squared_N = torch.empty(tokens, device=logits_NK.device)
    bins = Bins.on(lattice, torch.float32)
    grid, blocks = _blocks(tokens, experts)
    gradient_kernel[grid](
        logits_NK, bucket_N, row_N, coefficient_N,
        bins.per_ell_KQ, bins.base_KQ, lattice.tied_KQ.to(torch.int8), target_2M,
        marginals.pair_RK.int(), tables.coefficient_4M, tables.lo_P, tables.step_P, tables.left_P, tables.right_P,
        gradient_NK, squared_N, tokens, experts, lattice.level_KQ.shape[1], target_2M.shape[1],
        INTERVALS, tables.coefficient_4M.shape[1], logits_NK.stride(0), gradient_NK.stride(0), REACH=REACH, **blocks,
    )  # fmt: skip
    return gradient_NK, squared_N


def _blocks(tokens: int, experts: int) -> tuple[tuple[int], dict[str, Any]]:
    """The grid, and the block that each program takes."""
    experts_block = max(triton.next_power_of_2(experts), 2)
    tokens_block = max(BLOCK_ELEMENTS // experts_block, 1)
    return (triton.cdiv(tokens, tokens_block),), {"BN": tokens_block, "BK": experts_block}
